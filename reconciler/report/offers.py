"""What catalogs and directories of releases have, for `livelayer catalog`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from reconciler.report.documents import problem_object
from reconciler.report.tables import table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.model.content.offers import Offer
    from reconciler.model.plan.action import Problem
    from reconciler.report.shown import Drawn

_COLUMNS = ("NAME", "NEWEST", "VERSIONS", "FOR", "SOURCE")


def document(offers: Sequence[Offer], problems: Sequence[Problem]) -> dict[str, Any]:
    return {"extensions": [asdict(it) for it in offers], "problems": [problem_object(it) for it in problems]}


def overview(offers: Sequence[Offer], *, terminal: bool) -> Drawn:
    """One line for each extension."""
    rows = [(it.name, it.newest or "-", str(len(it.versions)), _machines(it), it.source) for it in offers]
    return table([_COLUMNS, *rows], terminal=terminal)


def versions(offers: Sequence[Offer], *, terminal: bool) -> Drawn:
    """One line for each version."""
    rows = [(it.name, version, _machines(it), it.source) for it in offers for version in it.versions]
    return table([("NAME", "VERSION", "FOR", "SOURCE"), *rows], terminal=terminal)


def _machines(offer: Offer) -> str:
    return ",".join(offer.architectures) or "any"
