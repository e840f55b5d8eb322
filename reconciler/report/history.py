"""What the node had before and what is kept of it, for `livelayer history` and `gc`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.model.state.generation import Change, Dropped, Generation, changes
from reconciler.report import tables
from reconciler.report.documents import short

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


_COLUMNS = ("GENERATION", "TIME", "BY", "CHANGES")


def history_lines(generations: Sequence[Generation], *, terminal: bool) -> Iterator[str]:
    rows = [_row(before, it) for before, it in _pairs(generations)]
    yield tables.table([_COLUMNS, *reversed(rows)], terminal=terminal) if rows else "no generations"


def history_document(generations: Sequence[Generation]) -> dict[str, Any]:
    return {"generations": [_generation_object(before, it) for before, it in _pairs(generations)]}


def _pairs(generations: Sequence[Generation]) -> zip[tuple[Generation | None, Generation]]:
    return zip([None, *generations], generations, strict=False)


def _row(before: Generation | None, it: Generation) -> tuple[str, ...]:
    time = it.time.isoformat(timespec="seconds").replace("+00:00", "Z")
    return str(it.number), time, it.cause, ", ".join(map(_change, changes(before, it))) or "nothing"


def _change(change: Change) -> str:
    old, new = change.old, change.new
    if old and new and old.digest == new.digest:
        return f"{change.ident} {old.format} -> {new.format}"
    if old and new:
        return f"{change.ident} {short(old.digest)} -> {short(new.digest)}"
    if new:
        return f"+{change.ident} {short(new.digest)}"
    return f"-{change.ident} {short(old.digest if old else None)}"


def _generation_object(before: Generation | None, it: Generation) -> dict[str, Any]:
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


def dropped_lines(dropped: Sequence[Dropped], *, dry_run: bool) -> Iterator[str]:
    yield from (f"{it.what} {it.path.name} ({it.size} bytes)" for it in dropped)
    yield f"{_freed(dropped)} bytes {'would be freed' if dry_run else 'freed'}"


def dropped_document(dropped: Sequence[Dropped], *, dry_run: bool) -> dict[str, Any]:
    items = [{"path": str(it.path), "what": it.what, "bytes": it.size} for it in dropped]
    return {"dry_run": dry_run, "freed": _freed(dropped), "dropped": items}


def _freed(dropped: Sequence[Dropped]) -> int:
    return sum(it.size for it in dropped)
