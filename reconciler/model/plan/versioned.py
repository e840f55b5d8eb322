"""Which entry of a directory of versions systemd takes: `NAME.v/` and `NAME.raw.v/`, as in systemd.v(7).

Measured on systemd 257 and 262, which take such a directory for an extension NAME; 252 does not know them.
"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any, Final

from reconciler.model.fit.release import ARCHITECTURES
from reconciler.model.plan.layerorder import version_key

if TYPE_CHECKING:
    from collections.abc import Iterable

SINCE: Final = 256  # the first systemd that knows them
ENDING: Final = ".v"
_RAW: Final = ".raw"
_VERSION: Final = re.compile(r"[A-Za-z0-9.~^+-]+")
_TRIES: Final = re.compile(r"\+(?P<left>[0-9]+)(-(?P<done>[0-9]+))?")
_KNOWN: Final = frozenset(ARCHITECTURES.values())
_SECONDARY: Final = {"x86-64": "x86", "arm64": "arm", "ppc64": "ppc", "ppc64-le": "ppc-le", "mips64-le": "mips-le"}


def name_of(directory: str) -> str:
    """The extension that a directory of versions stands for."""
    return directory.removesuffix(ENDING).removesuffix(_RAW)


def is_of_images(directory: str) -> bool:
    """Whether the versions are image files, rather than directories."""
    return directory.endswith(f"{_RAW}{ENDING}")


def best(directory: str, entries: Iterable[str], machine: str) -> str | None:
    """Of the names of entries the one that is taken; None: no one is, and the directory stands for nothing."""
    ranked = [(rank, entry) for entry in entries if (rank := _rank(directory, entry, machine))]
    return max(ranked)[1] if ranked else None


def _rank(directory: str, entry: str, machine: str) -> tuple[Any, ...] | None:
    suffix = _RAW if is_of_images(directory) else ""
    beginning = f"{name_of(directory)}_"
    if not (entry.startswith(beginning) and entry.endswith(suffix)):
        return None
    version, left, done = _tries(entry.removeprefix(beginning).removesuffix(suffix))
    bare, separator, architecture = version.rpartition("_")
    fit = _fit(architecture if separator else "", machine)
    version = bare if separator else version
    if fit is None or not _VERSION.fullmatch(version):
        return None
    return left > 0, version_key(version), fit, left, -done


def _tries(text: str) -> tuple[str, int, int]:
    """A version without its counter of boot attempts, and that: left and done. One without counts as untried."""
    version, separator, _ = text.rpartition("+")
    counted = _TRIES.fullmatch(text, len(version)) if separator else None
    if counted is None:
        return text, sys.maxsize, sys.maxsize
    return version, int(counted["left"]), int(counted["done"] or 0)


def _fit(architecture: str, machine: str) -> int | None:
    """How well an architecture suits, the higher the better; None: not at all."""
    native = ARCHITECTURES.get(machine, machine)
    if architecture in {native, _SECONDARY.get(native)}:
        return 2 if architecture == native else 1
    return None if architecture in _KNOWN else 0
