"""Which links systemd should merge, and whether the overlay shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reconciler.model.kind import Kind
    from reconciler.model.state.observed import Link, ObservedState


def expected_links(observed: ObservedState, kind: Kind) -> list[Link]:
    """The links whose content systemd would merge: there, and fit for the host."""
    return [link for link in observed.links.values() if link.entry.kind is kind and _is_mergeable(link, observed)]


def _is_mergeable(link: Link, observed: ObservedState) -> bool:
    contents = observed.store.get(link.entry)
    if contents is None or observed.obstacle(link.ident):
        return False
    return contents.misfit(link.ident, observed.host) is None


def unmerged(link: Link, observed: ObservedState) -> str | None:
    """Why the overlay does not show this link's present target; None: it does."""
    merged = observed.overlay(link.entry.kind)
    if merged is None or merged.since is None or link.name not in merged.names:
        return "is placed but not merged"
    if merged.since < link.changed:
        return "was changed after the last merge"
    return None
