"""Tables for people: rich on a terminal, aligned plain columns elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from reconciler.errors import printable
from reconciler.model.kind import Kind
from reconciler.model.plan.status import ExtensionStatus, State
from reconciler.report.documents import rfc3339, short
from reconciler.report.shown import Drawn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Column

_COLUMNS: Final = ("NAME", "STATE", "MERGED", "PLACED", "DESIRED", "REASON")
_COLOURS: Final = {
    State.IN_SYNC: "green",
    State.DRIFTED: "yellow",
    State.PENDING: "yellow",
    State.FAILED: "red",
    State.HELD: "cyan",
    State.UNMANAGED: "dim",
}


def status_table(statuses: Sequence[ExtensionStatus], *, terminal: bool) -> str:
    return table([_COLUMNS, *map(_row, statuses)], terminal=terminal) if statuses else "no extensions"


def _row(item: ExtensionStatus) -> tuple[str, ...]:
    merged = "yes" if item.merged else "no"
    name = item.name if item.kind is Kind.SYSEXT else f"{item.name} ({item.kind})"
    again = f"; tried again at {rfc3339(item.retry_at)}" if item.retry_at else ""
    until = f"; until {rfc3339(item.waiting_until)} at the latest" if item.waiting_until else ""
    return name, item.state, merged, short(item.placed), short(item.desired), (item.reason or "") + again + until


def table(rows: Sequence[tuple[str, ...]], *, terminal: bool) -> Drawn:
    """Rows below a first one with the names of the columns; states have their colours."""
    if not terminal:
        return _plain_table(rows)
    from rich.table import Column

    return _drawn(rows[1:], *map(Column, rows[0]))


def sheet(rows: Sequence[tuple[str, str]], *, terminal: bool) -> Drawn:
    """What is known of one thing: a label, empty where the one above still holds, and a value."""
    if not terminal:
        return _plain_table(rows)
    from rich.table import Column

    return _drawn(rows, Column(style="bold", no_wrap=True), Column(overflow="fold"))


def _plain_table(rows: Sequence[tuple[str, ...]]) -> Drawn:
    cells = [tuple(map(printable, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells)
    return Drawn("\n".join(line.rstrip() for line in lines))


def _drawn(rows: Sequence[tuple[str, ...]], *columns: Column) -> Drawn:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(*columns, box=None, show_header=bool(columns[0].header), header_style="bold", pad_edge=False)
    for row in rows:
        drawn.add_row(*(Text(printable(cell), _COLOURS[cell] if isinstance(cell, State) else "") for cell in row))
    console = Console()
    with console.capture() as captured:
        console.print(drawn)
    return Drawn(captured.get().rstrip("\n"))
