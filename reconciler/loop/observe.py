"""One look at the node: store, search directories, merged overlay. Changes nothing."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.host.merge.content import covered
from reconciler.host.merge.links import read_links
from reconciler.host.merge.overlay import read_merged
from reconciler.host.node.machine import (
    activated_at_boot,
    booted_with_systemd,
    merged_at_boot,
    pulling_directories,
    switched_off,
    with_image_support,
)
from reconciler.host.records.activation import read_activation
from reconciler.host.store import seals
from reconciler.host.store.entries import read_contents
from reconciler.host.store.touched import touched_entries
from reconciler.model.fit.hierarchies import default_hierarchies
from reconciler.model.kind import Kind
from reconciler.model.plan.activation import runnable
from reconciler.model.state.observed import Blocker, HostModules, Masked, Merged, ObservedState, Unmanaged

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from reconciler.model.fit.contents import Contents
    from reconciler.model.fit.release import Host
    from reconciler.model.kind import ExtensionId
    from reconciler.model.state.activation import Activation
    from reconciler.model.state.entry import Entry
    from reconciler.model.state.observed import Link
    from reconciler.model.state.sight import Unseen
    from reconciler.model.state.units import Unit
    from reconciler.paths import Paths


def observe(paths: Paths, host: Host, entries: Iterable[Entry]) -> ObservedState:
    """Look at the node; of the store, at the linked entries and at `entries`."""
    found = read_links(paths, host.systemd)
    unmanaged, blockers, masks = _sorted_out(paths, host, found.unmanaged)
    linked = [link.entry for link in found.links.values()]
    changed, intact = _changed_by_hand(paths, {link.entry for link in found.links.values() if not link.dangling})
    merged = read_merged() if paths.is_running_system else None
    known = [*linked, *entries]
    contents = read_contents(paths, known)
    if merged is None or _has_more_than_usual(merged, contents.values()):
        from reconciler.host.node.hierarchies import with_hierarchies

        host = with_hierarchies(host, paths)
    if merged and not all(merged[entry.kind].hierarchies for entry in known):
        host = replace(host, switched_off=switched_off(host.systemd))
    if merged is not None and not host.image_policies and any(it.format.is_file for it in known):
        host = with_image_support(host)
    return ObservedState(
        host=host,
        links=found.links,
        unmanaged=unmanaged,
        store=contents,
        merged=merged,
        covered=covered(paths, found.links.values(), merged) if merged else frozenset(),
        carried=_carried(unmanaged, host, merged),
        refresh_owed=frozenset(kind for kind in Kind if paths.refresh_owed(kind).exists()),
        changed=changed,
        intact=intact,
        blockers=blockers,
        masks=masks,
        unseen=_unseen(paths, host, found.links, merged),
        modules=_kernel_modules(paths, host, contents, unmanaged, blockers),
        left_out=_left_out(host, unmanaged, merged or {}),
    )


def _has_more_than_usual(merged: Mapping[Kind, Merged], contents: Iterable[Contents]) -> bool:
    """Whether it matters which hierarchies the node's units merge: others than systemd's own are, or would be."""
    return not all(_is_usual(kind, it) for kind, it in merged.items()) or any(it.misplaced for it in contents)


def _unseen(
    paths: Paths, host: Host, links: Mapping[ExtensionId, Link], merged: Mapping[Kind, Merged] | None
) -> dict[ExtensionId, Unseen]:
    """What of placed extensions nobody sees; only where something is merged, or would be, in an unusual way."""
    found: dict[ExtensionId, Unseen] = {}
    for kind in Kind:
        overlay = merged[kind] if merged else None
        shown = [
            it for it in links.values() if it.entry.kind is kind and (overlay is None or it.name in overlay.names)
        ]
        if shown and (kind in host.hierarchies or (overlay and not _is_usual(kind, overlay))):
            from reconciler.host.merge import visibility

            sight = visibility.sight_of(paths, host, kind, overlay)
            found |= visibility.find_unseen(paths, shown, sight, kind)
    return found


def _carried(
    unmanaged: Iterable[Unmanaged], host: Host, merged: Mapping[Kind, Merged] | None
) -> frozenset[ExtensionId]:
    """The configuration extensions that lie in merged system extensions."""
    below = [it for it in unmanaged if it.kind is Kind.CONFEXT and it.path.is_relative_to("/usr")]
    if not (below and merged and merged[Kind.SYSEXT].names):
        return frozenset()
    from reconciler.host.merge.carried import find_carried

    return find_carried(below, host)


def _is_usual(kind: Kind, overlay: Merged) -> bool:
    """Whether each of the overlays is on one of systemd's own hierarchies, and no mount lies on it."""
    return all(it.place in default_hierarchies(kind) and not it.kept for it in overlay.hierarchies)


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


def _kernel_modules(
    paths: Paths,
    host: Host,
    contents: Mapping[Entry, Contents],
    unmanaged: Iterable[Unmanaged],
    blockers: Iterable[Blocker],
) -> HostModules | None:
    if not (paths.is_running_system and any(host.kernel in it.kernels for it in contents.values())):
        return None
    from reconciler.host.merge import kernelmodules

    blocking = [it.item for it in blockers]
    return kernelmodules.look(host.kernel, [it for it in unmanaged if it.searched and it not in blocking])


def _left_out(host: Host, unmanaged: Iterable[Unmanaged], merged: Mapping[Kind, Merged]) -> Mapping[Path, str]:
    """Why systemd merges nothing of what others placed, where an overlay is without it."""
    unmerged = [it for it in unmanaged if it.searched and it.kind in merged and it.name not in merged[it.kind].names]
    if not unmerged:
        return {}
    from reconciler.host.merge import leftout

    return leftout.reasons(host, unmerged)


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
    brought = _brought(observed, activation) if all_units else []
    pulling = list(pulling_directories())
    return replace(
        observed,
        activation=activation,
        looked_at=time.time() if patient else None,
        units=_unit_states([*listed, *brought]),
        boot_merges=merged_at_boot(pulling),
        boot_starts=activated_at_boot(pulling) if listed else None,
    )


def _brought(observed: ObservedState, activation: Activation) -> list[str]:
    """The units of what was activated, and of what is placed and yet to be."""
    placed = (observed.store.get(link.entry) for link in observed.links.values())
    stored = [name for it in placed if it for name in it.units]
    return runnable(dict.fromkeys((*(name for it in activation.extensions.values() for name in it.units), *stored)))


def _unit_states(names: Sequence[str]) -> Mapping[str, Unit]:
    if not names:
        return {}
    from reconciler.host.node import units

    return units.show(names)


def run_from(paths: Paths, observed: ObservedState, configured: frozenset[str]) -> frozenset[ExtensionId]:
    """Which extensions livelayer itself runs from, of those that could be pruned."""
    unlisted = [link for link in observed.listable.values() if link.name not in configured]
    if not unlisted or not paths.is_running_system:
        return frozenset()
    from reconciler.host.merge.ownextension import own_extensions

    return own_extensions(paths, unlisted)
