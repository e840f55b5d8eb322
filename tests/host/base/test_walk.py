"""Trees and extended attributes, read without following a link."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from reconciler.host.base.walk import read_xattrs, walk

if TYPE_CHECKING:
    from pathlib import Path


def _names(tree: Path, without: str | None = None) -> list[str]:
    top = os.fsencode(tree)
    found = walk(top, os.fsencode(tree / without) if without else None)
    return [os.fsdecode(path[len(top) + 1 :]) for path, _ in found]


def test_everything_by_name_parents_first_and_no_link_followed(tmp_path: Path) -> None:
    for name in ("b/c/d", "b/a", "a"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "b/link").symlink_to("/")
    assert _names(tmp_path) == ["", "a", "b", "b/a", "b/c", "b/c/d", "b/link"]
    assert _names(tmp_path, without="b/c") == ["", "a", "b", "b/a", "b/link"]
    assert _names(tmp_path / "a") == [""]


def test_what_is_found_is_described(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    modes = [stat.S_IFMT(status.st_mode) for _, status in walk(os.fsencode(tmp_path))]
    assert modes == [stat.S_IFDIR, stat.S_IFLNK]
    with pytest.raises(FileNotFoundError):
        list(walk(b"/nowhere"))


def test_attributes_in_order_as_far_as_they_are_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for name in ("user.b", "user.a", "user.other"):
        os.setxattr(file, name, name.encode())
    found = read_xattrs(os.fsencode(file), (b"user.a", b"user.b"))
    assert list(found.items()) == [(b"user.a", b"user.a"), (b"user.b", b"user.b")]
    assert read_xattrs(os.fsencode(file)).keys() >= {b"user.other"}
    (tmp_path / "link").symlink_to(file)
    assert not any(name.startswith(b"user.") for name in read_xattrs(os.fsencode(tmp_path / "link")))


def test_a_file_system_without_attributes_has_none() -> None:
    assert read_xattrs(b"/proc/self/status", (b"user.",)) == {}
