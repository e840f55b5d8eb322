"""What a node is, read off its files."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from reconciler.errors import Failed
from reconciler.host.node.machine import is_kairos, read_boot_state, read_host, systemd_version
from reconciler.model.fit.release import misfit

if TYPE_CHECKING:
    from reconciler.paths import Paths


def test_os_release_of_the_root(paths: Paths) -> None:
    assert read_host(paths).os_release["ID"] == "debian"
    (paths.root / "etc/os-release").unlink()
    with pytest.raises(Failed, match="no os-release"):
        read_host(paths)
    (paths.root / "usr/lib/os-release").write_text("ID=vendor\n")
    assert read_host(paths).os_release["ID"] == "vendor"


def test_links_to_os_release_stay_below_the_root(paths: Paths) -> None:
    """NixOS has absolute ones, which would lead to this machine's own files."""
    (paths.root / "etc/os-release").unlink()
    (paths.root / "nix/store/x/etc").mkdir(parents=True)
    (paths.root / "nix/store/x/etc/os-release").write_text("ID=nixos\n")
    (paths.root / "etc/static").symlink_to("/nix/store/x/../x/etc")
    (paths.root / "etc/os-release").symlink_to("/etc/static/os-release")
    assert read_host(paths).os_release["ID"] == "nixos"
    (paths.root / "etc/static").unlink()
    (paths.root / "etc/static").symlink_to("/etc/static")
    (paths.root / "usr/lib/os-release").write_text("ID=vendor\n")
    assert read_host(paths).os_release["ID"] == "vendor"
    (paths.root / "etc/os-release").unlink()
    (paths.root / "etc/os-release").symlink_to("../../../../usr/lib/os-release")
    assert read_host(paths).os_release["ID"] == "vendor"


def test_a_fifo_in_the_place_of_systemds_library_is_not_waited_for(paths: Paths) -> None:
    library = paths.root / "usr/lib/systemd/libsystemd-shared-252.so"
    library.unlink()
    os.mkfifo(library)
    assert read_host(paths).machine == os.uname().machine


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("usr/lib/systemd/libsystemd-shared-252.so", 252),
        ("usr/lib/systemd/libsystemd-shared-257.13-1.fc42.so", 257),
        ("usr/lib/x86_64-linux-gnu/systemd/libsystemd-shared-262~rc1.so", 262),
        ("usr/lib64/systemd/libsystemd-shared-254.so", 254),
        ("usr/lib/systemd/libsystemd-shared-257.7+suse.4.g1a2b3c4.so", 257),
        ("usr/lib/systemd/libsystemd-shared-258.1-1.so", 258),
    ],
)
def test_the_version_of_systemd_is_in_the_name_of_its_library(paths: Paths, name: str, version: int) -> None:
    (paths.root / "usr/lib/systemd/libsystemd-shared-252.so").unlink()
    (paths.root / name).parent.mkdir(parents=True, exist_ok=True)
    (paths.root / name).touch()
    assert systemd_version(paths) == version


@pytest.mark.parametrize(
    ("systemd", "program", "like"),
    [(257, b"\x7fELF VERSION_ID\0", False), (257, b"\x7fELF ID_LIKE\0", True), (258, b"", True), (252, None, False)],
)
def test_whether_systemd_looks_at_id_like(paths: Paths, systemd: int, program: bytes | None, like: bool) -> None:  # noqa: FBT001
    if program is not None:
        (paths.root / "usr/bin").mkdir()
        (paths.root / "usr/bin/systemd-sysext").write_bytes(program)
    (paths.root / "usr/lib/systemd/libsystemd-shared-252.so").rename(
        paths.root / f"usr/lib/systemd/libsystemd-shared-{systemd}.so"
    )
    (paths.root / "etc/os-release").write_text("ID=ubuntu\nID_LIKE=debian\nVERSION_ID=24.04")
    reason = misfit({"ID": "debian", "VERSION_ID": "24.04"}, read_host(paths))
    assert (reason is None) == like


def test_for_a_root_without_systemd_rules_are_assumed_and_told(
    paths: Paths, caplog: pytest.LogCaptureFixture
) -> None:
    (paths.root / "usr/lib/systemd/libsystemd-shared-252.so").unlink()
    assert systemd_version(paths) == 254
    assert "no systemd is installed there" in caplog.text


@pytest.mark.parametrize(
    ("head", "machine"),
    [
        (b"\x7fELF\x02\x01\x01" + b"\0" * 9 + b"\x03\x00\xb7\x00", "aarch64"),
        (b"\x7fELF\x02\x02\x01" + b"\0" * 9 + b"\x00\x03\x00\x16", "s390x"),
        (b"\x7fELF\x02\x01\x01" + b"\0" * 9 + b"\x03\x00\xff\xff", os.uname().machine),
        (b"\x7fELF", os.uname().machine),
        (b"", os.uname().machine),
    ],
)
def test_the_machine_is_the_one_that_the_roots_systemd_is_for(paths: Paths, head: bytes, machine: str) -> None:
    (paths.root / "usr/lib/systemd/libsystemd-shared-252.so").write_bytes(head)
    assert read_host(paths).machine == machine


def test_an_absolute_link_stays_inside_the_root(paths: Paths) -> None:
    (paths.root / "etc/os-release").unlink()
    (paths.root / "etc/os-release").symlink_to("/usr/lib/os-release")
    (paths.root / "usr/lib/os-release").write_text("ID=vendor\n")
    assert read_host(paths).os_release["ID"] == "vendor"


def test_kairos_is_known_by_its_release_file_or_by_its_keys(paths: Paths) -> None:
    assert not is_kairos(paths)
    (paths.root / "etc/os-release").write_text("ID=ubuntu\nKAIROS_VERSION=v2.4.3\n")
    assert is_kairos(paths)
    (paths.root / "etc/os-release").unlink()
    assert not is_kairos(paths)
    (paths.root / "etc/kairos-release").touch()
    assert is_kairos(paths)


@pytest.mark.parametrize(
    ("marks", "state"),
    [
        ([], "active"),
        (["active_mode", "in_ram_mode"], "active"),
        (["passive_mode", "uki_boot_mode"], "passive"),
        (["recovery_mode"], "recovery"),
        (["autoreset_mode"], "autoreset"),
        (["live_mode", "uki_install_mode"], "live"),
        (["unknown"], "active"),
    ],
)
def test_the_boot_state_is_marked_by_the_initrd(paths: Paths, marks: list[str], state: str) -> None:
    for mark in marks:
        (paths.root / "run/cos").mkdir(exist_ok=True)
        (paths.root / "run/cos" / mark).write_text("1")
    assert read_boot_state(paths) == state


def test_an_initrd_is_known_by_its_release_file(paths: Paths) -> None:
    assert read_host(paths).scope == "system"
    (paths.root / "etc/initrd-release").write_text("ID=debian\n")
    assert read_host(paths).scope == "initrd"
