"""Image files as bytes: read at any place, copied in part and decompressed, with holes instead of zeros."""

from __future__ import annotations

import os
import stat
from itertools import groupby
from typing import TYPE_CHECKING, Final, Self

from reconciler.errors import Failed, Invalid, Malformed
from reconciler.host.base.durable import link_atomically
from reconciler.host.layers.budget import Budget, Exceeded
from reconciler.host.tar.decompress import Blob, Content, Refused, is_compressed
from reconciler.model.content.limits import size_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from reconciler.model.content.limits import Limits
    from reconciler.model.images.imageformat import Volume

_PIECE: Final = 1 << 18
_MAGIC: Final = 16  # bytes that tell whether a file is compressed
_BLOCK: Final = 4096  # the unit of holes
_ZEROS: Final = bytes(_BLOCK)
_SPACE: Final = "look at the disk's space"


class ImageFile:
    """A regular file, open for reading at any place."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._reading():
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a FIFO would block otherwise
        status = os.fstat(self._fd)
        if not stat.S_ISREG(status.st_mode):
            os.close(self._fd)
            raise Invalid("the image is not a regular file", "name a file that is an image as the source")
        self.size = status.st_size

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def read(self, offset: int, length: int) -> bytes:
        """The bytes from `offset`; fewer only at the end."""
        if offset >= self.size:
            return b""
        with self._reading():
            return os.pread(self._fd, length, offset)

    def pieces(self, offset: int, length: int) -> Iterator[bytes]:
        for start in range(offset, offset + length, _PIECE):
            yield self.read(start, min(_PIECE, offset + length - start))

    def _reading(self) -> AbstractContextManager[None]:
        return Failed.on_oserror(f"{self._path}: cannot be read", "look at the file system and its disk")


def copy_part(source: Path, offset: int, length: int, target: Path) -> None:
    with ImageFile(source) as image:
        write_sparse(target, image.pieces(offset, length))


def volume_file(file: Path, volume: Volume, workplace: Path) -> Path:
    """A file system as a file of its own, by a name that no tool takes for an option or a pattern."""
    bare = workplace / f"volume-{volume.top}"
    if not volume.offset:
        link_atomically(bare, str(file.absolute()))
    elif not bare.exists():
        copy_part(file, volume.offset, volume.size, bare)
    return bare


def write_sparse(target: Path, pieces: Iterable[bytes]) -> None:
    """Write a new file, leaving out blocks of zeros; if that fails, there is none."""
    with Failed.on_oserror(f"{target}: cannot be written", _SPACE), target.open("xb", buffering=0) as file:
        _fill(file.fileno(), target, pieces)


def _fill(fd: int, target: Path, pieces: Iterable[bytes]) -> None:
    size = 0
    try:
        for piece in pieces:
            for start, end in _runs(piece):
                _write(fd, piece[start:end], size + start)
            size += len(piece)
        os.ftruncate(fd, size)
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def _write(fd: int, data: bytes, offset: int) -> None:
    written = 0
    while written < len(data):
        written += os.pwrite(fd, data[written:], offset + written)


def _runs(piece: bytes) -> Iterator[tuple[int, int]]:
    """Where the blocks lie that are not all zeros, neighbours together."""
    blocks = range(0, len(piece), _BLOCK)
    for is_hole, run in groupby(blocks, lambda at: _ZEROS.startswith(piece[at : at + _BLOCK])):
        if not is_hole:
            starts = list(run)
            yield starts[0], min(starts[-1] + _BLOCK, len(piece))


def decompress_to(source: Path, target: Path, limits: Limits) -> tuple[str, str]:
    """Decompress a file as its magic bytes say (gz, xz, zst, bz2, or not at all) into a new file with holes.

    Returns:
        The digests of the source and of the result.
    """
    try:
        with Blob(source) as blob:
            content = Content(blob)
            write_sparse(target, _limited(content, limits, source.stat().st_size))
            return blob.digest(), content.digest()
    except Exceeded as error:
        raise Invalid(f"the image is not decompressed: {error}", error.hint, code="limit.exceeded") from error
    except Refused as error:
        hint = "fetch the image again, and compare its digest with its publisher's"
        raise Malformed(f"the image cannot be decompressed: {error}", hint) from error


def decompressed(source: Path, target: Path, limits: Limits) -> Path:
    """An image file as it is, or made anew at `target` where it is compressed."""
    with ImageFile(source) as image:
        head = image.read(0, _MAGIC)
    if is_compressed(head):
        decompress_to(source, target, limits)
        return target
    return source


def _limited(content: Content, limits: Limits, size: int) -> Iterator[bytes]:
    """Zeros count for the size alone: they take no space, and images of disks are full of them."""
    budget = Budget(limits)
    budget.begin_layer(size)
    while piece := content.read(_PIECE):
        if content.position > limits.size:
            hint = "raise settings.limits.size if the image is to be trusted"
            raise Exceeded(f"it has more than {size_text(limits.size)}", hint)
        if piece.count(0) < len(piece):
            budget.unpacked(len(piece))
        yield piece
