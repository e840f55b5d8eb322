"""What tests of host modules share."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.host.layers.unpacking import Bench

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A place to unpack in, under a mask that would show wherever a mode is left to it."""
    before = os.umask(0o027)
    yield Bench(tmp_path)
    os.umask(before)


@pytest.fixture
def btrfs_mount(tmp_path: Path) -> Iterator[Path]:
    """A btrfs of its own, for the time of a test."""
    image, mount_point = tmp_path / "btrfs", tmp_path / "mounted"
    mount_point.mkdir()
    with image.open("wb") as file:
        file.truncate(128 << 20)
    subprocess.run(["mkfs.btrfs", "-q", str(image)], check=True)
    subprocess.run(["mount", "-o", "loop", str(image), str(mount_point)], check=True)
    yield mount_point
    subprocess.run(["umount", str(mount_point)], check=True)
