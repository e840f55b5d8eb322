"""The verbs about what the node had before, and what is kept of it: history, rollback, gc."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.errors import Invalid
from reconciler.paths import Paths
from reconciler.verbs.console import PATIENCE, Verbs, add_verb, is_terminal, print_result, say
from reconciler.verbs.exitstatus import ERROR, OK

if TYPE_CHECKING:
    import argparse


def add(verbs: Verbs) -> None:
    add_verb(verbs, "history", _history, "list the generations: what each change has changed")
    rollback = add_verb(
        verbs,
        "rollback",
        _rollback,
        "go back to a generation, from the store alone, and stay there until the configuration changes",
    )
    rollback.add_argument(
        "number", nargs="?", type=int, metavar="N", help="of the generation; default: the one before the present one"
    )
    rollback.add_argument("--release", action="store_true", help="follow the configuration again")
    collect = add_verb(verbs, "gc", _gc, "drop old generations, and content that none needs; apply does so, too")
    collect.add_argument("--dry-run", action="store_true", help="only say what would go")


def _history(options: argparse.Namespace) -> int:
    from reconciler.host.records import history, statedir
    from reconciler.report.history import history_document, history_lines

    found = history.read_history(statedir.locate(Paths(options.root)))
    lines = history_lines(found.generations, terminal=is_terminal())
    print_result(options, lambda: history_document(found.generations), lines)
    say(*(f"livelayer: {path}: damaged" for path in found.damaged))
    say(*(f"livelayer: {path}: written by a newer livelayer" for path in found.newer))
    return OK


def _rollback(options: argparse.Namespace) -> int:
    from reconciler.loop import reconcile
    from reconciler.loop.session import Options
    from reconciler.report import documents

    if options.release and options.number is not None:
        raise Invalid("--release goes back to the configuration, not to a generation", "leave one of the two out")
    paths, how = Paths(options.root), Options(options.config, patience=PATIENCE)
    if options.release:
        result = reconcile.follow_configuration(paths, how)
    else:
        result = reconcile.roll_back(paths, how, options.number)
    lines = documents.rollback_lines(result.node)
    print_result(options, lambda: documents.status_document(result.node), lines)
    return OK if result.converged else ERROR


def _gc(options: argparse.Namespace) -> int:
    from reconciler.loop.garbage import clear_away
    from reconciler.loop.session import Options
    from reconciler.report.history import dropped_document, dropped_lines

    how, dry_run = Options(options.config, patience=PATIENCE), options.dry_run
    dropped = clear_away(Paths(options.root), how, dry_run=dry_run)
    lines = dropped_lines(dropped, dry_run=dry_run)
    print_result(options, lambda: dropped_document(dropped, dry_run=dry_run), lines)
    return OK
