"""Where the state is: chosen when there is none, moved by a verb, and complete at both ends meanwhile."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reconciler.errors import Failed, Invalid, Terminated
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


def _move(paths: Paths, directory: str) -> None:
    moved = statedir.move(paths, directory)
    assert _converge(paths).problems == look(paths, Options(offline=True)).problems
    assert statedir.remove_former(moved, None) == ()


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
@pytest.mark.commands
def test_a_new_node_takes_up_a_state_that_the_configuration_names(paths: Paths) -> None:
    """As after a reinstallation that has kept the data disk, or where the record is gone."""
    _move(paths, DATA)
    paths.location.unlink()
    configure(paths, AT_DATA)
    assert _converge(paths).in_sync
    _assert_complete(paths, DATA)


@pytest.mark.usefixtures("filled")
@pytest.mark.commands
def test_another_directory_in_the_configuration_is_a_problem_and_its_hint_works(paths: Paths) -> None:
    configure(paths, AT_DATA)
    for result in (look(paths, Options(offline=True)), _converge(paths)):
        (problem,) = result.problems
        assert f"settings.state_dir is {DATA}, but the state is in {paths.state_dir}" in problem.sentence
        assert problem.hint == f"to move it, run: livelayer move-state {DATA}"
        assert not result.in_sync
        assert result.view.plan.actions == ()
    assert statedir.locate(paths).state_dir == paths.state_dir
    _move(paths, DATA)
    _assert_complete(paths, DATA)


@pytest.mark.usefixtures("filled")
@pytest.mark.commands
def test_the_state_moves_and_comes_back(paths: Paths) -> None:
    (paths.state / "notes").write_text("another's")
    _move(paths, DATA)
    _assert_complete(paths, DATA)
    assert sorted(os.listdir(paths.state)) == ["location.json", "notes"]
    assert (paths.root / "data/livelayer").stat().st_mode & 0o777 == 0o700
    _move(paths, "/srv/livelayer")
    _move(paths, "/var/lib/livelayer")
    _assert_complete(paths, paths.state_dir)
    assert not paths.location.exists()
    assert not (paths.root / "data/livelayer").exists()


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("former", [[], ["/var/lib/livelayer"]], ids=["complete", "not-tidied-up"])
def test_a_state_that_an_earlier_version_has_moved_is_found(paths: Paths, former: list[str]) -> None:
    at_data = paths.root / "data/livelayer"
    at_data.parent.mkdir()
    paths.state.rename(at_data)
    paths.state.mkdir()
    paths.location.write_text(json.dumps({"state_dir": DATA, "former": former}))
    links.repoint(statedir.locate(paths), paths)
    configure(paths, AT_DATA)
    assert [it.hint for it in _converge(paths).problems] == [f"run: livelayer move-state {DATA}"] * len(former)
    _move(paths, DATA)
    _assert_complete(paths, DATA)


@pytest.mark.usefixtures("filled")
@pytest.mark.commands
def test_the_last_good_configuration_is_found_while_the_present_one_is_broken(paths: Paths) -> None:
    configure(paths, AT_DATA)
    _move(paths, DATA)
    configure(paths, "settings: {state_dir: [")
    loaded = config.load(paths)
    assert (len(loaded.mistakes), loaded.desired.settings.state_dir) == (1, DATA)
    _converge(paths)
    assert statedir.locate(paths).state_dir == DATA


@pytest.mark.usefixtures("filled")
@pytest.mark.commands
def test_a_state_at_the_old_default_of_a_kairos_node_stays_until_it_is_moved(paths: Paths) -> None:
    (paths.root / "etc/kairos-release").touch()
    assert _converge(paths).in_sync
    _assert_complete(paths, paths.state_dir)
    _move(paths, KAIROS_STATE_DIR)
    _assert_complete(paths, KAIROS_STATE_DIR)
    assert not paths.state.exists()


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


@pytest.mark.usefixtures("filled")
@pytest.mark.commands
def test_a_move_that_fails_leaves_everything_as_it_was(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    from reconciler.host.base import command

    full = Finished(1, b"", "cp: error writing: No space left on device")
    monkeypatch.setattr(command, "run", lambda *_arguments, **_options: full)
    with pytest.raises(Failed, match="No space left on device"):
        statedir.move(paths, DATA)
    assert not (paths.root / "data/livelayer").exists()
    _assert_complete(paths, paths.state_dir)
    monkeypatch.undo()
    _move(paths, DATA)
    _assert_complete(paths, DATA)


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("directory", ["/var/lib/livelayer/inner", "/var/lib/livelayer/../livelayer/x"])
def test_the_state_does_not_move_into_itself(paths: Paths, directory: str) -> None:
    with pytest.raises(Invalid, match="the state cannot move there"):
        statedir.move(paths, directory)
    _assert_complete(paths, paths.state_dir)


@pytest.mark.usefixtures("filled")
@pytest.mark.commands
def test_the_way_back_is_closed_while_what_was_left_may_be_merged(paths: Paths) -> None:
    statedir.move(paths, DATA)
    with pytest.raises(Invalid, match=r"has not been moved from .* completely") as caught:
        statedir.move(paths, paths.state_dir)
    assert caught.value.hint == f"run: livelayer move-state {DATA}"


@pytest.mark.usefixtures("filled")
def test_the_state_does_not_move_onto_another(paths: Paths) -> None:
    there = paths.root / "data/livelayer/store"
    there.mkdir(parents=True)
    with pytest.raises(Invalid, match="/data/livelayer has a state already: store") as caught:
        statedir.move(paths, DATA)
    assert caught.value.hint == f"if a move that was interrupted has left that, run: rm -r {there}"
    assert there.is_dir()
    _assert_complete(paths, paths.state_dir)


def _follow_hints(paths: Paths, directory: str) -> None:
    try:
        _move(paths, directory)
    except Invalid as error:
        subprocess.run((error.hint or "").rpartition("run: ")[2].split(), check=True)
        _move(paths, directory)


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


@pytest.mark.usefixtures("filled")
@pytest.mark.commands
def test_interrupted_anywhere_the_same_command_ends_it(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every extension leads to content at every moment, and a run in between says what to do."""
    for after in range(1000):
        home = statedir.locate(paths).state_dir
        there = DATA if home == paths.state_dir else paths.state_dir
        interruption = Interruption(after)
        with monkeypatch.context() as patch:
            for name in ("replace", "symlink_to", "unlink"):
                patch.setattr(Path, name, interruption.before(getattr(Path, name)))
            patch.setattr(statedir, "_run_cp", interruption.before(statedir._run_cp))  # noqa: SLF001
            patch.setattr(durable, "sync_directory", interruption.before(durable.sync_directory))
            try:
                _move(paths, there)
            except Terminated:
                assert all(path.is_dir() for path in paths.links(Kind.SYSEXT).iterdir()), after
            else:
                break
        record = json.loads(paths.location.read_text()) if paths.location.exists() else {}
        if record.get("former") and statedir.locate(paths).state_dir == there:
            hints = [it.hint for it in look(paths, Options(offline=True)).problems]
            assert f"run: livelayer move-state {there}" in hints, after
        _follow_hints(paths, there)
        _assert_complete(paths, there)
    assert after > 10


@pytest.mark.usefixtures("filled")
@pytest.mark.commands
def test_what_a_merge_still_shows_is_not_removed(paths: Paths) -> None:
    at_data = statedir.move(paths, DATA)
    moved = paths.location.stat().st_mtime_ns
    before = {Kind.SYSEXT: Merged(frozenset({"one"}), moved - 1), Kind.CONFEXT: Merged()}
    assert statedir.remove_former(at_data, before) == (paths.state_dir,)
    assert paths.store.is_dir()
    after = {Kind.SYSEXT: Merged(frozenset({"one"}), moved + 1), Kind.CONFEXT: Merged()}
    assert statedir.remove_former(at_data, after) == ()
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


@pytest.mark.usefixtures("filled")
@pytest.mark.commands
@pytest.mark.parametrize("text", ["", "{", "[]"])
def test_where_the_record_is_damaged_the_links_tell(paths: Paths, text: str) -> None:
    _move(paths, DATA)
    paths.location.write_text(text)
    _assert_complete(paths, DATA)
    assert _converge(paths).in_sync
    assert json.loads(paths.location.read_text())["state_dir"] == DATA
