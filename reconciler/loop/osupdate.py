"""Before an OS update: what the new OS would merge, and its extensions fetched while the old one still runs."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.dataclass import dataclass
from reconciler.errors import ReconcilerError
from reconciler.fetch.resolve import Lookups, Resolver, open_resolver
from reconciler.host.base import lock
from reconciler.host.node.machine import read_other_os
from reconciler.host.records.prefetched import write_prefetched
from reconciler.host.store import entries as store
from reconciler.host.store.pathlists import readable_lists
from reconciler.loop.apply import Applier
from reconciler.loop.change import as_fetched
from reconciler.loop.observe import observe
from reconciler.loop.reconcile import configured
from reconciler.loop.session import Options, unknown_extensions
from reconciler.loop.underway import Underway
from reconciler.model.config.desired import DesiredState, Wanted, for_host
from reconciler.model.content.format import Format, choose
from reconciler.model.facts.extensionfacts import ExtensionFacts, ListedFiles
from reconciler.model.fit.filetree import read_contents
from reconciler.model.images.imageformat import FileSystem, naked
from reconciler.model.plan.action import Fetch, Plan
from reconciler.model.plan.forecast import Forecast, forecast
from reconciler.model.plan.plan import make_plan
from reconciler.model.plan.target import Target, Targets
from reconciler.query.inspection import Request, gather_resolved
from reconciler.report import runlog

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from reconciler.model.config.part import Part
    from reconciler.model.content.limits import Limits
    from reconciler.model.content.resolution import Resolution
    from reconciler.model.fit.contents import Contents
    from reconciler.model.fit.release import Host
    from reconciler.model.state.entry import Entry
    from reconciler.model.state.observed import ObservedState
    from reconciler.paths import Paths

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NewOs:
    """What is known of the OS that this node is to have."""

    os_release: Path
    systemd: int | None = None  # None: as it is now
    kernel: str | None = None  # None: not known


def check(paths: Paths, options: Options, new: NewOs) -> Forecast:
    """Which extensions would merge there; what is not in the store is looked into and dropped."""
    look = _open(paths, options, new)
    missing = [] if options.offline else look.missing()
    looked_into = {it.entry: _look_into(wanted, it, look.paths, look.desired.limits) for wanted, it in missing}
    return forecast(look.desired, look.observed, look.targets, looked_into)


def prefetch(paths: Paths, options: Options, new: NewOs) -> Forecast:
    """Fetch for another OS into the store, and note what the sources lead to; nothing is placed."""
    with lock.hold(paths, "livelayer apply --for-os-release", options.patience, log.info):
        look = _open(paths, options, new)
        store.prepare(look.paths)
        look.resolver.remember_seen(look.configured)
        look, errors = _fetch(look)
        write_prefetched(look.paths, _entries(look.targets))
        look.resolver.remember_stored(look.desired, look.targets)
        observed = observe(look.paths, look.observed.host, _entries(look.targets))
        return forecast(look.desired, observed, look.targets, errors)


@dataclass(frozen=True, slots=True)
class _Look:
    """The node as if it had the other OS."""

    paths: Paths
    configured: DesiredState
    desired: DesiredState  # of what was asked about, as that OS fills the placeholders
    observed: ObservedState
    targets: Targets
    resolver: Resolver

    def missing(self) -> list[tuple[Wanted, Target]]:
        found = [(item, self.targets[item.name]) for item in self.desired.extensions]
        return [(item, it) for item, it in found if isinstance(it, Target) and it.entry not in self.observed.store]


def _open(paths: Paths, options: Options, new: NewOs) -> _Look:
    located, desired, own = configured(paths, options)
    host = _host_with(own, new)
    wanted = for_host(_named(desired, options.only), host)
    resolver = open_resolver(located, host, wanted, Lookups.LOCAL if options.offline else Lookups.ALL)
    targets = resolver.resolve_all(wanted.extensions)
    return _Look(located, desired, wanted, observe(located, host, _entries(targets)), targets, resolver)


def _host_with(own: Host, new: NewOs) -> Host:
    return replace(
        own,
        os_release=read_other_os(new.os_release),
        systemd=new.systemd or own.systemd,
        has_id_like=new.systemd is None and own.has_id_like,
        kernel=new.kernel or "",
    )


def _named(desired: DesiredState, only: frozenset[str]) -> DesiredState:
    if unknown := only - desired.names:
        raise unknown_extensions(unknown, desired)
    kept = tuple(item for item in desired.extensions if not only or item.name in only)
    return replace(desired, extensions=kept)


def _entries(targets: Targets) -> list[Entry]:
    return [it.entry for it in targets.values() if isinstance(it, Target)]


def _fetch(look: _Look) -> tuple[_Look, dict[Entry, Contents | ReconcilerError]]:
    empty = replace(look.observed, links={}, merged=None)
    plan = make_plan(look.desired, empty, look.targets)
    fetches: Sequence[Fetch] = [action for action in plan.actions if isinstance(action, Fetch)]
    runlog.log_actions("plan", fetches)
    with Underway() as underway:
        applier = Applier(look.paths, look.observed.host, look.resolver, look.desired, underway)
        outcomes = applier.apply(Plan(tuple(fetches)))
    # The first boot shall not have to look into image files.
    fetched = [(it.action, it.error) for it in outcomes if isinstance(it.action, Fetch)]
    readable_lists(look.paths, {it.wanted.ident: it.entry for it, _ in fetched}, remember=True)
    as_found = replace(look, targets=as_fetched(look.targets, outcomes))
    return as_found, {it.entry: error for it, error in fetched if error}


def _look_into(wanted: Wanted, target: Target, paths: Paths, limits: Limits) -> Contents | ReconcilerError:
    """What is in content that is not in the store, or why that cannot be said."""
    parts = zip(wanted.parts, target.resolution.of_parts, strict=True)
    try:
        found = [_gather(wanted, part, resolution, paths, limits) for part, resolution in parts]
        return _as_stored(found, target.entry)
    except ReconcilerError as error:
        return error


def _gather(wanted: Wanted, part: Part, resolution: Resolution, paths: Paths, limits: Limits) -> ExtensionFacts:
    facts = gather_resolved(Request(part.text, wanted.name, limits=limits), part, resolution, paths)
    choose(wanted.format, facts.origin.payload, resolution.size, None)
    return facts


def _as_stored(found: Sequence[ExtensionFacts], entry: Entry) -> Contents:
    """What the store would say of it; of several, each is laid over those before it."""
    files = {path: file for facts in found for path, file in facts.files.items()}
    contents = read_contents(ListedFiles(files), entry.kind)
    releases = contents.releases
    if entry.renamed_to and len(releases) == 1:
        releases = {**releases, entry.renamed_to: next(iter(releases.values()))}
    made_here = naked(FileSystem(entry.format)) if entry.format in {Format.SQUASHFS, Format.EROFS} else None
    return replace(contents, releases=releases, image=made_here or found[0].origin.image)
