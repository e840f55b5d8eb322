"""An image packed, and what is in the file, as data."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from reconciler.host.layers.unpack import unpack
from reconciler.host.store import entries as store
from reconciler.host.store.pack import pack, pack_tree
from reconciler.model.content.format import Format
from reconciler.model.content.limits import Limits
from reconciler.model.state.entry import Entry as StoreEntry
from tests.host import tars
from tests.host.tars import tar

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.model.fit.contents import Contents
    from tests.host.tars import Entry, Found, Stack

SQUASHFS = StoreEntry("sha256:" + "0" * 64, format=Format.SQUASHFS)


class Packing:
    """Blobs, an image file made of them, and the tree that the same layers are."""

    def __init__(self, path: Path) -> None:
        self.image = path / "image"
        self.scratch = path / "scratch"
        self.flat = path / "flat"
        self.unpacked = path / "unpacked"
        self._blobs = path / "blobs"
        for directory in (self.scratch, self._blobs):
            directory.mkdir()

    def stack(self, *layers: list[Entry]) -> Stack:
        return tars.stack(self._blobs, *(tar(*layer) for layer in layers))

    def pack(self, stack: Stack, entry: StoreEntry = SQUASHFS, limits: Limits | None = None) -> Contents:
        self.image.unlink(missing_ok=True)
        limits = limits or Limits()
        return pack(stack.layers, stack.blob_of, self.image, entry, self.scratch, limits).contents

    def pack_tree(self, tree: Path, entry: StoreEntry = SQUASHFS) -> Contents:
        self.image.unlink(missing_ok=True)
        return pack_tree(tree, self.image, entry, self.scratch)

    @property
    def took_the_long_way(self) -> bool:
        return (self.scratch / "tree").exists()

    def flatten(self, stack: Stack) -> dict[str, Found]:
        """What the layers are when they are unpacked, the root under the name of `.`."""
        store.new_tree(self.flat)
        unpack(stack.layers, stack.blob_of, self.flat)
        return tree_of(self.flat)

    def unpack(self) -> dict[str, Found]:
        """What the image file has in it."""
        store.new_tree(self.unpacked)
        arguments = ["-no-progress", "-quiet", "-force", "-dest", str(self.unpacked), str(self.image)]
        subprocess.run(["unsquashfs", *arguments], check=True, capture_output=True)
        return tree_of(self.unpacked)


def tree_of(root: Path) -> dict[str, Found]:
    return {".": tars.found(root), **tars.tree(root)}


def links_of(root: Path, tree: dict[str, Found]) -> set[frozenset[str]]:
    return tars.links(root, [name for name, found in tree.items() if found.kind != "directory"])
