"""What an extension may take of a node: limits against images that are hostile or broken."""

from __future__ import annotations

import re
from typing import Final

from reconciler.dataclass import dataclass
from reconciler.model.content.power import REFUSED, Power

_UNITS: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SIZE: Final = re.compile(r"([0-9]{1,12})(?:([KMGT])(?:iB)?)?")
_SIZE_MAX: Final = 1 << 62  # bytes, well within what a file system counts with
_COUNT_MAX: Final = 1 << 32


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one extension may take, all layers of its image together."""

    size: int = 16 << 30  # bytes of data unpacked; the holes of sparse files do not count
    members: int = 1_000_000  # files, directories and links
    ratio: int = 200  # of a layer's bytes, unpacked to packed; the first tens of MiB are free
    setuid: bool = True  # False: no setuid or setgid programs, no file capabilities
    refused: frozenset[Power] = REFUSED  # what it must not be able to do to a host


DEFAULT: Final = Limits()


@dataclass(frozen=True, slots=True)
class Transfers:
    """How slow a source may be: one that sends just enough to seem alive must not hold a node up."""

    timeout: float = 7200.0  # seconds for one transfer in all
    min_rate: int = 1 << 10  # bytes in a second, over a minute


TRANSFERS: Final = Transfers()


def parse_size(value: int | str) -> int:
    """Read a number of bytes: `16G`, `512MiB` or `1073741824`; units are powers of 1024."""
    match = _SIZE.fullmatch(str(value)) if not isinstance(value, bool) else None
    size = int(match[1]) * _UNITS[match[2] or ""] if match else 0
    if not 0 < size <= _SIZE_MAX:
        raise ValueError(f"{value!r} is no size; it looks like 512M or 16G")
    return size


def parse_count(value: int | str) -> int:
    """Read a number of things, `250000`, of which at least one must be allowed."""
    text = "" if isinstance(value, bool) else str(value)
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(_COUNT_MAX)) and 0 < int(text) <= _COUNT_MAX):
        raise ValueError(f"{value!r} is no number from 1 to {_COUNT_MAX}")
    return int(text)


def size_text(size: int) -> str:
    """A size for messages: `16G`, `1.5M`; what `parse_size` reads where it is whole."""
    for unit in ("T", "G", "M", "K"):
        scale = _UNITS[unit]
        if size >= scale:
            return f"{size // scale}{unit}" if size % scale == 0 else f"{size / scale:.1f}{unit}"
    return str(size)
