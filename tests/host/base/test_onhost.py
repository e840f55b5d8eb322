"""What the host itself has; with real overlays in tests/system/test_trust.py."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from reconciler.errors import Failed, Invalid
from reconciler.host.base import mountnamespace, onhost
from reconciler.host.base.onhost import is_hosts, on_host
from reconciler.model.state.sight import Hierarchy

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


@pytest.fixture
def beneath(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """An overlay on a directory, and what was looked for below it."""
    looked: list[str] = []

    def look_beneath(mounts: Sequence[str], look: Callable[[], object]) -> object:
        looked.extend(mounts)
        return look()

    monkeypatch.setattr(onhost, "_overlays", lambda: [Hierarchy(str(tmp_path), kept=(str(tmp_path / "kept"),))])
    monkeypatch.setattr(mountnamespace, "look_beneath", look_beneath)
    return looked


def test_only_what_an_overlay_shows_is_looked_for_below_it(tmp_path: Path, beneath: list[str]) -> None:
    (tmp_path / "kept").mkdir()
    for name in ("a", "kept/a"):
        (tmp_path / name).touch()
    (tmp_path.parent / f"{tmp_path.name}x").touch()
    for place in ("kept/a", f"../{tmp_path.name}x", "missing"):
        assert on_host(lambda: 1, [tmp_path / place]) == 1
    assert beneath == []
    assert on_host(lambda: 2, [tmp_path / "kept/a", tmp_path / "a"]) == 2
    (tmp_path.parent / "link").symlink_to(tmp_path / "a")
    assert on_host(lambda: None, [tmp_path.parent / "link"]) is None
    assert beneath == [str(tmp_path)] * 2


@pytest.mark.usefixtures("beneath")
def test_what_is_raised_there_is_raised_here(tmp_path: Path) -> None:
    def fail() -> int:
        raise Invalid("there")

    with pytest.raises(Invalid, match="there"):
        on_host(fail, [tmp_path])


@pytest.mark.usefixtures("beneath")
def test_root_does_not_take_what_all_see_for_the_hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mountnamespace, "look_beneath", lambda *_: None)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(Failed, match="cannot be looked at") as caught:
        on_host(lambda: 1, [tmp_path])
    assert caught.value.code == "host.covered"
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert on_host(lambda: 1, [tmp_path]) == 1


def test_a_file_is_the_hosts_as_long_as_it_is_the_same(tmp_path: Path, beneath: list[str]) -> None:
    program = tmp_path / "program"
    program.touch()
    assert is_hosts(str(program))
    assert is_hosts(str(program))
    assert len(beneath) == 1
    program.write_text("another")
    assert is_hosts(str(program))
    assert len(beneath) == 2
