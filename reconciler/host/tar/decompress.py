"""A blob as the bytes it stands for: decompressed as its magic bytes say, both sides hashed, in one pass.

The media type is not asked: registries and builders get it wrong, magic bytes are what will be decoded. Memory stays
bounded whatever the blob claims, because every decoder is asked for a limited piece at a time.
"""

from __future__ import annotations

import bz2
import hashlib
import lzma
import re
import sys
import zlib
from functools import partial
from typing import TYPE_CHECKING, Final, Literal, Protocol, Self, cast

from reconciler.errors import Failed, printable
from reconciler.host.base.readahead import ReadAhead

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator
    from types import ModuleType

if sys.version_info >= (3, 14):
    from compression.zstd import ZstdDecompressor, ZstdError
else:
    from backports.zstd import ZstdDecompressor, ZstdError

igzip: ModuleType | None
try:
    from isal import igzip_lib as igzip
except ImportError:  # no wheel for this machine
    igzip = None

PIECE: Final = 1 << 20
_XZ_MEMORY: Final = 128 << 20  # xz -9 needs 65 MiB; zstd has the same limit by itself, and --ultra -22 just fits
_TOO_MUCH: Final = re.compile("too much memory|memory usage limit", re.IGNORECASE)  # zstd's words, and xz's
_SHOWN_MAX: Final = 300  # characters


class Refused(ValueError):
    """A layer's content cannot be taken; the message says why, `member` names the culprit where one is known."""

    def __init__(self, reason: str, member: bytes | None = None) -> None:
        super().__init__(reason)
        self.member = member


def shown(name: bytes) -> str:
    """A name for messages: one line of bearable length, whatever is in it."""
    text = printable(name.decode(errors="backslashreplace"))
    return text if len(text) <= _SHOWN_MAX else f"{text[: _SHOWN_MAX - 60]}...{text[-50:]}"


class Decoder(Protocol):
    """One gzip member, zstd frame, xz or bzip2 stream, in the shape of bz2.BZ2Decompressor."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class Readable(Protocol):
    """What a blob is read from, unbuffered."""

    def read(self, size: int, /) -> bytes | None: ...
    def close(self) -> None: ...


class BlobFile(Protocol):
    """Where a blob is: a file's path, or anything that opens like one."""

    def open(self, mode: Literal["rb"], buffering: Literal[0], /) -> Readable: ...


class Blob:
    """A blob, read once from start to end and hashed on the way."""

    def __init__(self, file: BlobFile) -> None:
        self._what = str(file)
        self._hash = hashlib.sha256()
        self._readers: list[ReadAhead] = []
        try:
            self._file = file.open("rb", 0)
        except OSError as error:
            raise self._unreadable(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop_readers()
        self._file.close()

    def read_ahead(self, pieces: Iterator[bytes]) -> ReadAhead:
        """Pieces made from this blob in a thread, which ends before the blob's digest is taken or the blob closed."""
        self._readers.append(ReadAhead(pieces))
        return self._readers[-1]

    def read(self) -> bytes:
        """The next piece; empty at the end."""
        try:
            data = self._file.read(PIECE)
        except OSError as error:
            raise self._unreadable(error) from error
        assert data is not None  # noqa: S101 - only files that do not block are read
        self._hash.update(data)
        return data

    def digest(self) -> str:
        """The digest of the whole file; reads what is left of it. Its content cannot be read any more."""
        self._stop_readers()
        while self.read():
            pass
        return f"sha256:{self._hash.hexdigest()}"

    def _stop_readers(self) -> None:
        for reader in self._readers:
            reader.stop()

    def _unreadable(self, error: OSError) -> Failed:
        return Failed.of(error, f"{self._what}: cannot be read", "look at the file system and its disk")


class Content:
    """A blob's decompressed bytes, read once from start to end and hashed on the way."""

    def __init__(self, blob: Blob, count: Callable[[int], None] | None = None) -> None:
        """`count` is told how many bytes there are more, before they are used; what it raises is passed on."""
        self._count = count
        self._hash = hashlib.sha256()
        # Two threads: what takes longest, decompression, shares its core with nothing.
        decoded = blob.read_ahead(_decoded(blob))
        self._pieces = blob.read_ahead(_hashed(decoded, self._hash))
        self._piece = b""
        self._at = 0  # where in the piece the next byte is
        self.position = 0

    def read(self, size: int) -> bytes:
        """The next `size` bytes; fewer only at the end."""
        end = self._at + size
        if end <= len(self._piece):
            data = self._piece[self._at : end]
            self._at = end
            self.position += size
            return data
        return b"".join(self._up_to(size))

    def chunks(self, size: int) -> Iterable[memoryview]:
        """The next `size` bytes, which must be there, without copying them."""
        end = self._at + size
        if end > len(self._piece):
            return self._many_chunks(size)
        chunk = memoryview(self._piece)[self._at : end]
        self._at = end
        self.position += size
        return (chunk,)

    def _many_chunks(self, size: int) -> Iterator[memoryview]:
        end = self.position + size
        yield from self._up_to(size)
        if self.position < end:
            raise Refused("the tar archive is cut off")

    def skip(self, size: int) -> None:
        """Pass over `size` bytes, which must be there."""
        if size <= len(self._piece) - self._at:
            self._at += size
            self.position += size
            return
        for _ in self.chunks(size):
            pass

    def digest(self) -> str:
        """The digest of the whole content; reads what is left of it."""
        while self._refill():
            pass
        return f"sha256:{self._hash.hexdigest()}"

    def _up_to(self, size: int) -> Iterator[memoryview]:
        while size > 0:
            if self._at == len(self._piece) and not self._refill():
                return
            chunk = memoryview(self._piece)[self._at : self._at + size]
            self._at += len(chunk)
            self.position += len(chunk)
            size -= len(chunk)
            yield chunk

    def _refill(self) -> bool:
        self._piece, self._at = self._pieces.take(), 0
        if self._count:
            self._count(len(self._piece))
        return bool(self._piece)


def _hashed(pieces: ReadAhead, digest: hashlib._Hash) -> Iterator[bytes]:
    while piece := pieces.take():
        digest.update(piece)
        yield piece


def _decoded(blob: Blob) -> Iterator[bytes]:
    data = blob.read()
    decoder = _decoder_for(data)
    if decoder is None:
        while data:
            yield data
            data = blob.read()
    while decoder:  # a blob may be several streams one after the other
        data = yield from _one_stream(decoder, data, blob)
        if len(data) < _MAGIC_MAX:
            data += blob.read()
        decoder = _decoder_for(data)
        if data and decoder is None:
            raise Refused("something else follows its compressed data")


def is_compressed(head: bytes) -> bool:
    return _decoder_for(head) is not None


def _decoder_for(data: bytes) -> Decoder | None:
    for magic, make in _DECODERS.items():
        if data.startswith(magic):
            return make()
    return None


def _one_stream(decoder: Decoder, data: bytes, blob: Blob) -> Generator[bytes, None, bytes]:
    """Yield what one stream holds; return what follows it, without the zeros that pad blobs cut from blocks."""
    while True:
        piece = _step(decoder, data)
        if piece:
            yield piece
        if decoder.eof:
            break
        data = b""
        if decoder.needs_input and not (data := blob.read()):
            raise Refused("its compressed data is cut off")
    rest = decoder.unused_data.lstrip(b"\0")
    while not rest and (data := blob.read()):
        rest = data.lstrip(b"\0")
    return rest


def _step(decoder: Decoder, data: bytes) -> bytes:
    try:
        return decoder.decompress(data, PIECE)
    except _ERRORS as error:
        if _TOO_MUCH.search(str(error)):
            raise Refused("its compressed data takes more than 128 MiB of memory to decompress") from error
        raise Refused(f"its compressed data is damaged ({error})") from error


class _Zlib:
    """zlib's decompressor in the shape of bz2's; for machines without isal."""

    def __init__(self) -> None:
        self._decoder = zlib.decompressobj(wbits=31)  # gzip, largest window
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._decoder.eof

    @property
    def unused_data(self) -> bytes:
        return self._decoder.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        piece = self._decoder.decompress(self._decoder.unconsumed_tail + data, max_length)
        self.needs_input = len(piece) < max_length and not self._decoder.unconsumed_tail
        return piece


def _gzip() -> Decoder:
    if igzip is None:
        return _Zlib()
    return cast("Decoder", igzip.IgzipDecompressor(flag=igzip.DECOMP_GZIP))


_DECODERS: Final[dict[bytes, Callable[[], Decoder]]] = {
    b"\x1f\x8b": _gzip,
    b"\x28\xb5\x2f\xfd": ZstdDecompressor,
    **{bytes((low, 0x2A, 0x4D, 0x18)): ZstdDecompressor for low in range(0x50, 0x60)},  # zstd's skippable frames
    b"\xfd7zXZ\0": partial(lzma.LZMADecompressor, lzma.FORMAT_XZ, _XZ_MEMORY),
    b"BZh": bz2.BZ2Decompressor,
}
_MAGIC_MAX: Final = max(map(len, _DECODERS))
# bz2 reports bad data as OSError and ValueError.
_BAD_DATA: Final = (zlib.error, lzma.LZMAError, ZstdError, OSError, ValueError, EOFError)
_ERRORS: Final = (*_BAD_DATA, igzip.IsalError) if igzip else _BAD_DATA
