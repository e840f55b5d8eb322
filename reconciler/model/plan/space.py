"""What of that which is to be fetched cannot fit on the disk, whatever it turns out to be."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from reconciler.errors import Failed
from reconciler.model.content.format import Format
from reconciler.model.content.limits import size_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from reconciler.model.content.ociread import Manifest
    from reconciler.model.plan.action import Fetch

_MADE_HERE = frozenset({Format.SQUASHFS, Format.EROFS})


def no_room(text: str, needed: int, directory: Path, free: int) -> Failed:
    where = f"{directory}, which has {size_text(free)} free"
    return Failed(f"{text}: needs more than {size_text(needed)} in {where}", "make space there", code="disk.full")


class Excess(NamedTuple):
    """An extension for which there is no room."""

    fetch: Fetch
    needed: int  # bytes, at the very least
    left: int  # bytes, beside what is fetched before it


def in_excess(
    fetches: Sequence[Fetch], manifests: Mapping[str, Manifest], present: frozenset[str], free: int
) -> list[Excess]:
    """Those that do not fit beside the ones before them that do; one entry of the store counts once.

    The layers whose digests are `present` take no more of the `free` bytes; manifests are by digest, as far as known.
    """
    here, excess = set(present), []
    for entry in dict.fromkeys(it.entry for it in fetches):
        group = [it for it in fetches if it.entry == entry]
        manifest = manifests.get(group[0].resolution.manifest)
        layers = {it.digest: it.size for it in manifest.layers} if manifest else {}
        needed = _least(group[0], sum(size for digest, size in layers.items() if digest in here))
        if needed > free:
            excess += [Excess(fetch, needed, free) for fetch in group]
        else:
            free -= needed
            here |= layers.keys()
    return excess


def _least(fetch: Fetch, here: int) -> int:
    """The bytes that a fetch takes at the very least, of which some layers are here.

    Unpacked, content takes as much as packed; in an image file that is made here it may take less.
    """
    size = fetch.resolution.size or 0
    return max(size - here, 0) if fetch.entry.format in _MADE_HERE else size
