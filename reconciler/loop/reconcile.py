"""The loop: desired state, observed state, plan, apply, look again."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from reconciler.dataclass import dataclass
from reconciler.errors import InvalidConfiguration, ReconcilerError
from reconciler.fetch.resolve import Lookups
from reconciler.host.base import lock
from reconciler.host.config.configfiles import fingerprint
from reconciler.host.merge import links
from reconciler.host.node.machine import booted_with_systemd
from reconciler.host.records import seen, statedir
from reconciler.host.records.seen import Clouds
from reconciler.host.store import entries as store
from reconciler.loop import config, generations, laststatus, recordkeeping
from reconciler.loop.session import Options, Session, host_of, located, look_at_node, open_session, unknown_extensions
from reconciler.loop.underway import Underway
from reconciler.model.plan.action import Plan, Problem, Refresh, action_name, problem
from reconciler.model.plan.plan import narrow, only_activation
from reconciler.model.plan.status import (
    ExtensionStatus,
    NodeStatus,
    Standing,
    View,
    awaiting_boot,
    extension_statuses,
)
from reconciler.report import documents, runlog

if TYPE_CHECKING:
    from reconciler.host.config.configfiles import Fingerprint
    from reconciler.loop.apply import Outcome
    from reconciler.model.config.desired import DesiredState
    from reconciler.model.fit.release import Host
    from reconciler.paths import Paths

log = logging.getLogger(__name__)

# A configuration that changes while a run works starts it anew, so that no trigger can be lost; one that never
# rests is left to the next trigger.
_MAX_PASSES: Final = 5
_RUNS: Final = (
    "livelayer.service",
    "livelayer-online.service",
    "livelayer-boot.service",
    "livelayer-recheck.service",
)
_FAILED: Final = "a change failed its checks"
_LATE: Final = "some of it is still being fetched"
_CHANGED: Final = "the configuration changed meanwhile"


@dataclass(frozen=True, slots=True)
class Result:
    """What a run, or a mere look, found in the end."""

    view: View
    problems: tuple[Problem, ...]
    outcomes: tuple[Outcome, ...] = ()
    warnings: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()  # what of cloud-configs is for others
    clouds: Clouds = Clouds()
    standing: Standing = Standing()

    @property
    def checks_failed(self) -> bool:
        return any(outcome.check_failed for outcome in self.outcomes)

    @property
    def reason_to_look_again(self) -> str | None:
        if self.checks_failed:
            return _FAILED
        return _LATE if any(outcome.late for outcome in self.outcomes) else None

    @property
    def converged(self) -> bool:
        """Whether no run could do more: in sync, but for what the configuration leaves to the next boot."""
        return not self.view.plan.actions and not self.problems

    @property
    def in_sync(self) -> bool:
        return self.converged and not self.awaiting_boot

    @property
    def awaiting_boot(self) -> tuple[str, ...]:
        return awaiting_boot(self.view)

    @property
    def verdict(self) -> str:
        return documents.verdict(converged=self.converged, awaiting_boot=self.awaiting_boot)

    @property
    def node(self) -> NodeStatus:
        return NodeStatus(self.in_sync, self.statuses, self.problems, self.standing, self.warnings)

    @property
    def statuses(self) -> tuple[ExtensionStatus, ...]:
        return extension_statuses(self.view, self.problems, self.standing.retries)


def converge(paths: Paths, options: Options, doing: str) -> Result:
    """Make the node agree with its configuration, as far as that is possible, and say what is not."""
    with lock.hold(paths, doing, options.patience, log.info), Underway() as underway:
        passes = 0
        earlier: tuple[Outcome, ...] = ()
        while True:
            before = fingerprint(paths, options.config)
            underway.is_outdated = partial(_has_changed, paths, options, before)
            result = _converge_once(paths, options, doing, underway)
            if result.converged and laststatus.had_problems(paths):
                _forgive_failed_runs(paths)
            laststatus.write(paths, documents.status_document(result.node))
            seen.record(paths, before, result.clouds)
            is_unchanged = not _has_changed(paths, options, before) and result.clouds.are_unchanged
            reason = result.reason_to_look_again or (None if is_unchanged else _CHANGED)
            passes += reason != _LATE  # of these there are only as many as there are fetches
            if reason is None or passes == _MAX_PASSES:
                return replace(result, outcomes=(*earlier, *result.outcomes))
            earlier = (*earlier, *result.outcomes) if reason == _LATE else ()
            log.info("%s; looking again", reason)
            options = replace(options, retry=None)


def _has_changed(paths: Paths, options: Options, before: Fingerprint) -> bool:
    return fingerprint(paths, options.config) != before


def roll_back(paths: Paths, options: Options, number: int | None) -> Result:
    """Go back to a generation (None: the one before the present one), and stay until the configuration changes."""
    loaded = config.load(paths, options.config, options.cloud_configs)
    generation = generations.hold(statedir.locate(paths), loaded, number)
    return converge(paths, replace(options, offline=True), f"livelayer rollback {generation.number}")


def follow_configuration(paths: Paths, options: Options) -> Result:
    generations.release(statedir.locate(paths))
    return converge(paths, options, "livelayer rollback --release")


def activate(paths: Paths, options: Options) -> Result:
    """Do what the merge owes for what is merged now, whoever merged it, and nothing else; no source is asked."""
    with lock.hold(paths, "livelayer activate", options.patience, log.info):
        if not options.block:  # a boot: all is owed, also after a soft one, which keeps the record
            paths.activation.unlink(missing_ok=True)
        session = replace(look_at_node(paths, options, Lookups.NONE), patient=False)
        view = session.view()
        plan = only_activation(view.plan, view.observed, checks=options.block)
        runlog.log_plan(plan)
        with Underway() as underway:
            after, outcomes, kept = _carried_out(session, replace(view, plan=plan), plan, "activate", underway)
        result = _result(after, session, options, kept, outcomes)
        laststatus.write(session.paths, documents.status_document(result.node))
        runlog.log_problems(result.problems)
        return result


def look(paths: Paths, options: Options) -> Result:
    """What `converge` would do now; changes nothing."""
    session = look_at_node(paths, options, Lookups.LOCAL if options.offline else Lookups.ALL)
    view = session.view()
    if view.plan.actions:
        from reconciler.loop.preflight import examined

        view = examined(view, session)
    return _result(view, session, options, recordkeeping.read(session, view))


def status(paths: Paths, options: Options) -> Result:
    """How every extension stands, without asking any source; what the last run failed at is still reported."""
    session = look_at_node(paths, options, Lookups.NONE)
    view = session.view()
    result = _result(view, session, options, recordkeeping.read(session, view))
    return replace(result, problems=laststatus.with_failures(result.statuses, result.problems, session.paths))


def configured(paths: Paths, options: Options) -> tuple[Paths, DesiredState, Host]:
    """Where the state is, what the configuration says whatever the host, and what this node is."""
    loaded = config.load(paths, options.config, options.cloud_configs)
    if loaded.mistakes:
        raise InvalidConfiguration(loaded.mistakes)
    return located(paths, loaded)[0], loaded.desired, host_of(paths, loaded.desired)


def _forgive_failed_runs(paths: Paths) -> None:
    """Units of runs that failed before this one would leave the node degraded for nothing."""
    if not (paths.is_running_system and booted_with_systemd()):
        return
    from reconciler.host.node import units

    units.forgive(_RUNS)


def _converge_once(paths: Paths, options: Options, doing: str, underway: Underway) -> Result:
    session = _begin(paths, options, underway)
    before = session.view()
    session.resolver.remember_seen(session.desired)
    plan = _scoped(before, options)
    runlog.log_plan(plan)
    after, outcomes, kept = _carried_out(session, before, plan, doing, underway)

    result = _result(after, session, options, kept, outcomes)
    runlog.log_actions("done", (it.action for it in outcomes if it.error is None and not it.skipped))
    reported = [*_mistakes(session.loaded), *plan.problems]
    reported += after.plan.problems if result.checks_failed else ()  # the next pass says what has become of it
    runlog.log_problems(it for it in result.problems if it not in reported)
    log.info(result.verdict)
    return result


def _carried_out(
    session: Session, before: View, plan: Plan, doing: str, underway: Underway
) -> tuple[View, tuple[Outcome, ...], recordkeeping.Kept]:
    """What the node looks like after a plan. What fetches and starts programs is loaded only for one with actions."""
    if not plan.actions:
        return before, (), recordkeeping.keep(session, before, before, (), doing)
    from reconciler.loop import change

    outcomes = change.apply(session, plan, underway)
    after = session.view(change.as_fetched(before.targets, outcomes))
    kept = recordkeeping.keep(session, before, after, outcomes, doing)
    return after, outcomes, change.tidied(kept, session, after, underway)


def _begin(paths: Paths, options: Options, underway: Underway) -> Session:
    paths, loaded = located(paths, config.load(paths, options.config, options.cloud_configs))
    _log_configuration(loaded)
    if not underway.is_busy:
        store.prepare(paths)
    statedir.remember(paths)
    links.clean(paths)
    if options.config is None and options.cloud_configs is None:
        loaded = _remembered(paths, loaded, options)
    if options.retry is not None:
        recordkeeping.forget_failures(paths, options.retry)
    session = open_session(paths, loaded, options, Lookups.LOCAL if options.offline else Lookups.ALL)
    if session.held:
        log.info("generation %d is held until the configuration changes", session.held.number)
    return session


def _log_configuration(loaded: config.Loaded) -> None:
    for warning in loaded.warnings:
        log.warning(warning)
    for note in loaded.notes:
        log.debug(note)
    runlog.log_problems(_mistakes(loaded))
    if loaded.mistakes:
        log.warning("the configuration is broken; the last good one stays in force")


def _remembered(paths: Paths, loaded: config.Loaded, options: Options) -> config.Loaded:
    """Kept for worse times; that it cannot be kept, on a full disk, stops nothing."""
    try:
        config.remember(paths, loaded, forget_vanished=options.confirm_prune)
    except ReconcilerError as error:
        runlog.log_problems([problem(None, error)])
        return replace(loaded, troubles=(*loaded.troubles, error))
    return loaded


def _scoped(view: View, options: Options) -> Plan:
    if not options.only:
        return view.plan
    unknown = options.only - view.desired.names - {ident.name for ident in view.observed.links}
    if unknown:
        raise unknown_extensions(unknown, view.desired)
    return narrow(view.plan, options.only)


def _result(
    view: View,
    session: Session,
    options: Options,
    kept: recordkeeping.Kept,
    outcomes: tuple[Outcome, ...] = (),
) -> Result:
    loaded = session.loaded
    plan = _scoped(view, options)
    failures = [item for it in outcomes if it.error for item in _outcome_problems(it, it.error)]
    others = [problem(None, error) for error in kept.troubles]
    problems = tuple(dict.fromkeys([*_mistakes(loaded), *failures, *plan.problems, *others]))
    warnings = (*(Problem("config.passed-over", None, it) for it in loaded.warnings), *plan.warnings)
    return Result(
        replace(view, plan=plan),
        problems,
        outcomes,
        warnings,
        loaded.notes,
        loaded.clouds,
        kept.standing,
    )


def _mistakes(loaded: config.Loaded) -> list[Problem]:
    return [problem(None, mistake) for mistake in (*loaded.mistakes, *loaded.troubles)]


def _outcome_problems(outcome: Outcome, error: ReconcilerError) -> list[Problem]:
    match outcome.action:
        case Refresh():
            concerned: list[str | None] = [*sorted(outcome.culprits)]
            return [problem(name, error) for name in concerned or [None]]
        case action:
            return [problem(action_name(action), it) for it in (error, *outcome.more)]
