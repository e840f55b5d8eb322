"""Whiteouts: how a layer deletes what lower layers contain.

OCI image-spec, layer.md, "Whiteouts": they "MUST only apply to resources in lower/parent layers", wherever they
stand in their own layer's archive. So what this layer has written already is spared, and a directory of which only
some members are this layer's is pruned to those.
"""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, Final

from reconciler.host.decompress import Refused
from reconciler.host.staging import listed, mode_of, parts_of, split

if TYPE_CHECKING:
    from reconciler.host.staging import Staging

PREFIX: Final = b".wh."
_AUFS: Final = b".wh..wh."  # aufs's own files, among them the mark of an opaque directory
_OPAQUE: Final = b".wh..wh..opq"
_NO_NAMES: Final = {b"", b".", b".."}


def carry_out(name: bytes, tree: Staging) -> bool:
    """Do what a whiteout of this name asks for; False: the name is an ordinary one.

    Raises:
        Refused: it is no proper whiteout, or would remove a link that the same layer goes through.
    """
    directory, base = split(name)
    parents = parts_of(directory)
    if any(part.startswith(_AUFS) for part in parents):
        return True
    if any(part.startswith(PREFIX) for part in parents):
        raise Refused("is inside a whiteout, which is never a directory")
    if base == _OPAQUE:
        _hide_children(directory, tree)
    elif base.startswith(PREFIX) and not base.startswith(_AUFS):
        _hide_named(directory, base.removeprefix(PREFIX), tree)
    return base.startswith(PREFIX)


def _hide_children(directory: bytes, tree: Staging) -> None:
    path = tree.find_directory(directory)
    if path is not None:
        _hide(_children(path, tree), tree)


def _hide_named(directory: bytes, base: bytes, tree: Staging) -> None:
    if base in _NO_NAMES:
        raise Refused("is a whiteout of no name")
    path = tree.find_directory(directory)
    if path is not None:
        _hide([path + b"/" + base], tree)


def _hide(paths: list[bytes], tree: Staging) -> None:
    """Remove what lower layers have there; of a directory, keep this layer's part. No recursion: trees are deep."""
    while paths:
        paths += _hide_one(paths.pop(), tree)


def _hide_one(path: bytes, tree: Staging) -> list[bytes]:
    """Hide `path`; return what is left to look at beneath it."""
    own, mode = tree.written.get(path), mode_of(path)
    if own is None:
        tree.remove(path)
        return []
    if stat.S_ISLNK(mode) and not own:
        raise Refused(f"removes the symbolic link {tree.shown(path)}, through which its own layer writes")
    if not stat.S_ISDIR(mode):
        return []
    if not own:
        tree.make_implied(path)
    return _children(path, tree)


def _children(path: bytes, tree: Staging) -> list[bytes]:
    """What is in a directory, the first time a layer asks: once is enough, as nothing of lower layers comes back.

    Listing it each time would let a layer of many whiteouts take hours.
    """
    if path in tree.pruned:
        return []
    tree.pruned.add(path)
    return [entry.path for entry in listed(path)]
