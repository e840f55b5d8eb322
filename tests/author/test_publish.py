"""From directories, image files and layouts to one image, without a registry."""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from backports import zstd

from reconciler.author.publish import PushRequest, publish
from reconciler.errors import Failed, Invalid
from reconciler.host.registry.skopeo import Skopeo
from reconciler.host.registry.skopeopush import Signing
from reconciler.host.tar.fromtree import write_tree
from reconciler.model.content.destination import parse_destination
from reconciler.model.content.ociread import Platform
from reconciler.model.content.ociwrite import Compression
from tests.rig.diskimages import ROOT, Part, disk, erofs, extension_tree, make_tree, squashfs
from tests.rig.images import Member, command, write_artifact, write_image, write_index

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.model.build.publication import Published

AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")
REGISTRY = parse_destination("docker://h.example/tool:v1.2")
ARM64_ROOT = "b921b045-1df0-41c3-af44-4c6f280d3fae"
RELEASE = "usr/lib/extension-release.d/extension-release.tool"

pytestmark = pytest.mark.commands


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """An extension as a directory."""
    return extension_tree(tmp_path / "tool", "tool")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A layout to push into."""
    return tmp_path / "out"


def _wish(out: Path) -> PushRequest:
    return PushRequest(parse_destination(f"oci:{out}:v1"))


def _try(*inputs: Path, **wish: Any) -> Published:  # noqa: ANN401 - the fields of a wish
    """As `push --dry-run` to a registry."""
    return publish(inputs, PushRequest(REGISTRY, dry_run=True, **wish), Skopeo(), "x86_64")


def _read(out: Path, published: Published) -> Any:  # noqa: ANN401 - JSON
    return json.loads(_blob(out, published.held.digest))


def _blob(out: Path, digest: str) -> bytes:
    return (out / "blobs/sha256" / digest.removeprefix("sha256:")).read_bytes()


def _members(packed: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        return {member.name: member for member in archive}


def test_a_directory_becomes_one_layer_of_roots(tree: Path, out: Path) -> None:
    os.chown(tree / RELEASE, 1000, 1000)
    tree.chmod(0o700)
    published = publish([tree], _wish(out), Skopeo(), "x86_64")
    manifest = _read(out, published)
    members = _members(gzip.decompress(_blob(out, manifest["layers"][0]["digest"])))
    assert {(it.uid, it.gid) for it in members.values()} == {(0, 0)}
    assert members["."].mode == 0o755
    assert members["usr/bin/tool"].mode == 0o755
    assert [(it.manifest.digest, it.made_of) for it in published.images] == [(published.held.digest, str(tree))]


def test_no_time_is_later_than_source_date_epoch(tree: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.utime(tree / RELEASE, (1000, 1000))
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    manifest = _read(out, publish([tree], replace(_wish(out), compression=Compression.ZSTD), Skopeo(), "x86_64"))
    members = _members(zstd.decompress(_blob(out, manifest["layers"][0]["digest"])))
    assert members["usr/bin/tool"].mtime == 86400
    assert members[RELEASE].mtime == 1000
    assert manifest["annotations"]["org.opencontainers.image.created"] == "1970-01-02T00:00:00Z"


def test_source_date_epoch_is_a_number(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    with pytest.raises(Invalid, match="SOURCE_DATE_EPOCH is 'yesterday', not a number of seconds"):
        _try(tree)


def test_what_is_said_of_it(tree: Path, out: Path) -> None:
    said = {"org.opencontainers.image.title": "other", "org.example.x": "y"}
    published = publish([tree], replace(_wish(out), labels={"a": "b"}, annotations=said), Skopeo(), "x86_64")
    manifest = _read(out, published)
    config = json.loads(_blob(out, manifest["config"]["digest"]))
    assert {**manifest["annotations"], **said} == manifest["annotations"]
    assert config["config"]["Labels"] == {
        "a": "b",
        "org.opencontainers.image.title": "tool",
    }


def test_an_image_file_inside_an_image(tree: Path, out: Path, tmp_path: Path) -> None:
    image = squashfs(tree, tmp_path / "tool.raw")
    manifest = _read(out, publish([image], _wish(out), Skopeo(), "x86_64"))
    packed = gzip.decompress(_blob(out, manifest["layers"][0]["digest"]))
    assert list(_members(packed)) == ["tool.raw"]


def test_links_are_called_by_their_own_name(tree: Path, tmp_path: Path, out: Path) -> None:
    """As livelayer's links into its store are."""
    image = squashfs(tree, tmp_path / "0123456789abcdef.squashfs")
    (tmp_path / "tool.raw").symlink_to(image)
    manifest = _read(out, publish([tmp_path / "tool.raw"], replace(_wish(out), artifact=True), Skopeo(), "x86_64"))
    assert manifest["layers"][0]["annotations"] == {"org.opencontainers.image.title": "tool.raw"}
    (tmp_path / "link").symlink_to(tree)
    assert _try(tmp_path / "link").held.digest == _try(tree).held.digest


def test_a_confext_is_found_to_be_one(tmp_path: Path, out: Path) -> None:
    tree = make_tree(tmp_path / "site", {"etc/extension-release.d/extension-release.site": "ID=_any\n"})
    image = erofs(tree, tmp_path / "site.raw")
    published = publish([image], replace(_wish(out), artifact=True), Skopeo(), "x86_64")
    assert _read(out, published)["artifactType"] == "application/vnd.livelayer.confext.raw"
    assert [str(it.subject.kind) for it in published.images if it.subject] == ["confext"]


def test_a_disk_image_for_another_machine(tmp_path: Path, tree: Path) -> None:
    content = squashfs(tree, tmp_path / "root").read_bytes()
    image = tmp_path / "tool.raw"
    image.write_bytes(disk([Part(ARM64_ROOT, content)]))
    published = _try(image, artifact=True)
    assert [it.manifest.platform for it in published.images] == [ARM64]
    image.write_bytes(disk([Part(ROOT, content)]))
    with pytest.raises(Invalid, match="by its release file, not for"):
        _try(image, artifact=True, platforms=(Platform("linux", "s390x"),))


def test_one_artifact_for_several_platforms(tmp_path: Path, tree: Path) -> None:
    image = squashfs(tree, tmp_path / "tool.raw")
    published = _try(image, artifact=True, platforms=(AMD64, ARM64))
    assert len({it.manifest.digest for it in published.images}) == 1
    assert published.held.media_type == "application/vnd.oci.image.index.v1+json"


def test_builds_for_several_platforms(tmp_path: Path) -> None:
    """One of them a layout, whose content says what it is for."""
    for machine in ("x86-64", "arm64"):
        extension_tree(tmp_path / machine, "tool", {RELEASE: f"ID=_any\nARCHITECTURE={machine}\n"})
    layout = tmp_path / "layout"
    publish([tmp_path / "arm64"], _wish(layout), Skopeo(), "x86_64")
    published = _try(tmp_path / "x86-64", layout)
    assert [it.manifest.platform for it in published.images] == [AMD64, ARM64]
    with pytest.raises(Invalid, match="are both for linux/arm64"):
        _try(tmp_path / "arm64", layout)
    with pytest.raises(Invalid, match="3 platforms for 2 files"):
        _try(tmp_path / "arm64", tmp_path / "x86-64", platforms=(AMD64, ARM64, AMD64))
    with pytest.raises(Invalid, match="a layout is pushed as it is"):
        _try(layout, labels={"a": "b"})


def test_layouts_stay_as_they_are(tmp_path: Path, out: Path) -> None:
    """Also with a colon in their path, which skopeo would take for the end of it."""
    layout = tmp_path / "with:colon"
    one = write_image(layout, "v1", command("tool", "1"))
    many = write_index(layout, "many", {"amd64": command("tool", "2"), "arm64": command("tool", "2")})
    bare = write_artifact(
        layout, "bare", squashfs(extension_tree(tmp_path / "t", "tool"), tmp_path / "t.raw").read_bytes()
    )
    for tag, digest, count in (("v1", one, 1), ("many", many, 2), ("bare", bare, 1)):
        destination = parse_destination(f"docker://h.example/tool:{tag}")
        published = publish([layout], PushRequest(destination, dry_run=True), Skopeo(), "x86_64")
        assert (published.held.digest, len(published.images)) == (digest, count)
    with pytest.raises(Invalid, match=r"holds 3 images \(bare, many, v1\), and none is called v1.2"):
        _try(layout)
    lone = tmp_path / "lone:one"
    expected = write_image(lone, "whatever", command("tool", "1"))
    publish([lone], _wish(out), Skopeo(), "x86_64")
    assert json.loads((out / "index.json").read_bytes())["manifests"][0]["digest"] == expected


def test_what_is_in_a_layout_is_looked_at(tmp_path: Path) -> None:
    layout = tmp_path / "layout"
    write_image(layout, "v1", [Member("usr/bin/tool", b"x")])
    with pytest.raises(Invalid, match="has no release file"):
        _try(layout)
    assert _try(layout, force=True).images[0].subject
    write_image(layout, "v1", [Member("srv/tool.img", b"x")])
    assert [it.subject for it in _try(layout).images] == [None]
    write_artifact(layout, "v1", b"no image")
    with pytest.raises(Invalid, match="not an image of an extension"):
        _try(layout)
    write_artifact(layout, "v1", b"one", b"two")
    with pytest.raises(Invalid, match="the artifact has 2 files"):
        _try(layout)


def test_damaged_layouts(tmp_path: Path) -> None:
    layout = tmp_path / "layout"
    digest = write_image(layout, "v1", command("tool", "1"))
    manifest = layout / "blobs/sha256" / digest.removeprefix("sha256:")
    layer = layout / "blobs/sha256" / json.loads(manifest.read_bytes())["layers"][0]["digest"].removeprefix("sha256:")
    content = layer.read_bytes()
    layer.write_bytes(content[:-1] + b"x")
    with pytest.raises(Invalid, match="layer"):
        _try(layout)
    layer.write_bytes(content + b"x")
    with pytest.raises(Invalid, match="bytes, and its manifest says"):
        _try(layout)
    layer.unlink()
    with pytest.raises(Invalid, match="is missing"):
        _try(layout)
    manifest.write_bytes(manifest.read_bytes() + b" ")
    with pytest.raises(Invalid, match="is not what its name says"):
        _try(layout)
    (layout / "index.json").write_text("[]")
    with pytest.raises(Invalid, match="neither an OCI nor a Docker"):
        _try(layout)


def test_names_that_mean_something_else_in_a_layer(tree: Path) -> None:
    (tree / "usr/.wh.bin").touch()
    with pytest.raises(Invalid, match=r"usr/.wh.bin: in a layer, this name means that a file is deleted"):
        _try(tree)


def test_attributes_that_steer_an_overlay(tree: Path) -> None:
    os.setxattr(tree / "usr/bin", "user.overlay.opaque", b"y")
    with pytest.raises(Invalid, match=r"usr/bin has the extended attribute user\.overlay\.opaque"):
        _try(tree)


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"no image at all", "tool.raw: the image is"), (b"", "tool.raw: the image is")],
)
def test_files_that_are_no_images(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "tool.raw").write_bytes(content)
    with pytest.raises(Invalid, match=words):
        _try(tmp_path / "tool.raw")
    assert _try(tmp_path / "tool.raw", force=True, artifact=True).images


def test_what_is_nothing_to_push(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="there is no such file or directory"):
        _try(tmp_path / "nowhere")
    with pytest.raises(Invalid, match="neither a file nor a directory"):
        _try(Path("/dev/null"))
    with tarfile.open(tmp_path / "tool.tar.gz", "w:gz") as archive:
        archive.add(__file__, "x")
    with pytest.raises(Invalid, match="is a tar archive"):
        _try(tmp_path / "tool.tar.gz")


def test_what_does_not_go_together(tree: Path, tmp_path: Path, out: Path) -> None:
    image = squashfs(tree, tmp_path / "tool.raw")
    with pytest.raises(Invalid, match="--artifact is for image files"):
        _try(tree, artifact=True)
    with pytest.raises(Invalid, match="--label is for container images"):
        _try(image, artifact=True, labels={"a": "b"})
    with pytest.raises(Invalid, match="--compression is for container images"):
        _try(image, artifact=True, compression=Compression.ZSTD)
    with pytest.raises(Invalid, match="--artifact-type is for artifacts"):
        _try(image, artifact_type="x/y")
    with pytest.raises(Invalid, match="only images in a registry are signed"):
        publish([tree], replace(_wish(out), signing=Signing("ABCD")), Skopeo(), "x86_64")


def test_what_changes_meanwhile(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write_while_somebody_writes(path: Path, archive: Any) -> None:  # noqa: ANN401 - as `write_tree`
        write_tree(path, archive)
        (path / "usr/bin/tool").write_text("#!/bin/sh\necho new\n")

    monkeypatch.setattr("reconciler.author.publish.write_tree", write_while_somebody_writes)
    with pytest.raises(Failed, match="changed while it was read"):
        _try(tree)


@pytest.fixture(autouse=True)
def nothing_is_left(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Whatever happens, the place where images are made is empty again."""
    place = tmp_path / "workplace"
    place.mkdir()
    monkeypatch.setenv("TMPDIR", str(place))
    yield
    assert list(place.iterdir()) == []
