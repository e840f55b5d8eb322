"""The extension that livelayer itself runs from, told from others by its files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import reconciler
from reconciler.host.merge.ownextension import own_extensions
from reconciler.host.store import pathlists
from reconciler.model.content.format import Format
from reconciler.model.kind import ExtensionId, Kind
from reconciler.model.plan.collisions import FileList
from reconciler.model.state.entry import Entry
from reconciler.model.state.observed import Link

if TYPE_CHECKING:
    from reconciler.paths import Paths

PROGRAM = str(Path(reconciler.__file__).resolve()).lstrip("/")


@pytest.mark.parametrize("order", [1, -1])
def test_extensions_of_both_kinds_may_have_one_name(paths: Paths, order: int) -> None:
    """As a program and its settings often do, both as image files."""
    program = Entry(f"sha256:{'a' * 64}", None, Format.RAW, Kind.SYSEXT)
    settings = Entry(f"sha256:{'b' * 64}", None, Format.RAW, Kind.CONFEXT)
    paths.store.mkdir(parents=True)
    for entry, path in ((program, PROGRAM), (settings, "etc/livelayer/extensions.yaml")):
        (paths.store / entry.file_name).touch()
        pathlists.keep(paths, entry, FileList.of([(path, None)]))
    links = [Link("livelayer", program, 1), Link("livelayer", settings, 1)][::order]
    assert own_extensions(paths, links) == {ExtensionId("livelayer", Kind.SYSEXT)}
