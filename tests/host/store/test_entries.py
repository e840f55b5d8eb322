"""The store: complete or absent, and looked into without following links."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import pytest

from reconciler.errors import Terminated
from reconciler.host.store import entries as store
from reconciler.model.content.format import Format
from reconciler.model.fit.contents import Contents
from reconciler.model.kind import Kind
from reconciler.model.state.entry import Entry

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.paths import Paths

A = Entry("sha256:" + "a" * 64)


def _tree(tree: Path, **files: str) -> Path:
    for name, content in {"usr/lib/extension-release.d/extension-release.ipfs": "ID=_any\n", **files}.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return tree


def test_an_entry_appears_complete(paths: Paths) -> None:
    with store.stage(paths) as stage:
        tree = _tree(stage / "tree")
        assert store.read_contents(paths, [A]) == {}
        store.commit(paths, tree, A)
    assert store.read_contents(paths, [A, A]) == {A: Contents({"ipfs": {"ID": "_any"}})}
    assert list(paths.staging.iterdir()) == []


def test_an_entry_that_is_there_already_is_as_good(paths: Paths) -> None:
    for content in ("first", "second"):
        with store.stage(paths) as stage:
            store.commit(paths, _tree(stage / "tree", **{"usr/bin/x": content}), A)
    assert (paths.store / A.file_name / "usr/bin/x").read_text() == "first"


@pytest.mark.parametrize("what", ["a file", "a link to nowhere"])
def test_what_is_no_entry_gives_way(paths: Paths, what: str) -> None:
    place = paths.store / A.file_name
    paths.store.mkdir(parents=True)
    place.write_text("x") if what == "a file" else place.symlink_to("nowhere")
    with store.stage(paths) as stage:
        store.commit(paths, _tree(stage / "tree"), A)
    assert store.read_contents(paths, [A])[A].releases == {"ipfs": {"ID": "_any"}}


@pytest.mark.parametrize("what", ["an image without a record", "a directory"])
def test_what_is_no_image_gives_way(paths: Paths, what: str) -> None:
    image = Entry(A.digest, format=Format.SQUASHFS)
    place = paths.store / image.file_name
    (place / "x" if what == "a directory" else paths.store).mkdir(parents=True)
    if what != "a directory":
        place.write_text("half")
    with store.stage(paths) as stage:
        (stage / "packed").write_text("whole")
        store.commit(paths, stage / "packed", image, Contents({"ipfs": {"ID": "_any"}}))
    assert place.read_text() == "whole"
    assert list(paths.staging.iterdir()) == []


def _interrupt(_tree: Path) -> NoReturn:
    raise Terminated


def test_staging_vanishes_when_its_run_fails(paths: Paths) -> None:
    with pytest.raises(Terminated), store.stage(paths) as stage:
        _interrupt(_tree(stage / "tree"))
    assert list(paths.staging.iterdir()) == []
    assert paths.staging.stat().st_mode & 0o777 == 0o700


def test_what_a_killed_run_left_is_cleaned(paths: Paths, tmp_path: Path) -> None:
    store.prepare(paths)
    (tmp_path / "precious").mkdir()
    _tree(paths.staging / "fetch-x/tree")
    (paths.staging / "link-1").symlink_to("nowhere")
    (paths.staging / "link-2").symlink_to(tmp_path / "precious")
    store.prepare(paths)
    assert list(paths.staging.iterdir()) == []
    assert (tmp_path / "precious").is_dir()


def test_a_record_of_an_image_with_the_former_name_of_a_field_is_read(paths: Paths) -> None:
    image = Entry(A.digest, format=Format.SQUASHFS)
    contents = Contents({"ipfs": {"ID": "_any"}}, misplaced=("etc",))
    with store.stage(paths) as stage:
        (stage / "packed").write_text("whole")
        store.commit(paths, stage / "packed", image, contents)
    record = paths.store / f"{image.file_name}.json"
    record.write_text(record.read_text().replace("misplaced", "strays"))
    assert store.read_contents(paths, [image]) == {image: contents}


@pytest.mark.parametrize(
    ("files", "misplaced"),
    [
        ({"etc/x": ""}, ("etc",)),
        ({"file": ""}, ("file",)),
        ({"opt/x": "", "var/lib/x": "", "srv/x": ""}, ("srv", "var")),
        ({"opt/x": ""}, ()),
    ],
)
def test_misplaced_is_what_lies_outside_usr_and_opt(
    tmp_path: Path, files: dict[str, str], misplaced: tuple[str]
) -> None:
    assert store.inspect(_tree(tmp_path, **files), Kind.SYSEXT).misplaced == misplaced


def test_empty_top_directories_are_in_place_but_links_are_not(tmp_path: Path) -> None:
    _tree(tmp_path)
    (tmp_path / "proc").mkdir()
    assert store.inspect(tmp_path, Kind.SYSEXT).misplaced == ()
    (tmp_path / "opt").symlink_to("/opt")
    assert store.inspect(tmp_path, Kind.SYSEXT).misplaced == ("opt",)


def test_a_forbidden_os_release_is_seen_even_as_a_dangling_link(tmp_path: Path) -> None:
    assert not store.inspect(_tree(tmp_path), Kind.SYSEXT).has_os_release
    (tmp_path / "usr/lib/os-release").symlink_to("nowhere")
    assert store.inspect(tmp_path, Kind.SYSEXT).has_os_release


def test_release_files_are_not_read_through_links(tmp_path: Path) -> None:
    outside = _tree(tmp_path / "outside")
    tree = tmp_path / "tree"
    (tree / "usr/lib").mkdir(parents=True)
    (tree / "usr/lib/extension-release.d").symlink_to(outside / "usr/lib/extension-release.d")
    assert store.inspect(tree, Kind.SYSEXT).releases == {}
    (tree / "usr/lib/extension-release.d").unlink()
    (tree / "usr/lib/extension-release.d").mkdir()
    (tree / "usr/lib/extension-release.d/extension-release.x").symlink_to("/etc/os-release")
    assert store.inspect(tree, Kind.SYSEXT).releases == {}


def test_units_are_listed(tmp_path: Path) -> None:
    tree = _tree(tmp_path, **{"usr/lib/systemd/system/a.service": "", "usr/lib/systemd/system/b.target.d/x.conf": ""})
    assert store.inspect(tree, Kind.SYSEXT).units == ("a.service", "b.target.d")


def test_a_sole_release_file_is_given_another_name(tmp_path: Path) -> None:
    tree = _tree(tmp_path)
    store.give_release_name(tree, Kind.SYSEXT, "kubo")
    store.give_release_name(tree, Kind.SYSEXT, "kubo")
    assert set(store.inspect(tree, Kind.SYSEXT).releases) == {"ipfs", "kubo"}
    store.give_release_name(tree, Kind.SYSEXT, "third")
    assert set(store.inspect(tree, Kind.SYSEXT).releases) == {"ipfs", "kubo"}
