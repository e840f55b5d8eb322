"""Files that several extensions have, and which of them is seen: what is known from lists of their files alone."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING

from reconciler.dataclass import dataclass
from reconciler.model.fit.kernelmodules import is_index
from reconciler.model.plan.layerorder import bottom_up

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from reconciler.model.fit.permissions import Permissions
    from reconciler.model.kind import Kind

_RECORDS = ("usr/lib/extension-release.d/", "etc/extension-release.d/")


@dataclass(frozen=True, slots=True)
class FileList:
    """What an extension has, by paths without a leading slash."""

    files: frozenset[str]  # everything but directories
    directories: Mapping[str, Permissions]
    links: Mapping[str, str] = field(default_factory=dict)  # the targets of those files that are symbolic links

    @classmethod
    def of(cls, paths: Iterable[tuple[str, Permissions | None]], links: Mapping[str, str] | None = None) -> FileList:
        """Of paths, with the permissions of each directory; the root, whose path is empty, counts for nothing."""
        known = {path: it for path, it in paths if path}
        directories = {path: it for path, it in known.items() if it}
        return cls(frozenset(known.keys() - directories.keys()), directories, links or {})

    def __contains__(self, path: str) -> bool:
        return path in self.files or path in self.directories


@dataclass(frozen=True, slots=True)
class Collision:
    """What one extension hides of another."""

    upper: str
    lower: str
    paths: tuple[str, ...]  # sorted, at least one

    def told_of(self, name: str) -> str:
        """For people, behind the name of one of the two."""
        if name == self.upper:
            return f"hides {shown(self.paths)} of {self.lower}"
        return f"{self.upper} hides {shown(self.paths)} of it"


@dataclass(frozen=True, slots=True)
class Provider:
    """An extension that has the path."""

    name: str
    kind: Kind
    is_seen: bool  # it is merged there, and nothing lies above it
    is_merged: bool
    is_managed: bool


@dataclass(frozen=True, slots=True)
class Provided:
    """Who has a path."""

    path: str  # absolute, below /usr where hosts have a link into it
    extensions: tuple[Provider, ...]  # the top layer first
    on_host: bool | None  # whether the host has its own; None: it cannot be told
    unknown: tuple[str, ...] = ()  # extensions of others that are not looked into
    unseen: str | None = None  # why nothing of extensions is seen there; None: nothing is in the way

    @property
    def is_provided(self) -> bool:
        return bool(self.extensions or self.on_host)


def collisions(lists: Mapping[str, FileList]) -> list[Collision]:
    """What extensions of one kind hide of each other, by their names."""
    order = bottom_up(lists)
    pairs = ((upper, lower) for height, upper in enumerate(order) for lower in order[:height])
    found = ((upper, lower, sorted(_hidden(lists[upper], lists[lower]))) for upper, lower in pairs)
    return [Collision(upper, lower, tuple(paths)) for upper, lower, paths in found if paths]


def _hidden(upper: FileList, lower: FileList) -> set[str]:
    """A file hides what has its path; a directory hides a file, but merges with a directory."""
    both = (upper.files & (lower.files | lower.directories.keys())) | (upper.directories.keys() & lower.files)
    return {path for path in both if not path.startswith(_RECORDS) and not is_index(path)}


def shown(paths: Sequence[str]) -> str:
    return f"/{paths[0].lstrip('/')}" + (f" and {len(paths) - 1} more" if len(paths) > 1 else "")


def providers(path: str, lists: Mapping[str, FileList]) -> list[str]:
    return [name for name in reversed(bottom_up(lists)) if path in lists[name]]
