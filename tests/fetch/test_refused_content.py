"""Content that was refused does not stay so once its source has better, though it is asked for only once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from reconciler.loop.reconcile import converge
from reconciler.loop.session import Options
from reconciler.model.plan.action import Fetch
from reconciler.model.plan.target import Target
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


def test_one_that_hides_a_file_of_the_host_is_taken_once_it_does_not(paths: Paths, tmp_path: Path) -> None:
    """What preflight refuses is in the store, and placed nowhere."""
    write_image(tmp_path / "layout", "v1", command("x", "x"))
    (paths.root / "usr/bin").mkdir(parents=True)
    (paths.root / "usr/bin/x").write_text("the host's")
    settings = "settings: {preflight: {host_files: refuse}}\n"
    configure(paths, f"{settings}extensions: {{x: {{source: 'oci:{tmp_path}/layout:v1'}}}}")
    for _ in range(2):
        assert [it.code for it in converge(paths, Options(), "test").problems] == ["preflight.host-file"]
    write_image(tmp_path / "layout", "v1", (*command("x", "x")[1:], Member("usr/bin/y", b"y")))
    assert converge(paths, Options(), "test").in_sync


def test_what_was_refused_and_dropped_is_asked_for_once_it_is_listed_again(paths: Paths, tmp_path: Path) -> None:
    """By whatever extension."""
    write_image(tmp_path / "layout", "v1", (Member("usr/share/x", b"x"),))
    for name in ("x", "y"):
        configure(paths, f"extensions: {{{name}: {{source: 'oci:{tmp_path}/layout:v1'}}}}")
        assert [it.code for it in converge(paths, Options(), "test").problems] == ["release.missing"]
        configure(paths, "settings: {allow_empty: true}")
        assert converge(paths, Options(), "test").in_sync
    write_image(tmp_path / "layout", "v1", command("z", "z"))
    configure(paths, f"extensions: {{z: {{source: 'oci:{tmp_path}/layout:v1'}}}}")
    assert converge(paths, Options(), "test").in_sync


def test_without_its_source_content_that_is_in_the_store_is_taken(paths: Paths, tmp_path: Path) -> None:
    write_image(tmp_path / "layout", "v1", command("x", "x"))
    text = f"extensions: {{x: {{source: 'oci:{tmp_path}/layout:v1'}}}}"
    configure(paths, text)
    converge(paths, Options(), "test")
    configure(paths, "settings: {allow_empty: true}")
    converge(paths, Options(), "test")
    (tmp_path / "layout").rename(tmp_path / "away")
    configure(paths, text)
    assert [it.code for it in converge(paths, Options(), "test").problems] == []


def test_what_is_to_be_in_the_store_only_is_asked_for_once(paths: Paths, tmp_path: Path) -> None:
    digest = write_image(tmp_path / "layout", "v1", command("x", "old"))
    configure(paths, f"extensions: {{x: {{source: 'oci:{tmp_path}/layout:v1', state: fetched}}}}")
    converge(paths, Options(), "test")
    write_image(tmp_path / "layout", "v1", command("x", "new"))
    result = converge(paths, Options(), "test")
    assert result.in_sync
    assert [it.resolution.digest for it in result.view.targets.values() if isinstance(it, Target)] == [digest]
