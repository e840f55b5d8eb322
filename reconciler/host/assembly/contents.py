"""The bytes of an assembly's files: where they are kept, read and compared."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from reconciler.errors import Failed
from reconciler.model.build.assembly import Content

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from io import FileIO
    from pathlib import Path

    from reconciler.host.tar.sparse import SparseMap

_PIECE: Final = 1 << 18
_CHANGED: Final = "do not change a source while it is read"


class Spool:
    """Contents that come as a stream, one after the other in one file."""

    def __init__(self, path: Path) -> None:
        """`path` does not exist yet; whoever named it removes it."""
        self._path = path
        self._file: FileIO = path.open("xb", buffering=0)
        self._end = 0

    def close(self) -> None:
        self._file.close()

    def keep(self, chunks: Iterable[memoryview], size: int, sparse: SparseMap | None = None) -> Content:
        """Keep a content of `size` stored bytes; holes of a sparse one stay holes."""
        start, length = self._end, sparse.size if sparse else size
        segments = sparse.segments if sparse else ((0, size),)
        rest, source = memoryview(b""), iter(chunks)
        for offset, count in segments:
            self._file.seek(start + offset)
            left = count
            while left:
                rest = rest or memoryview(next(source))
                taken = self._file.write(rest[:left])
                left, rest = left - taken, rest[taken:]
        self._end = start + length
        self._file.truncate(self._end)
        return Content(self._path, start, length)


def chunks_of(content: Content) -> Iterator[bytes]:
    if isinstance(content.place, bytes):
        yield content.place
        return
    left = content.size
    with _opened(content.place) as file:
        file.seek(content.offset)
        while left:
            piece = file.read(min(left, _PIECE))
            if not piece:
                raise Failed(f"{content.place} has become shorter while it was read", _CHANGED)
            left -= len(piece)
            yield piece


def read(content: Content, offset: int, size: int) -> bytes:
    """A part, cut off at the end of the content."""
    if isinstance(content.place, bytes):
        return content.place[offset : offset + size]
    with _opened(content.place) as file:
        return os.pread(file.fileno(), max(0, min(size, content.size - offset)), content.offset + offset)


def same(one: Content, other: Content) -> bool:
    return one.size == other.size and all(a == b for a, b in zip(chunks_of(one), chunks_of(other), strict=True))


def _opened(path: Path) -> FileIO:
    try:
        return path.open("rb", buffering=0)
    except OSError as error:
        raise Failed.of(error, f"{path}: cannot be read", _CHANGED) from error
