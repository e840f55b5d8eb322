"""Every hostile image fails with one clear message, leaves nothing behind, and harms no other extension."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from reconciler.loop.reconcile import converge
from reconciler.loop.session import Options
from reconciler.model.kind import Kind
from tests.host.hostile import layouts
from tests.host.hostile.images_spoilt import IMAGES
from tests.host.hostile.surroundings import check_words, look_around
from tests.host.layers.unpacking import needs_root
from tests.seed import configure, fill_store

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.loop.reconcile import Result
    from reconciler.paths import Paths
    from tests.host.hostile.layouts import Draft
    from tests.host.hostile.surroundings import Look

pytestmark = [pytest.mark.commands, needs_root]

_OTHER = "docker://registry/other:v1"


@pytest.fixture
def neighbour(paths: Paths) -> str:
    """An extension that is placed already; its line of the configuration."""
    line = f"other: {{source: '{_OTHER}'}}"
    configure(paths, f"extensions: {{{line}}}")
    fill_store(paths, _OTHER, "other", "a")
    assert converge(paths, Options(), "test").in_sync
    return line


def _converge(paths: Paths, neighbour: str, layout: Path) -> Result:
    configure(paths, f"extensions: {{{neighbour}, x: {{source: 'oci:{layout}:v1'}}}}")
    return converge(paths, Options(), "test")


def _node(paths: Paths) -> list[Look]:
    """All of the node but records and downloads."""
    return [look_around(path) for path in (paths.store, paths.links(Kind.SYSEXT), paths.root / "usr")]


@pytest.mark.by_lot(50)
@pytest.mark.parametrize(("draft", "words"), IMAGES.values(), ids=IMAGES)
def test_hostile_images(paths: Paths, neighbour: str, tmp_path: Path, draft: Draft, words: str) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/sentinel").write_text("untouched")
    layouts.write(tmp_path / "layout", draft)
    before, around = _node(paths), look_around(tmp_path, paths.root)

    result = _converge(paths, neighbour, tmp_path / "layout")

    (problem,) = result.problems
    assert problem.extension == "x"
    check_words(problem.sentence)
    check_words(problem.hint or "")
    assert problem.sentence.startswith("x: ")
    assert words in problem.sentence
    assert _node(paths) == before
    assert look_around(tmp_path, paths.root) == around
    assert os.listdir(paths.staging) == []


def test_the_image_that_they_are_made_from_is_sound(paths: Paths, neighbour: str, tmp_path: Path) -> None:
    for number, draft in enumerate((layouts.Draft(), layouts.Draft(above=layouts.same))):
        layouts.write(tmp_path / str(number), draft)
        assert _converge(paths, neighbour, tmp_path / str(number)).in_sync
    assert sorted(os.listdir(paths.links(Kind.SYSEXT))) == ["other", "x"]


def test_the_images_are_many_and_differ(tmp_path: Path) -> None:
    found = set()
    for number, (draft, _) in enumerate(IMAGES.values()):
        layouts.write(tmp_path / str(number), draft)
        files = look_around(tmp_path / str(number))
        found.add(tuple(sorted((name, seen[0], seen[-2]) for name, seen in files.items())))
    assert len(found) == len(IMAGES) >= 90
