"""What may be in an extension, and why the rest is left out."""

from __future__ import annotations

import pytest

from reconciler.errors import Invalid
from reconciler.model.build.assembly import DIRECTORY, Assembly, Item, text_file
from reconciler.model.build.screening import merge_usr, os_release_in, screen
from reconciler.model.fit.filekind import FileKind
from reconciler.model.kind import Kind


def _assembly(*names: str) -> Assembly:
    assembly = Assembly()
    for name in names:
        assembly.put(name.encode(), text_file(name))
    return assembly


def _link(target: str) -> Item:
    return Item(FileKind.SYMLINK, 0o777, target=target.encode())


def _left(names: list[str], kind: Kind = Kind.SYSEXT) -> tuple[set[str], set[str]]:
    """What is kept, and what is left out."""
    screened = screen(_assembly(*names), kind)
    return {name.decode() for name, _ in screened.kept.files()}, {it.path.decode() for it in screened.dropped}


def test_a_system_extension_has_usr_and_opt() -> None:
    kept = ["usr/bin/x", "opt/x/y", "usr/etc/x", "usr/lib/sysimagex"]
    dropped = ["etc/x", "var/lib/x", "run/x", ".dockerenv", "srv/x", "some/where", "usr/lib/os-release"]
    dropped += ["usr/lib/sysimage/rpm/db", "usr/share/rpm/db", "usr/lib/apk/db/installed"]
    assert _left(kept + dropped) == (set(kept), set(dropped))


def test_a_configuration_extension_has_etc() -> None:
    kept = ["etc/x", "etc/passwdx", "etc/hosts", "etc/systemd/system/x.service"]
    dropped = [
        "usr/bin/x",
        "opt/x",
        "var/x",
        "etc/os-release",
        "etc/machine-id",
        "etc/passwd",
        "etc/shadow-",
        "etc/mtab",
    ]
    assert _left(kept + dropped, Kind.CONFEXT) == (set(kept), set(dropped))


def test_every_reason_is_a_clause() -> None:
    for kind in Kind:
        for dropped in screen(
            _assembly("etc/machine-id", "usr/lib/os-release", "var/x", "x", "boot/y"), kind
        ).dropped:
            assert dropped.reason[0].islower()
            assert not dropped.reason.endswith(".")


def test_devices_matter_only_where_they_would_be_kept() -> None:
    source = _assembly("usr/bin/x")
    source.put(b"dev/null", Item(FileKind.SPECIAL, 0o666))
    assert {it.path for it in screen(source, Kind.SYSEXT).dropped} == {b"dev/null"}
    source.put(b"usr/null", Item(FileKind.SPECIAL, 0o666))
    with pytest.raises(Invalid, match="/usr/null is neither a file, a link nor a directory"):
        screen(source, Kind.SYSEXT)


def test_empty_directories_are_no_loss() -> None:
    source = _assembly("usr/bin/x")
    source.put(b"proc", DIRECTORY)
    assert screen(source, Kind.SYSEXT).dropped == ()


def test_release_files_are_set_aside() -> None:
    names = ["usr/lib/extension-release.d/extension-release.x", "usr/lib/extension-release.d/other", "usr/bin/x"]
    screened = screen(_assembly(*names), Kind.SYSEXT)
    assert set(screened.releases) == {"x"}
    assert {name for name, _ in screened.kept.files()} == {b"usr/bin/x", b"usr/lib/extension-release.d/other"}


def test_directories_that_hosts_have_as_links() -> None:
    source = _assembly("lib/systemd/system/x.service", "sbin/x", "usr/sbin/y", "lib64/z")
    source.put(b"bin", _link("usr/bin"))
    merged, moved = merge_usr(source)
    assert moved == 3
    names = {name.decode() for name, _ in merged.files()}
    assert names == {"usr/lib/systemd/system/x.service", "usr/sbin/x", "usr/sbin/y", "usr/lib64/z"}


@pytest.mark.parametrize("is_link_below_usr", [True, False])
def test_a_link_from_one_place_to_the_other_gives_way(*, is_link_below_usr: bool) -> None:
    source = _assembly("bin/x" if is_link_below_usr else "usr/bin/x")
    source.put(b"usr/bin/x" if is_link_below_usr else b"bin/x", _link("/bin/x"))
    item = merge_usr(source)[0].get(b"usr/bin/x")
    assert item
    assert item.kind is FileKind.FILE


def test_two_files_that_would_be_one() -> None:
    with pytest.raises(Invalid, match="/bin/x and /usr/bin/x are two files"):
        merge_usr(_assembly("bin/x", "usr/bin/x"))


def test_hard_links_in_both_places_are_one() -> None:
    source, item = Assembly(), text_file("x")
    source.put(b"bin/x", item)
    source.put(b"usr/bin/x", item)
    assert merge_usr(source)[0].get(b"usr/bin/x") is item


def test_what_system_a_source_is() -> None:
    source = _assembly("etc/os-release")
    assert os_release_in(source) is source.get(b"etc/os-release")
    source.put(b"usr/lib/os-release", text_file("x"))
    assert os_release_in(source) is source.get(b"usr/lib/os-release")
    assert os_release_in(_assembly("usr/bin/x")) is None
