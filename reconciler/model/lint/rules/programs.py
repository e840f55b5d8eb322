"""Rules about programs: LL4xx."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from reconciler.model.facts.program import Program, Shape
from reconciler.model.kind import Kind
from reconciler.model.lint.rule import Hit, Hits, Severity, rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.model.facts.extensionfacts import ExtensionFacts, File

# Data for other machines and other programs: firmware, boot loaders, eBPF, test material.
_NOT_RUN_HERE: Final = ("usr/lib/firmware/", "usr/share/", "usr/lib/debug/", "usr/lib/modules/")
_EXECUTABLE: Final = 0o111
_EVERYWHERE: Final = frozenset({"/bin/sh", "/usr/bin/sh", "/usr/bin/env", "/bin/env"})


@rule("LL401", Severity.ERROR, "build it for the architecture that the release file names, or name another one there")
def other_architecture(facts: ExtensionFacts) -> Hits:
    """A program is for another architecture than the release file says."""
    wanted = facts.release.get("ARCHITECTURE", "_any") or "_any"
    for path, program in _elf_files(facts):
        if wanted not in {"_any", program.architecture}:
            found = program.architecture or "an architecture unknown to systemd"
            yield Hit(f"it is for {found}, the release file has ARCHITECTURE={wanted}", path)


@rule("LL402", Severity.WARNING, "add ARCHITECTURE= to the release file; systemd before 252 does not look at it")
def no_architecture(facts: ExtensionFacts) -> Hits:
    """There are programs for an architecture, and the release file names none."""
    if facts.release and facts.release.get("ARCHITECTURE", "_any") in {"", "_any"}:
        found = sorted({program.architecture or "unknown" for _, program in _elf_files(facts)})
        if found:
            yield Hit(f"there are programs for {', '.join(found)}, and no ARCHITECTURE=", facts.release_path)


@rule(
    "LL403",
    Severity.NOTE,
    "link it statically, bring its libraries, or bind the extension to the OS's ID and VERSION_ID",
)
def unbound_libraries(facts: ExtensionFacts) -> Hits:
    """ID=_any, and a program is linked against libraries of the host."""
    if facts.release.get("ID") == "_any":
        for path, program in _elf_files(facts):
            if program.interpreter and program.interpreter.lstrip("/") not in facts.files:
                yield Hit(f"it needs the host's {program.interpreter} and libraries, on any OS", path)


@rule("LL404", Severity.ERROR, "end lines with a line feed alone, and give the interpreter by its absolute path")
def unusable_interpreter(facts: ExtensionFacts) -> Hits:
    """A script's first line names no interpreter that a kernel would find."""
    for path, program in _scripts(facts):
        name = program.interpreter or ""
        if not name.startswith("/") or name.endswith("\r"):
            reason = "ends with a carriage return" if name.endswith("\r") else "is no absolute path"
            yield Hit(f"its interpreter {name!r} {reason}", path)


@rule("LL405", Severity.WARNING, "bring the interpreter, or name one that hosts have")
def missing_interpreter(facts: ExtensionFacts) -> Hits:
    """A script's interpreter is neither in the extension nor on this host."""
    for path, program in _scripts(facts):
        name = program.interpreter or ""
        if name.startswith("/") and not name.endswith("\r") and name not in _EVERYWHERE and not facts.has(name):
            yield Hit(f"its interpreter {name} is neither in the extension nor on this host", path)


def _elf_files(facts: ExtensionFacts) -> Iterator[tuple[str, Program]]:
    return ((path, program) for path, _, program in _programs(facts) if program.shape is Shape.ELF)


def _scripts(facts: ExtensionFacts) -> Iterator[tuple[str, Program]]:
    for path, file, program in _programs(facts):
        if program.shape is Shape.SCRIPT and file.mode & _EXECUTABLE:
            yield path, program


def _programs(facts: ExtensionFacts) -> Iterator[tuple[str, File, Program]]:
    for path, file in facts.files.items():
        if file.program and facts.kind is Kind.SYSEXT and not path.startswith(_NOT_RUN_HERE):
            yield path, file, file.program
