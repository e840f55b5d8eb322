"""Fetching with real skopeo from a layout: what must not happen half, twice or at all."""

from __future__ import annotations

import hashlib
import shutil
from collections import namedtuple
from typing import TYPE_CHECKING

import pytest

from reconciler.host import command
from reconciler.reconcile import Options, converge
from tests.rig import diskimages
from tests.rig.images import command as command_of
from tests.rig.images import write_artifact, write_image
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
    assert "needs more than" in result.problems[0].message
    assert "has 10 free" in result.problems[0].message
    assert not paths.blobs.exists()


def test_one_image_for_two_extensions_is_fetched_once(
    paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []
    real = command._find  # noqa: SLF001

    def count(program: str, path: str) -> object:
        started.append(program)
        return real(program, path)

    monkeypatch.setattr(command, "_find", count)
    both = (*command_of("x", "x"), *command_of("y", "y"))
    write_image(tmp_path / "layout", "v1", both)
    source = f"oci:{tmp_path}/layout:v1"
    configure(paths, f"extensions: {{x: {{source: '{source}'}}, y: {{source: '{source}'}}}}")
    assert converge(paths, Options(), "test").in_sync
    assert started == ["skopeo"] * 3  # each source is looked up, and its content copied once


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


def test_an_artifact_with_several_files_is_refused(paths: Paths, tmp_path: Path) -> None:
    write_artifact(tmp_path / "layout", "raw", b"one", b"two")
    configure(paths, f"extensions: {{x: {{source: 'oci:{tmp_path}/layout:raw', format: raw}}}}")
    result = converge(paths, Options(), "test")
    assert "the artifact has 2 files, not one" in result.problems[0].message


def test_rename_reaches_into_directories(paths: Paths, tmp_path: Path) -> None:
    write_image(tmp_path / "layout", "v1", command_of("kubo", "kubo"))
    configure(paths, f"extensions: {{ipfs: {{source: 'oci:{tmp_path}/layout:v1', rename: true}}}}")
    assert converge(paths, Options(), "test").in_sync
    (entry,) = paths.store.iterdir()
    releases = sorted(path.name for path in (entry / "usr/lib/extension-release.d").iterdir())
    assert releases == ["extension-release.ipfs", "extension-release.kubo"]
