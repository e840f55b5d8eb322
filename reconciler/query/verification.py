"""Reads all that is placed and compares it with how it was placed: for `livelayer verify`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.errors import Failed, Invalid
from reconciler.host.merge import links
from reconciler.host.node import machine
from reconciler.host.records import statedir
from reconciler.host.store import manifests, seals
from reconciler.model.state.contentmanifest import Difference, Verified

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.model.state.contentmanifest import Manifest
    from reconciler.model.state.entry import Entry
    from reconciler.model.state.observed import Link
    from reconciler.paths import Paths


def verify(paths: Paths, names: frozenset[str]) -> list[Verified]:
    """Compare placed extensions wholly with their manifests, reading every file.

    What differs is left for the next run to find: nothing is changed but the time of its manifest. No names mean all.
    """
    paths = statedir.locate(paths)
    placed = links.read_links(paths, machine.systemd_version(paths)).links
    if unknown := names - {ident.name for ident in placed}:
        others = ", ".join(sorted({ident.name for ident in placed})) or "none"
        raise Invalid(
            f"{', '.join(sorted(unknown))}: no such extension is placed",
            f"placed are: {others}",
            code="extension.unknown",
        )
    asked = [link for ident, link in sorted(placed.items()) if not names or ident.name in names]
    known = _known(paths, (link.entry for link in asked if not link.dangling))
    found = manifests.differences(paths, known, {})
    for entry, differing in found.items():
        if differing:
            seals.reseal(paths, entry, 0)
    return [_verified(link, known.get(link.entry), found.get(link.entry, [])) for link in asked]


def _known(paths: Paths, entries: Iterable[Entry]) -> dict[Entry, Manifest]:
    found = {entry: manifests.read(paths, entry) for entry in entries}
    for entry, manifest in found.items():
        if manifest is None and seals.sealed(paths, entry):
            seals.reseal(paths, entry, 0)  # damaged: the next run makes it anew
    return {entry: manifest for entry, manifest in found.items() if manifest}


def _verified(link: Link, manifest: Manifest | None, differences: list[Difference]) -> Verified:
    if link.dangling:
        gone = Difference(None if link.entry.format.is_file else "/", "is not where its link leads")
        return Verified(link.ident, link.entry, 0, 0, (gone,))
    if manifest is None:
        error = Failed(
            "there is no record of how it was placed", "livelayer apply makes one", code="content.unsealed"
        ).about(link.ident.name)
        return Verified(link.ident, link.entry, 0, 0, (), error)
    return Verified(link.ident, link.entry, manifest.files, manifest.bytes, tuple(differences))
