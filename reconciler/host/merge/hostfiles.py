"""What this host has where an extension would put its files, also while extensions cover it."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from reconciler.host.base.mountnamespace import look_beneath
from reconciler.host.merge.overlay import read_hierarchies
from reconciler.model.content.power import Power
from reconciler.model.facts.extensionfacts import Clash, HostFacts, Narrowed, host_paths
from reconciler.model.facts.powers import Ability, nested_in, unit_names
from reconciler.model.facts.powers import merged as merged_paths
from reconciler.model.fit.filekind import FileKind
from reconciler.model.fit.hierarchies import default_hierarchies
from reconciler.model.fit.kernelmodules import is_index
from reconciler.model.fit.permissions import Permissions
from reconciler.model.kind import Kind, template_of
from reconciler.model.plan.collisions import FileList
from reconciler.model.state.sight import Sight

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from reconciler.model.facts.extensionfacts import ExtensionFacts, File, Origin
    from reconciler.paths import Paths

_UNIT_FILES: Final = tuple(f"{top}/systemd/system" for top in ("/etc", "/run", "/usr/local/lib", "/usr/lib"))
_UNITS: Final = (
    *_UNIT_FILES,
    *(f"/run/systemd/{it}" for it in ("transient", "generator", "generator.early", "generator.late")),
    *(f"{top}/systemd/system.attached" for top in ("/etc", "/run")),  # of portable services
)
_SEARCHED: Final = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin")  # for programs, in this order
PROGRAMS: Final = (
    *("apt-get", "blkid", "btrfs", "busctl", "cat", "cp", "debugfs", "depmod", "dnf", "dpkg-deb", "dump.erofs"),
    *("e2fsck", "find", "fsck.erofs", "gpgv", "journalctl", "ldconfig", "ln", "losetup", "mkdir", "mke2fs"),
    *("mkfs.erofs", "mount", "networkctl", "prlimit", "python3", "rdsquashfs", "rm", "rpm", "rpm2archive", "rpmkeys"),
    *("setfiles", "sh", "skopeo", "sqfs2tar", "systemctl", "systemd-confext", "systemd-dissect", "systemd-repart"),
    *("systemd-run", "systemd-sysext", "systemd-sysusers", "systemd-tmpfiles", "tar", "tar2sqfs", "udevadm"),
    *("umount", "unshare", "unsquashfs", "env"),
)
"""What livelayer runs, by name, wherever the host has it; a namesake elsewhere is never run."""
_RECORDS: Final = ("/usr/lib/extension-release.d/", "/etc/extension-release.d/")


def look_at_host(facts: ExtensionFacts, paths: Paths) -> HostFacts:
    """What the host below a root has of what the extension needs, and what of it the extension would hide."""
    has = frozenset(path for path in host_paths(facts) if os.path.exists(paths.under(path)))  # noqa: PTH110 - no object for each
    own = FileList.of(((path, _known(file, facts.origin)) for path, file in facts.files.items()), facts.links)
    return replace(beside_host(paths, facts.kind, own, Sight(default_hierarchies(facts.kind))), has=has)


def _known(file: File, origin: Origin) -> Permissions | None:
    """Without an owner that is only the one who has unpacked it."""
    return file.permissions if origin.knows_owners or not file.permissions else Permissions(file.mode)


def beside_host(paths: Paths, kind: Kind, own: FileList, sight: Sight) -> HostFacts:
    """What the host below a root has where an extension has something else that is seen; merged extensions aside.

    A hierarchy itself is left out: systemd gives it the host's mode, and merges where a link leads.
    """

    def look() -> HostFacts:
        seen = _shown(own, sight)
        status = {path: it for path in seen if path not in sight.hierarchies and (it := _status(paths, path))}
        return replace(_compared(own, status), abilities=tuple(_abilities(paths, own, status)))

    merged = read_hierarchies(kind) if paths.is_running_system else []
    return look_beneath(merged, look) or HostFacts()


def host_has(path: str, kind: Kind, sight: Sight) -> bool | None:
    """Whether the running host has an absolute path, merged extensions aside; None: this process may not tell."""
    merged = read_hierarchies(kind) if sight.shows(path) else []
    return look_beneath(merged, lambda: os.path.lexists(path))


def host_units(names: Iterable[str]) -> set[str]:
    """Those of these units that the running host has itself, merged extensions aside; all, if it cannot be told.

    An instance is the host's also where the host has its template.
    """
    wanted = set(names)
    if not wanted:
        return wanted

    def look() -> set[str]:
        files = {name: {name, template_of(name) or name} for name in wanted}
        return {
            name for name in wanted if any(os.path.lexists(f"{place}/{it}") for place in _UNITS for it in files[name])
        }

    found = look_beneath([place for kind in Kind for place in read_hierarchies(kind)], look)
    return wanted if found is None else found


def _abilities(paths: Paths, own: FileList, host: Mapping[str, os.stat_result]) -> Iterator[Ability]:
    """What the files can do because of what the host has, where there is something at the same paths or elsewhere."""
    found = merged_paths(own.files, own.links)
    nested = [f"/{path}" for path, _ in nested_in(found.items())]
    files = sorted({*(f"/{it}" for it in found), *nested})
    beneath = {path: status for path in nested if (status := _status(paths, path))}
    yield from _taken_from_livelayer(paths, files, {**host, **beneath})
    yield from _shadowing(paths, files)
    yield from _units(paths, files)


def _taken_from_livelayer(
    paths: Paths, files: Sequence[str], host: Mapping[str, os.stat_result]
) -> Iterator[Ability]:
    """Programs of the host that livelayer runs, and the Python that it is run by.

    Beside modules of the standard library nothing may lie: a package or a compiled module comes before one.
    """
    named = [f"{place}/{it}" for place in _SEARCHED for it in PROGRAMS]
    needed = {*named, *(os.path.realpath(it) for it in named if paths.is_running_system)} & host.keys()
    library = f"{os.path.dirname(os.__file__)}/"  # noqa: PTH120 - a text
    others = tuple(f"{library}{it}-packages/" for it in ("dist", "site"))
    for path in files:
        if path in needed or (path.startswith(library) and not path.startswith(others)):
            yield Ability(Power.LIVELAYER, path.lstrip("/"), "takes the place of what livelayer runs or is run by")


def _shadowing(paths: Paths, files: Iterable[str]) -> Iterator[Ability]:
    """Programs and libraries that are found before those of the host with their names."""
    libraries = [f"/usr/lib/{it}" for it in _listed(paths, "/usr/lib") if "-linux-" in it]
    for path in files:
        directory, _, name = path.rpartition("/")
        behind: Sequence[str] = ()
        if directory in _SEARCHED:
            behind = _SEARCHED[_SEARCHED.index(directory) + 1 :]
        elif ".so" in name and path.startswith("/usr/local/lib"):
            behind = ("/usr/lib", "/usr/lib64", *libraries)
        if host := next((it for it in behind if _status(paths, f"{it}/{name}")), None):
            yield Ability(Power.SHADOWING, path.lstrip("/"), f"is found before the host's {host}/{name}")


def _units(paths: Paths, files: Iterable[str]) -> Iterator[Ability]:
    """Unit files that take the place of the host's."""
    for name, path in unit_names(it.lstrip("/") for it in files).items():
        if any(_status(paths, f"{place}/{name}") for place in _UNIT_FILES):
            yield Ability(Power.UNITS, path, f"takes the place of the host's {name}")


def _listed(paths: Paths, absolute: str) -> list[str]:
    try:
        return sorted(it.name for it in paths.under(absolute).iterdir())
    except OSError:
        return []


def _compared(own: FileList, host: Mapping[str, os.stat_result]) -> HostFacts:
    """What an extension hides of what the host has at the same paths, which are absolute and in order."""
    clashes: list[Clash] = []
    hidden, narrowed = [], []
    for path, status in host.items():
        if path.startswith((*_RECORDS, *(f"{it.path}/" for it in clashes))) or is_index(path.lstrip("/")):
            continue
        permissions = own.directories.get(path.lstrip("/"))
        if (permissions is not None) != stat.S_ISDIR(status.st_mode):
            clashes.append(Clash(path, FileKind.of_mode(status.st_mode)))
        elif permissions is None:
            hidden.append(path)
        else:
            hosts = Permissions(stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)
            narrowed += [Narrowed(path, permissions, hosts)] if permissions.narrows(hosts) else []
    return HostFacts(hidden=tuple(hidden), clashes=tuple(clashes), narrowed=tuple(narrowed), is_known=True)


def _shown(own: FileList, sight: Sight) -> list[str]:
    """The paths that are seen once they are merged, absolute and in order."""
    paths = (f"/{path}" for path in (*own.directories, *own.files))
    return sorted(path for path in paths if sight.shows(path))


def _status(paths: Paths, absolute: str) -> os.stat_result | None:
    """What the host has there, links not followed; None: nothing."""
    try:
        return os.lstat(absolute if paths.is_running_system else paths.name_under(absolute))
    except OSError:
        return None
