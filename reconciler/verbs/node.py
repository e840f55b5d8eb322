"""The verbs about a node: plan, apply, status, explain, watch."""

from __future__ import annotations

import gc
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from reconciler.errors import Invalid, Terminated
from reconciler.paths import Paths
from reconciler.verbs import forecast
from reconciler.verbs.console import (
    PATIENCE,
    Verbs,
    add_cloud_config,
    add_verb,
    cloud_configs,
    is_terminal,
    print_json,
    print_result,
    say,
)
from reconciler.verbs.exitstatus import ERROR, NOT_IN_SYNC, OK, words

if TYPE_CHECKING:
    import argparse

    from reconciler.loop.reconcile import Result
    from reconciler.loop.session import Options

_RETRY: Final = "livelayer-retry"
_SOONEST: Final = 10.0  # seconds; a time that has passed by now must not make runs follow each other without end
_TIMER: Final = "livelayer.timer"  # is active where systemd does runs
_RETRY_TIMER: Final = Path("/run/systemd/transient", f"{_RETRY}.timer")
_RUNS_MAX: Final = 20  # of one call; a configuration that never rests is left to the next trigger


def add(verbs: Verbs) -> None:
    plan = add_verb(verbs, "plan", _plan, "print what apply would do, and why", "diff")
    plan.add_argument("--offline", action="store_true", help="ask no registry")
    add_cloud_config(plan)
    _add_apply(verbs)
    activate = add_verb(
        verbs, "activate", _activate, "do what is owed for what is merged: users, directories, caches, units"
    )
    activate.add_argument(
        "--no-block", action="store_true", help="at boot: tell units to start, and do not wait for them"
    )
    activate.add_argument(
        "--wait",
        type=float,
        default=PATIENCE,
        metavar="SECONDS",
        help="how long to wait for another run (%(default)s)",
    )
    status = add_verb(verbs, "status", _status, "show every extension: desired, placed, merged, and why")
    status.add_argument("--check", action="store_true", help=f"tell by the exit status{words('status --check')}")
    explain = add_verb(verbs, "explain", _explain, "say why an extension is as it is")
    explain.add_argument("name", metavar="NAME")
    watch = add_verb(verbs, "watch", _watch, "stay, and converge on every change of the configuration")
    watch.add_argument(
        "--resync",
        type=float,
        default=3600.0,
        metavar="SECONDS",
        help="look again after this time (%(default)s)",
    )


def _add_apply(verbs: Verbs) -> None:
    parser = add_verb(verbs, "apply", _apply, "converge")
    parser.add_argument("--offline", action="store_true", help="use no registry, only what is on this node")
    parser.add_argument("--dry-run", action="store_true", help="print the plan only")
    parser.add_argument(
        "--if-changed", action="store_true", help="only if the configuration changed since the last run"
    )
    parser.add_argument(
        "--linger",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="with --if-changed: look again after this time, and so after each run",
    )
    parser.add_argument(
        "--automatic", action="store_true", help="nobody waits: leave alone what failed lately, until it is due"
    )
    parser.add_argument(
        "--retry", action="store_true", help="try again at once what failed (with NAME...: only of these extensions)"
    )
    parser.add_argument(
        "--confirm-prune", action="store_true", help="remove what is not listed, however much it is (prune_limit)"
    )
    parser.add_argument("--no-refresh", action="store_true", help="place only; the next boot (or you) merges")
    add_cloud_config(parser)
    parser.add_argument(
        "--wait",
        type=float,
        default=PATIENCE,
        metavar="SECONDS",
        help="how long to wait for another run (%(default)s)",
    )
    forecast.add_prefetch(parser)
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these extensions")


def _plan(options: argparse.Namespace) -> int:
    from reconciler.loop import reconcile
    from reconciler.report import documents

    result = reconcile.look(Paths(options.root), _options(options))
    plan = result.view.plan
    lines = documents.plan_lines(plan, result.verdict)
    print_result(options, lambda: documents.plan_document(plan, result.node), lines)
    if not options.json:
        say(*_remarks(result, options), *documents.problem_lines(result.problems))
    if result.problems:
        return ERROR
    return OK if result.in_sync else NOT_IN_SYNC


def _remarks(result: Result, options: argparse.Namespace) -> list[str]:
    notes = result.notes if options.verbose else ()
    return [f"livelayer: {line}" for line in (*(it.sentence for it in result.warnings), *notes)]


def _apply(options: argparse.Namespace) -> int:
    if options.for_os_release:
        return forecast.prefetch(options, _options(options))
    if options.systemd or options.kernel:
        raise Invalid("--systemd and --kernel are of another OS", "name its os-release: --for-os-release FILE")
    if options.if_changed:
        return _apply_changes(options)
    return _converge(options)


def _apply_changes(options: argparse.Namespace) -> int:
    """Converge if the configuration is not that of the last run, and again if it changes while this lingers."""
    status = OK
    for _ in range(_RUNS_MAX):
        if not _differs_within(options.linger, options):
            break
        status = _converge(options)
    return status


def _differs_within(seconds: float, options: argparse.Namespace) -> bool:
    """Whether the configuration is another one than the last run worked from, now or after that time.

    Not in between: whoever is told of a change, the path unit for instance, is to go first.
    """
    if not _is_unchanged(options):
        return True
    time.sleep(seconds)
    return seconds > 0 and not _is_unchanged(options)


def _converge(options: argparse.Namespace) -> int:
    from reconciler.loop import reconcile

    if options.dry_run:
        return ERROR if _plan(options) == ERROR else OK
    result = reconcile.converge(Paths(options.root), _options(options), "livelayer apply")
    if options.root == Path("/") and (options.automatic or options.config is None):
        _come_back(result.standing.retry_at, by_hand=not options.automatic)
    if options.json:
        from reconciler.report import documents

        print_json(documents.status_document(result.node))
    return OK if result.converged else ERROR


def _activate(options: argparse.Namespace) -> int:
    from reconciler.loop import reconcile

    result = reconcile.activate(Paths(options.root), _options(options))
    if options.json:
        from reconciler.report import documents

        print_json(documents.status_document(result.node))
    return ERROR if any(it.error for it in result.outcomes) else OK


def _come_back(retry_at: float | None, *, by_hand: bool) -> None:
    """Let systemd start the service again when the next attempt is due; after a run by hand only if it does runs."""
    if retry_at is None and not _RETRY_TIMER.exists():
        return
    from reconciler.host.node import units
    from reconciler.host.node.machine import booted_with_systemd

    if not booted_with_systemd() or (by_hand and not units.unit_state(_TIMER).is_active):
        return
    if retry_at is None:
        units.cancel_start(_RETRY)
    else:
        units.start_later("livelayer.service", max(_SOONEST, retry_at - time.time()), _RETRY)


def _is_unchanged(options: argparse.Namespace) -> bool:
    from reconciler.host.config.configfiles import fingerprint
    from reconciler.host.records import seen

    paths = Paths(options.root)
    return seen.is_current(paths, fingerprint(paths, options.config), cloud_configs(options))


def _status(options: argparse.Namespace) -> int:
    from reconciler.loop import reconcile
    from reconciler.report import documents, tables

    result = reconcile.status(Paths(options.root), _options(options))
    table = tables.status_table(result.statuses, terminal=is_terminal())
    print_result(options, lambda: documents.status_document(result.node), [table])
    if not options.json:
        say(*documents.ways_out(result.node), *_remarks(result, options))
    if not options.check:
        return OK
    if [item for item in result.problems if item.extension is None]:
        return ERROR
    return OK if result.in_sync else NOT_IN_SYNC


def _explain(options: argparse.Namespace) -> int:
    from reconciler.host.records import statedir
    from reconciler.loop import reconcile
    from reconciler.loop.preflight import present
    from reconciler.model.kind import ExtensionId
    from reconciler.report import explanation

    result = reconcile.status(Paths(options.root), _options(options))
    found = [item for item in result.statuses if item.name == options.name]
    if not found:
        known = ", ".join(sorted({item.name for item in result.statuses})) or "none"
        raise Invalid(f"{options.name}: no such extension", f"there are: {known}", code="extension.unknown")
    located = statedir.locate(Paths(options.root))
    collisions = {
        it.kind: present(located, result.view.observed.links, ExtensionId(it.name, it.kind)) for it in found
    }
    explained = [explanation.explain(it, result.view, result.problems, collisions[it.kind]) for it in found]
    lines = (line for item in explained for line in explanation.lines(item))
    print_result(options, lambda: {"extensions": explained}, lines)
    return OK


def _watch(options: argparse.Namespace) -> int:
    from reconciler.loop.watch import Watcher

    gc.enable()
    try:
        Watcher(Paths(options.root), _options(options), options.resync).run()
    except Terminated as error:
        say(f"livelayer: ended by {error}")
    return OK


def _options(options: argparse.Namespace) -> Options:
    from reconciler.loop.session import Options

    given = vars(options)
    return Options(
        config=options.config,
        cloud_configs=cloud_configs(options),
        offline=given.get("offline", False),
        refresh=not given.get("no_refresh", False),
        only=frozenset(given.get("names", ())),
        automatic=given.get("automatic", options.run is _watch),
        retry=frozenset(given.get("names", ())) if given.get("retry") else None,
        confirm_prune=given.get("confirm_prune", False),
        patience=given.get("wait", PATIENCE),
        block=not given.get("no_block", False),
        all_units=options.run in {_status, _explain},
    )
