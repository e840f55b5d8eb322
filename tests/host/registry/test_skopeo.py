"""What skopeo answers; tests/system runs the real one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from reconciler.errors import Invalid, Unavailable
from reconciler.host.registry.skopeo import Skopeo

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The answer of a skopeo that has one for every question."""
    program = tmp_path / "bin/skopeo"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ncat {tmp_path}/answer\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return tmp_path / "answer"


@pytest.mark.commands
@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ('{"Repository": "h/x", "Tags": ["v1", "latest"]}', ("v1", "latest")),
        ('{"Repository": "h/x", "Tags": []}', ()),
        ('{"Repository": "h/x", "Tags": null}', ()),
    ],
)
def test_tags(answer: Path, text: str, tags: tuple[str, ...]) -> None:
    answer.write_text(text)
    assert Skopeo().list_tags("docker://h/x") == tags


@pytest.mark.commands
@pytest.mark.parametrize("text", ["", "[]", "{}", '{"Tags": "v1"}', '{"Tags": [1]}', "not JSON"])
def test_an_answer_without_tags(answer: Path, text: str) -> None:
    answer.write_text(text)
    with pytest.raises(Unavailable, match="docker://h/x: skopeo lists no tags"):
        Skopeo().list_tags("docker://h/x")


def test_only_registries_have_lists_of_tags() -> None:
    with pytest.raises(Invalid, match="only a registry has a list of tags"):
        Skopeo().list_tags("oci:/srv/layout")
