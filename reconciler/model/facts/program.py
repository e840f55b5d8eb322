"""What it takes to run a file: a script's interpreter (execve(2)), or an ELF file's machine, loader and libraries."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from reconciler.dataclass import dataclass

HEAD: Final = 4096  # bytes to look at: linkers put the program headers and the loader's name there
SHEBANG: Final = b"#!"
_SHEBANG_MAX: Final = 256  # what the kernel reads of a script (BINPRM_BUF_SIZE)


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
    needed: tuple[str, ...] = ()  # libraries, by the names it asks for
    damaged: bool = False  # an ELF file that is cut off or garbled, so that more than is known may be needed


def script(head: bytes) -> Program:
    """What a script with these first bytes needs; the interpreter ends at the first blank, or at the line's end.

    A carriage return is part of it.
    """
    line = head[len(SHEBANG) : _SHEBANG_MAX].partition(b"\n")[0]
    words = line.strip(b" \t").replace(b"\t", b" ").split(b" ")
    return Program(Shape.SCRIPT, words[0].decode(errors="backslashreplace"))
