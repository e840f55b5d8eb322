"""Generations: recorded after each successful change, and held in place of the configuration for a rollback."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from reconciler.errors import Invalid
from reconciler.host.base.durable import read_json, write_json
from reconciler.host.merge.links import read_links
from reconciler.host.records import history, statedir
from reconciler.host.store import entries as store
from reconciler.model.config.desired import DesiredState, Wanted, desired_state
from reconciler.model.config.merge import Fragment, Tree
from reconciler.model.config.part import Part
from reconciler.model.content.ociread import digest_of
from reconciler.model.content.resolution import Resolution
from reconciler.model.content.source import Source, Transport, parse_source_or_directory
from reconciler.model.kind import MODULE_INDEX
from reconciler.model.plan.action import Place, Refresh, Remove, Start
from reconciler.model.plan.activation import owes
from reconciler.model.plan.checks import pending_checks
from reconciler.model.plan.target import Target
from reconciler.model.state.generation import Generation, Placed, previous

if TYPE_CHECKING:
    from collections.abc import Collection

    from reconciler.loop.config import Loaded
    from reconciler.model.kind import ExtensionId
    from reconciler.model.plan.status import View
    from reconciler.model.state.observed import Link
    from reconciler.paths import Paths

log = logging.getLogger(__name__)

_ANY_SYSTEMD = 0  # own links are the same for each
_DOWN = frozenset({"unit.start-failed", "activation.failed"})  # codes of extensions that are merged and do not run


def record(paths: Paths, last: Generation | None, view: View, tree: Tree | None, cause: str) -> Generation | None:
    """Record what is placed now beside the last generation, if a change has made it so and has done well."""
    entries = {ident: link.entry for ident, link in view.observed.links.items()}
    changed = {ident for ident, entry in entries.items() if last is None or last.entries.get(ident) != entry}
    if entries == (last.entries if last else {}) or not _has_succeeded(view, changed):
        return last
    placed = {ident: _placed(link, view, last) for ident, link in view.observed.links.items()}
    now = datetime.now(UTC).replace(microsecond=0)
    generation = Generation(history.next_number(paths), now, cause, tree, placed)
    history.write(paths, generation)
    return generation


def _has_succeeded(view: View, changed: Collection[ExtensionId]) -> bool:
    """Whether all that is placed is there, merged where it shall be, past its checks, and what has changed runs."""
    observed = view.observed
    if pending_checks(view.desired, observed) or any(link.dangling for link in observed.links.values()):
        return False
    down = {it.ident for it in view.plan.actions if isinstance(it, Start)}
    names = {it.extension for it in view.plan.problems if it.code in _DOWN}
    if any(ident in down or ident.name in names or owes(ident, view.desired, observed) for ident in changed):
        return False
    undone = {it.ident for it in view.plan.actions if isinstance(it, Place | Remove)} & set(changed)
    return not (undone or observed.refresh_owed or any(isinstance(it, Refresh) for it in view.plan.actions))


def _placed(link: Link, view: View, last: Generation | None) -> Placed:
    target = view.targets.get(link.name)
    texts = {it.ident: it.text for it in view.desired.extensions}
    if isinstance(target, Target) and target.entry == link.entry:
        return Placed(link.entry, target.resolution, texts.get(link.ident))
    before = last.extensions.get(link.ident) if last else None
    if before and before.entry == link.entry:
        return before
    return Placed(link.entry, Resolution(link.entry.digest, link.entry.digest), texts.get(link.ident))


def configuration_digest(paths: Paths, loaded: Loaded) -> str:
    """What tells one configuration from another; one that is broken is taken for the last good one."""
    tree = read_json(statedir.locate(paths).last_good) if loaded.mistakes else loaded.tree
    return digest_of(json.dumps(tree, sort_keys=True).encode())


def held(paths: Paths, loaded: Loaded) -> Generation | None:
    """The generation that is in force in place of the configuration; None: the configuration is."""
    match read_json(paths.rollback):
        case {"generation": int(number), "configuration": str(digest)}:
            pass
        case _:
            return None
    if digest != configuration_digest(paths, loaded):
        return None
    generation = previous(history.read_history(paths).generations, number)
    if generation is None:
        log.warning("generation %d was to be held, and is not recorded any more", number)
    return generation


def hold(paths: Paths, loaded: Loaded, number: int | None) -> Generation:
    """Let a generation (None: the one before the present one) be in force until the configuration changes."""
    recorded = history.read_history(paths).generations
    present = {ident: it.entry for ident, it in read_links(paths, _ANY_SYSTEMD).links.items()}
    generation = previous(recorded, number, present)
    if generation is None:
        known = ", ".join(str(it.number) for it in recorded) or "none"
        what = "there is no generation to go back to" if number is None else f"there is no generation {number}"
        raise Invalid(what, f"recorded are: {known}", code="generation.unknown")
    if gone := [ident.name for ident, entry in generation.entries.items() if not store.has(paths, entry)]:
        what = f"generation {generation.number}: the store does not have {', '.join(sorted(gone))} any more"
        raise Invalid(what, "choose another one: livelayer history", code="generation.incomplete")
    record = {"generation": generation.number, "configuration": configuration_digest(paths, loaded)}
    write_json(paths.rollback, record)
    return generation


def release(paths: Paths) -> bool:
    """Let the configuration be in force again; returns whether a generation was held."""
    if not paths.rollback.exists():
        return False
    paths.rollback.unlink()
    return True


def desired_of(generation: Generation, configured: DesiredState) -> DesiredState:
    """What the node shall have: what it had then, with everything else as it is configured now."""
    then = _extensions_of(generation.tree)
    wanted = tuple(
        _wanted(ident, placed, then.get(ident), generation)
        for ident, placed in sorted(generation.extensions.items())
        if ident != MODULE_INDEX  # made of these, and of the kernel that runs now
    )
    return replace(
        configured,
        extensions=wanted,
        absent=frozenset(),
        settings=configured.settings.model_copy(update={"prune": True, "allow_empty": True}),
        configured=True,
        held=generation.number,
    )


def _extensions_of(tree: Any) -> dict[ExtensionId, Wanted]:  # noqa: ANN401 - a configuration as it was written
    """Units, checks and the like as they were configured; one that is not understood any more says nothing."""
    try:
        return {item.ident: item for item in desired_state(Fragment(tree)).extensions} if tree else {}
    except Invalid:
        return {}


def _wanted(ident: ExtensionId, placed: Placed, then: Wanted | None, generation: Generation) -> Wanted:
    text = placed.source or f"generation {generation.number}"
    recorded = Part(text, _source(placed))
    if then is None:
        return Wanted(ident.name, (recorded,), kind=ident.kind, format=placed.entry.format)
    (first, *others) = then.parts
    sole = replace(first, text=recorded.text, source=recorded.source, match=(), template=None)
    return replace(then, parts=then.parts if others else (sole,), merged=True, format=placed.entry.format)


def _source(placed: Placed) -> Source:
    """Where it came from. What is not understood now can only be in the store."""
    choice = placed.resolution.choice
    try:
        source = parse_source_or_directory(placed.source or "")
        return source.file_in(choice.file) if choice else source
    except ValueError:
        return Source(Transport.DIR, "/nonexistent")
