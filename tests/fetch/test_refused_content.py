"""Content that was refused does not stay so once its source has better, though it is asked for only once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from reconciler.loop.reconcile import converge
from reconciler.loop.session import Options
from reconciler.model.plan.action import Fetch
from tests.rig import diskimages
from tests.rig.images import Member, command, write_image
from tests.seed import configure

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.paths import Paths

pytestmark = pytest.mark.commands


def test_an_image_that_is_pushed_anew_is_taken(paths: Paths, tmp_path: Path) -> None:
    write_image(tmp_path / "layout", "v1", (Member("usr/share/x", b"x"),))
    configure(paths, f"extensions: {{x: {{source: 'oci:{tmp_path}/layout:v1'}}}}")
    for _ in range(2):
        assert [it.code for it in converge(paths, Options(), "test").problems] == ["release.missing"]
    write_image(tmp_path / "layout", "v1", command("x", "x"))
    assert converge(paths, Options(), "test").in_sync


def test_what_is_still_the_same_is_not_fetched_again(paths: Paths, tmp_path: Path) -> None:
    write_image(tmp_path / "layout", "v1", (Member("usr/share/x", b"x"),))
    configure(paths, f"extensions: {{x: {{source: 'oci:{tmp_path}/layout:v1'}}}}")
    converge(paths, Options(), "test")
    again = converge(paths, Options(), "test")
    assert not [it for it in again.outcomes if isinstance(it.action, Fetch)]


def test_a_directory_that_is_mended_in_place_is_taken(paths: Paths) -> None:
    tree = diskimages.extension_tree(paths.root / "srv/tree", "x")
    release = tree / "usr/lib/extension-release.d/extension-release.x"
    release.unlink()
    configure(paths, "extensions: {x: {source: 'file:///srv/tree'}}")
    assert [it.code for it in converge(paths, Options(), "test").problems] == ["release.missing"]
    release.write_text("ID=_any\n")
    assert converge(paths, Options(), "test").in_sync
