"""What a file's first bytes say about running it: a script's interpreter, or an ELF file's machine and loader.

Sources: execve(2) for scripts; elf(5) and the machines of the kernel's include/uapi/linux/elf-em.h.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

HEAD: Final = 4096  # bytes to look at: linkers put the program headers and the loader's name there

_SHEBANG: Final = b"#!"
_SHEBANG_MAX: Final = 256  # what the kernel reads of a script (BINPRM_BUF_SIZE)
_ELF: Final = b"\x7fELF"
_INTERPRETER: Final = 3  # PT_INTERP
_HEADERS_MAX: Final = 64
_IDENT: Final = 16  # bytes of e_ident
_LITTLE, _BIG = 1, 2
MACHINES: Final = {  # e_machine, 64 bits, little endian: systemd's name
    (62, True, True): "x86-64",
    (3, False, True): "x86",
    (183, True, True): "arm64",
    (183, True, False): "arm64-be",
    (40, False, True): "arm",
    (243, True, True): "riscv64",
    (243, False, True): "riscv32",
    (22, True, False): "s390x",
    (21, True, True): "ppc64-le",
    (21, True, False): "ppc64",
    (258, True, True): "loongarch64",
    (8, True, True): "mips64-le",
}


class Shape(StrEnum):
    """The two kinds of programs."""

    SCRIPT = "script"
    ELF = "elf"


@dataclass(frozen=True, slots=True)
class Program:
    """What it takes to run a file."""

    shape: Shape
    interpreter: str | None = None  # of a script; the loader of an ELF program that is linked dynamically
    architecture: str | None = None  # of an ELF file, in systemd's words; None: one that systemd has no word for


def recognise(head: bytes) -> Program | None:
    """What a file with these first bytes is; None: no program."""
    if head.startswith(_SHEBANG):
        return _script(head)
    if head.startswith(_ELF):
        return _elf(head)
    return None


def _script(head: bytes) -> Program:
    """The interpreter ends at the first blank, or at the line's end; a carriage return is part of it."""
    line = head[len(_SHEBANG) : _SHEBANG_MAX].partition(b"\n")[0]
    words = line.strip(b" \t").replace(b"\t", b" ").split(b" ")
    return Program(Shape.SCRIPT, words[0].decode(errors="backslashreplace"))


def _elf(head: bytes) -> Program | None:
    if len(head) < _IDENT or head[5] not in {_LITTLE, _BIG} or head[4] not in {1, 2}:
        return None
    wide, little = head[4] == 2, head[5] == _LITTLE  # noqa: PLR2004 - ELFCLASS64
    order = "<" if little else ">"
    try:
        (machine,) = struct.unpack_from(f"{order}H", head, 18)
        return Program(Shape.ELF, _loader(head, order, wide=wide), MACHINES.get((machine, wide, little)))
    except struct.error:  # cut off
        return None


def _loader(head: bytes, order: str, *, wide: bool) -> str | None:
    """The name in the PT_INTERP header; None: linked statically, or a library, or further behind than `HEAD`."""
    (start,) = struct.unpack_from(f"{order}{'Q' if wide else 'I'}", head, 32 if wide else 28)
    size, count = struct.unpack_from(f"{order}HH", head, 54 if wide else 42)
    for number in range(min(count, _HEADERS_MAX)):
        at = start + number * size
        if at + size > len(head) or struct.unpack_from(f"{order}I", head, at)[0] != _INTERPRETER:
            continue
        offset, length = _place(head, at, order, wide=wide)
        return head[offset : offset + length].partition(b"\0")[0].decode(errors="backslashreplace") or None
    return None


def _place(head: bytes, at: int, order: str, *, wide: bool) -> tuple[int, int]:
    """p_offset and p_filesz of a program header."""
    if wide:
        offset, _, _, size = struct.unpack_from(f"{order}QQQQ", head, at + 8)
    else:
        offset, _, _, size = struct.unpack_from(f"{order}IIII", head, at + 4)
    return offset, size
