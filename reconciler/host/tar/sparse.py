"""Sparse files in tar archives: the four ways in which GNU tar writes where the data of a file with holes belongs.

https://www.gnu.org/software/tar/manual/html_node/Sparse-Formats.html
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

from reconciler.dataclass import dataclass
from reconciler.host.tar.decompress import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from reconciler.host.tar.decompress import Content

BLOCK: Final = 512
_OLD_MAP: Final = 386  # four entries of offset and length, 12 bytes each
_OLD_ENTRIES: Final = 4
_OLD_MORE: Final = 482
_OLD_SIZE: Final = slice(483, 495)
_MORE_ENTRIES: Final = 21  # in a block of their own
_MORE_MORE: Final = 504
_ENTRIES_MAX: Final = 1 << 18
_DIGITS_MAX: Final = 20  # of a number below 2**63, with its newline


@dataclass(frozen=True, slots=True)
class SparseMap:
    """Where the stored data belongs: (offset, length), ascending; the rest of `size` bytes is holes."""

    size: int
    segments: tuple[tuple[int, int], ...]


def checked(sparse: SparseMap, stored: int) -> SparseMap:
    """The map, if it ascends within the file's size and places all `stored` bytes."""
    ends = [(0, 0), *((offset, offset + length) for offset, length in sparse.segments), (sparse.size, sparse.size)]
    ordered = all(before <= offset for (_, before), (offset, _) in pairwise(ends))
    if not ordered or sum(length for _, length in sparse.segments) != stored:
        raise Refused("its sparse map contradicts its size")
    return sparse


def old_gnu(block: bytes, content: Content, number: Callable[[bytes], int]) -> SparseMap:
    """Read the map of a type-S member: in its header and in the blocks after that."""
    segments = list(_old_entries(block, _OLD_MAP, _OLD_ENTRIES, number))
    size = number(block[_OLD_SIZE])
    more = block[_OLD_MORE]
    while more:
        block = content.read(BLOCK)
        if len(block) < BLOCK or len(segments) > _ENTRIES_MAX:
            raise Refused("its sparse map has no end")
        segments += _old_entries(block, 0, _MORE_ENTRIES, number)
        more = block[_MORE_MORE]
    return SparseMap(size, tuple(segments))


def from_records(
    records: Mapping[bytes, bytes], content: Content, number: Callable[[bytes], int]
) -> SparseMap | None:
    """Read the map that pax records give or announce; None: the member is not sparse."""
    version = records.get(b"GNU.sparse.major"), records.get(b"GNU.sparse.minor")
    if version == (b"1", b"0"):
        return SparseMap(number(records.get(b"GNU.sparse.realsize", b"")), _map_in_data(content))
    text = records.get(b"GNU.sparse.map")
    if text is not None and version in {(None, None), (b"0", b"0"), (b"0", b"1")}:
        numbers = [number(item) for item in text.split(b",")] if text else []
        return SparseMap(number(records.get(b"GNU.sparse.size", b"")), _pairs(numbers))
    if version != (None, None):
        raise Refused("it is sparse in an unknown format")
    return None


def _old_entries(block: bytes, at: int, count: int, number: Callable[[bytes], int]) -> Iterator[tuple[int, int]]:
    for start in range(at, at + count * 24, 24):
        if not block[start]:  # an empty field ends the list
            return
        yield number(block[start : start + 12]), number(block[start + 12 : start + 24])


def _map_in_data(content: Content) -> tuple[tuple[int, int], ...]:
    """Format 1.0: decimal numbers on lines in whole blocks before the data; the first counts the pairs."""
    lines = _lines(content)
    count = next(lines)
    if count > _ENTRIES_MAX:
        raise Refused("its sparse map is too long")
    numbers = [next(lines) for _ in range(2 * count)]
    return _pairs(numbers)


def _lines(content: Content) -> Iterator[int]:
    """Numbers on lines of their own, read block by block."""
    rest = b""
    while True:
        line, newline, after = rest.partition(b"\n")
        if newline and line.isdigit() and len(line) < _DIGITS_MAX:
            rest = after
            yield int(line)
            continue
        block = content.read(BLOCK)
        if newline or len(rest) > _DIGITS_MAX or not block:
            raise Refused("its sparse map is unreadable")
        rest += block


def _pairs(numbers: list[int]) -> tuple[tuple[int, int], ...]:
    if len(numbers) % 2:
        raise Refused("its sparse map is unreadable")
    return tuple(zip(numbers[::2], numbers[1::2], strict=True))
