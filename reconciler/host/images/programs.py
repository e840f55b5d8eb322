"""Programs, libraries and kernel modules by their headers, of which pyelftools reads those of ELF files.

Only what inspects and builds extensions needs this module, so no run of the reconciler loads pyelftools.
"""

from __future__ import annotations

import io
import os
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from elftools.elf.dynamic import DynamicSegment
from elftools.elf.elffile import ELFFile
from elftools.elf.segments import InterpSegment, Segment

from reconciler.model.facts.program import SHEBANG, Program, Shape, script

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO, TypeAlias

    from _typeshed import WriteableBuffer

    Read: TypeAlias = Callable[[int, int], bytes]
    """Bytes of the file, from an offset, as many as asked for if it has them."""

MAGIC: Final = b"\x7fELF"
_SEGMENTS_MAX: Final = 1024
_LOADED: Final = frozenset({"ET_EXEC", "ET_DYN"})
_IN_MEMORY: Final = frozenset({"PT_LOAD", "PT_DYNAMIC", "PT_INTERP"})
_PIECE: Final = 1024  # bytes
_PIECES_MAX: Final = 500  # a program of a hundred libraries takes half of them
_NAME_MAX: Final = 4096  # bytes of a loader's path (PATH_MAX)
_ARCHITECTURES: Final = {  # e_machine, bits, little endian: systemd's name
    ("EM_X86_64", 64, True): "x86-64",
    ("EM_386", 32, True): "x86",
    ("EM_AARCH64", 64, True): "arm64",
    ("EM_AARCH64", 64, False): "arm64-be",
    ("EM_ARM", 32, True): "arm",
    ("EM_RISCV", 64, True): "riscv64",
    ("EM_RISCV", 32, True): "riscv32",
    ("EM_S390", 64, False): "s390x",
    ("EM_PPC64", 64, True): "ppc64-le",
    ("EM_PPC64", 64, False): "ppc64",
    ("EM_LOONGARCH", 64, True): "loongarch64",
    ("EM_MIPS", 64, True): "mips64-le",
}


def recognise(head: bytes) -> Program | None:
    """What a file with these first bytes is, without the libraries it needs; None: no program, or a damaged one."""
    if head.startswith(SHEBANG):
        return script(head)
    if not head.startswith(MAGIC):
        return None
    found = _read(io.BytesIO(head), len(head))
    return replace(found.program, damaged=False) if found.has_header else None  # what is missing follows the head


def read_elf(read: Read, size: int) -> Program | None:
    """What an ELF file of this size is; None: it is none. Of a damaged one, what could be read."""
    if read(0, len(MAGIC)) != MAGIC:
        return None
    return _read(io.BufferedReader(_File(read, size), _PIECE), size).program


class _Headers(ELFFile):
    """Without sections, which are there for linkers and debuggers: running a program takes none."""

    def num_sections(self) -> int:
        return 0

    def num_segments(self) -> int:
        return min(int(self["e_phnum"]), _SEGMENTS_MAX)

    @property
    def has_odd_table(self) -> bool:
        """Whether the kernel would not take the table of segments: execve(2) says ENOEXEC."""
        count, step = int(self["e_phnum"]), int(self["e_phentsize"])
        if not count:
            return self["e_type"] in _LOADED
        return count > _SEGMENTS_MAX or step != self.structs.Elf_Phdr.sizeof()


class _File(io.RawIOBase):
    """A file for pyelftools, whose reading ends when it would take too long."""

    def __init__(self, read: Read, size: int) -> None:
        self._data = read
        self._size = size
        self._at = 0
        self._left = _PIECES_MAX

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        self._left -= 1
        if self._left < 0:
            raise ValueError("a program's headers do not take so much")
        view = memoryview(buffer)
        data = self._data(self._at, len(view))
        view[: len(data)] = data
        self._at += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        return self._at


class _Found(NamedTuple):
    """As much as could be read."""

    program: Program
    has_header: bool = False


def _read(stream: BinaryIO, size: int) -> _Found:
    found = _Found(Program(Shape.ELF, damaged=True))
    with suppress(Exception):  # whatever a library stumbles over in a damaged or hostile file, it cannot be read
        elf = _Headers(stream)
        architecture = _ARCHITECTURES.get((elf["e_machine"], elf.elfclass, elf.little_endian))
        found = _Found(replace(found.program, architecture=architecture), has_header=True)
        cut_off = elf.has_odd_table
        for segment in sorted(elf.iter_segments(), key=lambda it: isinstance(it, DynamicSegment)):
            found = found._replace(program=_with(found.program, segment))
            cut_off |= segment["p_type"] in _IN_MEMORY and segment["p_offset"] + segment["p_filesz"] > size
        found = found._replace(program=replace(found.program, damaged=cut_off))
    return found


def _with(program: Program, segment: Segment) -> Program:
    if isinstance(segment, InterpSegment):
        return replace(program, interpreter=_loader(segment))
    if isinstance(segment, DynamicSegment):
        return replace(program, needed=tuple(vars(tag)["needed"] for tag in segment.iter_tags("DT_NEEDED")))
    return program


def _loader(segment: InterpSegment) -> str | None:
    if segment["p_filesz"] > _NAME_MAX:
        return None
    name: bytes = segment.data().partition(b"\0")[0]
    return name.decode(errors="backslashreplace") or None
