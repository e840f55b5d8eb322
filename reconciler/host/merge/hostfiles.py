"""What this host has where an extension would put its files, also while extensions cover it."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from reconciler.host.base.mountnamespace import look_beneath
from reconciler.host.merge.overlay import read_hierarchies
from reconciler.model.facts.extensionfacts import ExtensionFacts, HostFacts, host_paths
from reconciler.model.fit.filekind import FileKind
from reconciler.model.kind import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.paths import Paths

_UNITS: Final = tuple(f"{top}/systemd/system" for top in ("/etc", "/run", "/usr/local/lib", "/usr/lib"))
_RECORDS: Final = ("/usr/lib/extension-release.d/", "/etc/extension-release.d/")


def look_at_host(facts: ExtensionFacts, paths: Paths) -> HostFacts:
    """What the host below a root has of what the extension needs, and what of it the extension would hide."""
    has = frozenset(path for path in host_paths(facts) if os.path.exists(paths.under(path)))  # noqa: PTH110 - no object for each
    directories = {path for path, _ in facts.of_kind(FileKind.DIRECTORY)}
    return replace(beside_host(paths, facts.kind, facts.files.keys() - directories, directories), has=has)


def beside_host(paths: Paths, kind: Kind, files: Iterable[str], directories: Iterable[str]) -> HostFacts:
    """What the host below a root has where an extension has something else; merged extensions aside.

    Paths are without a leading slash; `files` are all that are no directories.
    """

    def look() -> HostFacts:
        links = tuple(path for path in _covering(directories, kind) if stat.S_ISLNK(_mode(paths, path)))
        apart = (*_RECORDS, *(f"{link}/" for link in links))
        hidden = (path for path in _covering(files, kind) if not path.startswith(apart) and _mode(paths, path))
        return HostFacts(hidden=tuple(hidden), links=links, is_known=True)

    merged = read_hierarchies(kind) if paths.is_running_system else []
    found = look_beneath(merged, look) if merged else look()
    return found or HostFacts()


def host_has(path: str, kind: Kind) -> bool | None:
    """Whether the running host has an absolute path, merged extensions aside; None: this process may not tell."""
    covering = [place for place in read_hierarchies(kind) if f"{path}/".startswith(f"{place}/")]
    return look_beneath(covering, lambda: os.path.lexists(path)) if covering else os.path.lexists(path)


def host_units(names: Iterable[str]) -> set[str]:
    """Those of these units that the running host has itself, merged extensions aside; all, if it cannot be told."""
    wanted = set(names)
    merged = [place for kind in Kind for place in read_hierarchies(kind)]

    def look() -> set[str]:
        return {name for name in wanted if any(os.path.lexists(f"{place}/{name}") for place in _UNITS)}

    found = (look_beneath(merged, look) if merged else look()) if wanted else set()
    return wanted if found is None else found


def _covering(paths: Iterable[str], kind: Kind) -> list[str]:
    """Those in a hierarchy of the kind, absolute and in order."""
    return sorted(f"/{path}" for path in paths if path.partition("/")[0] in kind.traits.tops)


def _mode(paths: Paths, absolute: str) -> int:
    """What the host has there, links not followed; 0: nothing."""
    try:
        return os.lstat(absolute if paths.is_running_system else paths.name_under(absolute)).st_mode
    except OSError:
        return 0
