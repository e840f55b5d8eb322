"""Where things are below another root: for the node that has it as its root directory, not for this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from reconciler.errors import Invalid
from reconciler.paths import Paths

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("links", "path", "found"),
    [
        ({}, "/var/lib/x", "var/lib/x"),
        ({"var/lib": "/data"}, "/var/lib/x", "data/x"),
        ({"var/lib": "../data"}, "/var/lib/x", "data/x"),
        ({"var/lib": "../../../../../etc"}, "/var/lib/x", "etc/x"),
        ({"var/lib": "/a/b", "a": "/c"}, "/var/lib/x", "c/b/x"),
        ({"var/lib/x": "y"}, "/var/lib/x", "var/lib/y"),
        ({}, "/var/../../../x", "x"),
    ],
)
def test_links_lead_nowhere_outside(tmp_path: Path, links: dict[str, str], path: str, found: str) -> None:
    for link, target in links.items():
        (tmp_path / link).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / link).symlink_to(target)
    assert Paths(tmp_path).under(path) == tmp_path / found


def test_links_in_a_circle_are_told(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("/b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(Invalid, match="too many symlinks on the way to /a/x"):
        Paths(tmp_path).under("/a/x")


def test_a_name_may_be_a_link_itself(tmp_path: Path) -> None:
    (tmp_path / "usr").mkdir()
    (tmp_path / "usr/sbin").symlink_to("/usr/bin")
    (tmp_path / "lib").symlink_to("/usr/lib")
    node = Paths(tmp_path)
    assert node.name_under("/usr/sbin") == tmp_path / "usr/sbin"
    assert node.name_under("/usr/sbin/x") == tmp_path / "usr/bin/x"
    assert node.name_under("/lib") == tmp_path / "lib"
    assert Paths().name_under("/usr/bin/x") == type(tmp_path)("/usr/bin/x")
