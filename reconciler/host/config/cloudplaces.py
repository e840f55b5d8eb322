"""Where cloud-configs lie: the places that the configuration names, or Kairos's own."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from reconciler.host.node.machine import is_kairos

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from reconciler.paths import Paths

_ENDINGS: Final = (".yaml", ".yml")


def places(settings: Any, paths: Paths) -> tuple[Path, ...]:  # noqa: ANN401 - not validated yet
    """The directories and files to read, the lowest first; none where the setting is not as it should be."""
    setting = settings.get("cloud_config") if isinstance(settings, dict) else None
    if setting is None:
        return paths.kairos_cloud_configs if is_kairos(paths) else ()
    if not isinstance(setting, list) or not all(isinstance(it, str) and it.startswith("/") for it in setting):
        return ()
    return tuple(paths.under(it) for it in setting)


def cloud_configs(found: Iterable[Path]) -> Iterator[Path]:
    """The files that may be cloud-configs, in Kairos's order: each directory's names sorted, with all below them."""
    for place in found:
        if place.is_dir():
            yield from _below(place)
        elif os.path.lexists(place):
            yield place


def directories(found: Iterable[Path]) -> Iterator[Path]:
    for place in found:
        yield place
        for entry in _entries(place):
            if entry.is_dir(follow_symlinks=False):
                yield from directories([place / entry.name])


def _below(directory: Path) -> Iterator[Path]:
    for entry in _entries(directory):
        if entry.is_dir(follow_symlinks=False):
            yield from _below(directory / entry.name)
        elif entry.name.endswith(_ENDINGS):
            yield directory / entry.name


def _entries(directory: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            return sorted(entries, key=lambda entry: os.fsencode(entry.name))
    except OSError:
        return []
