"""Find and read the configuration: main file, drop-ins, and the last good state when they are broken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.errors import Invalid, InvalidConfiguration
from reconciler.host.configfiles import find_files
from reconciler.host.durable import read_json, write_json
from reconciler.host.yamlfile import read_fragment, refuse_foreign_writers
from reconciler.model.desired import DesiredState, desired_state
from reconciler.model.merge import Fragment, Tree, combine

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from reconciler.paths import Paths


@dataclass(frozen=True, slots=True)
class Loaded:
    """The desired state in force, and what is wrong with the files if it is not theirs."""

    desired: DesiredState
    tree: Tree | None = None  # the merged configuration as written; None: there is none, or it is broken
    mistakes: tuple[Invalid, ...] = ()  # not empty: `desired` is the last good state
    warnings: tuple[str, ...] = ()


def load(paths: Paths, config: Path | None = None) -> Loaded:
    """The desired state; a broken configuration keeps the last good one in force, and says what is wrong.

    Args:
        paths: the node.
        config: another main file than the node's own (`--config`); drop-ins still apply.
    """
    try:
        files = find_files(paths, config)
        if not files.paths:
            return Loaded(DesiredState(configured=False), warnings=files.warnings)
        fragment = combine(_read_safely(files.paths, paths))
        return Loaded(desired_state(fragment), fragment.tree, warnings=files.warnings)
    except InvalidConfiguration as error:
        return Loaded(_last_good(paths), mistakes=error.mistakes)
    except Invalid as error:
        return Loaded(_last_good(paths), mistakes=(error,))


def check(files: Sequence[Path]) -> DesiredState:
    """Validate files as one configuration, the first lowest, wherever they are and whoever owns them.

    Raises:
        Invalid: what is wrong and where.
    """
    return desired_state(combine(read_fragment(path, root_only=False) for path in files))


def remember(paths: Paths, loaded: Loaded) -> None:
    """Keep a configuration that was read without an error, for a time when it is broken."""
    if loaded.tree is not None and loaded.tree != read_json(paths.last_good):
        write_json(paths.last_good, loaded.tree)


def _read_safely(files: Iterable[Path], paths: Paths) -> Iterable[Fragment]:
    checked: set[Path] = set()
    for path in files:
        directory = path.parent
        if directory not in checked and directory.is_relative_to(paths.root):
            refuse_foreign_writers(directory)
            checked.add(directory)
        yield read_fragment(path)


def _last_good(paths: Paths) -> DesiredState:
    tree = read_json(paths.last_good)
    if not isinstance(tree, dict):
        return DesiredState(configured=False)
    try:
        return desired_state(Fragment(tree))
    except Invalid:  # written by a newer livelayer
        return DesiredState(configured=False)
