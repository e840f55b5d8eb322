"""Where the state is: chosen when there is none, and found again."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from reconciler.host.records import statedir
from reconciler.loop import config
from reconciler.loop.reconcile import Result, look
from reconciler.loop.session import Options
from reconciler.model.kind import Kind
from reconciler.paths import KAIROS_STATE_DIR, Paths
from tests.seed import configure, converge, entry, fill_store

if TYPE_CHECKING:
    from pathlib import Path


ONE, TWO = "docker://registry/one:v1", "docker://registry/two:v1"
EXTENSIONS = f"extensions: {{one: {{source: '{ONE}'}}, two: {{source: '{TWO}'}}}}\n"
DATA = "/data/livelayer"
AT_DATA = f"settings: {{state_dir: {DATA}}}\n{EXTENSIONS}"


@pytest.fixture
def filled(paths: Paths) -> None:
    """A node with two extensions placed."""
    configure(paths, EXTENSIONS)
    for source, name, letter in ((ONE, "one", "a"), (TWO, "two", "b")):
        fill_store(paths, source, name, letter)
    paths.catalogs.mkdir()
    (paths.catalogs / "a-copy").write_text("{}")
    assert _converge(paths).in_sync


def _converge(paths: Paths) -> Result:
    return converge(paths, offline=True)


def _move(paths: Paths) -> None:
    """As an earlier version moved the state to a data disk."""
    there = paths.root / DATA.lstrip("/")
    there.parent.mkdir()
    paths.state.rename(there)
    paths.state.mkdir()
    paths.location.write_text(json.dumps({"state_dir": DATA, "former": []}))
    for link in paths.links(Kind.SYSEXT).iterdir():
        entry = link.readlink().name
        link.unlink()
        link.symlink_to(os.path.relpath(there / "store/sha256" / entry, link.parent))


def _targets(paths: Paths) -> set[str]:
    directory = paths.links(Kind.SYSEXT)
    return {os.path.normpath(path.parent / path.readlink()) for path in directory.iterdir()}


def _assert_complete(paths: Paths, state_dir: str) -> None:
    there = statedir.locate(paths)
    assert there.state_dir == state_dir
    assert _targets(paths) == {str(there.store / entry(letter).file_name) for letter in "ab"}
    assert all(path.is_dir() for path in paths.links(Kind.SYSEXT).iterdir())
    assert sorted(os.listdir(paths.links(Kind.SYSEXT))) == ["one", "two"]
    assert look(paths, Options(offline=True)).in_sync


def test_where_there_is_no_state_yet_it_begins_in_the_configured_directory(paths: Paths) -> None:
    _converge(paths)  # before anybody has configured anything
    configure(paths, f"settings: {{state_dir: {DATA}}}\nextensions: {{}}")
    assert look(paths, Options(offline=True)).in_sync
    assert not paths.location.exists()
    assert _converge(paths).in_sync
    assert statedir.locate(paths).state_dir == DATA
    assert (paths.root / "data/livelayer").stat().st_mode & 0o777 == 0o700
    configure(paths, "extensions: {}")
    assert _converge(paths).in_sync
    assert statedir.locate(paths).state_dir == DATA


@pytest.mark.usefixtures("filled")
def test_a_new_node_takes_up_a_state_that_the_configuration_names(paths: Paths) -> None:
    """As after a reinstallation that has kept the data disk, or where the record is gone."""
    _move(paths)
    paths.location.unlink()
    configure(paths, AT_DATA)
    assert _converge(paths).in_sync
    _assert_complete(paths, DATA)


@pytest.mark.usefixtures("filled")
def test_another_directory_in_the_configuration_is_a_problem_and_its_hint_works(paths: Paths) -> None:
    configure(paths, AT_DATA)
    for result in (look(paths, Options(offline=True)), _converge(paths)):
        (problem,) = result.problems
        assert f"settings.state_dir is {DATA}, but the state is in {paths.state_dir}" in problem.sentence
        assert problem.hint == f"set it to {paths.state_dir}, or move the state as STATE in livelayer(8) says"
        assert not result.in_sync
        assert result.view.plan.actions == ()
    assert statedir.locate(paths).state_dir == paths.state_dir
    configure(paths, f"settings: {{state_dir: {paths.state_dir}}}\n{EXTENSIONS}")
    assert _converge(paths).in_sync


@pytest.mark.usefixtures("filled")
def test_a_link_to_the_configured_directory_will_do(paths: Paths) -> None:
    there = paths.root / DATA.lstrip("/")
    there.parent.mkdir()
    paths.state.rename(there)
    paths.state.symlink_to(DATA)
    assert statedir.complaint(statedir.locate(paths), DATA) is None
    assert statedir.complaint(statedir.locate(paths), "/srv/livelayer")


@pytest.mark.usefixtures("filled")
def test_a_state_that_an_earlier_version_has_moved_is_found(paths: Paths) -> None:
    _move(paths)
    assert _converge(paths).in_sync
    _assert_complete(paths, DATA)
    configure(paths, AT_DATA)
    assert _converge(paths).in_sync


@pytest.mark.usefixtures("filled")
def test_the_last_good_configuration_is_found_while_the_present_one_is_broken(paths: Paths) -> None:
    configure(paths, AT_DATA)
    _move(paths)
    _converge(paths)
    configure(paths, "settings: {state_dir: [")
    loaded = config.load(paths)
    assert (len(loaded.mistakes), loaded.desired.settings.state_dir) == (1, DATA)
    _converge(paths)
    assert statedir.locate(paths).state_dir == DATA


@pytest.mark.usefixtures("filled")
def test_a_state_at_the_old_default_of_a_kairos_node_stays(paths: Paths) -> None:
    (paths.root / "etc/kairos-release").touch()
    assert _converge(paths).in_sync
    _assert_complete(paths, paths.state_dir)


@pytest.mark.usefixtures("filled")
def test_a_boot_that_empties_the_old_default_leads_a_kairos_node_to_its_own(paths: Paths) -> None:
    (paths.root / "etc/kairos-release").touch()
    _converge(paths)
    paths.state.rename(paths.state.with_name("gone"))
    assert statedir.locate(paths).state_dir == KAIROS_STATE_DIR


def test_a_new_kairos_node_begins_with_its_own_default(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/kairos-release").touch()
    assert statedir.locate(Paths(tmp_path)).state_dir == KAIROS_STATE_DIR


@pytest.mark.parametrize("text", ["[]", '{"state_dir": 1}', "{"])
def test_a_damaged_record_says_nothing(paths: Paths, text: str) -> None:
    paths.location.write_text(text)
    assert statedir.locate(paths) == paths


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("text", ["", "{", "[]"])
def test_where_the_record_is_damaged_the_links_tell(paths: Paths, text: str) -> None:
    _move(paths)
    paths.location.write_text(text)
    _assert_complete(paths, DATA)
    assert _converge(paths).in_sync
    assert json.loads(paths.location.read_text())["state_dir"] == DATA
