"""Cloud-configs as a part of the configuration: one that is wrong takes nothing else with it, and loses nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from reconciler.errors import InvalidConfiguration
from reconciler.host.base.durable import read_json, write_json
from reconciler.model.config.desired import desired_state
from reconciler.model.config.merge import Fragment, combine, overlay, part_of, without
from reconciler.model.config.mistakes import Misread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from reconciler.errors import Invalid
    from reconciler.model.config.desired import DesiredState
    from reconciler.model.config.merge import CloudParts, KeyPath, Tree


def read_known(record: Path) -> dict[str, Tree]:
    """What each cloud-config said when it was last good."""
    found = read_json(record)
    return {it: tree for it, tree in found.items() if isinstance(tree, dict)} if isinstance(found, dict) else {}


def remember(record: Path, files: Mapping[str, Tree]) -> None:
    plain = json.loads(json.dumps(files, default=str))
    if plain != read_known(record):
        write_json(record, plain)


def combined(
    parts: CloudParts, own: Sequence[Fragment], last_good: Callable[[], Tree]
) -> tuple[DesiredState, Fragment, tuple[Invalid, ...]]:
    """The configuration, and what is wrong in cloud-configs. What that is about stays as it was last good."""
    documents, mistakes = list(parts.fragments), list(parts.mistakes)
    kept = _parts_of(last_good(), parts.damaged) if parts.damaged else {}
    while True:
        fragment = combine([*documents, Fragment(kept), *own])
        try:
            return desired_state(fragment), fragment, tuple(mistakes)
        except InvalidConfiguration as error:
            wrong = [it for it in error.mistakes if isinstance(it, Misread) and _is_in(it, documents)]
            if not wrong:
                raise InvalidConfiguration((*mistakes, *error.mistakes)) from error
            mistakes += wrong
            documents = [_without_wrong(it, wrong) for it in documents]
            kept = overlay(kept, _parts_of(last_good(), [it.path[:2] for it in wrong]))


def _parts_of(tree: Tree, paths: Iterable[KeyPath]) -> Tree:
    found: Tree = {}
    for path in paths:
        found = overlay(found, part_of(tree, path))
    return found


def _is_in(mistake: Misread, documents: Sequence[Fragment]) -> bool:
    return any(_without_wrong(it, [mistake]).tree != it.tree for it in documents)


def _without_wrong(document: Fragment, wrong: Sequence[Misread]) -> Fragment:
    """Without what is wrong in it: an extension or a setting as a whole."""
    for it in wrong:
        place = document.place(it.path)
        if it.path and place and place.file == it.file:
            document = without(document, it.path[:2])
    return document
