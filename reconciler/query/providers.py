"""Which extensions have a path, whose is seen, and whether the host has its own: for `livelayer provides`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, NamedTuple

from reconciler.host.merge.hostfiles import host_has
from reconciler.host.merge.links import read_links
from reconciler.host.merge.overlay import read_merged
from reconciler.host.merge.visibility import places_of, sight_of
from reconciler.host.node.hierarchies import with_hierarchies
from reconciler.host.node.machine import systemd_version
from reconciler.host.records import statedir
from reconciler.host.store.pathlists import readable_lists
from reconciler.model.fit.release import Host
from reconciler.model.kind import Kind
from reconciler.model.plan.collisions import FileList, Provided, Provider, providers
from reconciler.model.state.observed import Merged
from reconciler.model.state.sight import Unseen

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.model.state.observed import Unmanaged
    from reconciler.model.state.sight import Sight
    from reconciler.paths import Paths

_INTO_USR: Final = frozenset({"bin", "sbin", "lib", "lib32", "lib64", "libx32"})  # links on every host


def find(paths: Paths, path: str) -> Provided:
    """Who has an absolute path."""
    located = statedir.locate(paths)
    host = with_hierarchies(Host({}, os.uname().machine, systemd_version(located)), located)
    relative, kind = _as_extensions_have_it(located, host, path)
    if kind is None:
        return Provided(f"/{relative}", (), os.path.lexists(paths.under(f"/{relative}")))
    overlay = read_merged()[kind] if located.is_running_system else Merged()
    sight = sight_of(located, host, kind, overlay)
    unseen = Unseen.among(sight.unseen([relative], kind), sight)
    managed, lists, unknown = _placed(located, host, kind, relative)
    having = providers(relative, lists)
    seen = next((name for name in having if name in overlay.names and not unseen), None)
    extensions = tuple(Provider(name, kind, name == seen, name in overlay.names, name in managed) for name in having)
    own = _own(paths, relative, kind, sight)
    return Provided(f"/{relative}", extensions, own, unknown, unseen.reason if unseen else None)


class _Placed(NamedTuple):
    """What lies in the search directories of a kind."""

    managed: set[str]
    lists: dict[str, FileList]  # by name
    unknown: tuple[str, ...]


def _placed(paths: Paths, host: Host, kind: Kind, relative: str) -> _Placed:
    found = read_links(paths, host.systemd)
    others = {item.name: item for item in found.unmanaged if item.kind is kind and item.outranks}
    links = (it for it in found.links.values() if it.ident.kind is kind and it.name not in others)
    placed = {link.ident: link.entry for link in links}
    managed = {ident.name for ident in placed}
    readable = readable_lists(paths, placed, remember=False)
    lists = {ident.name: it for ident, it in readable.items()} | _of_others(others.values(), relative)
    return _Placed(managed, lists, tuple(sorted((others.keys() | managed) - lists.keys())))


def _as_extensions_have_it(paths: Paths, host: Host, path: str) -> tuple[str, Kind | None]:
    """The path as extensions have it, and of which kind they are; None: of none."""
    relative = os.path.normpath(f"/{path}").lstrip("/")
    relative = f"usr/{relative}" if relative.partition("/")[0] in _INTO_USR else relative
    for kind in Kind:
        tops = {*kind.traits.tops, *(name.split("/")[1] for name in host.hierarchies_of(kind))}
        for name, place in places_of(paths, host, kind).items():
            if name != place and f"/{relative}/".startswith(f"{place}/"):
                return f"{name}{f'/{relative}'.removeprefix(place)}".lstrip("/"), kind
        if relative.partition("/")[0] in tops:
            return relative, kind
    return relative, None


def _own(paths: Paths, relative: str, kind: Kind, sight: Sight) -> bool | None:
    if not paths.is_running_system:
        return os.path.lexists(paths.under(f"/{relative}"))
    return host_has(f"/{relative}", kind, sight)


def _of_others(others: Iterable[Unmanaged], relative: str) -> dict[str, FileList]:
    """Of directories only, and no more than whether they have the path."""
    directories = [item for item in others if item.path.is_dir()]
    return {
        item.name: FileList(frozenset({relative} if os.path.lexists(item.path / relative) else ()), {})
        for item in directories
    }
