"""Which extensions have a path, whose is seen, and whether the host has its own: for `livelayer provides`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from reconciler.host.merge.hostfiles import host_has
from reconciler.host.merge.links import read_links
from reconciler.host.merge.overlay import read_merged
from reconciler.host.node.machine import systemd_version
from reconciler.host.records import statedir
from reconciler.host.store.pathlists import readable_lists
from reconciler.model.kind import Kind
from reconciler.model.plan.collisions import FileList, Provided, Provider, providers

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.model.state.observed import Unmanaged
    from reconciler.paths import Paths

_INTO_USR: Final = frozenset({"bin", "sbin", "lib", "lib32", "lib64", "libx32"})  # links on every host


def find(paths: Paths, path: str) -> Provided:
    """Who has an absolute path."""
    relative = _normal(path)
    top = relative.partition("/")[0]
    kind = next((kind for kind in Kind if top in kind.traits.tops), None)
    if kind is None:
        return Provided(f"/{relative}", (), _own(paths, relative, None))
    located = statedir.locate(paths)
    found = read_links(located, systemd_version(located))
    others = {item.name: item for item in found.unmanaged if item.kind is kind and item.outranks}
    links = (it for it in found.links.values() if it.ident.kind is kind and it.name not in others)
    placed = {link.ident: link.entry for link in links}
    managed = {ident.name for ident in placed}
    readable = readable_lists(located, placed, remember=False)
    lists = {ident.name: it for ident, it in readable.items()} | _of_others(others.values(), relative)
    merged = read_merged()[kind].names if located.is_running_system else frozenset[str]()
    having = providers(relative, lists)
    seen = next((name for name in having if name in merged), None)
    extensions = tuple(Provider(name, kind, name == seen, name in merged, name in managed) for name in having)
    unknown = tuple(sorted((others.keys() | managed) - lists.keys()))
    return Provided(f"/{relative}", extensions, _own(paths, relative, kind), unknown)


def _normal(path: str) -> str:
    relative = os.path.normpath(f"/{path}").lstrip("/")
    return f"usr/{relative}" if relative.partition("/")[0] in _INTO_USR else relative


def _own(paths: Paths, relative: str, kind: Kind | None) -> bool | None:
    if kind is None or not paths.is_running_system:
        return os.path.lexists(paths.under(f"/{relative}"))
    return host_has(f"/{relative}", kind)


def _of_others(others: Iterable[Unmanaged], relative: str) -> dict[str, FileList]:
    """Of directories only, and no more than whether they have the path."""
    directories = [item for item in others if item.path.is_dir()]
    return {
        item.name: FileList(frozenset({relative} if os.path.lexists(item.path / relative) else ()), {})
        for item in directories
    }
