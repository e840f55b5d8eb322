"""Every format, made by its own tool, looked into by every means that a node may have."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from reconciler.errors import Failed, Invalid
from reconciler.host.images import dissect, erofs, fsck, squashfs
from reconciler.host.images.inspect import identify, inspect_image
from reconciler.host.node.loopdevices import loop_devices_available
from reconciler.model.fit.contents import Contents
from reconciler.model.images.imageformat import FileSystem
from reconciler.model.kind import Kind
from tests.rig import diskimages
from tests.rig.diskimages import MAKERS, RELEASES, Part, disk, extension_tree, make_tree

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

pytestmark = pytest.mark.commands

FORMATS = list(MAKERS)


def _look(image: Path, tmp_path: Path, kind: Kind = Kind.SYSEXT) -> Contents:
    scratch = tmp_path / "scratch"
    scratch.mkdir(exist_ok=True)
    found = inspect_image(image, kind, scratch)
    assert found.image == identify(image)
    return replace(found, image=None)


def _made(name: str, tmp_path: Path, files: Mapping[str, str | None] | None = None) -> Path:
    return MAKERS[name](extension_tree(tmp_path / "tree", "x", files), tmp_path / "a name ? with -oddities")


GOOD = Contents({"x": {"ID": "_any"}}, units=("x.service",))


@pytest.mark.parametrize("name", FORMATS)
def test_each_file_system(name: str, tmp_path: Path) -> None:
    image = _made(name, tmp_path, {"proc": None})
    assert str(identify(image)) == name
    assert _look(image, tmp_path) == GOOD


@pytest.mark.by_lot(9)
@pytest.mark.parametrize(
    ("name", "options"),
    [
        *(("squashfs", ("-comp", comp)) for comp in ("gzip", "xz", "zstd", "lz4", "lzo")),
        ("squashfs", ("-b", "1M", "-noI", "-noD", "-noF", "-noX")),
        ("erofs", ("-zlz4hc,12",)),
        ("erofs", ("-zlz4", "-C65536", "-Eztailpacking")),
        ("erofs", ("-Elegacy-compress", "-Enoinline_data")),
        ("ext4", ("-O", "^64bit,^metadata_csum")),
        ("ext4", ("-b", "1024", "-I", "128")),
        ("ext4", ("-t", "ext2")),
        ("ext4", ("-t", "ext3")),
        ("btrfs", ("--csum", "sha256")),
        ("btrfs", ("--csum", "blake2")),
        ("btrfs", ("--csum", "xxhash")),
        ("btrfs", ("--mixed",)),
    ],
)
def test_each_variant(name: str, options: tuple[str, ...], tmp_path: Path) -> None:
    image = MAKERS[name](extension_tree(tmp_path / "tree", "x"), tmp_path / "image", *options)
    assert identify(image).volumes[0].file_system == name
    assert _look(image, tmp_path) == GOOD


@pytest.mark.by_lot(12)
@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"etc/x": "", "file": "", "srv": None}, Contents(GOOD.releases, ("etc", "file"), units=GOOD.units)),
        ({"opt": "-> usr"}, Contents(GOOD.releases, ("opt",), units=GOOD.units, links=("opt",))),
        ({"usr/lib/os-release": "ID=x"}, Contents(GOOD.releases, (), has_os_release=True, units=GOOD.units)),
        ({"usr/lib/os-release": "-> nowhere"}, Contents(GOOD.releases, (), has_os_release=True, units=GOOD.units)),
        (
            {f"{RELEASES}/extension-release.y": "ID=y\nX='1 2'"},
            Contents({"x": {"ID": "_any"}, "y": {"ID": "y", "X": "1 2"}}, units=GOOD.units),
        ),
        ({f"{RELEASES}/extension-release.y": "-> extension-release.x"}, GOOD),
        ({"usr/lib/modules/6.1-x/a.ko": "", "usr/lib/modules/b": ""}, replace(GOOD, kernels=("6.1-x",))),
        ({"usr/lib/systemd/system/b.d/c": ""}, Contents(GOOD.releases, units=("b.d", "x.service"))),
        ({"usr/share/a b\nc": "", "usr/share/\udcff": ""}, GOOD),
    ],
)
def test_what_decides_is_seen(name: str, files: Mapping[str, str | None], expected: Contents, tmp_path: Path) -> None:
    assert _look(_made(name, tmp_path, files), tmp_path) == expected


@pytest.mark.by_lot(6)
@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("link", ["usr", "usr/lib", RELEASES])
def test_no_link_is_followed(name: str, link: str, tmp_path: Path) -> None:
    """Neither inside the image nor out of it."""
    inner = extension_tree(tmp_path / "tree/opt", "x")
    files = {link: f"-> /opt/{link}"}
    assert (inner / RELEASES).is_dir()
    image = MAKERS[name](make_tree(tmp_path / "tree", files), tmp_path / "image")
    contents = _look(image, tmp_path)
    assert contents.releases == {}
    assert contents.misplaced == (("usr",) if link == "usr" else ())


@pytest.mark.parametrize("name", FORMATS)
def test_configuration_extensions(name: str, tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "tree", {"etc/extension-release.d/extension-release.x": "ID=_any", "usr/x": ""})
    contents = _look(MAKERS[name](tree, tmp_path / "image"), tmp_path, Kind.CONFEXT)
    assert contents == Contents({"x": {"ID": "_any"}}, misplaced=("usr",))


@pytest.mark.parametrize("name", FORMATS)
def test_names_that_cannot_be_an_extensions(name: str, tmp_path: Path) -> None:
    """Such a release file is listed, but not read; such a directory at the top is a stray, empty or not."""
    contents = _look(_made(name, tmp_path, {f'{RELEASES}/extension-release.a"b': "ID=x", "-a b": None}), tmp_path)
    assert contents.releases == {"x": {"ID": "_any"}, 'a"b': {}}
    assert contents.misplaced == ("-a b",)


@pytest.mark.parametrize("name", FORMATS)
def test_release_files_of_odd_content(name: str, tmp_path: Path) -> None:
    tree = extension_tree(tmp_path / "tree", "x")
    release = tree / RELEASES / "extension-release.x"
    release.write_bytes(b"# \xff\n=\nID=_any\nA='\n")
    assert _look(MAKERS[name](tree, tmp_path / "image"), tmp_path).releases["x"]["ID"] == "_any"
    release.write_bytes(b"\xff\x00\n=\nID=_any\nA='\n\xfe=1")  # systemd reads nothing in such a file
    assert _look(MAKERS[name](tree, tmp_path / "again"), tmp_path).releases["x"] == {}


@pytest.fixture
def without_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that has none of the file systems' packages."""
    monkeypatch.setattr(squashfs, "PROGRAM", "there-is-no-such-program")
    monkeypatch.setattr(fsck, "available", lambda _: False)
    monkeypatch.setattr(erofs, "can_look_inside", lambda: False)


@pytest.mark.usefixtures("without_tools")
@pytest.mark.parametrize("name", FORMATS)
def test_a_node_without_tools_mounts_what_it_looks_into(name: str, tmp_path: Path) -> None:
    assert _look(_made(name, tmp_path), tmp_path) == GOOD


@pytest.mark.usefixtures("without_tools")
def test_a_node_without_anything_is_told_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dissect, "loop_devices_available", lambda: False)
    with pytest.raises(Failed, match="no program on this node reads the squashfs") as error:
        _look(_made("squashfs", tmp_path), tmp_path)
    assert error.value.hint == "install squashfs-tools"


@pytest.mark.parametrize("name", ["ext4", "btrfs"])
@pytest.mark.parametrize(
    "case",
    [
        ("PROGRAM", "no-such-program", "no-such-program is not installed", "install systemd-container"),
        ("loop_devices_available", lambda: False, "there is no loop device", "load the kernel module loop"),
        ("os", SimpleNamespace(geteuid=lambda: 1000), "only root may mount it", "run it as root"),
    ],
    ids=["program", "loop device", "root"],
)
def test_what_keeps_an_image_from_being_mounted_is_told(
    name: str, case: tuple[str, object, str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attribute, value, words, hint = case
    monkeypatch.setattr(dissect, attribute, value)
    with pytest.raises(Failed, match=f"{name} file system of the image cannot be looked into: {words}") as error:
        _look(_made(name, tmp_path), tmp_path)
    assert (error.value.hint or "").startswith(hint)
    assert (error.value.hint or "").endswith("or make a squashfs or erofs image")


@pytest.mark.usefixtures("without_tools")
def test_old_erofs_utils_extract_where_nothing_can_be_mounted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dissect, "PROGRAM", "there-is-no-such-program")
    files = {"etc/a\nb": "", "proc": None, "opt": "-> usr", "usr/lib/os-release": "-> nowhere"}
    contents = _look(_made("erofs", tmp_path, files), tmp_path)
    assert contents == Contents(GOOD.releases, ("etc", "opt"), has_os_release=True, units=GOOD.units, links=("opt",))


@pytest.mark.parametrize("name", FORMATS)
def test_disk_images_as_sfdisk_makes_them(name: str, tmp_path: Path) -> None:
    content = _made(name, tmp_path).read_bytes()
    image = diskimages.sfdisk(tmp_path / "disk", [(diskimages.HOME, b"home"), (diskimages.ROOT, content)])
    assert str(identify(image)) == f"disk image with root ({name}), unprotected"
    assert identify(image).partitions == {"home", "root"}
    assert _look(image, tmp_path) == GOOD


@pytest.mark.parametrize("name", FORMATS)
def test_a_usr_partition_alone(name: str, tmp_path: Path) -> None:
    """Its content lies below /usr, where an os-release would be forbidden."""
    tree = extension_tree(tmp_path / "tree", "x", {"usr/lib/os-release": "", "usr/etc/x": ""})
    content = MAKERS[name](tree / "usr", tmp_path / "usr.image").read_bytes()
    (tmp_path / "disk").write_bytes(disk([Part(diskimages.USR, content)]))
    contents = _look(tmp_path / "disk", tmp_path)
    assert contents == Contents(GOOD.releases, (), has_os_release=True, units=GOOD.units)


def test_a_root_and_a_usr_partition(tmp_path: Path) -> None:
    """Each is looked into as what it is mounted as; what the root has below /usr is covered."""
    usr = squashfs_of(extension_tree(tmp_path / "tree", "x") / "usr", tmp_path / "usr.image")
    root_tree = make_tree(tmp_path / "root", {"usr/lib/os-release": "", "srv/x": "", "opt": None})
    root = diskimages.ext4(root_tree, tmp_path / "root.image").read_bytes()
    (tmp_path / "disk").write_bytes(disk([Part(diskimages.USR, usr), Part(diskimages.ROOT, root)]))
    assert str(identify(tmp_path / "disk")) == "disk image with root (ext4) and usr (squashfs), unprotected"
    assert _look(tmp_path / "disk", tmp_path) == Contents(GOOD.releases, ("srv",), units=GOOD.units)


def squashfs_of(tree: Path, target: Path) -> bytes:
    return diskimages.squashfs(tree, target).read_bytes()


def test_a_root_without_a_place_for_usr(tmp_path: Path) -> None:
    usr = squashfs_of(extension_tree(tmp_path / "tree", "x") / "usr", tmp_path / "usr.image")
    root = squashfs_of(make_tree(tmp_path / "root", {"usr": "-> opt", "opt": None}), tmp_path / "root.image")
    (tmp_path / "disk").write_bytes(disk([Part(diskimages.USR, usr), Part(diskimages.ROOT, root)]))
    with pytest.raises(Invalid, match="no directory usr"):
        _look(tmp_path / "disk", tmp_path)


@pytest.mark.parametrize("sector", [512, 4096])
def test_disk_images_with_verity(sector: int, tmp_path: Path) -> None:
    parts = [
        Part(diskimages.ROOT, _made("erofs", tmp_path).read_bytes(), flags=1 << 60),
        Part(diskimages.ROOT_VERITY, b"verity"),
        Part(diskimages.ROOT_VERITY_SIG, b"signature"),
    ]
    for count, protection in ((2, "verity"), (3, "signed")):
        (tmp_path / "disk").write_bytes(disk(parts[:count], sector=sector))
        found = identify(tmp_path / "disk")
        assert (found.protection, found.sector_size) == (protection, sector)
        assert found.volumes[0].read_only
        assert not found.volumes[0].growfs
        assert found.least_systemd == (248 if sector == 512 else 254)
        assert _look(tmp_path / "disk", tmp_path) == GOOD


def test_a_sole_generic_partition_is_the_root(tmp_path: Path) -> None:
    content = _made("squashfs", tmp_path).read_bytes()
    (tmp_path / "disk").write_bytes(disk([Part(diskimages.GENERIC, content), Part(diskimages.MICROSOFT, b"x")]))
    assert identify(tmp_path / "disk").partitions == {"root"}
    assert _look(tmp_path / "disk", tmp_path) == GOOD


def test_partitions_that_ask_to_be_passed_over(tmp_path: Path) -> None:
    content = _made("squashfs", tmp_path).read_bytes()
    both = [Part(diskimages.ROOT, b"x", flags=1 << 63), Part(diskimages.ROOT, content)]
    (tmp_path / "disk").write_bytes(disk(both))
    assert _look(tmp_path / "disk", tmp_path) == GOOD


def test_nothing_is_left_behind_in_the_image(tmp_path: Path) -> None:
    for name in FORMATS:
        place = tmp_path / name
        place.mkdir()
        image = _made(name, place)
        before = image.read_bytes()
        image.chmod(0o400)
        _look(image, place)
        assert image.read_bytes() == before


def test_whether_there_are_loop_devices() -> None:
    done = subprocess.run(["losetup", "--find"], capture_output=True, check=False)
    assert loop_devices_available() == (done.returncode == 0)


def test_every_file_system_has_a_maker() -> None:
    assert set(FORMATS) == set(FileSystem)
