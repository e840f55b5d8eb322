"""Subvolumes of btrfs as sources, on a real one, mounted where nobody else sees it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.commands, pytest.mark.system]

PROJECT: Final = Path(__file__).parents[2]
_MOUNT: Final = 'mount --make-rprivate / && mount -o loop "$1" "$2" && cd "$2" && exec "$3" -c "$4"'
_TAKE: Final = """
import shutil
from pathlib import Path
from subprocess import run
from reconciler.host.sources.local import copy_tree, look_at
from reconciler.model.content.limits import DEFAULT

def subvolume(path, *content):
    run(["btrfs", "subvolume", "create", path], check=True, stdout=-3)
    for name in content:
        Path(path, name).write_text(name)
    return Path(path)

def take(source):
    copy_tree(source, Path("taken"), look_at(source)[0], DEFAULT)
    return Path("taken")

def is_subvolume(path):
    return path.stat().st_ino == 256
"""


@pytest.fixture
def on_btrfs(tmp_path: Path) -> Callable[[str], None]:
    """Runs lines of Python in the root of a new btrfs; they fail by assertions."""
    image, mount = tmp_path / "btrfs.img", tmp_path / "mount"
    mount.mkdir()
    with image.open("wb") as file:
        file.truncate(200 << 20)
    subprocess.run(["mkfs.btrfs", "--quiet", str(image)], check=True, capture_output=True)

    def run(lines: str) -> None:
        command = ["unshare", "--mount", "sh", "-c", _MOUNT, "sh", str(image), str(mount)]
        done = subprocess.run(
            [*command, sys.executable, _TAKE + lines],
            env={"PYTHONPATH": str(PROJECT), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    return run


def test_a_subvolume_becomes_a_snapshot_that_can_be_removed(on_btrfs: Callable[[str], None]) -> None:
    on_btrfs("""
taken = take(subvolume("source", "file"))
assert is_subvolume(taken)
assert (taken / "file").read_text() == "file"
taken.rename("entry")
shutil.rmtree("entry")
assert sorted(path.name for path in Path().iterdir()) == ["source"]
""")


def test_a_read_only_subvolume_becomes_one_that_can_be_completed(on_btrfs: Callable[[str], None]) -> None:
    on_btrfs("""
run(["btrfs", "property", "set", subvolume("source", "file"), "ro", "true"], check=True)
taken = take(Path("source"))
assert is_subvolume(taken)
(taken / "extension-release").touch()
shutil.rmtree(taken)
""")


def test_subvolumes_inside_are_copied_too(on_btrfs: Callable[[str], None]) -> None:
    on_btrfs("""
subvolume("source", "file")
subvolume("source/inside", "other")
taken = take(Path("source"))
assert not is_subvolume(taken)
assert (taken / "inside/other").read_text() == "other"
""")


def test_a_directory_that_is_none_is_copied(on_btrfs: Callable[[str], None]) -> None:
    on_btrfs("""
Path("source").mkdir()
Path("source/file").write_text("content")
taken = take(Path("source"))
assert not is_subvolume(taken)
assert (taken / "file").read_text() == "content"
""")
