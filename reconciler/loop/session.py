"""What a run, or a mere look, works from: the configuration in force, this host, and what earlier runs recorded."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.dataclass import dataclass
from reconciler.errors import Invalid, ReconcilerError
from reconciler.fetch.resolve import Lookups, Resolver, open_resolver
from reconciler.host.node.machine import read_boot_state, read_host, with_image_support
from reconciler.host.records import statedir
from reconciler.host.records.checks import read_checks
from reconciler.host.records.refreshes import cause_of, read_failed_refreshes
from reconciler.host.records.retries import read_retries
from reconciler.loop import config, generations
from reconciler.loop.observe import observe, run_from, with_activation
from reconciler.model.config.desired import DesiredState, for_host
from reconciler.model.content.format import Format
from reconciler.model.kind import MODULE_INDEX
from reconciler.model.plan.plan import make_plan
from reconciler.model.plan.status import View

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from reconciler.model.fit.release import Host
    from reconciler.model.kind import Kind
    from reconciler.model.plan.target import Targets
    from reconciler.model.state.failedrefresh import FailedRefresh
    from reconciler.model.state.generation import Generation
    from reconciler.model.state.observed import ObservedState
    from reconciler.model.state.retry import Retry
    from reconciler.paths import Paths


@dataclass(frozen=True, slots=True)
class Options:
    """How a run differs from the usual."""

    config: Path | None = None  # another main file
    cloud_configs: tuple[Path, ...] | None = None  # in place of the node's own
    offline: bool = False
    refresh: bool = True  # False: place only, something else merges (at boot, systemd's own unit)
    only: frozenset[str] = frozenset()  # names; empty: all
    patience: float = 0.0  # seconds to wait for another run
    automatic: bool = False  # nobody waits for it: what failed lately is left alone until it is due
    retry: frozenset[str] | None = None  # names whose failures are forgotten; empty: all; None: none are
    confirm_prune: bool = False  # however much it removes
    block: bool = True  # False: units are told to start and not waited for
    all_units: bool = False  # what extensions bring is looked at, too, not only the units that are listed


@dataclass(frozen=True, slots=True)
class Session:
    """Everything that was there before the node itself is looked at."""

    paths: Paths  # with the state where it is
    loaded: config.Loaded
    host: Host
    desired: DesiredState  # of the configuration, or of the generation that is held in its place
    resolver: Resolver
    configuration: str  # its digest
    held: Generation | None
    retries: Mapping[str, Retry]
    patient: bool = False  # what failed lately is left alone
    all_units: bool = False  # units that no configuration lists are looked at, too
    block: bool = True  # units that are to start are waited for

    def configured_targets(self) -> Targets:
        """What the configuration leads to as far as it is known already, whether a generation is held or not."""
        desired = for_host(self.loaded.desired, self.host)
        resolver = open_resolver(self.paths, self.host, desired, Lookups.NONE)
        return resolver.resolve_all(desired.extensions)

    def view(self, targets: Targets | None = None) -> View:
        """A look at the node, and what is to be done; without targets of an earlier look, sources are asked."""
        known = self.resolver.resolve_all(self.desired.extensions) if targets is None else targets
        observed = self._observe(known)
        return View(self.desired, observed, known, make_plan(self.desired, observed, known))

    def _observe(self, targets: Targets) -> ObservedState:
        checks = read_checks(self.paths).under(self.configuration).as_of(time.time())
        entries = [target.entry for target in targets.values() if not isinstance(target, ReconcilerError)]
        generated = [self.held.entries[MODULE_INDEX]] if self.held and MODULE_INDEX in self.held.entries else []
        observed = observe(self.paths, self.host, [*entries, *generated, *checks.entries])
        observed = replace(observed, checks=checks, own=run_from(self.paths, observed, self.desired.names))
        observed = replace(observed, deferred=self._deferred(observed, targets))
        listed = [name for it in self.desired.extensions for name in it.start]
        return with_activation(self.paths, observed, listed, patient=self.patient, all_units=self.all_units)

    def cause(self, kind: Kind, observed: ObservedState, targets: Targets) -> str:
        """What a refresh would start from under this configuration."""
        entries = {name: it.entry.file_name for name, it in targets.items() if not isinstance(it, ReconcilerError)}
        return cause_of(kind, observed, [self.configuration, entries])

    def _deferred(self, observed: ObservedState, targets: Targets) -> dict[Kind, FailedRefresh]:
        """The refreshes that failed lately for what is still so."""
        known = read_failed_refreshes(self.paths) if self.patient else {}
        waiting = {kind: it for kind, it in known.items() if not it.retry.is_due(time.time())}
        return {kind: it for kind, it in waiting.items() if it.cause == self.cause(kind, observed, targets)}


def open_session(paths: Paths, loaded: config.Loaded, options: Options, lookups: Lookups) -> Session:
    held = generations.held(paths, loaded)
    desired = generations.desired_of(held, loaded.desired) if held else loaded.desired
    given: dict[str, object] = {} if options.refresh else {"refresh": "boot"}
    if options.confirm_prune:
        given["prune_limit"] = None
    settings = desired.settings.model_copy(update=given)
    desired = replace(desired, settings=settings)
    if not options.confirm_prune:
        desired = replace(desired, vanished=loaded.vanished, unknown=loaded.unknown)
    host = host_of(paths, desired)
    desired = for_host(desired, host)
    configuration = generations.configuration_digest(paths, loaded)
    retries = read_retries(paths, configuration)
    resolver = open_resolver(paths, host, desired, lookups)
    resolver = replace(
        resolver,
        pinned=held.extensions if held else {},
        deferred=_deferred(retries) if options.automatic or lookups is Lookups.NONE else {},
    )
    return Session(
        paths,
        loaded,
        host,
        desired,
        resolver,
        configuration,
        held,
        retries,
        patient=options.automatic or lookups is Lookups.NONE,
        all_units=options.all_units,
        block=options.block,
    )


def look_at_node(paths: Paths, options: Options, lookups: Lookups) -> Session:
    """A session that changes nothing."""
    return open_session(*located(paths, config.load(paths, options.config, options.cloud_configs)), options, lookups)


def unknown_extensions(names: Iterable[str], desired: DesiredState) -> Invalid:
    hint = f"configured are: {', '.join(sorted(desired.names)) or 'none'}"
    return Invalid(f"{', '.join(sorted(names))}: no such extension", hint, code="extension.unknown")


def _deferred(retries: Mapping[str, Retry]) -> dict[str, Retry]:
    now = time.time()
    return {name: retry for name, retry in retries.items() if not retry.is_due(now)}


def located(paths: Paths, loaded: config.Loaded) -> tuple[Paths, config.Loaded]:
    """The node with its state where it is, and what is wrong with that."""
    wanted = loaded.desired.settings.state_dir
    found = statedir.locate(paths, wanted)
    error = statedir.complaint(found, wanted)
    return found, replace(loaded, troubles=(*loaded.troubles, error)) if error else loaded


def host_of(paths: Paths, desired: DesiredState) -> Host:
    """What this node is; what it has for image files only where that matters, since systemd has to be asked."""
    host = read_host(paths)
    if any(it.boot_states for it in desired.extensions):
        host = replace(host, boot_state=read_boot_state(paths))
    if not paths.is_running_system or all(it.format in {None, Format.DIRECTORY} for it in desired.extensions):
        return host
    return with_image_support(host)
