"""The verbs about what the node had before, and what is kept of it: history, rollback, gc."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from reconciler.errors import Invalid
from reconciler.paths import Paths
from reconciler.verbs.console import ERROR, OK, PATIENCE, Verbs, add_verb, print_json, print_line, say

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from reconciler.loop.garbage import Dropped
    from reconciler.model.state.generation import Change, Generation


def add(verbs: Verbs) -> list[argparse.ArgumentParser]:
    """The verbs of this module."""
    return [_add_history(verbs), _add_rollback(verbs), _add_gc(verbs)]


def _add_history(verbs: Verbs) -> argparse.ArgumentParser:
    return add_verb(verbs, "history", _history, "list the generations: what each change has changed")


def _add_rollback(verbs: Verbs) -> argparse.ArgumentParser:
    parser = add_verb(
        verbs,
        "rollback",
        _rollback,
        "go back to a generation, from the store alone, and stay there until the configuration changes",
    )
    parser.add_argument(
        "number", nargs="?", type=int, metavar="N", help="of the generation; default: the one before the present one"
    )
    parser.add_argument("--release", action="store_true", help="follow the configuration again")
    return parser


def _add_gc(verbs: Verbs) -> argparse.ArgumentParser:
    parser = add_verb(verbs, "gc", _gc, "drop old generations, and content that none needs; apply does so, too")
    parser.add_argument("--dry-run", action="store_true", help="only tell what would go")
    return parser


def _history(options: argparse.Namespace) -> int:
    from reconciler.host.records import history, statedir

    found = history.read_history(statedir.locate(Paths(options.root)))
    befores = [None, *found.generations]
    pairs = list(zip(befores, found.generations, strict=False))
    if options.json:
        print_json({"generations": [_object(before, it) for before, it in pairs]})
        return OK
    if pairs:
        rows = [("GENERATION", "TIME", "BY", "CHANGES"), *(_row(before, it) for before, it in reversed(pairs))]
        _print_table(rows)
    else:
        print_line("no generations")
    for path in (*found.damaged, *found.newer):
        say(f"livelayer: {path}: {'damaged' if path in found.damaged else 'written by a newer livelayer'}")
    return OK


def _print_table(rows: Sequence[tuple[str, ...]]) -> None:
    from reconciler.report import tables

    print_line(tables.table(rows, terminal=sys.stdout.isatty()))


def _row(before: Generation | None, it: Generation) -> tuple[str, ...]:
    from reconciler.model.state.generation import changes

    told = ", ".join(map(_change_line, changes(before, it)))
    time = it.time.isoformat(timespec="seconds").replace("+00:00", "Z")
    return str(it.number), time, it.cause, told or "nothing"


def _change_line(change: Change) -> str:
    from reconciler.report.documents import short

    old, new = change.old, change.new
    if old and new and old.digest == new.digest:
        return f"{change.ident} {old.format} -> {new.format}"
    if old and new:
        return f"{change.ident} {short(old.digest)} -> {short(new.digest)}"
    if new:
        return f"+{change.ident} {short(new.digest)}"
    return f"-{change.ident} {short(old.digest if old else None)}"


def _object(before: Generation | None, it: Generation) -> dict[str, Any]:
    from reconciler.model.state.generation import changes

    return {
        "generation": it.number,
        "time": it.time.isoformat(timespec="seconds"),
        "by": it.cause,
        "extensions": [
            {"name": ident.name, "kind": ident.kind, "digest": placed.entry.digest, "source": placed.source}
            for ident, placed in sorted(it.extensions.items())
        ],
        "changes": [
            {
                "name": change.ident.name,
                "kind": change.ident.kind,
                "from": change.old.digest if change.old else None,
                "to": change.new.digest if change.new else None,
            }
            for change in changes(before, it)
        ],
    }


def _rollback(options: argparse.Namespace) -> int:
    from reconciler.loop import reconcile

    if options.release and options.number is not None:
        raise Invalid("--release goes back to the configuration, not to a generation", "leave one of the two out")
    paths, how = Paths(options.root), reconcile.Options(options.config, patience=PATIENCE)
    if options.release:
        result = reconcile.follow_configuration(paths, how)
    else:
        result = reconcile.roll_back(paths, how, options.number)
    if options.json:
        print_json(result.document())
    elif result.in_sync and result.standing.held:
        print_line(f"generation {result.standing.held} is in force until the configuration changes")
    return OK if result.in_sync else ERROR


def _gc(options: argparse.Namespace) -> int:
    from reconciler.loop import reconcile

    how = reconcile.Options(options.config, patience=PATIENCE)
    dropped = reconcile.clear_away(Paths(options.root), how, dry_run=options.dry_run)
    freed = sum(it.size for it in dropped)
    if options.json:
        print_json(
            {
                "dry_run": options.dry_run,
                "freed": freed,
                "dropped": [{"path": str(it.path), "what": it.what, "bytes": it.size} for it in dropped],
            }
        )
        return OK
    for it in dropped:
        print_line(_dropped_line(it))
    print_line(f"{freed} bytes {'would be freed' if options.dry_run else 'freed'}")
    return OK


def _dropped_line(it: Dropped) -> str:
    return f"{it.what} {it.path.name} ({it.size} bytes)"
