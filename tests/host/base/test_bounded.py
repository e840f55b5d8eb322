"""Files of strangers are read up to a bound."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from reconciler.errors import Failed
from reconciler.host.base.bounded import RELEASE_MAX, read_bounded
from reconciler.host.node.machine import read_os_release
from reconciler.host.node.selinux import policy_of
from reconciler.paths import Paths

if TYPE_CHECKING:
    from pathlib import Path


def test_as_much_as_the_bound_is_read_and_no_more(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x" * 10)
    assert read_bounded(file, 10) == b"x" * 10
    with pytest.raises(OSError, match="File too large"):
        read_bounded(file, 9)


def test_a_fifo_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "file")
    with pytest.raises(OSError, match="not a regular file"):
        read_bounded(tmp_path / "file")


@pytest.mark.parametrize("name", ["etc/os-release", "usr/lib/os-release"])
def test_an_os_release_of_another_root_that_is_a_fifo_is_none(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.parent.mkdir(parents=True)
    os.mkfifo(file)
    with pytest.raises(Failed, match="no os-release file"):
        read_os_release(Paths(tmp_path))


@pytest.mark.parametrize("name", ["etc/os-release", "usr/lib/os-release"])
def test_an_os_release_of_another_root_that_is_one_hole_is_none(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.parent.mkdir(parents=True)
    file.write_text("ID=debian\n")
    assert read_os_release(Paths(tmp_path)) == {"ID": "debian"}
    os.truncate(file, 12 << 30)
    with pytest.raises(Failed, match="no os-release file"):
        read_os_release(Paths(tmp_path))
    assert RELEASE_MAX < 1 << 20


def test_a_selinux_configuration_that_is_one_hole_is_none(tmp_path: Path) -> None:
    file = tmp_path / "etc/selinux/config"
    file.parent.mkdir(parents=True)
    file.touch()
    os.truncate(file, 12 << 30)
    assert policy_of(Paths(tmp_path)) is None
