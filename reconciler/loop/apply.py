"""Carry out a plan, action by action; one extension's failure is its own."""

from __future__ import annotations

import gc
import logging
import time
from concurrent.futures import FIRST_COMPLETED, wait
from contextlib import suppress
from dataclasses import field, replace
from typing import TYPE_CHECKING, Final, TypeAlias, assert_never

from reconciler.dataclass import dataclass
from reconciler.errors import Failed, Pending, ReconcilerError
from reconciler.fetch.fetcher import fetch
from reconciler.host.base.durable import write_atomically
from reconciler.host.base.failures import as_failure
from reconciler.host.merge import links, masks, moduleindex
from reconciler.host.merge.hostfiles import host_units
from reconciler.host.node import units
from reconciler.host.node.machine import booted_with_systemd
from reconciler.host.store import entries as store
from reconciler.loop import checks, preflight, refresh
from reconciler.loop.activation import Activator
from reconciler.loop.observe import observe
from reconciler.loop.underway import work_of
from reconciler.model.kind import ExtensionId, Kind
from reconciler.model.plan.action import (
    Action,
    Activate,
    Check,
    Fetch,
    Generate,
    Mask,
    Place,
    Plan,
    Refresh,
    Remove,
    Start,
    Stop,
    Unmask,
    action_ident,
    action_name,
)
from reconciler.model.plan.mismatch import Expectation, Mismatch
from reconciler.model.plan.plan import refresh_of_nested, with_index
from reconciler.report import runlog

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping, Sequence
    from concurrent.futures import Future

    from reconciler.fetch.progress import Meters
    from reconciler.fetch.resolve import Resolver
    from reconciler.loop.underway import Underway, Work
    from reconciler.model.config.desired import DesiredState
    from reconciler.model.fit.release import Host
    from reconciler.model.state.entry import Entry
    from reconciler.model.state.observed import Link
    from reconciler.paths import Paths

log = logging.getLogger(__name__)

_HOLDUP: Final = 60.0  # seconds without one that ends, after which the others hold up nothing else
_LOOK: Final = 1.0  # seconds between two looks whether the configuration has changed meanwhile
_Works: TypeAlias = "Mapping[Work, Future[Fetch]]"
Change: TypeAlias = Generate | Stop | Mask | Unmask | Place | Remove | Refresh | Activate | Start | Check
"""What changes the node itself, one after the other."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an action ended."""

    action: Action
    error: ReconcilerError | None = None
    culprits: frozenset[str] = frozenset()  # the extensions on whose account a refresh failed, if it is known
    taken_back: frozenset[Kind] = frozenset()  # whose changes went back because of it
    skipped: bool = False  # there was nothing left to do for it
    more: tuple[ReconcilerError, ...] = ()  # that went wrong besides
    late: bool = False  # it is still being fetched

    @property
    def check_failed(self) -> bool:
        return isinstance(self.action, Check) and self.error is not None and not self.skipped


def _wait_for(works: _Works, plan: Plan, is_outdated: Callable[[], bool], *, again: bool) -> None:
    """Until all is fetched; but a source that takes its time holds up what else there is only for a while.

    `again`: what else there was has been done, so at least one more has to come.
    """
    left, came, since = set(works.values()), not again, time.monotonic()
    while left and not is_outdated():
        done, left = wait(left, min(_LOOK, _HOLDUP), FIRST_COMPLETED)
        came, since = came or bool(done), time.monotonic() if done else since
        is_holdup = came and time.monotonic() - since >= _HOLDUP
        if is_holdup and _has_more_than(plan, {work for work, it in works.items() if it in left}):
            break
    if left:
        log.info("going on without %d that are still being fetched", len(left))


def _has_more_than(plan: Plan, works: Container[Work]) -> bool:
    """Whether a plan has anything to do beside these fetches."""
    late = {it.wanted.name for it in plan.actions if isinstance(it, Fetch) and work_of(it) in works}
    return any(action_name(it) not in {None, *late} for it in plan.actions if not isinstance(it, Fetch))


@dataclass(slots=True)
class Applier:
    """Carries out one plan on one node."""

    paths: Paths
    host: Host
    resolver: Resolver
    desired: DesiredState
    underway: Underway
    configuration: str = ""  # the digest of the one that is in force
    block: bool = True  # False: units are only told to start
    _refreshed: frozenset[Kind] = frozenset()  # by the plan
    _previous: dict[ExtensionId, Link | None] = field(default_factory=dict)  # each changed link as it was
    _late: frozenset[str] = frozenset()  # extensions that were still being fetched when the rest was done
    _failed: dict[str, ReconcilerError] = field(default_factory=dict)  # by extension
    _stopped: list[str] = field(default_factory=list)  # units of extensions that go
    _unstarted: dict[str, ReconcilerError] = field(default_factory=dict)  # extensions whose units did not come up
    _unmasked: dict[Kind, ReconcilerError] = field(default_factory=dict)  # what blocks every merge and stays unhidden
    _culprits: frozenset[str] = frozenset()  # whose links were taken back
    _merged: set[Kind] = field(default_factory=set)  # whose overlay shows what this plan changed
    _taken_back: frozenset[Kind] = frozenset()  # whose changes went back, all of them
    _starts: tuple[Start, ...] = ()  # of the plan
    _other: dict[tuple[ExtensionId, Entry], Entry] = field(default_factory=dict)  # what turned out to be otherwise
    _started: dict[ExtensionId, tuple[ReconcilerError, ...]] | None = None  # how these ended; None: not begun yet
    _reported: tuple[ReconcilerError, ...] = ()  # what went wrong with the present action, extension by extension

    def apply(self, plan: Plan) -> tuple[Outcome, ...]:
        """What fails is in the outcomes, not raised."""
        gc.enable()  # the command starts without
        self._refreshed = frozenset(it.kind for it in plan.actions if isinstance(it, Refresh))
        self._starts = tuple(it for it in plan.actions if isinstance(it, Start))
        fetches = [it for it in plan.actions if isinstance(it, Fetch)]
        new = [it for it in fetches if it not in self.underway]
        works = self._begin(fetches, new)
        came = [Outcome(it) for it in self.underway.ended(works)]
        _wait_for(works, plan, self.underway.is_outdated, again=not new and not came)
        working = {work for work, it in works.items() if not it.done()}
        self._late = frozenset(it.wanted.name for it in fetches if work_of(it) in working) - self._failed.keys()
        fetched = [self._fetched(it, works) for it in fetches if it.wanted.name not in self._late]
        self.underway.forget(working)
        plan = self._as_fetched(plan)
        self._failed |= {name: Pending("is still being fetched") for name in self._late}
        self._examine(plan)
        plan = self._with_index(plan)
        others = [self._attempt(it) for it in plan.actions if not isinstance(it, Fetch)]
        late = [Outcome(it, skipped=True, late=True) for it in fetches if it.wanted.name in self._late]
        return (*came, *fetched, *others, *late)

    def _begin(self, fetches: Sequence[Fetch], new: Sequence[Fetch]) -> _Works:
        """Fetch several at once, what does not fit aside; each entry once, though several extensions may want it."""
        if new:
            manifests, reactions = self.resolver.access.manifests, self.desired.settings.preflight
            self._heed(preflight.examine_space(self.paths, new, manifests, reactions))
        self.underway.start((it for it in new if it.wanted.name not in self._failed), self._fetch)
        return self.underway.of(it for it in fetches if it.wanted.name not in self._failed)

    def _fetch(self, action: Fetch, shown: Meters) -> Fetch:
        log.info("fetching %s from %s", action.wanted.name, action.wanted.text)
        with shown(action.wanted.name) as meter:
            return fetch(action, self.resolver.access, meter)

    def _fetched(self, action: Fetch, works: _Works) -> Outcome:
        """Judge what came before anything is placed: a bad image can block every other one."""
        name = action.wanted.name
        if name in self._failed and name not in self._late:
            return Outcome(action, self._failed[name])
        try:
            found = works[work_of(action)].result()
            if found.entry != action.entry:
                self._other[action.wanted.ident, action.entry] = found.entry
                action = replace(action, entry=found.entry, resolution=found.resolution)
            self.resolver.remember(action.wanted, action.resolution)
            error = self._misfit(action)
        except Exception as raised:  # noqa: BLE001 - of one source, so never the run's
            error = as_failure(raised, action.wanted.text).about(name)
        if error:
            self._failed[name] = error
        return Outcome(action, error)

    def _misfit(self, action: Fetch) -> ReconcilerError | None:
        contents = store.read_contents(self.paths, [action.entry]).get(action.entry)
        if contents is None:
            raise Failed(f"{self.paths.store / action.entry.file_name}: cannot be read", "look at the disk")
        return contents.misfit(action.wanted.ident, self.host)

    def _as_fetched(self, plan: Plan) -> Plan:
        """With what was fetched as it turned out to be."""
        return replace(plan, actions=tuple(map(self._place_as_fetched, plan.actions))) if self._other else plan

    def _place_as_fetched(self, action: Action) -> Action:
        if isinstance(action, Place) and (other := self._other.get((action.ident, action.new))):
            return replace(action, new=other)
        return action

    def _examine(self, plan: Plan) -> None:
        left = [it for it in plan.actions if action_name(it) not in self._failed]
        self._heed(preflight.examine(self.paths, self.host, left, self.desired, remember=True))

    def _with_index(self, plan: Plan) -> Plan:
        """With what the indexes of kernel modules take, which what was fetched may need."""
        changes = [it for it in plan.actions if isinstance(it, Place | Remove) and it.ident.kind is Kind.SYSEXT]
        if not changes:
            return plan
        placed = [it.new for it in changes if isinstance(it, Place)]
        whole = with_index(plan, observe(self.paths, self.host, placed), self._failed)
        runlog.log_actions("plan", (it for it in whole.actions if it not in plan.actions))
        for warning in whole.warnings[len(plan.warnings) :]:
            log.warning(warning.sentence)
        return whole

    def _heed(self, findings: preflight.Findings) -> None:
        for warning in findings.warnings:
            log.warning(warning.sentence)
        self._failed |= findings.refused

    def _attempt(self, action: Change) -> Outcome:
        name, ident = action_name(action), action_ident(action)
        kind = action.kind if isinstance(action, Refresh) else ident.kind if ident else None
        blocked = self._failed.get(name or "") or (self._unmasked.get(kind) if kind else None)
        is_pointless = isinstance(action, Refresh) and action.only_after_changes and not self._changed(action.kind)
        if blocked or is_pointless:
            return Outcome(action, None if name in self._late else blocked, skipped=True)
        error = self._error_of(action)
        if error:
            self._note(action, error)
        culprits = self._culprits if isinstance(action, Refresh) else frozenset[str]()
        taken_back = self._taken_back if isinstance(action, Refresh) and error else frozenset[Kind]()
        return Outcome(
            action, error, culprits, taken_back, more=tuple(it for it in self._reported if it is not error)
        )

    def _error_of(self, action: Change) -> ReconcilerError | None:
        self._reported = ()
        try:
            self._carry_out(action)
        except Exception as error:  # noqa: BLE001 - of one action
            return as_failure(error, type(action).__name__)
        return None

    def _note(self, action: Change, error: ReconcilerError) -> None:
        """What the failure of an action means for those that follow."""
        name = action_name(action)
        if isinstance(action, Activate | Start):
            self._unstarted |= {it.extension: it for it in self._reported if it.extension}  # what checks say counts
        elif name:
            self._failed[name] = error
        if isinstance(action, Mask) and (kind := action.masked.ident.kind) in self._refreshed:
            self._unmasked[kind] = error

    def _carry_out(self, action: Change) -> None:
        match action:
            case Generate():
                moduleindex.make(self.paths, action)
            case Stop():
                self._stop(action)
            case Mask():
                masks.mask(self.paths, action.masked)
            case Unmask():
                masks.unmask(self.paths, action.masked)
            case Place() | Remove():
                self._change_link(action)
            case Refresh():
                self._refresh(action)
            case Activate():
                self._report(self._activator().activate())
            case Start():
                self._report(self._start(action))
            case Check():
                self._check(action)
            case _:
                assert_never(action)

    def _start(self, action: Start) -> tuple[ReconcilerError, ...]:
        """With the first of them all begin: units of one extension do not wait for those of another."""
        if self._started is None:
            self._started = self._activator().start([it for it in self._starts if it.ident.name not in self._failed])
        return self._started.get(action.ident, ())

    def _stop(self, action: Stop) -> None:
        if booted_with_systemd():
            units.stop_all(action.units, but_not=host_units)
        self._stopped.extend(action.units)

    def _change_link(self, action: Place | Remove) -> None:
        ident = action.ident
        if ident.kind in self._refreshed:
            self._owe_refresh(ident.kind)
        previous = links.read_link(self.paths, ident)
        checks.begin(self.paths, action, previous)
        if isinstance(action, Place):
            links.place(self.paths, ident, action.new)
        else:
            links.remove(self.paths, ident)
        self._previous[ident] = previous

    def _owe_refresh(self, kind: Kind) -> None:
        write_atomically(self.paths.refresh_owed(kind), b"", durable=False)

    def _changed(self, kind: Kind) -> dict[str, Link | None]:
        """The links of a kind that are not as they were, by extension, as they were."""
        return {ident.name: link for ident, link in self._previous.items() if ident.kind is kind}

    def _refresh(self, action: Refresh) -> None:
        kind, changed = action.kind, self._changed(action.kind).keys()
        placed = {it.name for it in links.read_links(self.paths, self.host.systemd).links if it.kind is kind}
        merged, gone = action.unchanged | (changed & placed), action.gone | (changed - placed)
        expected = Expectation(kind, merged, gone, others=action.carried)
        with suppress(Failed):  # killed in between, when some hierarchies are merged and others not, it is owed
            self._owe_refresh(kind)
        mismatch = refresh.refresh(self.paths, self.host, expected)
        restored = mismatch is None or self._restore(mismatch, action)
        if restored:
            self.paths.refresh_owed(kind).unlink(missing_ok=True)
        if mismatch:
            raise Failed(mismatch.reason, mismatch.hint, code="overlay.mismatch")
        self._merged.add(kind)
        if kind is Kind.SYSEXT and (nested := refresh_of_nested(observe(self.paths, self.host, ()))):
            log.info("%s", nested.reason)
            self._refresh(nested)

    def _restore(self, mismatch: Mismatch, action: Refresh) -> bool:
        """Give back the links that were changed for nothing; returns whether the overlay is as it should be again."""
        changed = self._changed(action.kind)
        innocent_suffer = bool(mismatch.unmerged - changed.keys()) or bool(mismatch.still_merged)
        self._culprits = frozenset(changed) if innocent_suffer else mismatch.unmerged
        for name in sorted(self._culprits):
            self._failed[name] = Failed(mismatch.reason, mismatch.hint, code="overlay.mismatch")
            self._restore_link(ExtensionId(name, action.kind), changed[name])
        if changed and self._culprits >= changed.keys():
            self._take_back_others(action.kind, Failed(mismatch.reason, mismatch.hint, code="overlay.mismatch"))
        kept = {name for name, previous in changed.items() if previous}
        expected = Expectation(action.kind, action.unchanged | kept)
        again = refresh.restore(self.paths, self.host, expected, mismatch)
        if again and not mismatch.untouched:
            log.error("the overlay is not as it was before: %s", again.reason)
        return again is None

    def _take_back_others(self, kind: Kind, error: ReconcilerError) -> None:
        """Where nothing of one kind came through, what changed of the other goes back: it may belong to that."""
        others = {ident: link for ident, link in self._previous.items() if ident.kind is not kind}
        for ident, previous in others.items():
            self._failed[ident.name] = error
            self._restore_link(ident, previous)
            del self._previous[ident]
        self._culprits |= {ident.name for ident in others}
        self._taken_back = frozenset({kind, *(ident.kind for ident in others)})
        for other in self._taken_back & self._merged:
            names = {ident.name: link for ident, link in others.items() if ident.kind is other}
            kept = frozenset(name for name, link in names.items() if link)
            self._owe_refresh(other)
            if again := refresh.refresh(self.paths, self.host, Expectation(other, kept, frozenset(names) - kept)):
                log.error("the %s overlay is not as it was before: %s", other, again.reason)
            else:
                self.paths.refresh_owed(other).unlink(missing_ok=True)

    def _restore_link(self, ident: ExtensionId, previous: Link | None) -> None:
        try:
            if previous is None:
                links.remove(self.paths, ident)
            else:
                links.restore(self.paths, previous)
        except ReconcilerError as error:
            log.error("the previous link could not be restored: %s", error.message)  # noqa: TRY400 - expected

    def _activator(self) -> Activator:
        return Activator(self.paths, self.host, self.desired, self.block, tuple(self._stopped))

    def _report(self, errors: tuple[ReconcilerError, ...]) -> None:
        """Let the first of them be the action's."""
        self._reported = errors
        if errors:
            raise errors[0]

    def _check(self, action: Check) -> None:
        trouble = self._unstarted.get(action_name(action) or "")
        node_follows = self.desired.settings.checks is not None
        checks.check(self.paths, action, trouble, self.configuration, node_follows=node_follows)
