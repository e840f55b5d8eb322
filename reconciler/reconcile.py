"""The loop: desired state, observed state, plan, apply, look again."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from reconciler import config, report
from reconciler.apply import Applier, Outcome
from reconciler.errors import Invalid, InvalidConfiguration, ReconcilerError
from reconciler.host import links, lock, seen, statedir, store
from reconciler.host.configfiles import fingerprint
from reconciler.host.durable import read_json, write_json
from reconciler.host.machine import read_boot_state, read_host
from reconciler.host.seen import Clouds
from reconciler.model.placeholders import for_host
from reconciler.model.plan import Place, Plan, Problem, Refresh, action_name, make_plan, narrow, problem
from reconciler.model.status import ExtensionStatus, State, View, extension_statuses
from reconciler.observe import observe
from reconciler.resolve import Lookups, Resolver, open_resolver

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from reconciler.model.desired import DesiredState
    from reconciler.model.plan import Targets
    from reconciler.model.release import Host
    from reconciler.paths import Paths

log = logging.getLogger(__name__)

# A configuration that changes while a run works starts it anew, so that no trigger can be lost; one that never
# rests is left to the next trigger.
_MAX_PASSES: Final = 5


@dataclass(frozen=True, slots=True)
class Options:
    """How a run differs from the usual."""

    config: Path | None = None  # another main file
    cloud_configs: tuple[Path, ...] | None = None  # in place of the node's own
    offline: bool = False
    refresh: bool = True  # False: place only, something else merges (at boot, systemd's own unit)
    only: frozenset[str] = frozenset()  # names; empty: all
    patience: float = 0.0  # seconds to wait for another run
    state_dir: str | None = None  # where the state shall be if the configuration does not say it


@dataclass(frozen=True, slots=True)
class Result:
    """What a run, or a mere look, found in the end."""

    view: View
    problems: tuple[Problem, ...]
    outcomes: tuple[Outcome, ...] = ()
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()  # what of cloud-configs is for others
    clouds: Clouds = Clouds()  # noqa: RUF009 - frozen

    @property
    def in_sync(self) -> bool:
        """The node agrees with its configuration."""
        return not self.view.plan.actions and not self.problems

    @property
    def statuses(self) -> tuple[ExtensionStatus, ...]:
        """Every extension there is or should be."""
        return extension_statuses(self.view, {item.name: item for item in self.problems if item.name})


def converge(paths: Paths, options: Options, doing: str) -> Result:
    """Make the node agree with its configuration, as far as that is possible, and say what is not.

    Raises:
        ReconcilerError: nothing could be done at all (another run is at work, no os-release).
    """
    with lock.hold(paths, doing, options.patience, log.info):
        passes = 0
        while True:
            before = fingerprint(paths, options.config)
            result = _converge_once(paths, options)
            _write_status(paths, result)
            seen.record(paths, before, result.clouds)
            passes += 1
            is_unchanged = fingerprint(paths, options.config) == before and result.clouds.are_unchanged
            if is_unchanged or passes == _MAX_PASSES:
                return result
            log.info("the configuration changed meanwhile; looking again")


def look(paths: Paths, options: Options) -> Result:
    """What `converge` would do now; changes nothing."""
    loaded = config.load(paths, options.config, options.cloud_configs)
    desired = _desired(loaded, options)
    host = _host(paths, desired)
    paths, loaded = _located(paths, loaded)
    desired = for_host(desired, host)
    resolver = open_resolver(paths, host, desired, Lookups.LOCAL if options.offline else Lookups.ALL)
    view = _examined(_view(paths, host, desired, resolver), paths)
    return _result(view, loaded, (), options)


def _examined(view: View, paths: Paths) -> View:
    """With what is found of extensions that are to be placed and in the store already."""
    plan = view.plan
    if not any(isinstance(action, Place) for action in plan.actions):
        return view
    from reconciler.preflight import examine

    found = examine(paths, view.observed.host.systemd, plan.actions, view.desired.preflight)
    problems = (problem(name, error) for name, error in found.refused.items())
    warnings = (Problem(None, words) for words in found.warnings)
    told = replace(plan, problems=(*plan.problems, *problems), warnings=(*plan.warnings, *warnings))
    return replace(view, plan=told)


def status(paths: Paths, options: Options) -> Result:
    """How every extension stands, without asking any source; what the last run failed at is still told."""
    loaded = config.load(paths, options.config, options.cloud_configs)
    desired = _desired(loaded, options)
    host = _host(paths, desired)
    paths, loaded = _located(paths, loaded)
    desired = for_host(desired, host)
    view = _view(paths, host, desired, open_resolver(paths, host, desired, Lookups.NONE))
    result = _result(view, loaded, (), options)
    return _with_last_failures(result, read_json(paths.status))


def configured(paths: Paths, options: Options) -> tuple[Paths, DesiredState, Host]:
    """What the configuration says, whatever the host, and what this node is: for questions about another host.

    Returns:
        Also where the state is.

    Raises:
        ReconcilerError: the configuration is broken, or there is no os-release.
    """
    loaded = config.load(paths, options.config, options.cloud_configs)
    if loaded.mistakes:
        raise InvalidConfiguration(loaded.mistakes)
    return _located(paths, loaded)[0], loaded.desired, _host(paths, loaded.desired)


def _converge_once(paths: Paths, options: Options) -> Result:
    loaded = config.load(paths, options.config, options.cloud_configs)
    _tell_configuration(loaded)
    paths, loaded = _settled(paths, loaded, options)
    store.prepare(paths)
    links.clean(paths)
    if options.config is None and options.cloud_configs is None:
        loaded = _remembered(paths, loaded)
    desired = _desired(loaded, options)
    host = _host(paths, desired)
    desired = for_host(desired, host)
    resolver = open_resolver(paths, host, desired, Lookups.LOCAL if options.offline else Lookups.ALL)

    before = _view(paths, host, desired, resolver)
    resolver.remember_sightings(desired)
    plan = _scoped(before, options)
    _tell_plan(plan)
    outcomes = Applier(paths, host, resolver, desired.limits, desired.preflight).apply(plan)
    if plan.actions and not paths.is_running_system:
        from reconciler.host import selinux

        selinux.label_state(paths)
    resolver.remember_stored(desired, before.targets)
    after = _view(paths, host, desired, resolver, before.targets) if plan.actions else before
    statedir.tidy(paths, after.observed.merged)

    result = _result(after, loaded, outcomes, options)
    _tell_result(result, told=(*_mistakes(loaded), *plan.problems))
    return result


def _settled(paths: Paths, loaded: config.Loaded, options: Options) -> tuple[Paths, config.Loaded]:
    """The state where it shall be; if it cannot come there, the node converges with the state where it is."""
    try:
        return statedir.settle(paths, loaded.desired.state_dir or options.state_dir), loaded
    except ReconcilerError as error:
        _tell_problems([problem(None, error)])
        return statedir.locate(paths), replace(loaded, troubles=(*loaded.troubles, error))


def _remembered(paths: Paths, loaded: config.Loaded) -> config.Loaded:
    """Kept for worse times; that it cannot be kept, on a full disk, stops nothing."""
    try:
        config.remember(paths, loaded)
    except ReconcilerError as error:
        _tell_problems([problem(None, error)])
        return replace(loaded, troubles=(*loaded.troubles, error))
    return loaded


def _located(paths: Paths, loaded: config.Loaded) -> tuple[Paths, config.Loaded]:
    """The state where it is, for a mere look."""
    located, wanted = statedir.locate(paths), loaded.desired.state_dir
    if wanted in {None, located.state_dir}:
        return located, loaded
    moves = f"the next run moves the state from {located.state_dir} to {wanted}"
    return located, replace(loaded, warnings=(*loaded.warnings, moves))


def _host(paths: Paths, desired: DesiredState) -> Host:
    """What this node is; what it has for image files only where that matters, since systemd has to be asked."""
    host = read_host(paths)
    if desired.depends_on_boot_state:
        host = replace(host, boot_state=read_boot_state(paths))
    if not (paths.is_running_system and desired.wants_image_files):
        return host
    from reconciler.host.imagesupport import read_policies
    from reconciler.host.loopdevices import device_mapper_available, loop_devices_available

    return replace(
        host,
        image_policies=read_policies(host.systemd),
        has_loop_devices=loop_devices_available(),
        has_device_mapper=device_mapper_available(),
    )


def _desired(loaded: config.Loaded, options: Options) -> DesiredState:
    return loaded.desired if options.refresh else replace(loaded.desired, refresh_now=False)


def _view(
    paths: Paths, host: Host, desired: DesiredState, resolver: Resolver, targets: Targets | None = None
) -> View:
    known = resolver.resolve_all(desired.extensions) if targets is None else targets
    entries = [target.entry for target in known.values() if not isinstance(target, ReconcilerError)]
    observed = observe(paths, host, entries)
    return View(desired, observed, known, make_plan(desired, observed, known))


def _scoped(view: View, options: Options) -> Plan:
    """The plan for the extensions the user named.

    Raises:
        Invalid: a name that is neither configured nor placed.
    """
    if not options.only:
        return view.plan
    unknown = options.only - view.desired.names - {ident.name for ident in view.observed.links}
    if unknown:
        known = ", ".join(sorted(view.desired.names)) or "none"
        raise Invalid(f"{', '.join(sorted(unknown))}: no such extension", f"configured are: {known}")
    return narrow(view.plan, options.only)


def _result(view: View, loaded: config.Loaded, outcomes: tuple[Outcome, ...], options: Options) -> Result:
    plan = _scoped(view, options)
    failures = [item for it in outcomes if it.error for item in _outcome_problems(it, it.error)]
    problems = tuple(dict.fromkeys([*_mistakes(loaded), *failures, *plan.problems]))
    warnings = (*loaded.warnings, *(item.message for item in plan.warnings))
    return Result(replace(view, plan=plan), problems, outcomes, warnings, loaded.notes, loaded.clouds)


def _mistakes(loaded: config.Loaded) -> list[Problem]:
    return [problem(None, mistake) for mistake in (*loaded.mistakes, *loaded.troubles)]


def _outcome_problems(outcome: Outcome, error: ReconcilerError) -> list[Problem]:
    match outcome.action:
        case Refresh():
            concerned: list[str | None] = [*sorted(outcome.culprits)]
            return [problem(name, error) for name in concerned or [None]]
        case action:
            return [problem(action_name(action), error)]


def _with_last_failures(result: Result, document: Any) -> Result:  # noqa: ANN401 - JSON
    """Tell why the last run failed rather than only that something is still to do."""
    waiting = [item for item in result.statuses if item.state in {State.DRIFTED, State.PENDING}]
    try:
        failures = _failures_in(document)
    except (KeyError, TypeError, AttributeError):  # not as we write it: then it tells nothing
        return result
    told = [failures[item.name, item.source] for item in waiting if (item.name, item.source) in failures]
    replaced = {item.name for item in told}
    kept = [item for item in result.problems if item.name not in replaced]
    return replace(result, problems=(*kept, *told))


def _failures_in(document: Any) -> dict[tuple[str, str | None], Problem]:  # noqa: ANN401 - JSON
    """The failures in a status document, by name and source: with another source they say nothing any more."""
    if document is None:
        return {}
    hints = {item["message"]: item["hint"] for item in document["problems"]}
    return {
        (item["name"], item["source"]): Problem(item["name"], item["reason"], hints.get(item["reason"]))
        for item in document["extensions"]
        if item["state"] == str(State.FAILED)
    }


def _write_status(paths: Paths, result: Result) -> None:
    document = report.status_document(result.statuses, result.problems, in_sync=result.in_sync)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    write_json(paths.status, {**document, "time": now}, durable=False)


def _tell_configuration(loaded: config.Loaded) -> None:
    for warning in loaded.warnings:
        log.warning(warning)
    for note in loaded.notes:
        log.debug(note)
    _tell_problems(_mistakes(loaded))
    if loaded.mistakes:
        log.warning("the configuration is broken; the last good one stays in force")


def _tell_plan(plan: Plan) -> None:
    """Before anything is changed, always."""
    for action in plan.actions:
        log.info("plan: %s", report.action_line(action))
    for item in plan.warnings:
        log.warning(item.message)
    _tell_problems(plan.problems)


def _tell_result(result: Result, told: Sequence[Problem]) -> None:
    for outcome in result.outcomes:
        if outcome.error is None and not outcome.skipped:
            log.info("done: %s", report.action_line(outcome.action))
    _tell_problems(item for item in result.problems if item not in told)
    log.info("in sync" if result.in_sync else "not in sync")


def _tell_problems(problems: Iterable[Problem]) -> None:
    """Each once, also where it concerns several extensions."""
    for item in dict.fromkeys(replace(item, name=None) for item in problems):
        for line in report.problem_lines(item):
            log.error(line)
