"""What the programs in an assembly need of the host that they are to run on."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Final

from reconciler.host.assembly.contents import read
from reconciler.host.images.programs import read_elf
from reconciler.host.tar.decompress import shown
from reconciler.model.build.recipe import Needs
from reconciler.model.fit.filekind import FileKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.model.build.assembly import Assembly, Content
    from reconciler.model.facts.program import Program
    from reconciler.model.kind import Kind

_LIBRARY: Final = re.compile(rb"\.so(\.|$)")
_NOT_LOADED: Final = b"usr/lib/debug/"  # what strip(1) takes out of programs, with headers that lead nowhere
_MODULE: Final = re.compile(rb"usr/lib/modules/(?P<kernel>[^/]+)/.*\.ko(\.(gz|xz|zst))?")


def needs_of(assembly: Assembly, kind: Kind) -> Needs:
    found = list(_elves(assembly))
    inside = {name.rpartition(b"/")[2].decode(errors="replace") for name, _ in assembly.files()}
    foreign = (f"/{shown(name)} needs {it} of the host" for name, elf in found for it in missing(elf, inside))
    architectures = {elf.architecture for _, elf in found if elf.architecture}
    damaged = tuple(f"/{shown(name)}" for name, elf in found if elf.damaged)
    untold = (f"what {it} needs of the host cannot be told" for it in damaged)
    reason = _of_modules(assembly) or next(foreign, None) or next(untold, None)
    return Needs(tuple(sorted(architectures)), reason, _has_units(assembly, kind), damaged)


def elf_of(content: Content) -> Program | None:
    return read_elf(partial(read, content), content.size)


def missing(elf: Program, inside: set[str]) -> list[str]:
    """The libraries, and failing these the loader, that a program finds only on the host."""
    wanted = [*elf.needed, *([elf.interpreter.rpartition("/")[2]] if elf.interpreter else [])]
    return [name for name in wanted if name not in inside]


def _elves(assembly: Assembly) -> Iterator[tuple[bytes, Program]]:
    for name, item in assembly:
        if item.kind is not FileKind.FILE or not item.content or name.startswith(_NOT_LOADED):
            continue
        could_be = item.mode & 0o111 or _LIBRARY.search(name) or _MODULE.fullmatch(name)
        if could_be and (elf := elf_of(item.content)):
            yield name, elf


def _of_modules(assembly: Assembly) -> str | None:
    for name, _ in assembly.files():
        if match := _MODULE.fullmatch(name):
            return f"/{shown(name)} is for the kernel {shown(match['kernel'])}"
    return None


def _has_units(assembly: Assembly, kind: Kind) -> bool:
    prefixes = tuple(f"{place}/".encode() for place in kind.traits.unit_directories)
    return any(name.startswith(prefixes) for name, _ in assembly.files())
