"""Which files of placed extensions nobody sees, although they are merged: a look into few directories of each."""

from __future__ import annotations

import os
from itertools import islice
from typing import TYPE_CHECKING, Final

from reconciler.host.base.mounts import hosts_mounts, read_mounts
from reconciler.host.store.pathlists import readable_lists
from reconciler.model.state.sight import Hierarchy, Sight, Unseen

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from reconciler.model.fit.release import Host
    from reconciler.model.kind import ExtensionId, Kind
    from reconciler.model.state.observed import Link, Merged
    from reconciler.paths import Paths

CARRIES_OVER: Final = 257  # the systemd from which on what is mounted below a hierarchy stays on top


def sight_of(paths: Paths, host: Host, kind: Kind, merged: Merged | None = None) -> Sight:
    """What is seen where something is merged, else what would be."""
    places = places_of(paths, host, kind)
    if merged and merged.hierarchies:
        return Sight.of(merged.hierarchies, places)
    carried = paths.is_running_system and host.systemd >= CARRIES_OVER
    mounts = read_mounts() if carried else []
    found = (Hierarchy(place, hosts_mounts(mounts, place)) for place in dict.fromkeys(places.values()))
    return Sight.of(found, places)


def places_of(paths: Paths, host: Host, kind: Kind) -> dict[str, str]:
    """Where the hierarchies of the node lead, by their names: /opt is a link to /var/opt on ostree's systems."""
    return {name: _led_to(paths, name) for name in host.hierarchies_of(kind)}


def _led_to(paths: Paths, name: str) -> str:
    place = paths.under(name)
    return str(place.resolve() if paths.is_running_system else "/" / place.relative_to(paths.root))


def find_unseen(paths: Paths, links: Iterable[Link], sight: Sight, kind: Kind) -> dict[ExtensionId, Unseen]:
    """What of these extensions of one kind is not seen."""
    found = {link.ident: Unseen.among(_unseen_files(paths, link, sight, kind), sight) for link in links}
    return {ident: unseen for ident, unseen in found.items() if unseen}


def _unseen_files(paths: Paths, link: Link, sight: Sight, kind: Kind) -> Iterable[str]:
    """Of a directory one is enough; of an image file there is a list."""
    if not link.entry.format.is_file:
        tree = os.fspath(paths.store / link.entry.file_name)
        return islice((path for path in _walked(tree, "", sight) if not sight.is_moot(path, kind)), 1)
    known = readable_lists(paths, {link.ident: link.entry}, remember=False).get(link.ident)
    return sight.unseen(known.files, kind) if known else ()


def _walked(tree: str, directory: str, sight: Sight) -> Iterator[str]:
    """The files below a directory that are not seen; what is seen wholly is passed over."""
    try:
        with os.scandir(f"{tree}{directory}") as listed:
            items = sorted(listed, key=lambda item: item.name)
    except OSError:
        return
    for item in items:
        path = f"{directory}/{item.name}"
        if not item.is_dir(follow_symlinks=False):
            if not sight.shows(path):
                yield path
        elif not sight.shows_all_below(path):
            yield from _walked(tree, path, sight)
