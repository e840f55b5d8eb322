"""The hierarchies of a node: which directories its units merge extensions onto (SYSTEMD_SYSEXT_HIERARCHIES)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from reconciler.model.kind import Kind

_VALUE: Final = r"""(?:^|[\s"']){}=(?P<value>[^\s"']*)"""


def variable_of(kind: Kind) -> str:
    """The variable that systemd-sysext or systemd-confext reads them from."""
    return f"SYSTEMD_{kind.upper()}_HIERARCHIES"


def default_hierarchies(kind: Kind) -> tuple[str, ...]:
    return tuple(f"/{top}" for top in sorted(kind.traits.tops, reverse=True))


def parse_hierarchies(text: str | None) -> tuple[str, ...] | None:
    """What the variable means; None for what systemd does not take, which then merges nothing at all."""
    found = tuple(part.rstrip("/") for part in text.split(":") if part) if text else ()
    return found if found and all(re.fullmatch(r"(/[^/]+)+", part) for part in found) else None


def assigned(unit: str, variable: str, before: str | None) -> str | None:
    """What a variable is after the `Environment=` lines of a unit file or drop-in (systemd.exec(5))."""
    value = before
    pattern = _VALUE.format(re.escape(variable))
    for words in settings(unit, "Environment"):
        if not words:
            value = None
        elif found := re.findall(pattern, words):
            value = found[-1]
    return value


def settings(unit: str, wanted: str) -> list[str]:
    """What a unit file or drop-in says for a key, line by line."""
    lines = (line.partition("=") for line in unit.replace("\\\n", " ").splitlines() if wanted in line)
    return [value.strip() for key, separator, value in lines if separator and key.strip() == wanted]
