"""Search directories on a real file system: own links, foreign things, and nothing in between."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reconciler.errors import Failed
from reconciler.host.merge import links
from reconciler.model.kind import ExtensionId, Kind
from reconciler.model.state.entry import Entry
from reconciler.paths import Paths

if TYPE_CHECKING:
    from collections.abc import Callable

IPFS = ExtensionId("ipfs")
A, B = Entry("sha256:" + "a" * 64), Entry("sha256:" + "b" * 64, "ipfs")


def _names(paths: Paths, systemd: int = 252) -> list[tuple[str, str, bool]]:
    found = links.read_links(paths, systemd).unmanaged
    return [(item.name, str(item.path.relative_to(paths.root)), item.outranks) for item in found]


def test_a_placed_link_is_relative_and_recognised(paths: Paths) -> None:
    (paths.store / A.file_name).mkdir(parents=True)
    links.place(paths, IPFS, A)
    link = links.read_links(paths, 252).links[IPFS]
    assert (link.entry, link.dangling) == (A, False)
    assert os.readlink(paths.links(Kind.SYSEXT) / "ipfs") == f"../livelayer/store/sha256/{A.file_name}"
    assert os.listdir(paths.links(Kind.SYSEXT)) == ["ipfs"]
    assert list(paths.staging.iterdir()) == []


def _on_a_data_disk(paths: Paths, name: str, disk: str) -> None:
    """The directory below /var/lib is a link to another one, as seen from this root."""
    (paths.root / disk.lstrip("/")).mkdir(parents=True)
    shutil.rmtree(paths.root / "var/lib" / name)
    (paths.root / "var/lib" / name).symlink_to(disk)


@pytest.mark.parametrize("disk", ["/data/extensions", "/srv/a/b/extensions", "/var/extensions"])
def test_a_link_below_a_linked_search_directory_leads_to_the_store(paths: Paths, disk: str) -> None:
    (paths.store / A.file_name).mkdir(parents=True)
    _on_a_data_disk(paths, "extensions", disk)
    links.place(paths, IPFS, A)
    assert (paths.root / disk.lstrip("/") / "ipfs").samefile(paths.store / A.file_name)
    assert not os.readlink(paths.links(Kind.SYSEXT) / "ipfs").startswith("/")
    assert not links.read_links(paths, 252).links[IPFS].dangling
    links.remove(paths, IPFS)
    assert os.listdir(paths.links(Kind.SYSEXT)) == []


def test_on_a_data_disk_of_the_running_system(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    """There no link on the way is followed beforehand; what was placed without regard to it is seen to dangle."""
    _as_the_kernel_has_it(monkeypatch)
    (paths.store / A.file_name).mkdir(parents=True)
    links.place(paths, IPFS, A)
    disk = paths.root / "srv/disk/extensions"
    disk.parent.mkdir(parents=True)
    directory = paths.root / "var/lib/extensions"
    directory.rename(disk)
    directory.symlink_to(disk)
    assert links.read_links(paths, 252).links[IPFS].dangling
    links.place(paths, IPFS, A)
    assert (disk / "ipfs").samefile(paths.store / A.file_name)
    assert not links.read_links(paths, 252).links[IPFS].dangling
    assert links.read_links(paths, 252).unmanaged == ()
    assert links.find_state(paths) == str(paths.state).removeprefix(str(paths.root))


def test_a_data_disk_that_is_still_empty(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    _as_the_kernel_has_it(monkeypatch)
    (paths.store / A.file_name).mkdir(parents=True)
    (paths.root / "srv").mkdir()
    (paths.root / "var/lib/extensions").rmdir()
    (paths.root / "var/lib/extensions").symlink_to(paths.root / "srv/extensions")
    links.place(paths, IPFS, A)
    assert (paths.root / "srv/extensions/ipfs").samefile(paths.store / A.file_name)


def test_a_state_on_a_data_disk(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its link stays valid when the disk is mounted elsewhere, and a link that leads to it straight is known too."""
    _as_the_kernel_has_it(monkeypatch)
    disk = paths.root / "srv/livelayer"
    (disk / "store/sha256" / A.file_name).mkdir(parents=True)
    shutil.rmtree(paths.root / "var/lib/livelayer")
    (paths.root / "var/lib/livelayer").symlink_to(disk)
    links.place(paths, IPFS, A)
    assert "srv" not in os.readlink(paths.links(Kind.SYSEXT) / "ipfs")
    assert not links.read_links(paths, 252).links[IPFS].dangling
    (paths.links(Kind.SYSEXT) / "ipfs").unlink()
    (paths.links(Kind.SYSEXT) / "ipfs").symlink_to(disk / "store/sha256" / A.file_name)
    found = links.read_links(paths, 252).links[IPFS]
    assert (found.entry, found.dangling) == (A, False)


def test_a_search_directory_that_is_another_one_is_seen_once(paths: Paths) -> None:
    (paths.store / A.file_name).mkdir(parents=True)
    (paths.root / "etc").mkdir(exist_ok=True)
    (paths.root / "etc/extensions").symlink_to("/var/lib/extensions")
    links.place(paths, IPFS, A)
    found = links.read_links(paths, 252)
    assert (list(found.links), found.unmanaged) == ([IPFS], ())


def _as_the_kernel_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths below this root are taken as they are on the running system: no link in them is resolved."""
    monkeypatch.setattr(Paths, "under", lambda self, absolute: self.root / absolute.lstrip("/"))


def test_placing_again_replaces(paths: Paths) -> None:
    links.place(paths, IPFS, A)
    before = links.read_links(paths, 252).links[IPFS]
    links.place(paths, IPFS, B)
    after = links.read_links(paths, 252).links[IPFS]
    assert (before.entry, after.entry) == (A, B)
    assert after.changed >= before.changed
    assert after.dangling


def test_a_restored_link_is_as_old_as_it_was(paths: Paths) -> None:
    links.place(paths, IPFS, A)
    before = links.read_link(paths, IPFS)
    assert before
    links.place(paths, IPFS, B)
    links.restore(paths, before)
    assert links.read_link(paths, IPFS) == before
    assert links.read_link(paths, ExtensionId("other")) is None


def test_placing_across_file_systems_leaves_nothing_behind(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    """On Kairos the search directory and the state are two mounts."""
    real = Path.replace

    def refuse(self: Path, target: Path) -> Path:
        if self.parent != target.parent:
            raise OSError(18, "Invalid cross-device link")
        return real(self, target)

    monkeypatch.setattr(Path, "replace", refuse)
    links.place(paths, IPFS, A)
    links.place(paths, IPFS, B)
    assert links.read_links(paths, 252).links[IPFS].entry == B
    assert os.listdir(paths.links(Kind.SYSEXT)) == ["ipfs"]
    assert list(paths.staging.iterdir()) == []


def test_removing_takes_only_the_link(paths: Paths) -> None:
    (paths.store / A.file_name).mkdir(parents=True)
    links.place(paths, IPFS, A)
    links.remove(paths, IPFS)
    links.remove(paths, IPFS)
    assert links.read_links(paths, 252).links == {}
    assert (paths.store / A.file_name).is_dir()


def _directory(path: Path) -> None:
    path.mkdir()


def _file(path: Path) -> None:
    path.write_text("by hand")


def _foreign_link(path: Path) -> None:
    path.symlink_to("/usr/share")


def _lookalike(path: Path) -> None:
    path.symlink_to(f"../elsewhere/store/sha256/{A.file_name}")


def _into_the_store_but_no_entry(path: Path) -> None:
    path.symlink_to("../livelayer/store/sha256/../../staging")


@pytest.mark.parametrize("make", [_directory, _file, _foreign_link, _lookalike, _into_the_store_but_no_entry])
def test_what_others_placed_is_neither_replaced_nor_removed(paths: Paths, make: Callable[[Path], None]) -> None:
    make(paths.links(Kind.SYSEXT) / "ipfs")
    before = os.lstat(paths.links(Kind.SYSEXT) / "ipfs").st_ino
    with pytest.raises(Failed, match="did not place it"):
        links.place(paths, IPFS, A)
    with pytest.raises(Failed, match="did not place it"):
        links.remove(paths, IPFS)
    assert os.lstat(paths.links(Kind.SYSEXT) / "ipfs").st_ino == before
    assert links.read_links(paths, 252).links == {}


def test_unmanaged_is_what_systemd_would_merge(paths: Paths, tmp_path: Path) -> None:
    (paths.links(Kind.SYSEXT) / "directory").mkdir()
    (paths.links(Kind.SYSEXT) / ".hidden").mkdir()
    (paths.links(Kind.SYSEXT) / "image.raw").touch()
    (paths.links(Kind.SYSEXT) / "image.raw.part").touch()
    (paths.links(Kind.SYSEXT) / "text").touch()
    (paths.links(Kind.SYSEXT) / "dangling").symlink_to("nowhere")
    (tmp_path / "elsewhere").mkdir()
    (paths.links(Kind.SYSEXT) / "linked").symlink_to(tmp_path / "elsewhere")
    assert [name for name, _, _ in _names(paths)] == [".hidden", "directory", "image", "linked"]


def test_search_directories_follow_the_version_of_systemd(paths: Paths) -> None:
    for top in ("etc/extensions", "run/extensions", "usr/lib/extensions"):
        (paths.root / top / "a").mkdir(parents=True)
    assert _names(paths, 254) == [("a", "etc/extensions/a", True), ("a", "run/extensions/a", True)]
    assert _names(paths, 253)[2:] == [("a", "usr/lib/extensions/a", False)]


def test_a_store_entry_linked_from_another_search_directory_is_unmanaged(paths: Paths) -> None:
    (paths.store / A.file_name).mkdir(parents=True)
    (paths.root / "etc/extensions").mkdir()
    (paths.root / "etc/extensions/mine").symlink_to(paths.store / A.file_name)
    found = links.read_links(paths, 252)
    assert (found.links, [item.name for item in found.unmanaged]) == ({}, ["mine"])


def test_a_read_only_search_directory_is_reported(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(links, "_make", refuse)
    with pytest.raises(Failed, match="cannot be placed: Read-only file system"):
        links.place(paths, IPFS, A)


def test_kairos_agents_extensions_are_told_as_its_own(paths: Paths) -> None:
    """Its store, and the links that the initrd makes into it for the state that is booted."""
    for directory in ("var/lib/kairos/extensions/active", "run/extensions"):
        (paths.root / directory).mkdir(parents=True)
    for name in ("enabled", "disabled"):
        (paths.root / f"var/lib/kairos/extensions/{name}.raw").touch()
    (paths.root / "var/lib/kairos/extensions/active/enabled.raw").symlink_to("../enabled.raw")
    (paths.root / "run/extensions/enabled.raw").symlink_to("../../var/lib/kairos/extensions/active/enabled.raw")
    (paths.root / "run/extensions/other.raw").touch()
    found = links.read_links(paths, 257).unmanaged
    assert sorted((item.name, item.agent, item.searched, item.outranks) for item in found) == [
        ("disabled", True, False, False),
        ("enabled", True, True, True),
        ("other", False, True, True),
    ]


def test_kairos_agents_links_are_absolute(paths: Paths) -> None:
    """On another root they dangle for this machine, and lead to where they should for that one."""
    (paths.root / "run/extensions").mkdir()
    link = paths.root / "run/extensions/x.raw"
    link.symlink_to("/var/lib/kairos/extensions/active/x.raw")
    assert links._is_kairos_agents(link, paths)  # noqa: SLF001 - what others see takes a root that is running
    link.unlink()
    link.symlink_to("/var/lib/kairos/extensions-of-others/x.raw")
    assert not links._is_kairos_agents(link, paths)  # noqa: SLF001


def test_a_link_on_its_way_is_no_extension_and_goes(paths: Paths) -> None:
    links.place(paths, IPFS, A)
    directory = paths.links(Kind.SYSEXT)
    for name in (".#ipfs.livelayer", ".#other.raw.livelayer"):
        (directory / name).symlink_to((directory / "ipfs").readlink())
    (directory / ".#ipfs.lck").touch()  # systemd's
    assert {ident.name for ident in links.read_links(paths, 252).links} == {"ipfs"}
    links.clean(paths)
    assert sorted(path.name for path in directory.iterdir()) == [".#ipfs.lck", "ipfs"]


def test_versions_of_others_stand_for_their_extension(paths: Paths) -> None:
    """Where systemd knows them; one without a version that it would take stands for nothing."""
    (paths.store / A.file_name).mkdir(parents=True)
    links.place(paths, IPFS, A)
    for name in ("etc/extensions/ipfs.v/ipfs_1", "var/lib/extensions/empty.v"):
        (paths.root / name).mkdir(parents=True)
    for name in ("run/extensions/ipfs.raw.v/ipfs_1.raw", "run/extensions/ipfs.raw.v/ipfs_2.raw"):
        (paths.root / name).parent.mkdir(parents=True, exist_ok=True)
        (paths.root / name).touch()
    (paths.root / "run/extensions/ipfs.raw.v/ipfs_3.raw").mkdir()
    assert _names(paths, 257) == [
        ("ipfs", "etc/extensions/ipfs.v/ipfs_1", True),
        ("ipfs", "run/extensions/ipfs.raw.v/ipfs_2.raw", True),
    ]
    places = [it.place.name for it in links.read_links(paths, 257).unmanaged]
    assert places == ["ipfs.v", "ipfs.raw.v"]
    assert {name for name, _, _ in _names(paths, 252)} == {"ipfs.v", "empty.v", "ipfs.raw.v"}


def test_versions_beside_the_link_are_in_its_way(paths: Paths) -> None:
    """Which of both systemd comes upon first is not for anybody to say."""
    (paths.store / A.file_name).mkdir(parents=True)
    links.place(paths, IPFS, A)
    (paths.links(Kind.SYSEXT) / "ipfs.v/ipfs_1").mkdir(parents=True)
    assert _names(paths, 257) == [("ipfs", "var/lib/extensions/ipfs.v/ipfs_1", True)]
