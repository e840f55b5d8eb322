"""Images that skopeo does not copy whole, or not at all, from a registry that takes whatever it is given."""

from __future__ import annotations

import gzip
import json
import os
from typing import TYPE_CHECKING, Any, Final

import pytest
import zstandard

from reconciler.loop.reconcile import converge
from reconciler.loop.session import Options
from reconciler.model.content.ociread import digest_of, platform_of
from tests.rig.faultyregistry import FaultyRegistry, Shelf
from tests.rig.images import command, tar, write_image
from tests.rig.newerskopeo import newer_skopeo
from tests.seed import configure

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from reconciler.loop.reconcile import Result
    from reconciler.paths import Paths

pytestmark = pytest.mark.commands

ARCHIVE: Final = tar(command("x", "x"))
OCI: Final = "application/vnd.oci.image.{}.v1"
DOCKER: Final = "application/vnd.docker.{}"
AWAY: Final = {"urls": ["http://127.0.0.1:1/layer.tar.gz"]}


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Shelf, FaultyRegistry]]:
    shelf = Shelf()
    settings = tmp_path / "home/.config/containers/registries.conf"
    settings.parent.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with FaultyRegistry("nowhere:1") as running:
        settings.write_text(f'[[registry]]\nlocation = "{running.address}"\ninsecure = true\n')
        running.otherwise = shelf.serve
        yield shelf, running


def _image(shelf: Shelf, layer: dict[str, Any], *, docker: bool = False, content_type: str | None = None) -> None:
    platform = platform_of(os.uname().machine)
    rootfs = {"type": "layers", "diff_ids": [digest_of(ARCHIVE)]}
    config = {"os": platform.os, "architecture": platform.architecture, "rootfs": rootfs}
    config_type = DOCKER.format("container.image.v1+json") if docker else f"{OCI.format('config')}+json"
    manifest_type = DOCKER.format("distribution.manifest.v2+json") if docker else f"{OCI.format('manifest')}+json"
    manifest = {
        "schemaVersion": 2,
        "mediaType": manifest_type,
        "config": shelf.put_blob(json.dumps(config).encode(), config_type),
        "layers": [layer],
    }
    shelf.put_manifest("unusual", manifest, content_type)


def _run(paths: Paths, registry: FaultyRegistry) -> Result:
    configure(paths, f"extensions: {{x: {{source: 'docker://{registry.address}/unusual:v1'}}}}")
    return converge(paths, Options(), "test")


@pytest.fixture(params=["own", "newer"])
def skopeo(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine's skopeo, and a newer one."""
    if request.param == "newer":
        monkeypatch.setenv("PATH", f"{newer_skopeo(tmp_path / 'newer')}:{os.environ['PATH']}")


@pytest.mark.usefixtures("skopeo")
@pytest.mark.parametrize(
    ("media_type", "docker"),
    [
        (f"{OCI.format('layer.nondistributable')}.tar+gzip", False),
        (DOCKER.format("image.rootfs.foreign.diff.tar.gzip"), True),
        (f"{OCI.format('layer')}.tar+gzip", False),
    ],
)
@pytest.mark.parametrize("urls", [AWAY, {}])
def test_a_layer_that_is_said_to_lie_elsewhere_is_fetched_where_the_image_is(
    paths: Paths, shelf: tuple[Shelf, FaultyRegistry], media_type: str, *, docker: bool, urls: dict[str, Any]
) -> None:
    registry = shelf[1]
    _image(shelf[0], shelf[0].put_blob(gzip.compress(ARCHIVE), media_type) | urls, docker=docker)
    assert _run(paths, registry).in_sync
    assert len(list((paths.blobs / "sha256").iterdir())) == 3
    assert not list(paths.transfers.iterdir())


@pytest.mark.usefixtures("skopeo")
def test_a_layer_that_lies_elsewhere_indeed_is_called_so(paths: Paths, shelf: tuple[Shelf, FaultyRegistry]) -> None:
    layer = shelf[0].put_blob(gzip.compress(ARCHIVE), f"{OCI.format('layer.nondistributable')}.tar+gzip", here=False)
    _image(shelf[0], layer | AWAY)
    (problem,) = _run(paths, shelf[1]).problems
    assert problem.code == "image.malformed"
    assert "is not with the image: a foreign one" in problem.message


def test_a_layout_has_its_foreign_layers(paths: Paths, tmp_path: Path) -> None:
    write_image(tmp_path / "layout", "v1", command("x", "x"))
    index = json.loads((tmp_path / "layout/index.json").read_bytes())
    blobs = tmp_path / "layout/blobs/sha256"
    manifest = json.loads((blobs / index["manifests"][0]["digest"].removeprefix("sha256:")).read_bytes())
    manifest["layers"][0] |= AWAY
    content = json.dumps(manifest).encode()
    (blobs / digest_of(content).removeprefix("sha256:")).write_bytes(content)
    index["manifests"][0] |= {"digest": digest_of(content), "size": len(content)}
    (tmp_path / "layout/index.json").write_text(json.dumps(index))
    configure(paths, f"extensions: {{x: {{source: 'oci:{tmp_path}/layout:v1'}}}}")
    assert converge(paths, Options(), "test").in_sync
    layer = manifest["layers"][0]["digest"].removeprefix("sha256:")
    (blobs / layer).rename(tmp_path / "away")
    configure(paths, "settings: {allow_empty: true}\nextensions: {}")
    assert converge(paths, Options(), "test").in_sync
    for entry in paths.store.iterdir():
        entry.rename(paths.staging / "gone")
    (paths.blobs / "sha256" / layer).unlink()
    configure(paths, f"extensions: {{x: {{source: 'oci:{tmp_path}/layout:v1', pull: always}}}}")
    (problem,) = converge(paths, Options(), "test").problems
    assert "a foreign one" in problem.message


def test_an_encrypted_layer_is_called_so(paths: Paths, shelf: tuple[Shelf, FaultyRegistry]) -> None:
    _image(shelf[0], shelf[0].put_blob(b"secret", f"{OCI.format('layer')}.tar+gzip+encrypted"))
    (problem,) = _run(paths, shelf[1]).problems
    assert problem.code == "image.encrypted"
    assert not paths.blobs.exists()


@pytest.mark.usefixtures("skopeo")
@pytest.mark.parametrize(
    "media_type", [DOCKER.format("image.rootfs.diff.tar.zstd"), f"{OCI.format('layer')}.tar+zstd"]
)
def test_layers_that_no_image_of_docker_has(
    paths: Paths, shelf: tuple[Shelf, FaultyRegistry], media_type: str
) -> None:
    _image(shelf[0], shelf[0].put_blob(zstandard.compress(ARCHIVE), media_type), docker=True)
    (problem,) = _run(paths, shelf[1]).problems
    assert problem.code == "image.malformed"
    assert "its layers are of a kind that Docker's never are" in problem.message


@pytest.mark.usefixtures("skopeo")
@pytest.mark.parametrize("content_type", ["text/html", "application/octet-stream", "application/json", "text/plain"])
def test_a_manifest_that_is_served_as_something_else(
    paths: Paths, shelf: tuple[Shelf, FaultyRegistry], content_type: str
) -> None:
    layer = shelf[0].put_blob(gzip.compress(ARCHIVE), f"{OCI.format('layer')}.tar+gzip")
    _image(shelf[0], layer, content_type=content_type)
    (problem,) = _run(paths, shelf[1]).problems
    assert problem.code == "image.malformed"
    assert "serves the manifest as what it is not" in problem.message
