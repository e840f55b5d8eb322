"""Programs and libraries by their ELF headers: for which machine, and which libraries they ask the host for."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from reconciler.model.facts.program import MACHINES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeAlias

    Read: TypeAlias = Callable[[int, int], bytes]
    """Bytes of the file, from an offset, as many as asked for if it has them."""

MAGIC: Final = b"\x7fELF"
_LOAD, _DYNAMIC, _INTERPRETER = 1, 2, 3  # types of program headers
_RELOCATABLE: Final = 1  # the type of kernel modules and of objects that are to be linked
_END, _NEEDED, _STRINGS, _STRINGS_SIZE = 0, 1, 5, 10  # tags of the dynamic section
_SEGMENTS_MAX: Final = 1024
_SECTION_MAX: Final = 1 << 20  # bytes of a dynamic section or of the strings it names


@dataclass(frozen=True, slots=True)
class Elf:
    """What a program, a library or a kernel module needs of where it runs."""

    architecture: str | None  # in systemd's words; None: one that systemd has no word for here
    needed: tuple[str, ...] = ()  # libraries, by the names it asks for
    interpreter: str | None = None  # of a program: the dynamic loader
    is_relocatable: bool = False


class _Shape(NamedTuple):
    """How numbers are written in this file."""

    wide: bool
    little: bool

    def unpack(self, layout: str, data: bytes) -> tuple[int, ...]:
        """Numbers, `P` in the layout for those as wide as a pointer."""
        word = "Q" if self.wide else "I"
        order = "<" if self.little else ">"
        return struct.unpack_from(order + layout.replace("P", word), data)


class _Segment(NamedTuple):
    kind: int
    offset: int
    address: int
    size: int


def read_elf(read: Read) -> Elf | None:
    """Understand a file's headers; None: it is no ELF file, or a damaged one."""
    try:
        head = read(0, 64)
        return _read(head, read) if head[:4] == MAGIC else None
    except (struct.error, IndexError, UnicodeDecodeError):
        return None


def _read(head: bytes, read: Read) -> Elf:
    shape = _Shape(head[4] == 2, head[5] == 1)  # noqa: PLR2004 - ELFCLASS64
    kind, machine = shape.unpack("HH", head[16:])
    segments = list(_segments(head, shape, read))
    interpreter = next((it for it in segments if it.kind == _INTERPRETER), None)
    return Elf(
        MACHINES.get((machine, *shape)),
        tuple(_needed(segments, shape, read)),
        _text(read(interpreter.offset, min(interpreter.size, 4096))) if interpreter else None,
        kind == _RELOCATABLE,
    )


def _segments(head: bytes, shape: _Shape, read: Read) -> Iterator[_Segment]:
    _, offset = shape.unpack("PP", head[24:])
    size, count = shape.unpack("HH", head[54 if shape.wide else 42 :])
    table = read(offset, size * min(count, _SEGMENTS_MAX))
    for start in range(0, len(table) - size + 1, size) if size else ():
        if shape.wide:
            kind, _, place, address, _, length = shape.unpack("IIQQQQ", table[start:])
        else:
            kind, place, address, _, length = shape.unpack("IIIII", table[start:])
        yield _Segment(kind, place, address, length)


def _needed(segments: list[_Segment], shape: _Shape, read: Read) -> Iterator[str]:
    dynamic = next((it for it in segments if it.kind == _DYNAMIC), None)
    if dynamic is None:
        return
    entries = list(_entries(read(dynamic.offset, min(dynamic.size, _SECTION_MAX)), shape))
    tags = dict(entries)
    place = _place(tags.get(_STRINGS, 0), segments)
    if place is None:
        return
    strings = read(place, min(tags.get(_STRINGS_SIZE, 0), _SECTION_MAX))
    for tag, value in entries:
        if tag == _NEEDED:
            yield _text(strings[value:])


def _entries(data: bytes, shape: _Shape) -> Iterator[tuple[int, int]]:
    step = 16 if shape.wide else 8
    for start in range(0, len(data) - step + 1, step):
        tag, value = shape.unpack("PP", data[start:])
        if tag == _END:
            return
        yield tag, value


def _place(address: int, segments: list[_Segment]) -> int | None:
    """Where in the file an address of memory comes from."""
    for it in segments:
        if it.kind == _LOAD and it.address <= address < it.address + it.size:
            return it.offset + address - it.address
    return None


def _text(data: bytes) -> str:
    return data.partition(b"\0")[0].decode()
