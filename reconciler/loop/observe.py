"""One look at the node: store, search directories, merged overlay. Changes nothing."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.host.merge.content import covered
from reconciler.host.merge.links import read_links
from reconciler.host.merge.overlay import read_merged
from reconciler.host.node.machine import booted_with_systemd, merged_at_boot
from reconciler.host.records.activation import read_activation
from reconciler.host.store import seals
from reconciler.host.store.entries import read_contents
from reconciler.host.store.touched import touched_entries
from reconciler.model.kind import Kind
from reconciler.model.state.observed import Blocker, Masked, ObservedState, Unmanaged

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from reconciler.model.fit.release import Host
    from reconciler.model.kind import ExtensionId
    from reconciler.model.state.entry import Entry
    from reconciler.model.state.units import Unit
    from reconciler.paths import Paths


def observe(paths: Paths, host: Host, entries: Iterable[Entry]) -> ObservedState:
    """Look at the node; of the store, at the linked entries and at `entries`."""
    found = read_links(paths, host.systemd)
    unmanaged, blockers, masks = _sorted_out(paths, host, found.unmanaged)
    linked = [link.entry for link in found.links.values()]
    merged = read_merged() if paths.is_running_system else None
    changed, intact = _changed_by_hand(paths, {link.entry for link in found.links.values() if not link.dangling})
    return ObservedState(
        host=host,
        links=found.links,
        unmanaged=unmanaged,
        store=read_contents(paths, [*linked, *entries]),
        merged=merged,
        covered=covered(paths, found.links.values(), merged) if merged else frozenset(),
        refresh_owed=frozenset(kind for kind in Kind if paths.refresh_owed(kind).exists()),
        changed=changed,
        intact=intact,
        blockers=blockers,
        masks=masks,
    )


def _sorted_out(
    paths: Paths, host: Host, unmanaged: tuple[Unmanaged, ...]
) -> tuple[tuple[Unmanaged, ...], tuple[Blocker, ...], tuple[Masked, ...]]:
    """What others placed, what of it would block every merge, and what livelayer made to hide that."""
    if not (paths.is_running_system and unmanaged):
        return unmanaged, (), ()
    from reconciler.host.merge import blockers
    from reconciler.host.merge.masks import read_masks

    masks = read_masks(paths)
    made = {mask.path for mask in masks}
    others = tuple(item for item in unmanaged if item.path not in made)
    return others, blockers.find(paths, host, others, masks), masks


def _changed_by_hand(paths: Paths, placed: Iterable[Entry]) -> tuple[Mapping[Entry, str], Mapping[Entry, int]]:
    """What is wrong with entries that were changed; and those that only looked so, with the time of that look."""
    when = seals.now()
    suspicious = touched_entries(paths, placed, when)
    if not suspicious:
        return {}, {}
    from reconciler.loop import drift

    return drift.compare(paths, suspicious, when)


def with_activation(
    paths: Paths, observed: ObservedState, listed: Sequence[str], *, patient: bool, all_units: bool
) -> ObservedState:
    """With what was activated since the boot, and the states of units: those listed, or all that extensions bring.

    A run that is `patient` leaves alone what failed lately.
    """
    if observed.merged is None or not booted_with_systemd():
        return observed
    activation = read_activation(paths)
    brought = [name for it in activation.extensions.values() for name in it.units] if all_units else []
    return replace(
        observed,
        activation=activation.due_at(time.time() if patient else None),
        units=_unit_states([*listed, *brought]),
        boot_merges=frozenset(filter(merged_at_boot, Kind)),
    )


def _unit_states(names: Sequence[str]) -> Mapping[str, Unit]:
    if not names:
        return {}
    from reconciler.host.node import units

    return units.show(names)


def run_from(paths: Paths, observed: ObservedState, configured: frozenset[str]) -> frozenset[ExtensionId]:
    """Which extensions livelayer itself runs from, of those that could be pruned."""
    unlisted = [link for link in observed.links.values() if link.name not in configured]
    if not unlisted or not paths.is_running_system:
        return frozenset()
    from reconciler.host.merge.ownextension import own_extensions

    return own_extensions(paths, unlisted)
