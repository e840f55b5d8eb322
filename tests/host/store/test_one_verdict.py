"""An extension is judged alike in all forms: as a directory, an image file, layers, or what `inspect` lists."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import pytest

from reconciler.errors import Invalid
from reconciler.host.images.facts import Listing
from reconciler.host.images.inspect import inspect_image
from reconciler.host.store import entries as store
from reconciler.model.content.format import Payload
from reconciler.model.facts.extensionfacts import ExtensionFacts, Origin
from reconciler.model.fit.contents import Contents
from reconciler.model.fit.filetree import STRICT
from reconciler.model.kind import Kind
from reconciler.model.state.entry import Entry
from reconciler.paths import Paths
from tests.host import tars
from tests.host.layers.unpacking import needs_root
from tests.host.store.packing import Packing
from tests.rig.diskimages import MAKERS, RELEASES, make_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

pytestmark = [needs_root, pytest.mark.commands]

RELEASE: Final = f"{RELEASES}/extension-release.x"
LIMIT: Final = 64 << 10
TOO_LARGE: Final = f"the image's release file {RELEASE} has more than 64 KiB"


def _directory(tree: Path, kind: Kind, _: Path) -> Contents:
    return store.inspect(tree, kind)


def _listed(tree: Path, kind: Kind, _: Path) -> Contents:
    listing = Listing()
    listing.walk(tree)
    return ExtensionFacts(Origin("x", Payload.TREE), kind, listing.files()).contents


def _image(form: str) -> Callable[[Path, Kind, Path], Contents]:
    return lambda tree, kind, scratch: inspect_image(MAKERS[form](tree, scratch / form), kind, scratch)


def _layers(tree: Path, _: Kind, scratch: Path) -> Contents:
    members = [_member(path, tree) for path in sorted(tree.rglob("*"))]
    packing = Packing(scratch)
    return packing.pack(packing.stack(members))


def _member(path: Path, tree: Path) -> tars.Entry:
    name = str(path.relative_to(tree))
    if path.is_symlink():
        return tars.symlink(name, str(path.readlink()))
    pax = {f"SCHILY.xattr.{it}": os.getxattr(path, it).decode() for it in os.listxattr(path)}
    return tars.directory(name) if path.is_dir() else tars.file(name, path.read_bytes(), pax=pax)


def _tree(tree: Path, _: Kind, scratch: Path) -> Contents:
    return Packing(scratch).pack_tree(tree)


FORMS: Final[Mapping[str, Callable[[Path, Kind, Path], Contents]]] = {
    "directory": _directory,
    "listed": _listed,
    "layers": _layers,
    "tree": _tree,
    **{form: _image(form) for form in MAKERS},
}
HERE: Final = {"usr/bin/x": ""}
CASES: Final[Mapping[str, tuple[dict[str, str | None], Contents | str]]] = {
    "a release file as large as it may be": ({RELEASE: "#" * LIMIT}, Contents({"x": {}})),
    "one of a byte more": ({RELEASE: "#" * (LIMIT + 1)}, TOO_LARGE),
    "one of 70 KB": ({RELEASE: "ID=_any\n" + "#" * 70_000}, TOO_LARGE),
    "usr/lib of this host": ({**HERE, "usr/lib": "-> /usr/lib"}, Contents({})),
    "usr of this host": ({"usr": "-> /usr"}, Contents({}, misplaced=("usr",), links=("usr",))),
    "a directory of release files elsewhere": ({**HERE, RELEASES: "-> /etc"}, Contents({})),
    "a link upwards": ({**HERE, "usr/lib": "-> ../../../../../../../usr/lib"}, Contents({})),
    "units of this host": ({RELEASE: "", "usr/lib/systemd": "-> /usr/lib/systemd"}, Contents({"x": {}})),
    "a release file that is a link": ({RELEASE: "-> /etc/os-release"}, Contents({})),
    "an os-release that is a link": ({RELEASE: "", "usr/lib/os-release": "-> x"}, Contents({"x": {}}, (), True)),  # noqa: FBT003
}


@pytest.mark.by_lot(30)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", CASES)
def test_a_verdict_does_not_depend_on_the_form(case: str, form: str, tmp_path: Path) -> None:
    files, expected = CASES[case]
    tree, scratch = make_tree(tmp_path / "tree", files), tmp_path / "scratch"
    scratch.mkdir()
    try:
        found: Contents | str = replace(FORMS[form](tree, Kind.SYSEXT, scratch), image=None)
    except Invalid as error:
        found = error.message
    assert found == expected


@pytest.mark.by_lot(12)
@pytest.mark.parametrize(("value", "lax"), [(b"false", ("y",)), (b"0", ("y",)), (b"true", ()), (b"", ())])
@pytest.mark.parametrize("form", FORMS)
def test_a_release_file_may_be_for_any_name(form: str, value: bytes, lax: tuple[str, ...], tmp_path: Path) -> None:
    tree, scratch = make_tree(tmp_path / "tree", {f"{RELEASE}": "", f"{RELEASES}/extension-release.y": ""}), tmp_path
    os.setxattr(tree / RELEASES / "extension-release.y", STRICT, value)
    assert FORMS[form](tree, Kind.SYSEXT, scratch).lax == lax


@pytest.mark.parametrize("form", sorted(FORMS.keys() - {"layers", "tree"}))
def test_nothing_of_this_hosts_etc_is_looked_at_for_a_configuration_extension(form: str, tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "tree", {"etc/x": "", "etc/systemd": "-> /etc/systemd"})
    (tree / "etc/extension-release.d").symlink_to("/usr/lib/extension-release.d")
    assert replace(FORMS[form](tree, Kind.CONFEXT, tmp_path), image=None) == Contents({})


@pytest.mark.parametrize("form", ["directory", "listed"])
def test_a_release_file_that_is_one_hole_takes_no_memory(form: str, tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "tree", {RELEASE: ""})
    os.truncate(tree / RELEASE, 12 << 30)
    with pytest.raises(Invalid, match="more than 64 KiB"):
        FORMS[form](tree, Kind.SYSEXT, tmp_path)


@pytest.mark.parametrize("form", FORMS)
def test_bytes_are_counted_not_what_they_are_shown_as(form: str, tmp_path: Path) -> None:
    tree, scratch = make_tree(tmp_path / "tree", {RELEASE: ""}), tmp_path / "scratch"
    scratch.mkdir()
    (tree / RELEASE).write_bytes(b"ID=_any\n#" + b"\xff" * 40_000)
    assert FORMS[form](tree, Kind.SYSEXT, scratch).releases == {"x": {"ID": "_any"}}


def test_what_nobody_would_judge_does_not_come_into_the_store(tmp_path: Path) -> None:
    paths, entry = Paths(tmp_path / "node"), Entry("sha256:" + "a" * 64)
    with store.stage(paths) as stage:
        tree = make_tree(stage / "tree", {RELEASE: "#" * 70_000})
        with pytest.raises(Invalid, match="more than 64 KiB"):
            store.commit(paths, tree, entry)
    assert not store.has(paths, entry)


def test_what_came_into_the_store_before_that_rule_is_to_be_made_anew(tmp_path: Path) -> None:
    paths, entry = Paths(tmp_path), Entry("sha256:" + "a" * 64)
    make_tree(paths.store / entry.file_name, {RELEASE: "#" * 70_000})
    assert store.read_contents(paths, [entry]) == {}
