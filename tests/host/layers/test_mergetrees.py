"""One tree laid over another."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from reconciler.errors import Failed
from reconciler.host.layers.mergetrees import lay_over

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PAST = 1_000_000_000_000_000_000


@pytest.fixture
def trees(tmp_path: Path) -> tuple[Path, Path]:
    """An upper and a lower tree, both with an empty `usr`."""
    upper, lower = tmp_path / "upper", tmp_path / "lower"
    for tree in (upper, lower):
        (tree / "usr").mkdir(parents=True)
    return upper, lower


def test_each_kind_replaces_each_other_one(trees: tuple[Path, Path]) -> None:
    upper, lower = trees
    makers: dict[str, Callable[[Path], object]] = {
        "file": lambda path: path.write_text(str(path.parent.parent.name)),
        "link": lambda path: path.symlink_to("file"),
        "directory": lambda path: (path / path.parent.parent.name).mkdir(parents=True),
    }
    for above, make_above in makers.items():
        for below, make_below in makers.items():
            make_above(upper / "usr" / f"{above}-{below}")
            make_below(lower / "usr" / f"{above}-{below}")
    lay_over(upper, lower)
    for below in makers:
        assert (lower / f"usr/file-{below}").read_text() == "upper"
        assert (lower / f"usr/link-{below}").readlink().name == "file"
        assert (lower / f"usr/directory-{below}/upper").is_dir()
    assert (lower / "usr/directory-directory/lower").is_dir()
    assert not (lower / "usr/directory-file/lower").exists()


def test_a_link_to_a_directory_is_replaced_not_followed(trees: tuple[Path, Path], tmp_path: Path) -> None:
    upper, lower = trees
    (tmp_path / "outside").mkdir()
    (lower / "usr/lib").symlink_to(tmp_path / "outside")
    (upper / "usr/lib").mkdir()
    (upper / "usr/lib/x").touch()
    lay_over(upper, lower)
    assert not (lower / "usr/lib").is_symlink()
    assert list((tmp_path / "outside").iterdir()) == []


def test_hard_links_and_names_that_are_no_text_stay(trees: tuple[Path, Path]) -> None:
    upper, lower = trees
    odd = os.fsdecode(b"usr/\xff\n")
    (upper / odd).touch()
    (upper / "usr/other").hardlink_to(upper / odd)
    lay_over(upper, lower)
    assert (lower / odd).samefile(lower / "usr/other")


def test_a_directory_of_both_is_as_the_upper_one_has_it(trees: tuple[Path, Path]) -> None:
    upper, lower = trees
    for name in (b"user.below", b"user.both"):
        os.setxattr(lower / "usr", name, b"lower")
    os.setxattr(upper / "usr", b"user.both", b"upper")
    os.chown(upper / "usr", 1, 2)
    (upper / "usr").chmod(0o1750)
    (upper / "usr/x").touch()
    os.utime(upper / "usr", ns=(PAST, PAST))
    lay_over(upper, lower)
    status = (lower / "usr").stat()
    assert (status.st_mode & 0o7777, status.st_uid, status.st_gid, status.st_mtime_ns) == (0o1750, 1, 2, PAST)
    assert {name: os.getxattr(lower / "usr", name) for name in os.listxattr(lower / "usr")} == {"user.both": b"upper"}


def test_a_directory_that_no_layer_describes_leaves_the_lower_one_as_it_is(trees: tuple[Path, Path]) -> None:
    upper, lower = trees
    (lower / "usr").chmod(0o700)
    os.utime(lower / "usr", ns=(PAST, PAST))
    (upper / "usr/x").touch()
    (upper / "usr").chmod(0o755)
    os.utime(upper / "usr", ns=(0, 0))
    lay_over(upper, lower)
    assert ((lower / "usr").stat().st_mode & 0o777, (lower / "usr").stat().st_mtime_ns) == (0o700, PAST)


def test_a_file_system_that_refuses_is_told(trees: tuple[Path, Path]) -> None:
    upper, lower = trees
    with pytest.raises(Failed, match="another source cannot be laid over it: No such file"):
        lay_over(upper / "missing", lower)
