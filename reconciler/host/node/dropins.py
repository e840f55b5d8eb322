"""A unit or a configuration file of systemd's with its drop-ins, in the order in which systemd reads them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.errors import Invalid
from reconciler.host.base.bounded import read_bounded

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from reconciler.paths import Paths


def read_texts(paths: Paths, places: Sequence[str], name: str, *general: str) -> Iterator[str]:
    """The file, then its drop-ins by name; of one name the first directory's counts.

    Those in the `general` directories, which are for more than this file, come first.
    """
    yield next((text for place in places if (text := read_text(paths, f"{place}/{name}"))), "")
    for directory in (*general, f"{name}.d"):
        found: dict[str, str] = {}
        for place in places:
            for drop_in in _drop_ins(paths, f"{place}/{directory}"):
                found.setdefault(drop_in, f"{place}/{directory}/{drop_in}")
        for _, path in sorted(found.items()):
            yield read_text(paths, path)


def read_text(paths: Paths, file: str) -> str:
    """Empty for what is not there; a drop-in that leads to /dev/null is masked."""
    try:
        return read_bounded(Path(place)).decode(errors="replace") if (place := _there(paths, file)) else ""
    except (OSError, Invalid):
        return ""


def _drop_ins(paths: Paths, directory: str) -> list[str]:
    place = _there(paths, directory)
    return [name for name in os.listdir(place) if name.endswith(".conf")] if place else []  # noqa: PTH208 - names do


def _there(paths: Paths, absolute: str) -> str | None:
    """A look before it is opened, which costs less: most of these places are empty."""
    place = absolute if paths.is_running_system else os.fspath(paths.under(absolute))
    return place if os.path.exists(place) else None  # noqa: PTH110 - no object for each
