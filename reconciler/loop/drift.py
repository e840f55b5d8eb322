"""Whether what is placed and was touched still is as it was placed, and the records that tell."""

from __future__ import annotations

import logging
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from reconciler.errors import Failed
from reconciler.host.base.walk import children
from reconciler.host.store import manifests, seals
from reconciler.model.state.contentmanifest import summary

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from reconciler.model.kind import Kind
    from reconciler.model.state.entry import Entry
    from reconciler.model.state.observed import Merged, ObservedState
    from reconciler.paths import Paths

log = logging.getLogger(__name__)


def compare(paths: Paths, suspicious: Mapping[Entry, int], when: int) -> tuple[dict[Entry, str], dict[Entry, int]]:
    """Compare entries that were touched since some time with their manifests; changes nothing.

    Returns:
        What is wrong with those that were changed; and those that only looked so, with the time of that look.
    """
    known = {entry: manifest for entry in suspicious if (manifest := manifests.read(paths, entry))}
    found = manifests.differences(paths, known, suspicious)
    changed = {entry: summary(differing) for entry, differing in found.items() if differing}
    return changed, {entry: when for entry in suspicious if entry not in changed}


def settle(paths: Paths, observed: ObservedState) -> None:
    """At the end of a run: give each placed entry a manifest, and drop trees that nothing shows any more."""
    for entry, when in observed.intact.items():
        with _tolerance():
            _reseal(paths, entry, when)
    for entry in seals.unsealed(paths, observed):
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
    if manifests.read(paths, entry):
        seals.reseal(paths, entry, when)
    else:  # of a later version, or damaged
        seals.forget(paths, entry)


def _drop_replaced(paths: Paths, merged: Mapping[Kind, Merged] | None) -> None:
    """Overlays that were merged before a tree was replaced show it still."""
    trees = children(paths.replaced)
    times = {str(kind): it.since for kind, it in (merged or {}).items()}
    for tree in trees:
        since = times.get(tree.name.partition("-")[0])
        if since is None or since > tree.lstat().st_ctime_ns:
            shutil.rmtree(tree, ignore_errors=True)
    if trees and not children(paths.replaced):
        paths.replaced.rmdir()
