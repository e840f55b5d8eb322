"""What a disk would hold after a power cut, from a log of the writes and flushes that it was told.

qemu's driver `blklogwrites` writes the log, in the format of the kernel's dm-log-writes: a block for the log itself,
then for each request a block that describes it, and its data. Requests are logged when they are done. So everything
before a flush is safe on the disk; what came later may have been in the disk's cache, of which any part may be lost.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import random
    from pathlib import Path

_BLOCK: Final = 512  # bytes: what the log was told to use
_MAGIC: Final = 0x6A736677736872
_AT_ONCE: Final = 64  # requests that qemu's threads may work on
_FLUSH, _FUA, _DISCARD = 1, 2, 4


@dataclass(frozen=True, slots=True)
class Request:
    """One request to the disk."""

    offset: int  # bytes, on the disk
    size: int
    flags: int
    data: int  # where its data begin in the log


def read_log(log: Path) -> list[Request]:
    """All requests, in their order, without the last ones: some of them were perhaps not noted completely."""
    found = []
    end = log.stat().st_size
    with log.open("rb") as file:
        magic, _, _, block = struct.unpack("<QQQI", file.read(28).ljust(28, b"\0"))
        if not magic:  # before the first flush
            return []
        assert (magic, block) == (_MAGIC, _BLOCK)
        place = _BLOCK
        while place + _BLOCK <= end:
            file.seek(place)
            sector, sectors, flags, _ = struct.unpack("<QQQQ", file.read(32))
            request = Request(sector * _BLOCK, sectors * _BLOCK, flags, place + _BLOCK)
            place += _BLOCK + (0 if flags & _DISCARD else request.size)
            if not (sectors or flags) or place > end:
                break
            found.append(request)
    return found[:-_AT_ONCE]


def lose_cache(disk: Path, log: Path, requests: list[Request], dice: random.Random) -> str:
    """Let requests come to a disk as it was before them; what was not flushed in the end, only by chance.

    Returns:
        What was done, for messages.
    """
    flushed = max((number for number, it in enumerate(requests) if it.flags & _FLUSH), default=0)
    share = dice.random()
    lost = 0
    with disk.open("r+b") as target, log.open("rb") as source:
        for number, request in enumerate(requests):
            if number > flushed and not request.flags & _FUA and dice.random() < share:
                lost += 1
                continue
            source.seek(request.data)
            target.seek(request.offset)
            if not request.flags & _DISCARD:
                target.write(source.read(request.size))
    return f"after {len(requests)} requests, {lost} of {len(requests) - flushed - 1} that were not flushed lost"
