"""Which hierarchies the node's own units merge, read off their files: no process, and it holds for another root.

A bare `systemd-sysext refresh` takes systemd's own hierarchies, whatever the unit has.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from reconciler.errors import Invalid
from reconciler.host.base.bounded import read_bounded
from reconciler.model.fit.assignments import read_assignments
from reconciler.model.fit.hierarchies import assigned, parse_hierarchies, settings, variable_of
from reconciler.model.kind import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.model.fit.release import Host
    from reconciler.paths import Paths

_PLACES: Final = (
    *("/etc/systemd/system.control", "/run/systemd/system.control", "/etc/systemd/system", "/run/systemd/system"),
    *("/usr/local/lib/systemd/system", "/usr/lib/systemd/system"),
)


def with_hierarchies(host: Host, paths: Paths) -> Host:
    """With those of the kinds whose units have hierarchies of their own; a run in sync does without, as a rule."""
    found = {kind: parse_hierarchies(_variable(paths, kind)) for kind in Kind}
    return replace(host, hierarchies={kind: hierarchies for kind, hierarchies in found.items() if hierarchies})


def _variable(paths: Paths, kind: Kind) -> str | None:
    variable, value = variable_of(kind), None
    from_file: str | None = None
    for text in _texts(paths, f"systemd-{kind}.service"):
        value = assigned(text, variable, value)
        for name in settings(text, "EnvironmentFile"):
            # What a file says counts more than what the unit does; an empty name drops all files before it.
            from_file = _text(paths, name.removeprefix("-"), variable) or from_file if name else None
    return from_file or value


def _text(paths: Paths, file: str, variable: str) -> str | None:
    return read_assignments(_read(paths, file)).get(variable) if file.startswith("/") else None


def _texts(paths: Paths, unit: str) -> Iterator[str]:
    """The unit's file, then its drop-ins in their order; of one name the first directory's counts."""
    yield next((text for place in _PLACES if (text := _read(paths, f"{place}/{unit}"))), "")
    for directory in ("service.d", f"{unit}.d"):
        found: dict[str, str] = {}
        for place in _PLACES:
            for name in _drop_ins(paths, f"{place}/{directory}"):
                found.setdefault(name, f"{place}/{directory}/{name}")
        for _, path in sorted(found.items()):
            yield _read(paths, path)


def _drop_ins(paths: Paths, directory: str) -> list[str]:
    place = _there(paths, directory)
    return [name for name in os.listdir(place) if name.endswith(".conf")] if place else []  # noqa: PTH208 - names do


def _read(paths: Paths, file: str) -> str:
    """Empty for what is not there; a drop-in that leads to /dev/null is masked."""
    try:
        return read_bounded(Path(place)).decode(errors="replace") if (place := _there(paths, file)) else ""
    except (OSError, Invalid):
        return ""


def _there(paths: Paths, absolute: str) -> str | None:
    """A look before it is opened, which costs less: most of these places are empty."""
    place = absolute if paths.is_running_system else os.fspath(paths.under(absolute))
    return place if os.path.exists(place) else None  # noqa: PTH110 - no object for each
