"""Which hierarchies the node's own units merge, read off their files: no process, and it holds for another root.

A bare `systemd-sysext refresh` takes systemd's own hierarchies, whatever the unit has.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from reconciler.host.node.dropins import read_text, read_texts
from reconciler.model.fit.assignments import read_assignments
from reconciler.model.fit.hierarchies import assigned, parse_hierarchies, settings, variable_of
from reconciler.model.kind import Kind

if TYPE_CHECKING:
    from reconciler.model.fit.release import Host
    from reconciler.paths import Paths

_TOPS: Final = ("/etc", "/run", "/usr/local/lib", "/usr/lib")
_PLACES: Final = tuple(f"{top}/systemd/{name}" for name in ("system.control", "system") for top in _TOPS)


def with_hierarchies(host: Host, paths: Paths) -> Host:
    """With those of the kinds whose units have hierarchies of their own; a run in sync does without, as a rule."""
    found = {kind: parse_hierarchies(_variable(paths, kind)) for kind in Kind}
    return replace(host, hierarchies={kind: hierarchies for kind, hierarchies in found.items() if hierarchies})


def _variable(paths: Paths, kind: Kind) -> str | None:
    variable, value = variable_of(kind), None
    from_file: str | None = None
    for text in read_texts(paths, _PLACES, f"systemd-{kind}.service", "service.d"):
        value = assigned(text, variable, value)
        for name in settings(text, "EnvironmentFile"):
            # What a file says counts more than what the unit does; an empty name drops all files before it.
            from_file = _text(paths, name.removeprefix("-"), variable) or from_file if name else None
    return from_file or value


def _text(paths: Paths, file: str, variable: str) -> str | None:
    return read_assignments(read_text(paths, file)).get(variable) if file.startswith("/") else None
