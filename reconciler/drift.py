"""Whether what is placed still is as it was placed, and the records that tell."""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.errors import Failed, Invalid
from reconciler.host import links, machine, manifests, statedir
from reconciler.host.touched import touched
from reconciler.model.contentmanifest import Difference, summary

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from reconciler.model.contentmanifest import Manifest
    from reconciler.model.kind import Ident, Kind
    from reconciler.model.observed import Entry, Link, Merged, ObservedState
    from reconciler.paths import Paths

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Drift:
    """What a look at entries of the store has found."""

    changed: Mapping[Entry, str] = field(default_factory=dict)  # and what is wrong with each
    intact: Mapping[Entry, int] = field(default_factory=dict)  # those that looked suspicious, and when


def look(paths: Paths, entries: Iterable[Entry]) -> Drift:
    """Compare those entries with their manifests that were touched since they were sealed; changes nothing."""
    when = manifests.now()
    sealed = {entry: time for entry in entries if (time := manifests.sealed(paths, entry)) is not None}
    # A time that is to come was taken when the clock was wrong: it says nothing.
    since = {entry: time if time <= when else 0 for entry, time in sealed.items()}
    places = {paths.store / entry.file_name: entry for entry in since}
    seen = touched({place: since[entry] for place, entry in places.items()})
    return _compared(paths, {places[place]: since[places[place]] for place in seen}, when) if seen else Drift()


def _compared(paths: Paths, suspicious: Mapping[Entry, int], when: int) -> Drift:
    known = {entry: manifest for entry in suspicious if (manifest := manifests.read(paths, entry))}
    found = manifests.differences(paths, known, suspicious)
    changed = {entry: summary(differing) for entry, differing in found.items() if differing}
    return Drift(changed, {entry: when for entry in suspicious if entry not in changed})


def settle(paths: Paths, observed: ObservedState) -> None:
    """At the end of a run: give each placed entry a manifest, and drop trees that nothing shows any more."""
    placed = {link.entry for link in observed.links.values() if not link.dangling}
    try:
        _seal(paths, placed, observed.intact)
        _drop_replaced(paths, observed.merged)
    except (Failed, OSError) as error:
        log.warning("changes by hand may not be found: %s", error)


def _seal(paths: Paths, placed: Iterable[Entry], intact: Mapping[Entry, int]) -> None:
    for entry, when in intact.items():
        if manifests.read(paths, entry):
            manifests.reseal(paths, entry, when)
        else:  # of a later version, or damaged
            manifests.forget(paths, entry)
    missing = sorted(entry for entry in placed if manifests.sealed(paths, entry) is None)
    if missing:
        manifests.make(paths, missing)


def _drop_replaced(paths: Paths, merged: Mapping[Kind, Merged] | None) -> None:
    """Overlays that were merged before a tree was replaced show it still."""
    try:
        trees = list(paths.replaced.iterdir())
    except FileNotFoundError:
        return
    times = {str(kind): it.since for kind, it in (merged or {}).items()}
    for tree in trees:
        since = times.get(tree.name.partition("-")[0])
        if since is None or since > tree.lstat().st_ctime_ns:
            shutil.rmtree(tree, ignore_errors=True)
    if not any(paths.replaced.iterdir()):
        paths.replaced.rmdir()


@dataclass(frozen=True, slots=True)
class Verified:
    """How a placed extension compares with its manifest."""

    ident: Ident
    entry: Entry
    files: int
    bytes: int
    differences: tuple[Difference, ...]
    error: Failed | None = None  # it cannot be compared

    @property
    def is_intact(self) -> bool:
        """Whether it is as it was placed."""
        return not self.differences and self.error is None


def verify(paths: Paths, names: frozenset[str]) -> list[Verified]:
    """Compare placed extensions wholly with their manifests, reading every file.

    What differs is left for the next run to find: nothing is changed but the time of its manifest.

    Args:
        paths: of the node.
        names: of the extensions; empty: all.

    Raises:
        Invalid: a name of which nothing is placed.
    """
    paths = statedir.locate(paths)
    placed = links.read_links(paths, machine.systemd_version(paths)).links
    if unknown := names - {ident.name for ident in placed}:
        others = ", ".join(sorted({ident.name for ident in placed})) or "none"
        raise Invalid(f"{', '.join(sorted(unknown))}: no such extension is placed", f"placed are: {others}")
    asked = [link for ident, link in sorted(placed.items()) if not names or ident.name in names]
    known = _known(paths, (link.entry for link in asked if not link.dangling))
    found = manifests.differences(paths, known, {})
    for entry, differing in found.items():
        if differing:
            manifests.reseal(paths, entry, 0)
    return [_verified(link, known.get(link.entry), found.get(link.entry, [])) for link in asked]


def _known(paths: Paths, entries: Iterable[Entry]) -> dict[Entry, Manifest]:
    found = {entry: manifests.read(paths, entry) for entry in entries}
    for entry, manifest in found.items():
        if manifest is None and manifests.sealed(paths, entry):
            manifests.reseal(paths, entry, 0)  # damaged: the next run makes it anew
    return {entry: manifest for entry, manifest in found.items() if manifest}


def _verified(link: Link, manifest: Manifest | None, differences: list[Difference]) -> Verified:
    if link.dangling:
        gone = Difference(None if link.entry.format.is_file else "/", "is gone from the store")
        return Verified(link.ident, link.entry, 0, 0, (gone,))
    if manifest is None:
        error = Failed(f"{link.ident}: there is no record of how it was placed", "livelayer apply makes one")
        return Verified(link.ident, link.entry, 0, 0, (), error)
    return Verified(link.ident, link.entry, manifest.files, manifest.bytes, tuple(differences))
