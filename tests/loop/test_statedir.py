"""The state on its way to another directory: complete at both ends, wherever it is interrupted."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reconciler.errors import Terminated
from reconciler.host.base import durable
from reconciler.host.base.command import Finished
from reconciler.host.merge import links
from reconciler.host.records import statedir
from reconciler.loop import config
from reconciler.loop.reconcile import Options, Result, look
from reconciler.model.kind import Kind
from reconciler.model.state.observed import Merged
from reconciler.paths import KAIROS_STATE_DIR, STATE_ITEMS, Paths
from tests.seed import configure, converge, entry, fill_store

if TYPE_CHECKING:
    from collections.abc import Callable

ONE, TWO = "docker://registry/one:v1", "docker://registry/two:v1"
EXTENSIONS = f"extensions: {{one: {{source: '{ONE}'}}, two: {{source: '{TWO}'}}}}\n"
DATA = "/data/livelayer"
MOVED = f"settings: {{state_dir: {DATA}}}\n{EXTENSIONS}"


@pytest.fixture(autouse=True)
def filled(paths: Paths) -> None:
    """A node with two extensions placed."""
    configure(paths, EXTENSIONS)
    for source, name, letter in ((ONE, "one", "a"), (TWO, "two", "b")):
        fill_store(paths, source, name, letter)
    paths.catalogs.mkdir()
    (paths.catalogs / "a-copy").write_text("{}")
    assert _converge(paths).in_sync


def _converge(paths: Paths, **options: object) -> Result:
    return converge(paths, offline=True, **options)


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


@pytest.mark.commands
def test_the_state_follows_the_setting_and_comes_back(paths: Paths) -> None:
    configure(paths, MOVED)
    assert look(paths, Options()).warnings == (f"the next run moves the state from {paths.state_dir} to {DATA}",)
    assert _converge(paths).in_sync
    _assert_complete(paths, DATA)
    assert os.listdir(paths.state) == ["location.json"]
    assert (paths.root / "data/livelayer").stat().st_mode & 0o777 == 0o700
    configure(paths, MOVED.replace(DATA, paths.state_dir))
    assert _converge(paths).in_sync
    _assert_complete(paths, paths.state_dir)
    assert not paths.location.exists()
    assert not (paths.root / "data/livelayer").exists()


@pytest.mark.commands
def test_without_the_setting_it_stays_where_it_was_moved_to(paths: Paths) -> None:
    assert _converge(paths, state_dir=DATA).in_sync
    _assert_complete(paths, DATA)
    assert _converge(paths).in_sync
    _assert_complete(paths, DATA)


@pytest.mark.commands
def test_the_last_good_configuration_is_found_while_the_present_one_is_broken(paths: Paths) -> None:
    configure(paths, MOVED)
    _converge(paths)
    configure(paths, "settings: {state_dir: [")
    loaded = config.load(paths)
    assert (len(loaded.mistakes), loaded.desired.state_dir) == (1, DATA)
    _converge(paths)
    assert statedir.locate(paths).state_dir == DATA


@pytest.mark.commands
def test_what_others_keep_beside_the_state_stays(paths: Paths) -> None:
    (paths.state / "notes").write_text("mine")
    configure(paths, MOVED)
    _converge(paths)
    assert sorted(os.listdir(paths.state)) == ["location.json", "notes"]
    there = statedir.locate(paths)
    (there.state / "notes").write_text("mine")
    configure(paths, MOVED.replace(DATA, "/srv/livelayer"))
    _converge(paths)
    assert os.listdir(there.state) == ["notes"]
    _assert_complete(paths, "/srv/livelayer")


@pytest.mark.commands
def test_the_old_default_of_a_kairos_node_is_left_for_the_new_one(paths: Paths) -> None:
    (paths.root / "etc/kairos-release").touch()
    assert _converge(paths).in_sync
    _assert_complete(paths, KAIROS_STATE_DIR)
    assert not paths.state.exists()


def test_a_new_kairos_node_begins_with_its_own_default(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/kairos-release").touch()
    assert statedir.locate(Paths(tmp_path)).state_dir == KAIROS_STATE_DIR


@pytest.mark.commands
def test_a_move_that_fails_leaves_everything_as_it_was(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    from reconciler.host.base import command

    full = Finished(1, b"", "cp: error writing: No space left on device")
    monkeypatch.setattr(command, "run", lambda *_arguments, **_options: full)
    configure(paths, MOVED)
    result = _converge(paths)
    assert "No space left on device" in result.problems[0].sentence
    assert not result.in_sync
    assert _targets(paths) == {str(paths.store / entry(letter).file_name) for letter in "ab"}
    monkeypatch.undo()
    assert _converge(paths).in_sync
    _assert_complete(paths, DATA)


def test_the_state_does_not_move_into_itself(paths: Paths) -> None:
    configure(paths, MOVED.replace(DATA, f"{paths.state_dir}/inner"))
    result = _converge(paths)
    assert "the state cannot move there" in result.problems[0].sentence
    assert _targets(paths) == {str(paths.store / entry(letter).file_name) for letter in "ab"}


class Interruption:
    """Ends the program before its nth step on the disk."""

    def __init__(self, after: int) -> None:
        self.left = after

    def before(self, step: Callable[..., object]) -> Callable[..., object]:
        def interrupted(*arguments: object, **options: object) -> object:
            self.left -= 1
            if self.left < 0:
                raise Terminated
            return step(*arguments, **options)

        return interrupted


@pytest.mark.commands
@pytest.mark.parametrize("back", [False, True], ids=["and-goes-on", "and-turns-round"])
def test_interrupted_anywhere_the_next_run_ends_it(
    paths: Paths, monkeypatch: pytest.MonkeyPatch, *, back: bool
) -> None:
    """Every extension leads to content at every moment; a change of mind is as good as going on."""
    for after in range(1000):
        home = statedir.locate(paths).state_dir
        there, configured = (DATA, MOVED) if home == paths.state_dir else (paths.state_dir, EXTENSIONS)
        configure(paths, configured if there == DATA else MOVED.replace(DATA, there))
        interruption = Interruption(after)
        with monkeypatch.context() as patch:
            for name in ("replace", "symlink_to", "unlink"):
                patch.setattr(Path, name, interruption.before(getattr(Path, name)))
            patch.setattr(statedir, "_run_cp", interruption.before(statedir._run_cp))  # noqa: SLF001
            patch.setattr(durable, "sync_directory", interruption.before(durable.sync_directory))
            try:
                _converge(paths)
            except Terminated:
                assert all(path.is_dir() for path in paths.links(Kind.SYSEXT).iterdir()), after
            else:
                break
        if back:
            configure(paths, MOVED.replace(DATA, home))
        assert _converge(paths).in_sync
        _assert_complete(paths, home if back else there)
    assert after > 10


@pytest.mark.commands
def test_what_a_merge_still_shows_is_not_removed(paths: Paths) -> None:
    at_data = statedir.settle(paths, DATA)
    moved = paths.location.stat().st_mtime_ns
    statedir.tidy(at_data, {Kind.SYSEXT: Merged(frozenset({"one"}), moved - 1), Kind.CONFEXT: Merged()})
    assert paths.store.is_dir()
    statedir.tidy(at_data, {Kind.SYSEXT: Merged(frozenset({"one"}), moved + 1), Kind.CONFEXT: Merged()})
    assert not paths.store.exists()
    assert len(links.read_links(at_data, 252).links) == 2


def test_all_that_lies_in_the_state_directory_moves() -> None:
    """What a later version keeps there must be in the list, too."""
    node = Paths()
    properties = [name for name in dir(Paths) if isinstance(getattr(Paths, name), property)]
    values = {name: getattr(node, name) for name in properties}
    below = {it for it in values.values() if isinstance(it, Path) and node.state in it.parents}
    assert {it.relative_to(node.state).parts[0] for it in below} == {*STATE_ITEMS, "location.json"}


@pytest.mark.parametrize("text", ["[]", '{"state_dir": 1}', '{"state_dir": "/x", "former": [1]}', "{"])
def test_a_damaged_record_says_nothing(paths: Paths, text: str) -> None:
    paths.location.write_text(text)
    assert statedir.locate(paths) == paths


@pytest.mark.commands
@pytest.mark.parametrize("text", ["", "{", "[]"])
def test_where_the_record_is_damaged_the_links_tell(paths: Paths, text: str) -> None:
    configure(paths, MOVED)
    _converge(paths)
    configure(paths, EXTENSIONS)
    _converge(paths)
    paths.location.write_text(text)
    _assert_complete(paths, DATA)
    assert _converge(paths).in_sync
    assert json.loads(paths.location.read_text())["state_dir"] == DATA


def test_a_record_is_read_back(paths: Paths) -> None:
    paths.location.write_text(json.dumps({"state_dir": DATA, "former": []}))
    assert statedir.locate(paths).state_dir == DATA
