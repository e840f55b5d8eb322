"""The cheap look: what it sees, and that it keeps to its budget."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from reconciler.host.store import seals
from reconciler.host.store.touched import touched

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def _tree(place: Path, directories: int = 3, files: int = 3) -> Path:
    for number in range(directories):
        directory = place / f"d{number}" / "below"
        directory.mkdir(parents=True)
        for name in range(files):
            (directory / f"f{name}").write_text("content")
    return place


def _later(place: Path) -> int:
    """A time that nothing in the tree has reached, and that whatever is done next reaches."""
    newest = max(os.lstat(path).st_ctime_ns for path in (place, *place.rglob("*")))
    while seals.now() <= newest:
        pass
    return seals.now()


CHANGES: dict[str, Callable[[Path], object]] = {
    "content": lambda tree: (tree / "d1/below/f1").write_text("changed"),
    "content with its times put back": lambda tree: _rewrite_in_secret(tree / "d1/below/f1"),
    "mode": lambda tree: (tree / "d1/below/f1").chmod(0o600),
    "owner": lambda tree: os.chown(tree / "d1/below/f1", 1, 1),
    "attribute": lambda tree: os.setxattr(tree / "d1/below/f1", "user.x", b"x"),
    "removal": lambda tree: (tree / "d1/below/f1").unlink(),
    "addition": lambda tree: (tree / "d1/below/new").touch(),
    "rename": lambda tree: (tree / "d1/below/f1").rename(tree / "d1/below/f9"),
    "replacement": lambda tree: (tree / "d1").rename(tree / "d9"),
    "root": lambda tree: tree.chmod(0o700),
}


def _rewrite_in_secret(file: Path) -> None:
    before = file.stat()
    file.write_text("CONTENT")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_every_change_of_a_small_tree_is_seen_at_once(tmp_path: Path, change: Callable[[Path], object]) -> None:
    tree, other = _tree(tmp_path / "tree"), _tree(tmp_path / "other")
    since = max(_later(tree), _later(other))
    assert touched({tree: since, other: since}) == frozenset()
    change(tree)
    assert touched({tree: since, other: since}) == {tree}


def test_reading_is_no_change(tmp_path: Path) -> None:
    tree = _tree(tmp_path / "tree")
    since = _later(tree)
    for path in tree.rglob("f*"):
        path.read_text()
    assert touched({tree: since}) == frozenset()


def test_an_image_file_is_one_inode(tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_text("content")
    since = _later(image)
    assert touched({image: since}) == frozenset()
    image.write_text("other")
    assert touched({image: since}) == {image}


def test_of_a_large_tree_all_gets_its_turn(tmp_path: Path) -> None:
    """And a small one beside it is looked at wholly each time."""
    large, small = _tree(tmp_path / "large", directories=60), _tree(tmp_path / "small", directories=1)
    since = max(_later(large), _later(small))
    (small / "d0/below/f1").write_text("changed")
    (large / "d30/below/f1").write_text("changed")
    looks = [touched({large: since, small: since}, budget=40) for _ in range(2000)]
    assert all(small in found for found in looks)
    assert any(large in found for found in looks)
    assert not all(large in found for found in looks)


def test_what_cannot_be_looked_at_counts_as_touched(tmp_path: Path) -> None:
    assert touched({tmp_path / "none": 1 << 62}) == {tmp_path / "none"}
