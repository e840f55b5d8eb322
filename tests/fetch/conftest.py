"""What tests of fetching count."""

from __future__ import annotations

import pytest

from reconciler.host.base import command


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The programs that are started."""
    names: list[str] = []
    real = command._find  # noqa: SLF001

    def count(program: str, path: str) -> object:
        names.append(program)
        return real(program, path)

    monkeypatch.setattr(command, "_find", count)
    return names
