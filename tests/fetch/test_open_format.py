"""Where no format is asked for: image files are taken as they are, however they come, and the rest as it suits."""

from __future__ import annotations

import gzip
import shutil
from typing import TYPE_CHECKING

import pytest

from reconciler.host.merge.links import read_links
from reconciler.host.registry.skopeo import Skopeo
from reconciler.loop.reconcile import converge, status
from reconciler.loop.session import Options
from reconciler.model.content.format import Format
from reconciler.model.plan.action import Fetch
from tests.rig import diskimages
from tests.rig.images import Member, tar, write_artifact, write_image
from tests.rig.images import command as command_of
from tests.seed import configure

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from reconciler.paths import Paths

pytestmark = pytest.mark.commands


def _image(directory: Path) -> bytes:
    tree = diskimages.extension_tree(directory / "tree", "x")
    return diskimages.squashfs(tree, directory / "x.raw").read_bytes()


def _as_layer(directory: Path, image: bytes) -> str:
    write_image(directory / "layout", "v1", (Member("x.raw", image),))
    return f"oci:{directory}/layout:v1"


def _as_compressed_layer(directory: Path, image: bytes) -> str:
    write_image(directory / "layout", "v1", (Member("extensions/x", gzip.compress(image)),))
    return f"oci:{directory}/layout:v1"


def _as_artifact(directory: Path, image: bytes) -> str:
    write_artifact(directory / "layout", "v1", image, title="x.raw")
    return f"oci:{directory}/layout:v1"


def _as_file(directory: Path, image: bytes) -> str:
    (directory / "node/served").write_bytes(image)
    return "file:///served"


def _as_archive(directory: Path, image: bytes) -> str:
    (directory / "node/served.tar").write_bytes(tar((Member("x.raw", image),)))
    return "file:///served.tar"


@pytest.mark.parametrize("publish", [_as_layer, _as_compressed_layer, _as_artifact, _as_file, _as_archive])
def test_an_image_file_is_taken_as_it_is(paths: Paths, tmp_path: Path, publish: Callable[[Path, bytes], str]) -> None:
    image = _image(tmp_path)
    configure(paths, f"extensions: {{x: {{source: '{publish(tmp_path, image)}'}}}}")
    assert converge(paths, Options(), "test").in_sync
    (link,) = read_links(paths, 252).links.values()
    assert link.entry.format is Format.RAW
    assert (paths.store / link.entry.file_name).read_bytes() == image
    again = converge(paths, Options(), "test")
    assert again.in_sync
    assert not again.outcomes
    assert status(paths, Options()).in_sync


def test_a_large_image_file_in_a_layer_is_not_packed_once_more(
    paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is large would be packed, if it were no image file."""
    monkeypatch.setattr("reconciler.model.content.format._LARGE", 1)
    monkeypatch.setattr("reconciler.fetch.resolve.Resolver._against_images", lambda *_: None)
    image = _image(tmp_path)
    configure(paths, f"extensions: {{x: {{source: '{_as_layer(tmp_path, image)}'}}}}")
    assert converge(paths, Options(), "test").in_sync
    assert [it.read_bytes() for it in paths.store.iterdir() if it.suffix != ".json"] == [image]


def test_one_image_is_had_in_an_open_format_and_in_a_wrong_one(paths: Paths, tmp_path: Path) -> None:
    source = _as_layer(tmp_path, _image(tmp_path))
    configure(paths, f"extensions: {{x: {{source: '{source}'}}, y: {{source: '{source}', format: directory}}}}")
    result = converge(paths, Options(), "test")
    assert {it.extension for it in result.problems} == {"y"}
    assert [ident.name for ident in read_links(paths, 252).links] == ["x"]


def test_a_sole_file_that_is_no_image_is_told_by_what_an_extension_lacks(paths: Paths, tmp_path: Path) -> None:
    write_image(tmp_path / "layout", "v1", (Member("usr/bin/x", b"#!/bin/sh\n", 0o755),))
    configure(paths, f"extensions: {{x: {{source: 'oci:{tmp_path}/layout:v1'}}}}")
    (problem,) = converge(paths, Options(), "test").problems
    assert problem.code == "release.missing"


def test_an_image_file_for_another_os_is_fetched_once(paths: Paths, tmp_path: Path) -> None:
    tree = diskimages.extension_tree(tmp_path / "tree", "y")
    image = diskimages.squashfs(tree, tmp_path / "y.raw").read_bytes()
    configure(paths, f"extensions: {{x: {{source: '{_as_layer(tmp_path, image)}'}}}}")
    assert [it.code for it in converge(paths, Options(), "test").problems] == ["release.name"]
    again = converge(paths, Options(), "test")
    assert [it.code for it in again.problems] == ["release.name"]
    assert not [it for it in again.outcomes if isinstance(it.action, Fetch)]


@pytest.mark.parametrize("before", ["directory", "squashfs"])
@pytest.mark.parametrize("pinned", ["", ", digest: '{}'"])
def test_what_is_placed_stays_as_it_is_when_the_format_is_left_open(
    paths: Paths, tmp_path: Path, before: str, pinned: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those find it that were placed when directories were the default; nothing is asked and nothing fetched."""
    monkeypatch.setattr("reconciler.fetch.resolve.Resolver._against_images", lambda *_: None)
    digest = write_image(tmp_path / "layout", "v1", command_of("x", "x"))
    source = f"extensions: {{x: {{source: 'oci:{tmp_path}/layout:v1'{pinned.format(digest)}"
    configure(paths, f"{source}, format: {before}}}}}")
    assert converge(paths, Options(), "test").in_sync
    if pinned:
        paths.resolutions.unlink()
    shutil.rmtree(tmp_path / "layout")
    monkeypatch.setattr(Skopeo, "raw_manifest", None)
    configure(paths, f"{source}}}}}")
    result = converge(paths, Options(), "test")
    assert result.in_sync
    assert not result.outcomes
    (link,) = read_links(paths, 252).links.values()
    assert link.entry.format is Format(before)
