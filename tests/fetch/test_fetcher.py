"""Fetching with real skopeo from a layout: what must not happen half, twice or at all."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import subprocess
from collections import namedtuple
from typing import TYPE_CHECKING

import pytest

from reconciler.host.merge.links import read_links
from reconciler.host.store.pathlists import file_list
from reconciler.loop.reconcile import converge
from reconciler.loop.session import Options
from reconciler.model.content.ociread import platform_of
from reconciler.report.explanation import explain
from tests.rig import diskimages
from tests.rig.images import Member, extension, tar, write_artifact, write_image, write_index
from tests.rig.images import command as command_of
from tests.seed import configure

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.paths import Paths

pytestmark = pytest.mark.commands

Usage = namedtuple("Usage", "total used free")  # noqa: PYI024 - as shutil has it


def test_what_cannot_fit_is_not_even_transferred(
    paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_image(tmp_path / "layout", "v1", command_of("x", "x"))
    configure(paths, f"extensions: {{x: {{source: 'oci:{tmp_path}/layout:v1'}}}}")
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(100, 90, 10))
    result = converge(paths, Options(), "test")
    assert "needs more than" in result.problems[0].sentence
    assert "has 10 free" in result.problems[0].sentence
    assert not paths.blobs.exists()


def test_one_image_for_two_extensions_is_fetched_once(paths: Paths, tmp_path: Path, started: list[str]) -> None:
    both = (*command_of("x", "x"), *command_of("y", "y"))
    write_image(tmp_path / "layout", "v1", both)
    source = f"oci:{tmp_path}/layout:v1"
    configure(paths, f"extensions: {{x: {{source: '{source}'}}, y: {{source: '{source}'}}}}")
    assert converge(paths, Options(), "test").in_sync
    assert started == ["skopeo"] * 2  # their source is looked up, and its content copied


def test_a_damaged_blob_is_fetched_again(paths: Paths, tmp_path: Path) -> None:
    write_image(tmp_path / "layout", "v1", command_of("x", "x"))
    configure(paths, f"extensions: {{x: {{source: 'oci:{tmp_path}/layout:v1'}}}}")
    assert converge(paths, Options(), "test").in_sync
    (entry,) = paths.store.iterdir()
    shutil.rmtree(entry)
    for blob in (paths.blobs / "sha256").iterdir():
        content = blob.read_bytes()
        blob.write_bytes(bytes([content[0] ^ 1]) + content[1:] if blob.stat().st_size < 300 else content)
    assert converge(paths, Options(), "test").in_sync
    assert [it.name for it in paths.store.iterdir()] == [entry.name]


@pytest.mark.parametrize("at", [0, -1])
def test_a_damaged_image_file_is_fetched_again(paths: Paths, tmp_path: Path, at: int) -> None:
    image = diskimages.squashfs(diskimages.extension_tree(tmp_path / "tree", "x"), tmp_path / "image").read_bytes()
    write_artifact(tmp_path / "layout", "raw", image)
    configure(paths, f"extensions: {{x: {{source: 'oci:{tmp_path}/layout:raw', format: raw}}}}")
    assert converge(paths, Options(), "test").in_sync
    (entry,) = paths.store.glob("*.raw")
    entry.unlink()
    damaged = bytearray(image)
    damaged[at] ^= 1
    (paths.blobs / "sha256" / hashlib.sha256(image).hexdigest()).write_bytes(damaged)
    assert converge(paths, Options(), "test").in_sync
    assert entry.read_bytes() == image


LAYER = "application/vnd.oci.image.layer.v1.tar"


@pytest.mark.parametrize("form", ["auto", "directory", "squashfs"])
@pytest.mark.parametrize(("media_type", "title"), [(f"{LAYER}+gzip", "x"), (LAYER, "x.tar.gz"), (LAYER, "")])
def test_an_artifact_that_is_an_archive_is_unpacked(
    paths: Paths, tmp_path: Path, form: str, media_type: str, title: str
) -> None:
    """As `oras push REF DIR` makes it."""
    content = gzip.compress(tar(command_of("x", "x")))
    write_artifact(tmp_path / "layout", "v1", content, media_type=media_type, title=title)
    configure(paths, f"extensions: {{x: {{source: 'oci:{tmp_path}/layout:v1', format: {form}}}}}")
    assert converge(paths, Options(), "test").in_sync
    assert len(list(paths.store.glob("*.squashfs" if form == "squashfs" else "*.directory"))) == 1


def test_an_artifact_that_promises_something_else_is_what_its_bytes_say(paths: Paths, tmp_path: Path) -> None:
    image = diskimages.squashfs(diskimages.extension_tree(tmp_path / "tree", "x"), tmp_path / "image").read_bytes()
    archive = gzip.compress(tar(command_of("x", "x")))
    for number, (content, form) in enumerate([(image, "raw"), (archive, "directory")]):
        layout = tmp_path / f"layout{number}"
        write_artifact(layout, "v1", content, media_type=f"{LAYER}+gzip" if content is image else LAYER, title="x")
        configure(paths, f"extensions: {{x: {{source: 'oci:{layout}:v1'}}}}")
        assert converge(paths, Options(), "test").in_sync
        assert len(list(paths.store.glob(f"*.{form}"))) == 1


def test_status_and_explain_name_the_same_digest(paths: Paths, tmp_path: Path) -> None:
    """Of an image for several platforms that is this platform's; its index's stands beside it. Both can be pinned."""
    architecture = platform_of(os.uname().machine).architecture
    index = write_index(tmp_path / "layout", "v1", {architecture: command_of("x", "x"), "none": command_of("x", "y")})
    source = f"extensions: {{x: {{source: 'oci:{tmp_path}/layout:v1'"
    configure(paths, f"{source}}}}}")
    result = converge(paths, Options(), "test")
    (status,) = result.statuses
    explained = explain(status, result.view, ())
    assert status.desired == status.placed == explained["placed"]["digest"] == explained["target"]["digest"]
    assert explained["target"]["index_digest"] == index != status.placed
    for digest in (index, status.placed):
        configure(paths, f"{source}, digest: '{digest}'}}}}")
        assert converge(paths, Options(), "test").in_sync


def test_an_artifact_with_several_files_is_refused(paths: Paths, tmp_path: Path) -> None:
    write_artifact(tmp_path / "layout", "raw", b"one", b"two")
    configure(paths, f"extensions: {{x: {{source: 'oci:{tmp_path}/layout:raw', format: raw}}}}")
    result = converge(paths, Options(), "test")
    assert "the artifact has 2 files, not one" in result.problems[0].sentence


def test_the_names_in_an_image_that_is_packed_are_those_that_are_read_from_it(paths: Paths, tmp_path: Path) -> None:
    odd = Member("usr/share/with space/\u00e4", b"odd")
    write_image(tmp_path / "layout", "v1", command_of("x", "x"), (odd,), (Member("usr/share/.wh.none"),))
    configure(paths, f"extensions: {{x: {{source: 'oci:{tmp_path}/layout:v1', format: squashfs}}}}")
    assert converge(paths, Options(), "test").in_sync
    (link,) = read_links(paths, 252).links.values()
    remembered = file_list(paths, link.entry, remember=False)
    for record in paths.file_lists.iterdir():
        record.unlink()
    assert remembered == file_list(paths, link.entry, remember=False)
    assert remembered
    assert "usr/share/with space/\u00e4" in remembered.files
    assert "usr/share/with space" in remembered.directories


def test_rename_reaches_into_directories(paths: Paths, tmp_path: Path) -> None:
    write_image(tmp_path / "layout", "v1", command_of("kubo", "kubo"))
    configure(paths, f"extensions: {{ipfs: {{source: 'oci:{tmp_path}/layout:v1', rename: true}}}}")
    assert converge(paths, Options(), "test").in_sync
    (entry,) = paths.store.iterdir()
    releases = sorted(path.name for path in (entry / "usr/lib/extension-release.d").iterdir())
    assert releases == ["extension-release.ipfs", "extension-release.kubo"]


def _sources(*sources: str, **fields: str) -> str:
    listed = ", ".join(f"'{source}'" for source in sources)
    return f"extensions: {{x: {{source: [{listed}]{''.join(f', {key}: {it}' for key, it in fields.items())}}}}}"


def test_several_sources_are_laid_over_each_other_in_their_order(paths: Paths, tmp_path: Path) -> None:
    """Each is flattened by itself, so that a whiteout deletes nothing of another."""
    base = extension("x", {"usr/bin/tool": "old", "usr/share/kept": "kept", "usr/share/a/b": "directory"})
    write_image(tmp_path / "layout", "base", base)
    upper = [Member("usr/share/kept", b"gone"), Member("usr/bin/tool", b"new", 0o755), Member("usr/share/a", b"file")]
    write_image(tmp_path / "layout", "upper", upper, [Member("usr/share/.wh.kept")])
    tree = paths.root / "srv/tree"
    (tree / "usr/share").mkdir(parents=True)
    (tree / "usr/share/last").write_text("last")
    sources = [f"oci:{tmp_path}/layout:{tag}" for tag in ("base", "upper")]
    configure(paths, _sources(*sources, "file:///srv/tree"))
    assert converge(paths, Options(), "test").in_sync
    (entry,) = paths.store.iterdir()
    assert (entry / "usr/bin/tool").read_text() == "new"
    assert (entry / "usr/share/kept").read_text() == "kept"
    assert (entry / "usr/share/a").read_text() == "file"
    assert (entry / "usr/share/last").read_text() == "last"
    assert list(paths.staging.iterdir()) == []

    first = entry.name
    configure(paths, _sources(*reversed(sources)))
    assert converge(paths, Options(), "test").in_sync
    (other,) = (it for it in paths.store.iterdir() if it.name != first)
    assert (other / "usr/bin/tool").read_text() == "old"
    assert (other / "usr/share/a/b").read_text() == "directory"


def test_the_digest_of_several_sources_is_made_of_theirs(paths: Paths, tmp_path: Path) -> None:
    digests = [write_image(tmp_path / "layout", name, command_of(name, name)) for name in ("x", "y")]
    configure(paths, _sources(*(f"oci:{tmp_path}/layout:{name}" for name in ("x", "y"))))
    assert converge(paths, Options(), "test").in_sync
    (entry,) = paths.store.iterdir()
    text = "".join(f"{line}\n" for line in ("livelayer sources", *digests))
    assert entry.name == f"{hashlib.sha256(text.encode()).hexdigest()}.directory"
    shutil.rmtree(tmp_path / "layout")
    assert converge(paths, Options(), "test").in_sync  # known from the first time


def test_several_sources_become_one_image_file_of_one_name(paths: Paths, tmp_path: Path) -> None:
    write_image(tmp_path / "layout", "kubo", command_of("kubo", "kubo"))
    write_image(tmp_path / "layout", "more", [Member("usr/bin/more", b"more", 0o755)])
    sources = [f"oci:{tmp_path}/layout:{tag}" for tag in ("kubo", "more")]
    configure(paths, _sources(*sources, format="squashfs", rename="true"))
    assert converge(paths, Options(), "test").in_sync
    (image,) = paths.store.glob("*.squashfs")
    listed = subprocess.run(["unsquashfs", "-ls", str(image)], check=True, capture_output=True, text=True).stdout
    assert {"kubo", "more", "extension-release.kubo", "extension-release.x"} <= {
        line.rpartition("/")[2] for line in listed.splitlines()
    }


def test_an_image_file_is_none_of_several_sources(paths: Paths, tmp_path: Path) -> None:
    write_image(tmp_path / "layout", "x", command_of("x", "x"))
    write_artifact(tmp_path / "layout", "raw", b"image")
    configure(paths, _sources(f"oci:{tmp_path}/layout:x", f"oci:{tmp_path}/layout:raw", format="auto"))
    result = converge(paths, Options(), "test")
    assert "x: an image file cannot be one of several sources" in result.problems[0].sentence


def test_several_sources_obey_the_limits_together(paths: Paths, tmp_path: Path) -> None:
    for tag in ("x", "y"):
        write_image(tmp_path / "layout", tag, [*command_of("x", "x"), Member(f"usr/{tag}", bytes(3000))])
    text = _sources(f"oci:{tmp_path}/layout:x", f"oci:{tmp_path}/layout:y")
    configure(paths, f"settings: {{limits: {{size: 5K}}}}\n{text}")
    assert "has more than 5" in converge(paths, Options(), "test").problems[0].sentence
    assert not paths.store.exists()
