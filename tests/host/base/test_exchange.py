"""Two directories change places, in one step or in three."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from reconciler.host.base import exchange

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("able", [True, False])
def test_two_directories_change_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, able: bool) -> None:  # noqa: FBT001 - a parameter
    """A file system that cannot is told by the kernel in the same way as a flag that it does not know."""
    if not able:
        monkeypatch.setattr(exchange, "_RENAME_EXCHANGE", 1 << 20)  # the kernel knows no such flag: EINVAL, too
    one, other = tmp_path / "one", tmp_path / "other"
    for directory in (one, other):
        directory.mkdir()
        (directory / directory.name).touch()
    exchange.exchange(one, other)
    assert [path.name for path in one.iterdir()] == ["other"]
    assert [path.name for path in other.iterdir()] == ["one"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "other"]


def test_what_is_not_there_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    with pytest.raises(FileNotFoundError, match="other"):
        exchange.exchange(tmp_path / "one", tmp_path / "other")
