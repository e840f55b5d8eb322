"""Manifests on real trees: written, read back, compared."""

from __future__ import annotations

import os
import shutil
import zlib
from typing import TYPE_CHECKING

import pytest

from reconciler.errors import Failed
from reconciler.host.store import manifests, seals
from reconciler.model.content.format import Format
from reconciler.model.state.entry import Entry

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from reconciler.paths import Paths

A = Entry(f"sha256:{'a' * 64}")
IMAGE = Entry(f"sha256:{'b' * 64}", None, Format.RAW)
MANY = 200  # more than one piece of work


@pytest.fixture(autouse=True)
def tree(paths: Paths) -> Path:
    """A directory of some files, links and attributes, with its manifest."""
    tree = paths.store / A.file_name
    (tree / "usr/share/many").mkdir(parents=True)
    for number in range(MANY):
        (tree / f"usr/share/many/{number}").write_text(f"{number}\n")
    (tree / "usr/share/large").write_bytes(bytes(3 << 20))
    (tree / "usr/share/link").symlink_to("/nowhere")
    (tree / "usr/share/twin").hardlink_to(tree / "usr/share/large")
    (tree / os.fsdecode(b"usr/share/\xff")).write_text("odd name")
    os.setxattr(tree / "usr/share/large", "user.x", b"x")
    manifests.make(paths, A)
    return tree


def _told(paths: Paths, entry: Entry = A, *, whole: bool = False) -> list[str]:
    manifest = manifests.read(paths, entry)
    assert manifest
    since = {} if whole else {entry: seals.sealed(paths, entry) or 0}
    return [str(it) for it in manifests.differences(paths, {entry: manifest}, since)[entry]]


def test_a_tree_is_as_its_manifest_says(paths: Paths) -> None:
    assert _told(paths) == _told(paths, whole=True) == []
    manifest = manifests.read(paths, A)
    assert manifest
    assert manifest.files == MANY + 3
    assert manifest.items["usr/share/link"].content == "/nowhere"
    assert manifest.items["usr/share/large"].xattrs == (("user.x", "78"),)


CHANGES: dict[str, Callable[[Path], object]] = {
    "/usr/share/large has another content": lambda tree: _flip(tree / "usr/share/large"),
    "/usr/share/link leads to /else, not to /nowhere": lambda tree: _relink(tree / "usr/share/link"),
    "/usr/share/many is gone": lambda tree: shutil.rmtree(tree / "usr/share/many"),
    "/usr/share/many/7 has other extended attributes": lambda tree: os.setxattr(
        tree / "usr/share/many/7", "security.capability", bytes.fromhex("0100000200040000000000000000000000000000")
    ),
    "/usr/share/many/8 is a directory, not a file": lambda tree: _make_directory(tree / "usr/share/many/8"),
    "/usr/share/many/9 belongs to 7:0, not to 0:0": lambda tree: os.chown(tree / "usr/share/many/9", 7, 0),
    "/usr/share/fifo was added": lambda tree: os.mkfifo(tree / "usr/share/fifo"),
}


def _flip(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.seek(-1, os.SEEK_END)
        opened.write(b"x")
    (file.parent / "twin").unlink()  # or it would be told, too
    with (file.parent / "twin").open("wb") as twin:
        twin.truncate(3 << 20)
    os.setxattr(twin.name, "user.x", b"x")


def _make_directory(file: Path) -> None:
    file.unlink()
    file.mkdir()


def _relink(link: Path) -> None:
    link.unlink()
    link.symlink_to("/else")


@pytest.mark.parametrize("told", CHANGES)
def test_changes_are_told(paths: Paths, tree: Path, told: str) -> None:
    CHANGES[told](tree)
    assert _told(paths) == _told(paths, whole=True) == [told]


def test_what_makes_no_other_extension_is_no_difference(paths: Paths, tree: Path) -> None:
    os.utime(tree / "usr/share/large", (1, 1))
    (tree.parent / "another-link").hardlink_to(tree / "usr/share/many/1")
    os.setxattr(tree / "usr/share/many/2", "security.selinux", b"system_u:object_r:usr_t:s0\0")
    assert _told(paths) == _told(paths, whole=True) == []


def test_an_image_file_is_compared_by_its_digest(paths: Paths) -> None:
    image = paths.store / IMAGE.file_name
    image.write_bytes(b"content")
    manifests.make(paths, IMAGE)
    assert _told(paths, IMAGE) == []
    image.write_bytes(b"CONTENT")
    assert _told(paths, IMAGE) == ["the image file has another content"]


def test_without_a_trace_only_a_whole_comparison_finds_it(paths: Paths, tree: Path) -> None:
    """As a disk changes content: the inode says nothing of it."""
    (tree / "usr/share/many/1").write_text("X\n")
    seals.reseal(paths, A, seals.now() + 10**9)
    assert _told(paths) == []
    assert _told(paths, whole=True) == ["/usr/share/many/1 has another content"]
    seals.reseal(paths, A, 0)
    assert _told(paths) == ["/usr/share/many/1 has another content"]


def test_a_tree_that_cannot_be_read_is_not_as_it_was(paths: Paths, tree: Path) -> None:
    tree.rename(tree.with_name("elsewhere"))
    assert _told(paths) == [f"/ cannot be read: {tree}: No such file or directory"]
    with pytest.raises(Failed, match="No such file or directory"):
        manifests.make(paths, A)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no zlib",
        zlib.compress(b"no json"),
        zlib.compress(b"[]"),
        zlib.compress(b"{}"),
        zlib.compress(b'{"version": 2, "items": {}}'),
        zlib.compress(b'{"version": 1, "items": {}}'),
        zlib.compress(b'{"version": 1, "items": {"": [1]}}'),
        zlib.compress(b'{"version": 1, "items": {"": 1}}'),
    ],
)
def test_a_manifest_that_is_damaged_or_of_another_version_is_none(paths: Paths, content: bytes) -> None:
    path = seals.path_of(paths, A)
    path.write_bytes(content)
    assert manifests.read(paths, A) is None
    path.unlink()
    assert manifests.read(paths, A) is None
    assert seals.sealed(paths, A) is None


def test_a_forgotten_manifest_is_gone(paths: Paths) -> None:
    assert seals.sealed(paths, A)
    seals.forget(paths, A)
    seals.forget(paths, A)
    assert seals.sealed(paths, A) is None
