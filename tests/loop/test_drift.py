"""Content that is changed behind livelayer's back, on miniature nodes: found, told, made anew, offline too."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from reconciler.errors import Terminated
from reconciler.host.merge import links
from reconciler.host.store import entries as store
from reconciler.host.store import manifests, seals
from reconciler.loop import drift
from reconciler.loop.reconcile import Result, look, status
from reconciler.loop.session import Options
from reconciler.model.fit.release import Host
from reconciler.model.kind import ExtensionId, Kind
from reconciler.model.plan.action import Fetch, Place
from reconciler.model.plan.status import State
from reconciler.model.state.observed import Merged, ObservedState
from reconciler.query.verification import verify
from tests.commandline import run
from tests.rig import diskimages
from tests.rig.images import command, write_image
from tests.seed import configure, converge, fill_store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from reconciler.model.state.contentmanifest import Manifest
    from reconciler.model.state.entry import Entry
    from reconciler.paths import Paths

NAME = ExtensionId("x")


def _placed(paths: Paths) -> Path:
    return paths.links(Kind.SYSEXT) / os.readlink(paths.links(Kind.SYSEXT) / "x")


def _actions(result: Result) -> list[str]:
    return [type(outcome.action).__name__ for outcome in result.outcomes]


@pytest.fixture
def tree(paths: Paths) -> Path:
    """A node with a directory as source, placed."""
    source = paths.root / "srv/x"
    (source / "usr/lib/extension-release.d").mkdir(parents=True)
    (source / "usr/lib/extension-release.d/extension-release.x").write_text("ID=_any\n")
    (source / "usr/bin").mkdir()
    (source / "usr/bin/x").write_text("x")
    configure(paths, "extensions: {x: {source: 'file:///srv/x'}}")
    assert converge(paths).in_sync
    return _placed(paths)


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "content": (lambda tree: (tree / "usr/bin/x").write_text("y"), "/usr/bin/x has another content"),
    "gone": (lambda tree: (tree / "usr/bin/x").unlink(), "/usr/bin/x is gone"),
    "added": (lambda tree: (tree / "usr/bin/y").write_text("y"), "/usr/bin/y was added"),
    "mode": (lambda tree: (tree / "usr/bin/x").chmod(0o4755), "/usr/bin/x has the mode 4755, not 0644"),
    "release file": (
        lambda tree: shutil.rmtree(tree / "usr/lib"),
        "/usr/lib is gone",
    ),
    "link in place of a directory": (
        lambda tree: _link_elsewhere(tree / "usr/bin"),
        "/usr/bin is a symbolic link, not a directory, /usr/bin/x is gone",
    ),
}


def _link_elsewhere(directory: Path) -> None:
    shutil.rmtree(directory)
    directory.symlink_to("/etc")


@pytest.mark.commands
@pytest.mark.parametrize("what", CHANGES)
def test_a_change_is_found_told_and_made_good(paths: Paths, tree: Path, what: str) -> None:
    change, told = CHANGES[what]
    before = links.read_links(paths, 252).links[NAME].changed
    change(tree)
    (found,) = status(paths, Options()).statuses
    assert (found.state, found.reason) == (State.DRIFTED, f"its content was changed: {told}")
    assert [type(action) for action in look(paths, Options()).view.plan.actions] == [Fetch, Place]
    result = converge(paths, offline=True)
    assert (result.in_sync, _actions(result)) == (True, ["Fetch", "Place"])
    assert (tree / "usr/bin/x").read_text() == "x"
    assert (tree / "usr/bin/x").stat().st_mode & 0o7777 == 0o644
    assert sorted(os.listdir(tree / "usr/bin")) == ["x"]
    assert links.read_links(paths, 252).links[NAME].changed > before
    assert (_actions(converge(paths)), os.listdir(paths.staging), paths.replaced.exists()) == ([], [], False)
    assert verify(paths, frozenset())[0].is_intact


@pytest.mark.commands
def test_a_touch_is_looked_into_once_and_is_no_change(
    paths: Paths, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[int] = []
    real = manifests.differences

    def count(paths: Paths, entries: dict[Entry, Manifest], since: dict[Entry, int]) -> object:
        compared.append(len(entries))
        return real(paths, entries, since)

    monkeypatch.setattr(manifests, "differences", count)
    (tree.parent / "twin").hardlink_to(tree / "usr/bin/x")
    os.utime(tree / "usr/bin/x", (1, 1))
    while seals.now() <= (tree / "usr/bin/x").stat().st_ctime_ns:  # or its time would still be that of the next look
        pass
    assert status(paths, Options()).in_sync
    assert (_actions(converge(paths)), compared) == ([], [1, 1])
    assert (_actions(converge(paths)), compared) == ([], [1, 1])


@pytest.mark.commands
def test_what_leaves_no_trace_is_found_by_verify_and_made_good_by_the_next_run(
    paths: Paths, tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (entry,) = (link.entry for link in links.read_links(paths, 252).links.values())
    (tree / "usr/bin/x").write_text("y")
    seals.reseal(paths, entry, seals.now())
    while seals.now() <= (tree / "usr/bin/x").lstat().st_ctime_ns:  # inodes may get a finer time than this clock has
        pass
    seals.reseal(paths, entry, seals.now())
    assert _actions(converge(paths)) == []
    assert _run(paths, "verify", capsys) == (2, "x: /usr/bin/x has another content\n")
    assert status(paths, Options()).statuses[0].reason == "its content was changed: /usr/bin/x has another content"
    assert _actions(converge(paths)) == ["Fetch", "Place"]
    assert _run(paths, "verify", capsys) == (0, "x: ok (2 files, 9)\n")


def _run(paths: Paths, verb: str, capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, str]:
    capsys.readouterr()
    return run("--root", paths.root, verb, *more), capsys.readouterr().out


@pytest.mark.commands
def test_verify_tells_programs_all_of_it(paths: Paths, tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in "abcde":
        (tree / "usr/bin" / name).touch()
    assert _run(paths, "verify", capsys) == (
        2,
        "x: /usr/bin/a was added, /usr/bin/b was added, /usr/bin/c was added and 2 more\n",
    )
    found, told = _run(paths, "verify", capsys, "-v", "x")
    assert (found, told.splitlines()) == (2, [f"x: /usr/bin/{name} was added" for name in "abcde"])
    found, told = _run(paths, "verify", capsys, "--json")
    document = json.loads(told)
    assert (found, document["intact"]) == (2, False)
    (extension,) = document["extensions"]
    assert extension["differences"][0] == {"path": "/usr/bin/a", "what": "was added"}
    assert (extension["intact"], extension["files"], extension["bytes"]) == (False, 2, 9)
    assert run("--root", paths.root, "verify", "y") == 1
    assert "y: no such extension is placed" in capsys.readouterr().err


def test_without_a_manifest_nothing_is_claimed_and_the_next_run_makes_one(
    paths: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run that was killed, an older livelayer, a damaged record."""
    source = "docker://registry/x:v1"
    configure(paths, f"extensions: {{x: {{source: '{source}'}}}}")
    entry = fill_store(paths, source, "x", "a")
    assert converge(paths).in_sync
    record = seals.path_of(paths, entry)
    for damage in (record.unlink, lambda: record.write_bytes(b"")):
        damage()
        assert _run(paths, "verify", capsys)[0] == 1
        assert json.loads(_run(paths, "verify", capsys, "--json")[1])["extensions"][0]["intact"] is None
        assert _actions(converge(paths)) == []
        assert _run(paths, "verify", capsys) == (0, "x: ok (1 file, 8)\n")
    shutil.rmtree(paths.store / entry.file_name)
    assert _run(paths, "verify", capsys) == (2, "x: / is not where its link leads\n")


def test_a_clock_that_was_ahead_when_it_was_sealed_hides_nothing(paths: Paths) -> None:
    source = "docker://registry/x:v1"
    configure(paths, f"extensions: {{x: {{source: '{source}'}}}}")
    entry = fill_store(paths, source, "x", "a")
    converge(paths)
    seals.reseal(paths, entry, seals.now() + 10**18)
    assert _actions(converge(paths)) == []
    assert (seals.sealed(paths, entry) or 0) <= seals.now()
    seals.reseal(paths, entry, seals.now() + 10**18)
    next((paths.store / entry.file_name).rglob("extension-release.x")).write_text("ID=evil\n")
    assert status(paths, Options()).statuses[0].state is State.DRIFTED


@pytest.mark.commands
def test_a_source_that_is_another_one_by_now_heals_nothing_and_takes_nothing_away(paths: Paths, tree: Path) -> None:
    (paths.root / "srv/x/usr/bin/x").write_text("newer")
    (tree / "usr/bin/y").touch()
    result = converge(paths)
    (told,) = result.statuses
    assert told.state is State.FAILED
    assert told.reason
    assert "/srv/x is not what was placed any more" in told.reason
    assert (tree / "usr/bin/y").exists()
    assert _placed(paths) == tree


# The blobs of these are kept under the manifest that they have at their source, and under another one.
SOURCES = {"oci": "oci:{0}/layout:v1", "docker-archive": "docker-archive:{0}/archive.tar"}


@pytest.fixture(params=SOURCES)
def image(request: pytest.FixtureRequest, paths: Paths, tmp_path: Path) -> Path:
    """A node with an image of two layers, whose source is gone since it was placed."""
    write_image(tmp_path / "layout", "v1", command("x", "x"), command("y", "y"))
    archive = f"docker-archive:{tmp_path}/archive.tar:x:v1"
    subprocess.run(["skopeo", "copy", "--quiet", f"oci:{tmp_path}/layout:v1", archive], check=True)
    configure(paths, f"extensions: {{x: {{source: '{SOURCES[request.param].format(tmp_path)}'}}}}")
    assert converge(paths).in_sync
    shutil.rmtree(tmp_path / "layout")
    (tmp_path / "archive.tar").unlink()
    return _placed(paths)


@pytest.mark.commands
def test_an_image_is_made_anew_from_the_blobs_that_are_here(paths: Paths, image: Path) -> None:
    (image / "usr/bin/x").write_text("#!/bin/sh\nevil\n")
    assert converge(paths).in_sync
    assert (image / "usr/bin/x").read_text().endswith("echo 'x'\n")


@pytest.mark.commands
@pytest.mark.parametrize("loss", ["damaged", "missing"])
@pytest.mark.parametrize("image", ["oci"], indirect=True)
def test_blobs_that_are_damaged_or_gone_heal_nothing_and_take_nothing_away(
    paths: Paths, image: Path, loss: str
) -> None:
    for blob in (paths.blobs / "sha256").iterdir():
        blob.write_bytes(b"damaged") if loss == "damaged" else blob.unlink()
    (image / "usr/bin/x").write_text("#!/bin/sh\nevil\n")
    result = converge(paths)
    assert result.statuses[0].state is State.FAILED
    assert "layout" in result.problems[0].sentence
    assert (image / "usr/bin/x").read_text().endswith("evil\n")


@pytest.mark.parametrize("source", ["docker://registry/x:v1", "https://registry/x.tar"])
def test_a_run_without_network_asks_for_nothing_that_is_gone(paths: Paths, source: str) -> None:
    pin = f", digest: 'sha256:{'a' * 64}', format: directory" if source.startswith("https") else ""
    configure(paths, f"extensions: {{x: {{source: '{source}'{pin}}}}}")
    entry = fill_store(paths, source, "x", "a")
    assert converge(paths, offline=True).in_sync
    (paths.store / entry.file_name / "usr/new").touch()
    result = converge(paths, offline=True)
    assert result.statuses[0].state is State.FAILED
    assert "not on this node any more, and this run uses no network" in result.problems[0].sentence
    assert (paths.store / entry.file_name / "usr/new").exists()


@pytest.mark.commands
def test_an_image_file_that_was_made_here_is_made_anew(paths: Paths, tmp_path: Path) -> None:
    write_image(tmp_path / "layout", "v1", command("x", "x"))
    configure(paths, f"extensions: {{x: {{source: 'oci:{tmp_path}/layout:v1', format: squashfs}}}}")
    assert converge(paths).in_sync
    shutil.rmtree(tmp_path / "layout")
    file = paths.links(Kind.SYSEXT) / os.readlink(paths.links(Kind.SYSEXT) / "x.raw")
    with file.open("r+b") as opened:
        opened.seek(100)
        opened.write(b"damage")
    (told,) = status(paths, Options()).statuses
    assert told.reason == "its content was changed: the image file has another content"
    assert converge(paths).in_sync
    assert verify(paths, frozenset())[0].is_intact
    assert not paths.replaced.exists()


@pytest.mark.commands
def test_an_image_file_that_is_gone_is_made_once_though_its_source_has_other_times(paths: Paths) -> None:
    """A directory's digest has no times, an image file made of it has: it is not what was there before."""
    tree = diskimages.extension_tree(paths.root / "srv/x", "x")
    configure(paths, "extensions: {x: {source: 'file:///srv/x', format: squashfs}}")
    assert converge(paths).in_sync
    file = paths.links(Kind.SYSEXT) / os.readlink(paths.links(Kind.SYSEXT) / "x.raw")
    before = file.read_bytes()
    file.unlink()
    for path in tree.rglob("*"):
        os.utime(path, (1, 1))
    assert converge(paths).in_sync
    assert file.read_bytes() != before
    result = converge(paths)
    assert (result.in_sync, result.outcomes) == (True, ())
    assert verify(paths, frozenset())[0].is_intact


@pytest.mark.commands
def test_an_image_file_from_a_file_is_made_anew(paths: Paths, tmp_path: Path) -> None:
    (paths.root / "srv").mkdir()
    diskimages.squashfs(diskimages.extension_tree(tmp_path / "tree", "x"), paths.root / "srv/x.raw")
    configure(paths, "extensions: {x: {source: 'file:///srv/x.raw', format: raw}}")
    assert converge(paths).in_sync
    file = paths.links(Kind.SYSEXT) / os.readlink(paths.links(Kind.SYSEXT) / "x.raw")
    file.write_bytes(b"")
    assert converge(paths).in_sync
    assert file.read_bytes() == (paths.root / "srv/x.raw").read_bytes()


STEPS = [(store, "_exchange"), (seals, "forget"), (links, "place"), (manifests, "make")]


@pytest.mark.commands
@pytest.mark.parametrize("step", STEPS, ids=lambda step: step[1])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_run_that_is_killed_while_it_heals_is_made_good_by_the_next_one(
    paths: Paths, tree: Path, monkeypatch: pytest.MonkeyPatch, step: tuple[object, str], *, after: bool
) -> None:
    (tree / "usr/bin/x").write_text("y")
    real = getattr(*step)

    def kill(*arguments: object) -> None:
        if after:
            real(*arguments)
        raise Terminated("test")

    with monkeypatch.context() as patched:
        patched.setattr(*step, kill)
        with pytest.raises(Terminated):
            converge(paths)
    assert converge(paths).in_sync
    assert (tree / "usr/bin/x").read_text() == "x"
    assert _actions(converge(paths)) == []
    assert verify(paths, frozenset())[0].is_intact
    assert (os.listdir(paths.staging), paths.replaced.exists()) == ([], False)


def test_a_replaced_tree_stays_while_an_older_overlay_shows_it(paths: Paths) -> None:
    tree, other = paths.replaced / "sysext-1", paths.replaced / "confext-1"
    tree.mkdir(parents=True)
    other.mkdir()
    host = Host({"ID": "debian"}, "x86_64", 252)
    replaced = tree.lstat().st_ctime_ns
    drift.settle(paths, ObservedState(host, merged={Kind.SYSEXT: Merged(frozenset({"x"}), replaced - 1)}))
    assert os.listdir(paths.replaced) == ["sysext-1"]
    store.prepare(paths)
    assert tree.exists()
    drift.settle(paths, ObservedState(host, merged={Kind.SYSEXT: Merged(frozenset({"x"}), replaced + 1)}))
    assert not paths.replaced.exists()


def test_records_that_cannot_be_written_do_not_fail_a_run(paths: Paths, caplog: pytest.LogCaptureFixture) -> None:
    source = "docker://registry/x:v1"
    configure(paths, f"extensions: {{x: {{source: '{source}'}}}}")
    fill_store(paths, source, "x", "a")
    paths.manifests.write_text("a file where the directory should be")
    assert converge(paths).in_sync
    assert "what is changed by hand may not be found" in caplog.text
