"""Tables for people: rich on a terminal, aligned plain columns elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from reconciler.model.kind import Kind
from reconciler.model.status import ExtensionStatus, State
from reconciler.report import short

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    """A line for each extension."""
    if not statuses:
        return "no extensions"
    if terminal:
        return _rich_table(statuses)
    return _plain_table([_COLUMNS, *(_row(item) for item in statuses)])


def _row(item: ExtensionStatus) -> tuple[str, ...]:
    merged = "yes" if item.merged else "no"
    name = item.name if item.kind is Kind.SYSEXT else f"{item.name} ({item.kind})"
    return name, str(item.state), merged, short(item.placed), short(item.desired), item.reason or ""


def _plain_table(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def _rich_table(statuses: Sequence[ExtensionStatus]) -> str:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*_COLUMNS, box=None, header_style="bold", pad_edge=False)
    for item in statuses:
        name, state, *rest = (Text(cell) for cell in _row(item))
        state.stylize(_COLOURS[item.state])
        table.add_row(name, state, *rest)
    console = Console()
    with console.capture() as captured:
        console.print(table)
    return captured.get().rstrip("\n")
