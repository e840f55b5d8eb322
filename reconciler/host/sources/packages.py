"""What is known of a distribution's package, of whichever kind: what it is called, and where its files are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from reconciler.dataclass import dataclass
from reconciler.host.base.command import check, path_of, run, script

if TYPE_CHECKING:
    from pathlib import Path

TIMEOUT: Final = 1800.0  # seconds that a program of a package manager may take
# Written to a file, since these programs have no option for it: first where, and what it reads.
_INTO_FILE: Final = 'out="$1" in="$2"; shift 2; PATH=$hosts_path; exec "$@" < "$in" > "$out"'


@dataclass(frozen=True, slots=True)
class Package:
    """One package, and what is to be said of it."""

    name: str
    version: str
    notices: tuple[str, ...] = ()  # what its manager would do or know, and an extension does not
    depends: tuple[str, ...] = ()  # names of other packages; of alternatives the first


def unpack_into(archive: Path, package: Path, program: str, *arguments: str) -> None:
    """Let a program, whose standard input is a package, write that package's files as a tar archive."""
    command = (*script(_INTO_FILE), "sh", str(archive), str(package), path_of(program), *arguments)
    check(run(*command, timeout=TIMEOUT), f"taking {package} apart")
