"""What a stack of layers should become, as a model in memory: whiteouts first, then members, as order cannot matter.

Slow and plain on purpose. Names are clean, parents are never symbolic links.
"""

from __future__ import annotations

import itertools
import os
import tarfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.host.tars import Found

if TYPE_CHECKING:
    from tests.host.tars import Entry

IMPLIED = Found("directory", b"", 0o755)


class NotPossibleError(Exception):
    """The layers contradict themselves."""


@dataclass(slots=True)
class Model:
    """Paths, and for each the number of its file, which hard links share."""

    tree: dict[str, Found] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)
    own: set[str] = field(default_factory=set)

    @property
    def links(self) -> set[frozenset[str]]:
        groups: dict[int, set[str]] = {}
        for path, found in self.tree.items():
            if found.kind != "directory":
                groups.setdefault(self.numbers[path], set()).add(path)
        return {frozenset(group) for group in groups.values()}

    def apply(self, layer: list[Entry]) -> None:
        self.own = set()
        for entry in layer:
            self._hide(entry.name)
        for entry in layer:
            if ".wh." not in entry.name:
                self._place(entry)

    def _hide(self, name: str) -> None:
        parent, _, base = name.rpartition("/")
        if base == ".wh..wh..opq":
            self._remove_below(parent)
        elif base.startswith(".wh."):
            self._remove(os.path.join(parent, base.removeprefix(".wh.")))  # noqa: PTH118 - no paths of this machine

    def _place(self, entry: Entry) -> None:
        parts = entry.name.split("/")[:-1]
        for parent in itertools.accumulate(parts, lambda above, part: f"{above}/{part}"):
            self._enter(parent)
        if entry.type == tarfile.DIRTYPE:
            self._directory(entry)
        else:
            self._leaf(entry)
        self.own.add(entry.name)

    def _enter(self, parent: str) -> None:
        there = self.tree.get(parent)
        if there and there.kind == "directory":
            return
        if there and parent in self.own:
            raise NotPossibleError
        self._remove(parent)
        self.tree[parent] = IMPLIED

    def _directory(self, entry: Entry) -> None:
        there = self.tree.get(entry.name)
        if there and there.kind != "directory":
            self._remove(entry.name)
        self.tree[entry.name] = _dressed("directory", b"", entry)

    def _leaf(self, entry: Entry) -> None:
        if entry.type == tarfile.LNKTYPE:
            found, number = self._target(entry)
        elif entry.type == tarfile.SYMTYPE:
            found, number = _dressed("symlink", entry.link.encode(), entry), next(_NUMBERS)
        else:
            found, number = _dressed("file", entry.content, entry), next(_NUMBERS)
        self._remove(entry.name)
        self.tree[entry.name], self.numbers[entry.name] = found, number

    def _target(self, entry: Entry) -> tuple[Found, int]:
        found = self.tree.get(entry.link)
        replaced = f"{entry.link}/".startswith(f"{entry.name}/")
        if found is None or found.kind == "directory" or replaced:
            raise NotPossibleError
        return found, self.numbers[entry.link]

    def _remove(self, path: str) -> None:
        self.tree.pop(path, None)
        self._remove_below(path)

    def _remove_below(self, path: str) -> None:
        for other in list(self.tree):
            if not path or other.startswith(f"{path}/"):
                del self.tree[other]


_NUMBERS = itertools.count()


def _dressed(kind: str, data: bytes, entry: Entry) -> Found:
    mode = 0o777 if kind == "symlink" else entry.mode
    prefix = "SCHILY.xattr."
    xattrs = tuple((key.removeprefix(prefix), value.encode()) for key, value in sorted(entry.pax.items()))
    return Found(kind, data, mode, entry.uid, entry.gid, entry.mtime * 10**9, xattrs)


def flattened(layers: list[list[Entry]]) -> Model | None:
    """The tree that layers become; None: they cannot be unpacked."""
    model = Model()
    try:
        for layer in layers:
            model.apply(layer)
    except NotPossibleError:
        return None
    return model
