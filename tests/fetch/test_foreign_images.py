"""Images and artifacts whose manifests are not as engines of today write them: taken for what they are."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.fetch.transport import Access
from reconciler.host.merge.links import read_links
from reconciler.host.registry.skopeo import Skopeo
from reconciler.loop.reconcile import converge
from reconciler.loop.session import Options
from tests.rig import images
from tests.rig.images import command, tar
from tests.rig.registry import Registry
from tests.seed import configure

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from reconciler.paths import Paths

pytestmark = pytest.mark.commands

LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
EMPTY = "application/vnd.oci.empty.v1+json"
UNKNOWN = "application/vnd.unknown.config.v1+json"
IMAGE = "application/vnd.oci.image.config.v1+json"
PLATFORM = {"architecture": "amd64", "os": "linux"}
TITLE, UNPACK = "org.opencontainers.image.title", "io.deis.oras.content.unpack"


def _write(layout: Path, tarball: bytes, config: object, config_type: str, annotations: Mapping[str, str]) -> None:
    blob = images._put(layout, gzip.compress(tarball), LAYER)  # noqa: SLF001
    manifest: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": images._MANIFEST,  # noqa: SLF001
        "config": images._put_json(layout, config, config_type),  # noqa: SLF001
        "layers": [{**blob, "annotations": dict(annotations)} if annotations else blob],
    }
    images._tag(layout, "v1", images._put_json(layout, manifest, images._MANIFEST))  # noqa: SLF001


def _prefixed(directory: str) -> bytes:
    return tar([images.Member(f"{directory}/{it.name}", it.content, it.mode) for it in command("x", "x")])


@pytest.mark.parametrize(
    ("config", "config_type", "directory", "annotations"),
    [
        ({}, EMPTY, "tree", {TITLE: "tree", UNPACK: "true"}),
        ({}, UNKNOWN, "tree", {TITLE: "tree", UNPACK: "true"}),
        ({}, EMPTY, "out/tree", {TITLE: "out/tree", UNPACK: "true"}),
        (PLATFORM, IMAGE, "tree", {TITLE: "tree", UNPACK: "true"}),
        ({}, EMPTY, "", {TITLE: "usr", UNPACK: "true"}),
        ({}, EMPTY, "", {TITLE: ".", UNPACK: "true"}),
        (PLATFORM, IMAGE, "", {TITLE: "x.tar.gz"}),
        (PLATFORM, IMAGE, "", {}),
        ({}, IMAGE, "", {}),
        ({}, EMPTY, "", {}),
        ({}, "application/octet-stream", "", {}),
        ({}, "application/json", "", {}),
        ({}, "text/html", "", {}),
    ],
)
def test_an_artifact_of_a_tree_is_unpacked(  # noqa: PLR0913, PLR0917 - parameters
    paths: Paths, tmp_path: Path, config: object, config_type: str, directory: str, annotations: Mapping[str, str]
) -> None:
    tarball = _prefixed(directory) if directory else tar(command("x", "x"))
    _write(tmp_path / "layout", tarball, config, config_type, annotations)
    configure(paths, f"extensions: {{x: {{source: 'oci:{tmp_path}/layout:v1', platform: linux/amd64}}}}")
    result = converge(paths, Options(), "test")
    assert not result.problems, result.problems
    (link,) = read_links(paths, 252).links.values()
    assert (paths.store / link.entry.file_name / "usr/bin/x").is_file()


@pytest.mark.parametrize("config", ["Linux/AMD64", "linux/x86_64"])
def test_a_platform_in_other_words_is_the_same(paths: Paths, tmp_path: Path, config: str) -> None:
    layout = tmp_path / "layout"
    system, architecture = config.split("/")
    images.write_image(layout, "v1", command("x", "x"), architecture=architecture)
    assert json.loads((layout / "index.json").read_text())
    configure(paths, f"extensions: {{x: {{source: 'oci:{layout}:v1', platform: {system.lower()}/amd64}}}}")
    assert converge(paths, Options(), "test").in_sync


@pytest.mark.parametrize("offered", [["amd64", "amd64/v3"], ["amd64/v3", "amd64"], ["amd64/v3"]], ids=str)
@pytest.mark.parametrize("is_pinned", [False, True])
def test_of_a_layout_the_variant_that_was_chosen_is_taken(
    paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offered: list[str], *, is_pinned: bool
) -> None:
    monkeypatch.setattr(Access, "best_variant", "v3")
    index = images.write_index(tmp_path / "layout", "v1", {it: command("x", it) for it in offered})
    pin = f", digest: '{index}'" if is_pinned else ""
    configure(paths, f"extensions: {{x: {{source: 'oci:{tmp_path}/layout:v1', platform: linux/amd64{pin}}}}}")
    result = converge(paths, Options(), "test")
    assert result.in_sync, result.problems
    (link,) = read_links(paths, 252).links.values()
    assert "amd64/v3" in (paths.store / link.entry.file_name / "usr/bin/x").read_text()


@pytest.mark.parametrize("is_index", [False, True])
def test_a_layout_that_changes_after_it_was_resolved_is_not_taken(
    paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_index: bool
) -> None:
    layout, copy = tmp_path / "layout", Skopeo.copy

    def write(says: str) -> None:
        if is_index:
            images.write_index(layout, "v1", {"amd64": command("x", says)})
        else:
            images.write_image(layout, "v1", command("x", says))

    def change_and_copy(self: Skopeo, *arguments: Any) -> None:  # noqa: ANN401 - passed on
        write("other")
        copy(self, *arguments)

    write("this")
    monkeypatch.setattr(Skopeo, "copy", change_and_copy)
    configure(paths, f"extensions: {{x: {{source: 'oci:{layout}:v1', platform: linux/amd64}}}}")
    result = converge(paths, Options(), "test")
    assert [it.code for it in result.problems] == ["source.changed"]
    assert not read_links(paths, 252).links


def test_one_image_may_serve_two_one_of_them_renamed(paths: Paths, tmp_path: Path) -> None:
    images.write_image(tmp_path / "layout", "v1", command("x", "x"))
    line = f"source: 'oci:{tmp_path}/layout:v1', platform: linux/amd64"
    configure(paths, f"extensions: {{x: {{{line}}}, y: {{{line}, rename: true}}}}")
    result = converge(paths, Options(), "test")
    assert result.in_sync, result.problems


def test_the_hint_about_plain_http_works_when_it_is_followed(
    paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    images.write_image(tmp_path / "layout", "v1", command("x", "x"))
    with Registry(tmp_path / "registry") as registry:
        registry.push(tmp_path / "layout", "v1", "plain/x:v1")
        configure(
            paths, f"extensions: {{x: {{source: 'docker://{registry.address}/plain/x:v1', platform: linux/amd64}}}}"
        )
        (problem,) = converge(paths, Options(), "test").problems
        assert problem.code == "registry.plain-http"
        _, _, line = (problem.hint or "").partition("say: ")
        settings = tmp_path / ".config/containers/registries.conf.d/plain.conf"
        settings.parent.mkdir(parents=True)
        settings.write_text(line)
        assert converge(paths, Options(retry=frozenset({"x"})), "test").in_sync
