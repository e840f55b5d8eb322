"""Several sources of one extension: each made a tree of its own and laid over those before it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.fetch.content import Tree
from reconciler.fetch.make import as_tree
from reconciler.fetch.transport import Opening, transport_for
from reconciler.host.layers.mergetrees import lay_over
from reconciler.host.sources import local
from reconciler.host.store import entries as store

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from reconciler.fetch.content import Content
    from reconciler.fetch.transport import Access, Made
    from reconciler.model.config.part import Part


def open_parts(parts: Sequence[Part], it: Opening, access: Access, use: Callable[[Content], Made]) -> Made:
    """Let the content of an extension's sources be used; of several, a tree of all of them."""
    if len(parts) == 1:
        return transport_for(it.part, access).open(it, use)
    tree = it.scratch / "tree"
    store.new_tree(tree)
    for number, (part, resolution) in enumerate(zip(parts, it.resolution.of_parts, strict=True)):
        scratch = it.scratch / f"part{number}"
        scratch.mkdir()
        opening = replace(it, part=part, resolution=resolution, scratch=scratch)
        lay_over(_tree_of(opening, access), tree)
        local.Tree(tree).check(access.limits)
    return use(Tree(tree))


def _tree_of(it: Opening, access: Access) -> Path:
    def unpacked(content: Content) -> Path:
        return as_tree(content, it.scratch / "tree", access.limits, it.part.text)

    return transport_for(it.part, access).open(it, unpacked)
