"""The digest of a file's content, as stores, registries and SHA256SUMS name it."""

from __future__ import annotations

import errno
import hashlib
import os
from itertools import repeat
from typing import TYPE_CHECKING, Final

from reconciler.host.base.bounded import opened

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PIECE: Final = 1 << 20
_ZEROS: Final = memoryview(bytes(_PIECE))


def file_digest(path: Path) -> str:
    """Of a regular file, as long as it is when it is opened; anything else is an OSError, and not waited for."""
    found = hashlib.sha256()
    with opened(path) as file:
        for piece in _pieces(file.fileno(), os.fstat(file.fileno()).st_size):
            found.update(piece)
    return f"sha256:{found.hexdigest()}"


def _pieces(descriptor: int, size: int) -> Iterator[memoryview | bytes]:
    """Of a file with holes, which are not read: making zeros of them takes the kernel longer than digesting these."""
    at = 0
    while at < size:
        start = _next_data(descriptor, at, size)
        yield from repeat(_ZEROS, (start - at) // _PIECE)
        yield _ZEROS[: (start - at) % _PIECE]
        at = size if start == size else min(size, os.lseek(descriptor, start, os.SEEK_HOLE))
        while start < at and (piece := os.pread(descriptor, min(_PIECE, at - start), start)):
            yield piece
            start += len(piece)


def _next_data(descriptor: int, at: int, size: int) -> int:
    try:
        return min(size, os.lseek(descriptor, at, os.SEEK_DATA))
    except OSError as error:
        if error.errno == errno.ENXIO:  # nothing but a hole is left
            return size
        raise
