"""A directory made into an image file: all that is in it, always in the same way."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from reconciler.errors import Failed, Invalid
from reconciler.host.store import entries as store
from reconciler.model.kind import Kind
from tests.host.layers.unpacking import needs_root
from tests.host.store.packing import SQUASHFS, Packing, links_of, tree_of

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [needs_root, pytest.mark.commands]

RELEASE = "usr/lib/extension-release.d/extension-release."
SECOND = 10**9


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Made in an order that is not the names'."""
    root = tmp_path / "tree"
    for path in ("usr/lib/z", "usr/lib/a", f"{RELEASE}tool", "usr/bin/tool", "opt/-odd\nname"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(f"ID=_any\nX={path.splitlines()[0]}\n")
    (root / "usr/bin/tool").chmod(0o4755)
    os.chown(root / "usr/bin/tool", 5, 6)
    os.setxattr(root / "usr/bin/tool", "user.note", b"\0\n=")
    (root / "usr/bin/alias").symlink_to("tool")
    (root / "opt/another").hardlink_to(root / "usr/bin/tool")
    os.link(root / "usr/bin/alias", root / "opt/alias", follow_symlinks=False)
    for number, item in enumerate([root, *sorted(root.rglob("*"))]):
        os.utime(item, ns=(0, number * SECOND), follow_symlinks=False)
    return root


@pytest.fixture
def packing(tmp_path: Path) -> Packing:
    (tmp_path / "packing").mkdir()
    return Packing(tmp_path / "packing")


def test_everything_is_in_it(packing: Packing, tree: Path) -> None:
    contents = packing.pack_tree(tree)
    found, expected = packing.unpack(), tree_of(tree)
    assert found == expected
    assert links_of(packing.unpacked, found) == links_of(tree, expected)
    assert replace(contents, image=None) == store.inspect(tree, Kind.SYSEXT)


def test_the_same_tree_is_the_same_bytes_even_when_renamed(packing: Packing, tree: Path) -> None:
    entry = replace(SQUASHFS, renamed_to="mine")
    directory = (tree / RELEASE).parent
    before = directory.stat().st_mtime_ns
    contents = packing.pack_tree(tree, entry)
    first = packing.image.read_bytes()
    assert contents.releases["mine"] == contents.releases["tool"]
    assert directory.stat().st_mtime_ns == before
    (tree / f"{RELEASE}mine").unlink()
    os.utime(directory, ns=(0, before))
    packing.pack_tree(tree, entry)
    assert packing.image.read_bytes() == first


def test_what_is_no_file_is_refused(packing: Packing, tree: Path) -> None:
    os.mkfifo(tree / "usr/fifo")
    with pytest.raises(Invalid, match="usr/fifo is neither a file, a link nor a directory"):
        packing.pack_tree(tree)
    assert not packing.image.exists()
    (tree / "usr/fifo").unlink()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tree / "s"))
        with pytest.raises(Invalid, match="s is neither a file, a link nor a directory"):
            packing.pack_tree(tree)


def test_what_squashfs_cannot_keep_is_an_error(packing: Packing, tree: Path) -> None:
    """Here an access control list: version, then tag, permissions and id of each entry."""
    entries = "0100 0700 ffffffff  0200 0700 05000000  0400 0700 ffffffff  1000 0700 ffffffff  2000 0500 ffffffff"
    os.setxattr(tree / "usr/bin/tool", "system.posix_acl_access", bytes.fromhex(f"02000000 {entries}"))
    with pytest.raises(Failed, match=r"tar2sqfs failed: .*system\.posix_acl_access"):
        packing.pack_tree(tree)
    assert not packing.image.exists()


def test_a_missing_program_is_told_with_a_way_out(
    packing: Packing, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(Failed, match="the program tar2sqfs is not on this machine") as caught:
        packing.pack_tree(tree)
    assert caught.value.hint == "install squashfs-tools-ng, or choose the format directory"


def test_a_file_that_cannot_be_made_is_told_in_the_programs_words(packing: Packing, tree: Path) -> None:
    packing.image = packing.scratch / "nowhere/image"
    with pytest.raises(Failed, match=r"tar2sqfs failed: .*No such file or directory"):
        packing.pack_tree(tree)
