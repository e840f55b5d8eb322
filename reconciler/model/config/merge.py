"""Configuration fragments and how they combine: maps deep, scalars and lists replace, null takes away (RFC 7396)."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, Any

from reconciler.dataclass import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from reconciler.errors import Invalid

KeyPath = tuple[str | int, ...]
Tree = dict[str, Any]
SECTIONS = frozenset({"settings", "defaults", "extensions"})


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a file, counted from 1 as editors do."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Fragment:
    """One file's content, or several merged, with the place each key and item came from."""

    tree: Tree
    marks: Mapping[KeyPath, Mark] = field(default_factory=dict)

    def place(self, path: KeyPath) -> Mark | None:
        """The place of a path, or of the nearest thing around it."""
        for length in range(len(path), -1, -1):
            if mark := self.marks.get(path[:length]):
                return mark
        return None


@dataclass(frozen=True, slots=True)
class CloudParts:
    """What cloud-configs are to the configuration: parts below all others, of livelayer's own document."""

    fragments: tuple[Fragment, ...] = ()  # lowest first
    warnings: tuple[str, ...] = ()  # what is meant for livelayer, but not taken
    notes: tuple[str, ...] = ()  # what is for others
    mistakes: tuple[Invalid, ...] = ()  # what has one is passed over, and nothing else
    damaged: tuple[KeyPath, ...] = ()  # in livelayer's own document: of what a mistake leaves nothing, or not all
    unknown: tuple[str, ...] = ()  # files of which nobody knows what all they list
    broken: tuple[str, ...] = ()  # files that are wrong as a whole
    files: Mapping[str, Tree] = field(default_factory=dict)  # what each file says, for a time when it is broken


def combine(fragments: Iterable[Fragment]) -> Fragment:
    """Lay fragments over each other, the first lowest."""
    tree: Tree = {}
    marks: dict[KeyPath, Mark] = {}
    for fragment in fragments:
        tree = overlay(tree, _without_empty_sections(fragment.tree))
        marks.update(fragment.marks)
    return Fragment(tree, marks)


def overlay(base: Tree, over: Tree) -> Tree:
    """Lay one tree over another; neither is changed."""
    result = dict(base)
    for key, value in over.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            below = result.get(key)
            result[key] = overlay(below if isinstance(below, dict) else {}, value)
        else:
            result[key] = value
    return result


def without(fragment: Fragment, path: KeyPath) -> Fragment:
    """The same without what is at a path."""
    key, *below = path
    if key not in fragment.tree:
        return fragment
    tree = {it: value for it, value in fragment.tree.items() if it != key}
    if below and isinstance(fragment.tree[str(key)], dict):
        tree[str(key)] = without(Fragment(fragment.tree[str(key)]), tuple(below)).tree
    return Fragment(tree, fragment.marks)


def part_of(tree: Tree, path: KeyPath) -> Tree:
    """Of a tree only what is at a path; nothing if there is nothing."""
    key, *below = path
    match tree.get(str(key)):
        case None:
            return {}
        case dict(inner) if below:
            part = part_of(inner, tuple(below))
            return {str(key): part} if part else {}
        case value:
            return {} if below else {str(key): value}


def _without_empty_sections(tree: Tree) -> Tree:
    """`extensions:` with nothing under it means "none here", not "forget what the other files say"."""
    return {key: value for key, value in tree.items() if not (value is None and key in SECTIONS)}
