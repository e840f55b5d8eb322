"""Whiteouts: how a layer deletes what lower layers contain.

OCI image-spec, layer.md, "Whiteouts": they "MUST only apply to resources in lower/parent layers", wherever they
stand in their own layer's archive. So what this layer has written already is spared, and a directory of which only
some members are this layer's is pruned to those.
"""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, Final

from reconciler.dataclass import dataclass
from reconciler.host.base.walk import listed, mode_of
from reconciler.host.layers.staging import parts_of, split
from reconciler.host.tar.decompress import Refused

if TYPE_CHECKING:
    from reconciler.host.layers.staging import Staging

PREFIX: Final = b".wh."
_AUFS: Final = b".wh..wh."  # aufs's own files, among them the mark of an opaque directory
_OPAQUE: Final = b".wh..wh..opq"
_NO_NAMES: Final = {b"", b".", b".."}


@dataclass(frozen=True, slots=True)
class Whiteout:
    """What a whiteout hides of lower layers."""

    directory: bytes  # as the archive has it; it may still need `parts_of`
    base: bytes | None  # the name hidden in it; None: all that is in it


def understand(name: bytes) -> Whiteout | bool:
    """What a whiteout of this name asks for; True: nothing, it is one of aufs's own files; False: it is none."""
    directory, base = split(name)
    parents = parts_of(directory)
    if any(part.startswith(_AUFS) for part in parents):
        return True
    if any(part.startswith(PREFIX) for part in parents):
        raise Refused("is inside a whiteout, which is never a directory")
    if base == _OPAQUE:
        return Whiteout(directory, None)
    if base.startswith(_AUFS) or not base.startswith(PREFIX):
        return base.startswith(PREFIX)
    hidden = base.removeprefix(PREFIX)
    if hidden in _NO_NAMES:
        raise Refused("is a whiteout of no name")
    return Whiteout(directory, hidden)


def carry_out(name: bytes, tree: Staging) -> bool:
    """Do what a whiteout of this name asks for; False: the name is an ordinary one."""
    whiteout = understand(name)
    if isinstance(whiteout, bool):
        return whiteout
    path = tree.find_directory(whiteout.directory)
    if path is not None:
        _hide(_children(path, tree) if whiteout.base is None else [path + b"/" + whiteout.base], tree)
    return True


def _hide(paths: list[bytes], tree: Staging) -> None:
    """Remove what lower layers have there; of a directory, keep this layer's part. No recursion: trees are deep."""
    while paths:
        path = paths.pop()
        own, mode = tree.written.get(path), mode_of(path)
        if own is None:
            tree.remove(path)
        elif stat.S_ISLNK(mode) and not own:
            raise Refused(f"removes the symbolic link {tree.shown(path)}, through which its own layer writes")
        elif stat.S_ISDIR(mode):
            if not own:
                tree.make_implied(path)
            paths += _children(path, tree)


def _children(path: bytes, tree: Staging) -> list[bytes]:
    """What is in a directory, the first time a layer asks: once is enough, as nothing of lower layers comes back.

    Listing it each time would let a layer of many whiteouts take hours.
    """
    if path in tree.pruned:
        return []
    tree.pruned.add(path)
    return [entry.path for entry in listed(path)]
