"""Files and directories of the node: their digests, what they are taken for, and copies of directories."""

from __future__ import annotations

import gzip
import os
import shutil
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reconciler.errors import Failed, Invalid
from reconciler.host.base import walk
from reconciler.host.base.command import check, run
from reconciler.host.base.digest import file_digest
from reconciler.host.images.payload import is_tar
from reconciler.host.sources import local
from reconciler.host.sources.local import copy_tree, look_at
from reconciler.model.content.format import Payload
from reconciler.model.content.limits import DEFAULT, Limits
from tests.host.layers.unpacking import needs_root
from tests.rig.images import extension, tar

if TYPE_CHECKING:
    from collections.abc import Callable

TAR = tar(extension("x", {"usr/bin/x": "x"}))


def test_only_regular_files_with_content_are_read_and_none_is_waited_for(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    os.mkfifo(tmp_path / "fifo")
    for path, words in (
        (tmp_path / "empty", "is empty"),
        (Path("/proc/kmsg"), "/proc/kmsg: its content is made up by the kernel .proc."),
        (Path("/proc/self/pagemap"), "its content is made up by the kernel .proc."),
        (Path("/sys/devices/system/cpu/online"), "its content is made up by the kernel .sysfs."),
        (Path("/proc/self/net"), "/proc/self/net: its content is made up by the kernel .proc."),
        (tmp_path / "fifo", "is a FIFO"),
        (Path("/dev/zero"), "is a character device"),
    ):
        with pytest.raises(Invalid, match=words):
            look_at(path)
    with pytest.raises(OSError, match="not a regular file"):
        file_digest(tmp_path / "fifo")


def test_a_file_beyond_the_limit_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "large").touch()
    os.truncate(tmp_path / "large", 1 << 40)
    with pytest.raises(Invalid, match="has more than 16G"):
        look_at(tmp_path / "large")


def _tree(base: Path, name: str = "tree") -> Path:
    tree = base / name
    (tree / "usr/bin").mkdir(parents=True)
    (tree / "usr/bin/tool").write_text("#!/bin/sh\n")
    (tree / "usr/bin/tool").chmod(0o755)
    (tree / "usr/bin/alias").symlink_to("tool")
    (tree / "usr/bin/again").hardlink_to(tree / "usr/bin/tool")
    os.setxattr(tree / "usr/bin/tool", "user.note", b"kept")
    with (tree / "usr/hole").open("wb") as file:
        file.truncate(1 << 20)
    return tree


@pytest.mark.parametrize(
    ("content", "payload"),
    [
        (TAR, Payload.TAR),
        (gzip.compress(TAR, mtime=0), Payload.TAR),
        (b"hsqs" + bytes(2000), Payload.IMAGE),
        (gzip.compress(TAR, mtime=0)[:9], Payload.IMAGE),
    ],
)
def test_a_file_is_what_its_content_says(tmp_path: Path, content: bytes, payload: Payload) -> None:
    path = tmp_path / "file.tar"
    path.write_bytes(content)
    digest, found, size = look_at(path)
    assert (found, size) == (payload, len(content))
    assert digest == file_digest(path)


def test_an_old_tar_has_a_sum_only() -> None:
    header = bytearray(TAR[:512])
    header[257:265] = bytes(8)
    assert not is_tar(bytes(header))
    header[148:156] = b"%06o\0 " % (sum(header) - sum(header[148:156]) + 8 * 0x20)
    assert is_tar(bytes(header))
    assert not is_tar(bytes(header)[:511])
    header[148:156] = b"99999999"
    assert not is_tar(bytes(header))


def test_a_link_to_a_file_is_followed(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(TAR)
    (tmp_path / "link").symlink_to("file")
    assert look_at(tmp_path / "link") == look_at(tmp_path / "file")


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    socket.socket(socket.AF_UNIX).bind(str(path))


@pytest.mark.parametrize(("make", "noun"), [(_fifo, "a FIFO"), (_socket, "a socket")])
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_what_is_neither_file_nor_directory_is_refused_also_inside(
    tmp_path: Path, make: Callable[[Path], None], noun: str
) -> None:
    make(tmp_path / "odd")
    with pytest.raises(Invalid, match=f"odd is {noun}"):
        look_at(tmp_path / "odd")
    with pytest.raises(Invalid, match=f"odd is {noun}, which no extension may contain"):
        look_at(tmp_path)


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="no such file or directory"):
        look_at(tmp_path / "nothing")
    (tmp_path / "dangling").symlink_to("nothing")
    with pytest.raises(Invalid, match="no such file or directory"):
        look_at(tmp_path / "dangling")


def _content(tree: Path) -> None:
    (tree / "usr/bin/tool").write_text("#!/bin/ls\n")


def _mode(tree: Path) -> None:
    (tree / "usr/bin/tool").chmod(0o700)


def _root_mode(tree: Path) -> None:
    tree.chmod(0o700)


def _name(tree: Path) -> None:
    (tree / "usr/bin/alias").rename(tree / "usr/bin/other")


def _target(tree: Path) -> None:
    (tree / "usr/bin/alias").unlink()
    (tree / "usr/bin/alias").symlink_to("again")


def _attribute(tree: Path) -> None:
    os.setxattr(tree / "usr/bin/tool", "user.note", b"other")


def _type(tree: Path) -> None:
    (tree / "usr/hole").unlink()
    (tree / "usr/hole").mkdir()


def _moved(tree: Path) -> None:
    (tree / "usr/bin/alias").rename(tree / "usr/alias")


@pytest.mark.parametrize("change", [_content, _mode, _root_mode, _name, _target, _attribute, _type, _moved])
def test_the_digest_of_a_directory_covers(tmp_path: Path, change: Callable[[Path], None]) -> None:
    tree = _tree(tmp_path)
    before = look_at(tree)
    change(tree)
    assert look_at(tree)[0] != before[0]


def test_the_digest_of_a_directory_does_not_cover_times_and_place(tmp_path: Path) -> None:
    one, two = _tree(tmp_path, "one"), _tree(tmp_path / "deep", "two")
    os.utime(two / "usr/bin/tool", (1, 1))
    assert look_at(one)[0] == look_at(two)[0]
    assert look_at(one)[1] is Payload.TREE


@pytest.mark.commands
def test_a_copy_keeps_everything(tmp_path: Path) -> None:
    tree, copy = _tree(tmp_path), tmp_path / "copy"
    os.utime(tree / "usr/bin/tool", (1_000_000_000, 1_000_000_000))
    copy_tree(tree, copy, look_at(tree)[0], DEFAULT)
    tool, again = (copy / "usr/bin" / name for name in ("tool", "again"))
    assert tool.stat().st_ino == again.stat().st_ino
    assert tool.stat().st_mtime == 1_000_000_000
    assert os.getxattr(tool, "user.note") == b"kept"
    assert (copy / "usr/hole").stat().st_blocks == 0
    assert os.readlink(copy / "usr/bin/alias") == "tool"


@pytest.mark.commands
def test_of_a_link_to_a_directory_the_directory_is_copied(tmp_path: Path) -> None:
    tree, link, copy = _tree(tmp_path), tmp_path / "link", tmp_path / "copy"
    link.symlink_to("tree")
    copy_tree(link, copy, look_at(link)[0], DEFAULT)
    assert not copy.is_symlink()
    shutil.rmtree(tree)
    assert (copy / "usr/bin/tool").read_text() == "#!/bin/sh\n"


@pytest.mark.commands
def test_a_tree_that_changes_meanwhile_is_told(tmp_path: Path) -> None:
    tree = _tree(tmp_path)
    digest = look_at(tree)[0]
    _content(tree)
    with pytest.raises(Failed, match="changed while it was copied"):
        copy_tree(tree, tmp_path / "copy", digest, DEFAULT)


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (Limits(members=3), "more than 3 files, directories and links"),
        (Limits(size=5), "more than 5"),
        (Limits(setuid=False), "is setuid, setgid or has capabilities"),
    ],
)
def test_limits_hold_for_directories(tmp_path: Path, limits: Limits, words: str) -> None:
    tree = _tree(tmp_path)
    (tree / "usr/bin/tool").chmod(0o4755)
    with pytest.raises(Invalid, match=words) as caught:
        copy_tree(tree, tmp_path / "copy", "", limits)
    assert "settings.limits" in (caught.value.hint or "")
    assert not (tmp_path / "copy").exists()


@needs_root
def test_attributes_that_would_steer_the_overlay_are_refused(tmp_path: Path) -> None:
    tree = _tree(tmp_path)
    os.setxattr(tree / "usr/bin", "trusted.overlay.opaque", b"y")
    with pytest.raises(Invalid, match=r"trusted\.overlay\.opaque"):
        look_at(tree)


@pytest.mark.commands
def test_attributes_that_no_extension_has_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Also those of a network file system, which this machine has not: cp does not get them onto another one."""
    tree = _tree(tmp_path)
    os.setxattr(tree / "usr/bin", "user.overlay.opaque", b"y")
    os.setxattr(tree / "usr/bin", "user.kept", b"y")
    real = walk.read_xattrs

    def read(path: bytes) -> dict[bytes, bytes]:
        remote = {b"system.nfs4_acl": b"A::OWNER@:r"} if path.startswith(os.fsencode(tree)) else {}
        return real(path) | remote

    monkeypatch.setattr(local, "read_xattrs", read)
    local.copy_tree(tree, tmp_path / "copy", local.look_at(tree)[0], DEFAULT)
    assert os.listxattr(tmp_path / "copy/usr/bin") == ["user.kept"]
    (told,) = caplog.messages
    assert told == f"{tree}: its extended attribute system.nfs4_acl is left out, and so are others of that kind"


@needs_root
@pytest.mark.commands
@pytest.mark.system
def test_on_btrfs_a_subvolume_becomes_a_snapshot(tmp_path: Path, btrfs_mount: Path) -> None:
    subvolume = btrfs_mount / "source"
    check(run("btrfs", "subvolume", "create", str(subvolume), timeout=30), "creating a subvolume")
    shutil.copytree(_tree(tmp_path), subvolume, symlinks=True, dirs_exist_ok=True)
    digest = look_at(subvolume)[0]
    copy_tree(subvolume, btrfs_mount / "copy", digest, DEFAULT)
    assert (btrfs_mount / "copy").stat().st_ino == 256
    assert look_at(btrfs_mount / "copy")[0] == digest
    shutil.rmtree(btrfs_mount / "copy")
    assert not (btrfs_mount / "copy").exists()
    copy_tree(subvolume, tmp_path / "elsewhere", digest, DEFAULT)
    assert look_at(tmp_path / "elsewhere")[0] == digest
