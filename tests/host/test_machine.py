"""What a node is, read off its files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from reconciler.errors import Failed
from reconciler.host.machine import is_kairos, read_host, systemd_version

if TYPE_CHECKING:
    from reconciler.paths import Paths


def test_os_release_of_the_root(paths: Paths) -> None:
    assert read_host(paths).os_release["ID"] == "debian"
    (paths.root / "etc/os-release").unlink()
    with pytest.raises(Failed, match="no os-release"):
        read_host(paths)
    (paths.root / "usr/lib/os-release").write_text("ID=vendor\n")
    assert read_host(paths).os_release["ID"] == "vendor"


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("usr/lib/systemd/libsystemd-shared-252.so", 252),
        ("usr/lib/systemd/libsystemd-shared-257.13-1.fc42.so", 257),
        ("usr/lib/x86_64-linux-gnu/systemd/libsystemd-shared-262~rc1.so", 262),
        ("usr/lib64/systemd/libsystemd-shared-254.so", 254),
    ],
)
def test_the_version_of_systemd_is_in_the_name_of_its_library(paths: Paths, name: str, version: int) -> None:
    (paths.root / "usr/lib/systemd/libsystemd-shared-252.so").unlink()
    (paths.root / name).parent.mkdir(parents=True, exist_ok=True)
    (paths.root / name).touch()
    assert systemd_version(paths) == version


def test_a_root_without_systemd_is_told(paths: Paths) -> None:
    (paths.root / "usr/lib/systemd/libsystemd-shared-252.so").unlink()
    with pytest.raises(Failed, match="no systemd"):
        systemd_version(paths)


def test_kairos_is_known_by_its_release_file_or_by_its_keys(paths: Paths) -> None:
    assert not is_kairos(paths)
    (paths.root / "etc/os-release").write_text("ID=ubuntu\nKAIROS_VERSION=v2.4.3\n")
    assert is_kairos(paths)
    (paths.root / "etc/os-release").unlink()
    assert not is_kairos(paths)
    (paths.root / "etc/kairos-release").touch()
    assert is_kairos(paths)
