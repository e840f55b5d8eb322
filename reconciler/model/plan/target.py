"""What an extension shall be, once it is known what its source leads to."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, TypeAlias

from reconciler.dataclass import dataclass
from reconciler.errors import ReconcilerError
from reconciler.model.content.format import choose
from reconciler.model.state.entry import Entry

if TYPE_CHECKING:
    from reconciler.model.config.desired import Wanted
    from reconciler.model.content.format import Format
    from reconciler.model.content.resolution import Resolution


@dataclass(frozen=True, slots=True)
class Target:
    """What an extension shall be: an entry of the store, and what its source led to."""

    resolution: Resolution
    entry: Entry
    why: str = "as configured"  # how its format was chosen


Targets: TypeAlias = Mapping[str, Target | ReconcilerError]
"""What each wanted extension shall be, or why that is unknown."""


def target_for(
    wanted: Wanted, resolution: Resolution, against_images: str | None = None, stored: Collection[Format] = ()
) -> Target:
    """Which entry of the store holds what is wanted."""
    choice = choose(wanted.format, resolution.payload, resolution.size, against_images, stored)
    return Target(resolution, entry_for(wanted, resolution, choice.format), choice.reason)


def entry_for(wanted: Wanted, resolution: Resolution, form: Format) -> Entry:
    return Entry(resolution.manifest, wanted.name if wanted.rename else None, form, wanted.kind)
