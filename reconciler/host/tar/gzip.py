"""gzip by all processors: pieces are compressed apart, each with what came before it as its dictionary, and joined.

The result is one stream, and depends on the pieces alone, not on the number of processors.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, Self

_LEVEL: Final = 6
_WINDOW: Final = 1 << 15  # bytes that deflate looks back
_RAW: Final = -15  # zlib's word for "no header, largest window"
_MEMORY: Final = 8  # zlib's default
_HEADER: Final = b"\x1f\x8b\x08\0\0\0\0\0\0\x03"  # no name, no time, made on Unix
_END: Final = b"\x03\0"  # an empty block, marked as the last


class GzipWriter:
    """A stream that is being compressed; used as a context, since it has threads."""

    def __init__(self) -> None:
        self._processors = os.cpu_count() or 1
        self._pool = ThreadPoolExecutor(self._processors, thread_name_prefix="gzip")
        self._pending: deque[Future[bytes]] = deque()
        self._ready = bytearray(_HEADER)
        self._window = b""
        self._sum = self._size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def compress(self, data: bytes, /) -> bytes:
        """What is ready of all that was given so far."""
        self._sum = zlib.crc32(data, self._sum)
        self._size += len(data)
        self._pending.append(self._pool.submit(_deflate, data, self._window))
        self._window = (self._window + data)[-_WINDOW:]
        while len(self._pending) > 2 * self._processors:
            self._ready += self._pending.popleft().result()
        return self._take()

    def flush(self) -> bytes:
        """The rest."""
        while self._pending:
            self._ready += self._pending.popleft().result()
        self._ready += _END + struct.pack("<LL", self._sum, self._size & 0xFFFFFFFF)
        return self._take()

    def _take(self) -> bytes:
        ready, self._ready = bytes(self._ready), bytearray()
        return ready


def _deflate(data: bytes, window: bytes) -> bytes:
    """One piece, up to a boundary of bytes."""
    compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, _RAW, _MEMORY, zlib.Z_DEFAULT_STRATEGY, window)
    return compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH)
