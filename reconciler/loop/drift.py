"""Whether what is placed still is as it was placed, and the records that tell."""

from __future__ import annotations

import logging
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from reconciler.errors import Failed
from reconciler.host.store import seals
from reconciler.host.store.touched import touched

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from reconciler.model.kind import Kind
    from reconciler.model.state.entry import Entry
    from reconciler.model.state.observed import Merged, ObservedState
    from reconciler.paths import Paths

log = logging.getLogger(__name__)


def look(paths: Paths, entries: Iterable[Entry]) -> tuple[Mapping[Entry, str], Mapping[Entry, int]]:
    """Compare those entries with their manifests that were touched since they were sealed; changes nothing.

    Returns:
        What is wrong with those that were changed; and those that only looked so, with the time of that look.
    """
    when = seals.now()
    sealed = {entry: time for entry in entries if (time := seals.sealed(paths, entry)) is not None}
    # A time that is to come was taken when the clock was wrong: it says nothing.
    since = {entry: time if time <= when else 0 for entry, time in sealed.items()}
    places = {paths.store / entry.file_name: entry for entry in since}
    seen = touched({place: since[entry] for place, entry in places.items()})
    return _compared(paths, {places[place]: since[places[place]] for place in seen}, when) if seen else ({}, {})


def _compared(paths: Paths, suspicious: Mapping[Entry, int], when: int) -> tuple[dict[Entry, str], dict[Entry, int]]:
    from reconciler.host.store import manifests
    from reconciler.model.state.contentmanifest import summary

    known = {entry: manifest for entry in suspicious if (manifest := manifests.read(paths, entry))}
    found = manifests.differences(paths, known, suspicious)
    changed = {entry: summary(differing) for entry, differing in found.items() if differing}
    return changed, {entry: when for entry in suspicious if entry not in changed}


def settle(paths: Paths, observed: ObservedState) -> None:
    """At the end of a run: give each placed entry a manifest, and drop trees that nothing shows any more."""
    for entry, when in observed.intact.items():
        with _tolerance():
            _reseal(paths, entry, when)
    for entry in sorted({link.entry for link in observed.links.values() if not link.dangling}):
        if seals.sealed(paths, entry) is None:
            from reconciler.host.store import manifests

            with _tolerance():
                manifests.make(paths, entry)
    with _tolerance():
        _drop_replaced(paths, observed.merged)


@contextmanager
def _tolerance() -> Iterator[None]:
    """Records can be made by a later run: without them nothing is missing that matters now."""
    try:
        yield
    except (Failed, OSError) as error:
        log.warning("what is changed by hand may not be found: %s", error)


def _reseal(paths: Paths, entry: Entry, when: int) -> None:
    from reconciler.host.store import manifests

    if manifests.read(paths, entry):
        seals.reseal(paths, entry, when)
    else:  # of a later version, or damaged
        seals.forget(paths, entry)


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
