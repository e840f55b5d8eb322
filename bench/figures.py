"""What was measured, and how it is shown."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_HEAD: Final = ("what", "n", "median", "min", "p90", "max", "CPU", "ratio", "goal")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. Times are in seconds."""

    what: str
    times: Sequence[float]
    cpu: Sequence[float] = ()  # user and system time together
    subject: Row | None = None  # set for a peer: what is measured against it
    goal: str = ""

    @property
    def median(self) -> float:
        """The figure that ratios are made of."""
        return statistics.median(self.times)

    @property
    def cells(self) -> tuple[str, ...]:
        """The line's columns, in milliseconds."""
        spread = (self.median, min(self.times), p90(self.times), max(self.times))
        cpu = _milliseconds(statistics.median(self.cpu)) if self.cpu else ""
        ratio = f"{self.subject.median / self.median:.2f}" if self.subject else ""
        return (self.what, str(len(self.times)), *map(_milliseconds, spread), cpu, ratio, self.goal)


def p90(times: Sequence[float]) -> float:
    """What nine of ten stay below."""
    return statistics.quantiles(times, n=10, method="inclusive")[8]


def table(rows: Iterable[Row]) -> str:
    """A table that reads well in a terminal and is Markdown."""
    lines = [_HEAD, *(row.cells for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rule = "|".join(["", *("-" * (width + 2) for width in widths), ""])
    shown = [_line(cells, widths) for cells in lines]
    return "\n".join([shown[0], rule, *shown[1:]])


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = (f" {cell:{'<' if not at else '>'}{widths[at]}} " for at, cell in enumerate(cells))
    return "|".join(["", first, *others, ""])


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f}" if seconds < 1 else f"{seconds * 1000:.0f}"
