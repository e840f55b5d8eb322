"""One layer read from its blob: what is checked is what is used, in one pass; whatever is made of its members."""

from __future__ import annotations

import logging
import os
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from reconciler.dataclass import dataclass
from reconciler.errors import Invalid, Malformed
from reconciler.host.base import termination
from reconciler.host.layers.arrival import Arriving
from reconciler.host.layers.budget import Exceeded
from reconciler.host.tar.attributes import unkeepable
from reconciler.host.tar.decompress import Blob, Content, Refused, shown
from reconciler.host.tar.reader import members
from reconciler.model.fit.filekind import FileKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.host.layers.arrival import LayerBlob
    from reconciler.host.layers.budget import Budget
    from reconciler.host.tar.reader import Member
    from reconciler.model.content.ociread import Layer

log = logging.getLogger(__name__)

_REBUILD: Final = "build the image without it, or report this to whoever built it"
_REFETCH: Final = "fetch the image again; if this repeats, the registry's copy or this node's disk is damaged"
_REPUSH: Final = "rebuild or re-push the image"


# What eStargz adds at the root of a layer: its table of contents, and a mark of what is to be fetched first.
_NOT_CONTENT: Final = frozenset({b"stargz.index.json", b".prefetch.landmark", b".no.prefetch.landmark"})


@dataclass(slots=True)
class LayerReader:
    """The members of one layer as they come, counted."""

    content: Content
    budget: Budget
    where: str
    top: bytes = b""  # the directory that is the tree's root
    current: bytes | None = None  # the name of the member that is being used

    def __iter__(self) -> Iterator[Member]:
        for member in members(self.content, specials=True):
            termination.check()
            self.current = member.name
            if member.kind is FileKind.FILE and member.name.removeprefix(b"./") in _NOT_CONTENT:
                continue
            taken = self._without_unkeepable(member) if member.xattrs else member
            if self.top:
                taken = replace(taken, name=self._below_top(taken.name), link=self._linked(taken))
            self.budget.member(taken)
            yield taken
            self.current = None

    def _below_top(self, name: bytes) -> bytes:
        plain = name.removeprefix(b"./").rstrip(b"/")
        if plain == self.top:
            return b"./"
        return plain[len(self.top) + 1 :] if plain.startswith(self.top + b"/") else name

    def _linked(self, member: Member) -> bytes:
        return self._below_top(member.link) if member.kind is FileKind.HARD_LINK else member.link

    def refused_special(self, member: Member) -> Invalid:
        return _invalid(self.where, Refused(f"is {member.special}, which no extension may contain", member.name))

    def _without_unkeepable(self, member: Member) -> Member:
        """Without attributes that no local file system keeps, or that are about somebody's overlay; told once."""
        dropped = unkeepable(member.xattrs)
        if not dropped:
            return member
        if not self.budget.has_told:
            self.budget.has_told = True
            told = "%s: %s: its extended attribute %s is left out, and so are others of that kind"
            log.warning(told, self.where, shown(member.name), shown(dropped[0]))
        return replace(member, xattrs={name: it for name, it in member.xattrs.items() if name not in dropped})


@contextmanager
def opened(layer: Layer, blob_file: LayerBlob, budget: Budget) -> Iterator[LayerReader]:
    """One layer, checked when the context ends; that the blob is another one is said before anything in it.

    What the body of the context refuses becomes `Invalid`.
    """
    where = f"layer {layer.digest}"
    with Blob(blob_file) as blob:
        if isinstance(blob_file, Path):
            _check_size(layer, blob_file, where)
        budget.begin_layer(layer.size)
        reader = LayerReader(Content(blob, budget.unpacked), budget, where, os.fsencode(layer.top or ""))
        refused: Refused | None = None
        try:
            yield reader
            diff_id = reader.content.digest()
        except Refused as error:
            refused, diff_id = error, ""
            error.member = error.member or reader.current
        found = blob.digest()
    if found != layer.digest:
        raise Invalid(f"{where}: the blob's content has the digest {found}", _REFETCH, code="digest.mismatch")
    if refused:
        raise _invalid(where, refused) from refused
    if layer.diff_id not in {None, diff_id}:
        what = f"{where}: unpacks to {diff_id}, the image's configuration says {layer.diff_id}"
        raise Invalid(what, _REPUSH, code="digest.mismatch")
    if isinstance(blob_file, Arriving):
        blob_file.unpacked_to(diff_id)


def _check_size(layer: Layer, blob_file: Path, where: str) -> None:
    """Before anything is read, where the blob is complete: the limits count with the size that the manifest gives."""
    size = blob_file.stat().st_size
    if size != layer.size:
        what = f"{where}: the blob has {size} bytes, the image's manifest says {layer.size}"
        raise Invalid(what, _REFETCH, code="digest.mismatch")


def _invalid(where: str, refused: Refused) -> Invalid:
    hint = refused.hint if isinstance(refused, Exceeded) else None
    if refused.member is None:
        return Malformed(f"{where}: {refused}", hint or _REPUSH)
    return Malformed(f"{where}: {shown(refused.member)}: {refused}", hint or _REBUILD)
