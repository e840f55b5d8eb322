"""Every format, read by every means: what is told of the files is the same, as far as it can be told."""

from __future__ import annotations

import os
import socket
import subprocess
from typing import TYPE_CHECKING, Final

import pytest

from reconciler.errors import Failed, Invalid
from reconciler.host.images import dissect
from reconciler.host.images import listing as imagelisting
from reconciler.host.images.facts import Listing
from reconciler.host.images.inspect import identify, read_signature
from reconciler.host.images.listing import Known, list_image
from reconciler.host.images.programs import recognise
from reconciler.model.content.limits import DEFAULT, Limits
from reconciler.model.facts.program import Program, Shape
from reconciler.model.images.veritysignature import VeritySignature
from tests.host.layers.unpacking import needs_root
from tests.rig import diskimages
from tests.rig.diskimages import MAKERS, RELEASES, Part, disk, extension_tree, make_tree

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.model.facts.extensionfacts import File

pytestmark = [pytest.mark.commands, needs_root]

LABEL: Final = "system_u:object_r:bin_t:s0"
CAPABILITY: Final = bytes.fromhex("0100000200200000000000000000000000000000")
NOW: Final = 1_700_000_000


def _tree(directory: Path) -> Path:
    """Owners, modes, attributes, links of both kinds, odd names."""
    tree = extension_tree(
        directory, "x", {"usr/bin/y": "-> /usr/bin/x", "usr/share/a\nb": "", "usr/share/\udcff": ""}
    )
    program = tree / "usr/bin/x"
    os.chown(program, 5, 6)
    program.chmod(0o4755)
    os.setxattr(program, "security.capability", CAPABILITY)
    os.setxattr(program, "security.selinux", LABEL.encode() + b"\0")
    (tree / "usr/bin/z").hardlink_to(program)
    for path in [tree, *tree.rglob("*")]:
        os.utime(path, (NOW, NOW), follow_symlinks=False)
    return tree


def _listed(image: Path, tmp_path: Path, limits: Limits = DEFAULT) -> tuple[dict[str, File], Known]:
    listing, workplace = Listing(recognise), tmp_path / "workplace"
    workplace.mkdir()
    known = list_image(image, identify(image), listing, workplace, limits)
    files = listing.files()
    files.pop("lost+found", None)
    return files, known


PROGRAM: Final = Program(Shape.SCRIPT, "/bin/sh")
NAMES: Final = [
    "usr",
    "usr/bin",
    "usr/bin/x",
    "usr/bin/y",
    "usr/bin/z",
    "usr/lib",
    "usr/lib/extension-release.d",
    "usr/lib/extension-release.d/extension-release.x",
    "usr/lib/systemd",
    "usr/lib/systemd/system",
    "usr/lib/systemd/system/x.service",
    "usr/share",
    "usr/share/\\xff",
    "usr/share/a\\x0ab",
]


@pytest.mark.parametrize("is_bare", [False, True])
@pytest.mark.parametrize("name", list(MAKERS))
def test_everything_is_told(name: str, is_bare: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: FBT001 - a parameter
    """Also where there are the kernel, mount(8) and tar alone."""
    if is_bare:
        monkeypatch.setattr(imagelisting, "_SQUASHFS", "there-is-no-such-program")
        monkeypatch.setattr(dissect, "PROGRAM", "there-is-no-such-program")
    files, known = _listed(MAKERS[name](_tree(tmp_path / "tree"), tmp_path / "image"), tmp_path)
    assert known == Known()
    assert sorted(files) == sorted(NAMES)
    program = files["usr/bin/x"]
    assert (program.uid, program.gid) == ((0, 0) if name == "squashfs" else (5, 6))  # its maker gives all to root
    assert program.mode == 0o4755
    assert (program.mtime, program.program, program.has_capabilities) == (NOW, PROGRAM, True)
    assert files["usr/bin/y"].target == "/usr/bin/x"
    assert sorted((files["usr/bin/x"].size, files["usr/bin/z"].size)) == [0, 17]
    assert files[f"{RELEASES}/extension-release.x"].text == "ID=_any\n"
    if name != "erofs":  # mkfs.erofs drops the label on a system without SELinux
        assert program.label == LABEL


@pytest.mark.parametrize("name", ["squashfs", "erofs"])
def test_without_means_to_mount_it_is_unpacked(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imagelisting, "_SQUASHFS", "there-is-no-such-program")
    monkeypatch.setattr(dissect, "loop_devices_available", lambda: False)
    files, known = _listed(MAKERS[name](_tree(tmp_path / "tree"), tmp_path / "image"), tmp_path)
    assert known == Known(owners=True, attributes=False)
    assert sorted(files) == sorted(NAMES)
    assert files["usr/bin/x"].mode & 0o777 == 0o755
    assert files["usr/bin/y"].target == "/usr/bin/x"


@pytest.mark.parametrize("name", ["ext4", "btrfs"])
def test_without_means_to_mount_it_others_are_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dissect, "loop_devices_available", lambda: False)
    with pytest.raises(Failed, match=f"the {name} file system of the image cannot be looked into") as caught:
        _listed(MAKERS[name](_tree(tmp_path / "tree"), tmp_path / "image"), tmp_path)
    assert caught.value.hint == "load the kernel module loop, or make a squashfs or erofs image"


@pytest.mark.parametrize("name", list(MAKERS))
def test_partitions(name: str, tmp_path: Path) -> None:
    """What the root partition has below /usr is covered by the usr partition."""
    usr = MAKERS[name](extension_tree(tmp_path / "tree", "x") / "usr", tmp_path / "usr").read_bytes()
    root = diskimages.squashfs(make_tree(tmp_path / "root", {"usr/hidden": "", "opt/x": ""}), tmp_path / "root.image")
    image = tmp_path / "disk"
    image.write_bytes(disk([Part(diskimages.ROOT, root.read_bytes()), Part(diskimages.USR, usr)]))
    files, _ = _listed(image, tmp_path)
    assert files["usr/bin/x"].program == PROGRAM
    assert "opt/x" in files
    assert "usr/hidden" not in files


def test_nothing_stays_mounted(tmp_path: Path) -> None:
    _listed(MAKERS["ext4"](_tree(tmp_path / "tree"), tmp_path / "image"), tmp_path)
    assert str(tmp_path) not in subprocess.run(["findmnt"], capture_output=True, text=True, check=True).stdout
    assert str(tmp_path) not in subprocess.run(["losetup"], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("name", ["squashfs", "ext4"])
@pytest.mark.parametrize(
    ("limits", "message"),
    [(Limits(members=5), "files, directories and links"), (Limits(size=8), "8 that an extension")],
)
def test_limits_hold(name: str, limits: Limits, message: str, tmp_path: Path) -> None:
    image = MAKERS[name](_tree(tmp_path / "tree"), tmp_path / "image")
    with pytest.raises(Invalid, match=message):
        _listed(image, tmp_path, limits)


@pytest.mark.parametrize("name", ["squashfs", "ext4"])
def test_devices_are_refused(name: str, tmp_path: Path) -> None:
    tree = _tree(tmp_path / "tree")
    os.mknod(tree / "usr/gone", 0o20600, 0)
    with pytest.raises(Invalid, match=r"usr/gone: is a character device, which no extension may contain"):
        _listed(MAKERS[name](tree, tmp_path / "image"), tmp_path)


@pytest.mark.parametrize("name", ["squashfs", "ext4"])
def test_sockets_are_refused(name: str, tmp_path: Path) -> None:
    tree = _tree(tmp_path / "tree")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tree / "usr/socket"))
    with pytest.raises(Invalid, match="has a socket, which no extension may contain"):
        _listed(MAKERS[name](tree, tmp_path / "image"), tmp_path)


@pytest.mark.parametrize("name", list(MAKERS))
def test_attributes_that_would_change_the_overlay_are_told(name: str, tmp_path: Path) -> None:
    tree = _tree(tmp_path / "tree")
    os.setxattr(tree / "usr/share", "trusted.overlay.opaque", b"y")
    files, _ = _listed(MAKERS[name](tree, tmp_path / "image"), tmp_path)
    assert [path for path, file in files.items() if file.steers_overlay] == ["usr/share"]


def test_signatures_of_disk_images(tmp_path: Path) -> None:
    content = diskimages.squashfs(extension_tree(tmp_path / "tree", "x"), tmp_path / "squashfs").read_bytes()
    signature = b'{"rootHash": "ab", "signature": "c2ln", "certificateFingerprint": "cd"}'.ljust(16384, b"\0")
    parts = [
        Part(diskimages.ROOT, content),
        Part(diskimages.ROOT_VERITY, b"verity"),
        Part(diskimages.ROOT_VERITY_SIG, signature),
    ]
    image = tmp_path / "image"
    image.write_bytes(disk(parts))
    assert read_signature(image) == VeritySignature("ab", "cd", 3)
    image.write_bytes(disk(parts[:2]))
    assert read_signature(image) is None
    assert read_signature(tmp_path / "squashfs") is None
