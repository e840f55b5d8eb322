"""Carry out a plan, action by action; one extension's failure is its own."""

from __future__ import annotations

import gc
import logging
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias, assert_never

from reconciler.errors import Failed, ReconcilerError
from reconciler.fetch.fetcher import Fetcher, Job
from reconciler.host.base.durable import write_atomically
from reconciler.host.merge import links
from reconciler.host.store import entries as store
from reconciler.model.config.document import Preflight
from reconciler.model.content.limits import DEFAULT, Limits
from reconciler.model.kind import ExtensionId
from reconciler.model.plan.action import (
    Action,
    Check,
    Fetch,
    Mask,
    Place,
    Plan,
    Refresh,
    Remove,
    Restart,
    Stop,
    Unmask,
    action_name,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future

    from reconciler.fetch.progress import Display
    from reconciler.fetch.resolve import Resolver
    from reconciler.model.fit.release import Host
    from reconciler.model.kind import Kind
    from reconciler.model.plan.mismatch import Mismatch
    from reconciler.model.state.observed import Link
    from reconciler.paths import Paths

log = logging.getLogger(__name__)

_PARALLEL: Final = 4  # fetches; they wait for the network and the disk more than for a core
Change: TypeAlias = Stop | Mask | Unmask | Place | Remove | Refresh | Restart | Check
"""What changes the node itself, one after the other."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an action ended."""

    action: Action
    error: ReconcilerError | None = None
    culprits: frozenset[str] = frozenset()  # the extensions on whose account a refresh failed, if it is known
    skipped: bool = False  # there was nothing left to do for it

    @property
    def check_failed(self) -> bool:
        """Whether it was a check that failed: the change is to be taken back."""
        return isinstance(self.action, Check) and self.error is not None and not self.skipped


@dataclass(slots=True)
class _Progress:
    """What this run has changed so far, so that it can be taken back."""

    previous: dict[ExtensionId, Link | None] = field(default_factory=dict)  # each changed link as it was
    failed: dict[str, ReconcilerError] = field(default_factory=dict)  # by extension
    stopped: list[str] = field(default_factory=list)  # units of extensions that go
    unstarted: dict[str, ReconcilerError] = field(default_factory=dict)  # extensions whose units did not come up
    culprits: frozenset[str] = frozenset()  # whose links were taken back
    unmasked: dict[Kind, ReconcilerError] = field(default_factory=dict)  # what blocks every merge could not be hidden

    def changed(self, kind: Kind) -> frozenset[str]:
        """The names of the extensions of a kind whose links are not as they were."""
        return frozenset(ident.name for ident in self.previous if ident.kind is kind)


@dataclass(frozen=True, slots=True)
class Applier:
    """The means to carry out plans on one node."""

    paths: Paths
    host: Host
    resolver: Resolver
    limits: Limits = DEFAULT
    preflight: Preflight = Preflight()  # noqa: RUF009 - frozen
    configuration: str = ""  # the digest of the one that is in force
    node_is_checked: bool = False  # after the checks of single extensions

    def apply(self, plan: Plan) -> tuple[Outcome, ...]:
        """Carry out a plan in its order; what failed is told in the outcomes, not raised."""
        if plan.actions:
            gc.enable()  # the command starts without
        progress = _Progress()
        fetches = [action for action in plan.actions if isinstance(action, Fetch)]
        fetched = self._fetch_what_fits(fetches, progress) if fetches else []
        if any(isinstance(action, Place) for action in plan.actions):
            self._examine(plan, progress)
        owe = frozenset(action.kind for action in plan.actions if isinstance(action, Refresh))
        rest = [action for action in plan.actions if not isinstance(action, Fetch)]
        return (*fetched, *(self._attempt(action, progress, owe) for action in rest))

    def _examine(self, plan: Plan, progress: _Progress) -> None:
        """Look at what is to be placed, before the first link changes."""
        from reconciler.loop import preflight

        actions = [it for it in plan.actions if isinstance(it, Refresh) or action_name(it) not in progress.failed]
        findings = preflight.examine(self.paths, self.host.systemd, actions, self.preflight, remember=True)
        for warning in findings.warnings:
            log.warning(warning.sentence)
        progress.failed |= findings.refused

    def _fetch_what_fits(self, fetches: Sequence[Fetch], progress: _Progress) -> list[Outcome]:
        from reconciler.loop import preflight

        findings = preflight.examine_space(self.paths, fetches, self.resolver.manifests, self.preflight)
        for warning in findings.warnings:
            log.warning(warning.sentence)
        refused = findings.refused
        progress.failed |= refused
        fetched = iter(self._fetch_all([it for it in fetches if it.wanted.name not in refused], progress))
        names = [it.wanted.name for it in fetches]
        return [
            Outcome(it, refused[name]) if name in refused else next(fetched)
            for it, name in zip(fetches, names, strict=True)
        ]

    def _fetch_all(self, fetches: Sequence[Fetch], progress: _Progress) -> list[Outcome]:
        """Fetch several at once; each entry once, though several extensions may want it."""
        from reconciler.fetch.progress import display
        from reconciler.host.base.workers import workers

        if not fetches:
            return []
        must_fit = self.preflight.space == "refuse"
        fetcher = Fetcher(
            self.paths,
            self.host.machine,
            self.limits,
            self.resolver.manifests,
            offline=not self.resolver.may_use_network,
            require_space=must_fit,
        )
        entries = {action.entry: action for action in reversed(fetches)}
        with workers(min(_PARALLEL, len(entries))) as pool, display() as shown:
            begun = {entry: pool.submit(self._fetch, fetcher, it, shown) for entry, it in entries.items()}
            outcomes = [self._fetched(action, begun[action.entry]) for action in fetches]
        for action, outcome in zip(fetches, outcomes, strict=True):
            if outcome.error:
                progress.failed[action.wanted.name] = outcome.error
        return outcomes

    def _fetch(self, fetcher: Fetcher, action: Fetch, shown: Display) -> None:
        log.info("fetching %s from %s", action.wanted.name, action.wanted.text)
        with shown.meter(action.wanted.name) as meter:
            fetcher.fetch(Job(action.wanted, action.wanted.parts[0], action.resolution, action.entry, meter))

    def _fetched(self, action: Fetch, work: Future[None]) -> Outcome:
        """Judge what came before anything is placed: a bad image can block every other one."""
        try:
            work.result()
            self.resolver.remember(action.wanted, action.resolution)
        except ReconcilerError as error:
            return Outcome(action, error.about(action.wanted.name))
        except OSError as error:
            return Outcome(action, _unexpected(error, action).about(action.wanted.name))
        contents = store.read_contents(self.paths, [action.entry]).get(action.entry)
        if contents is None:
            unreadable = Failed(f"{self.paths.store / action.entry.file_name}: cannot be read", "look at the disk")
            return Outcome(action, unreadable.about(action.wanted.name))
        return Outcome(action, contents.misfit(action.wanted.ident, self.host))

    def _attempt(self, action: Change, progress: _Progress, owe: frozenset[Kind]) -> Outcome:
        name = action_name(action)
        if name in progress.failed:
            return Outcome(action, progress.failed[name], skipped=True)
        if (kind := _kind(action)) and (blocked := progress.unmasked.get(kind)):
            return Outcome(action, blocked, skipped=True)
        if isinstance(action, Refresh) and action.only_after_changes and not progress.changed(action.kind):
            return Outcome(action, skipped=True)
        error = self._error_of(action, progress, owe)
        if error and name and isinstance(action, Restart):
            progress.unstarted[name] = error  # what its checks say counts
        elif error and name:
            progress.failed[name] = error
        if error and isinstance(action, Mask) and action.ident.kind in owe:
            progress.unmasked[action.ident.kind] = error
        return Outcome(action, error, progress.culprits if isinstance(action, Refresh) else frozenset())

    def _error_of(self, action: Change, progress: _Progress, owe: frozenset[Kind]) -> ReconcilerError | None:
        try:
            self._carry_out(action, progress, owe)
        except ReconcilerError as error:
            return error
        except OSError as error:
            return _unexpected(error, action)
        return None

    def _carry_out(self, action: Change, progress: _Progress, owe: frozenset[Kind]) -> None:
        match action:
            case Place() | Remove():
                self._change_link(action, progress, owe)
            case Refresh():
                self._refresh(action, progress)
            case Restart():
                _restart(action.units)
            case Stop():
                _stop(action.units)
                progress.stopped.extend(action.units)
            case Check():
                from reconciler.loop import checks

                trouble = progress.unstarted.get(action_name(action) or "")
                checks.check(self.paths, action, trouble, self.configuration, node_follows=self.node_is_checked)
            case Mask() | Unmask():
                self._hide(action)
            case _:
                assert_never(action)

    def _change_link(self, action: Place | Remove, progress: _Progress, owe: frozenset[Kind]) -> None:
        ident = action.ident
        if ident.kind in owe:
            write_atomically(self.paths.refresh_owed(ident.kind), b"", durable=False)
        previous = links.read_link(self.paths, ident)
        if action.checked:
            from reconciler.loop import checks

            checks.begin(self.paths, action, previous)
        if isinstance(action, Place):
            links.place(self.paths, ident, action.new)
        else:
            links.remove(self.paths, ident)
        progress.previous[ident] = previous

    def _hide(self, action: Mask | Unmask) -> None:
        from reconciler.host.merge import masks

        if isinstance(action, Mask):
            masks.mask(self.paths, action)
        else:
            masks.unmask(self.paths, action)

    def _refresh(self, action: Refresh, progress: _Progress) -> None:
        placed = links.read_links(self.paths, self.host.systemd).links
        changed = progress.changed(action.kind)
        removed = frozenset(name for name in changed if ExtensionId(name, action.kind) not in placed)
        from reconciler.loop import refresh as overlay

        expected = overlay.Expectation(action.kind, action.unchanged | (changed - removed), removed)
        with suppress(Failed):  # killed in between, when some hierarchies are merged and others not, it is owed
            write_atomically(self.paths.refresh_owed(action.kind), b"", durable=False)
        mismatch = overlay.refresh(self.paths, self.host, expected)
        restored = mismatch is None or self._restore(mismatch, action, progress)
        if restored:
            self.paths.refresh_owed(action.kind).unlink(missing_ok=True)
            self._reload_manager(action.kind, progress)
        if mismatch:
            raise Failed(mismatch.reason, mismatch.hint)

    def _restore(self, mismatch: Mismatch, action: Refresh, progress: _Progress) -> bool:
        """Give back the links that were changed for nothing: the culprits', or all if the innocent suffer too.

        Returns whether the overlay shows again what it should.
        """
        changed = progress.changed(action.kind)
        innocent_suffer = bool(mismatch.unmerged - changed) or bool(mismatch.still_merged)
        progress.culprits = changed if innocent_suffer else mismatch.unmerged
        for name in sorted(progress.culprits):
            progress.failed[name] = Failed(mismatch.reason, mismatch.hint)
            self._restore_link(ExtensionId(name, action.kind), progress.previous[ExtensionId(name, action.kind)])
        kept = {name for name in changed if progress.previous[ExtensionId(name, action.kind)]}
        from reconciler.loop import refresh as overlay

        expected = overlay.Expectation(action.kind, action.unchanged | kept)
        again = overlay.restore(self.paths, self.host, expected, mismatch)
        if again and not mismatch.untouched:
            log.error("the overlay is not as it was before: %s", again.reason)
        return again is None

    def _restore_link(self, ident: ExtensionId, previous: Link | None) -> None:
        try:
            if previous is None:
                links.remove(self.paths, ident)
            else:
                links.restore(self.paths, previous)
        except ReconcilerError as error:
            log.error("the previous link could not be restored: %s", error.message)  # noqa: TRY400 - expected

    def _reload_manager(self, kind: Kind, progress: _Progress) -> None:
        """Let systemd see units that came or went; systemd-sysext does so from 255 on, and only if asked to."""
        from reconciler.host.node import units

        links_now = links.read_links(self.paths, self.host.systemd).links
        changed = {ident for ident in progress.previous if ident.kind is kind}
        entries = [link.entry for ident, link in links_now.items() if ident in changed]
        entries += [link.entry for ident, link in progress.previous.items() if link and ident in changed]
        carries_units = any(item.units for item in store.read_contents(self.paths, entries).values())
        if carries_units and units.booted_with_systemd():
            units.daemon_reload()
            units.stop_orphans(tuple(progress.stopped))


def _unexpected(error: OSError, action: Action) -> Failed:
    return Failed(f"{error.filename or type(action).__name__}: {error.strerror}", "look at the file system")


def _kind(action: Change) -> Kind | None:
    if isinstance(action, Refresh):
        return action.kind
    return action.ident.kind if action.ident else None


def _restart(names: tuple[str, ...]) -> None:
    from reconciler.host.node import units

    if units.booted_with_systemd():
        units.restart_all(names)


def _stop(names: tuple[str, ...]) -> None:
    from reconciler.host.node import units

    if units.booted_with_systemd():
        units.stop_all(names)
