"""Masks in the search directories of a miniature node, and the records that tell them from others' directories."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reconciler.errors import Failed
from reconciler.host.merge import masks
from reconciler.host.merge.links import read_links
from reconciler.model.kind import ExtensionId, Kind
from reconciler.model.state.observed import Masked, Unmanaged

if TYPE_CHECKING:
    from reconciler.paths import Paths

IDENT = ExtensionId("byhand")
SYSTEMD = 252


def _mask(path: Path) -> Masked:
    return Masked(IDENT, path, Path("/var/lib/extensions/byhand.raw"), "empty")


def _placed(paths: Paths, directory: str, name: str = "bad") -> Unmanaged:
    (paths.under(directory) / name).mkdir(parents=True)
    return next(it for it in read_links(paths, SYSTEMD).unmanaged if it.path == paths.under(directory) / name)


def test_a_mask_for_one_of_several_versions_has_the_name_of_the_extension(paths: Paths) -> None:
    bad = paths.under("/var/lib/extensions/bad.raw.v/bad_1.raw")
    bad.parent.mkdir(parents=True)
    bad.touch()
    (item,) = read_links(paths, 257).unmanaged
    assert masks.place_for(paths, item, 257) == paths.under("/run/extensions/bad")


@pytest.mark.parametrize(
    ("kind", "directory", "systemd", "expected"),
    [
        (Kind.SYSEXT, "/var/lib/extensions", 257, "/run/extensions"),
        (Kind.SYSEXT, "/usr/lib/extensions", 252, "/run/extensions"),
        (Kind.SYSEXT, "/usr/lib/extensions", 257, None),
        (Kind.SYSEXT, "/run/extensions", 257, "/etc/extensions"),
        (Kind.SYSEXT, "/etc/extensions", 257, None),
        (Kind.CONFEXT, "/var/lib/confexts", 257, "/run/confexts"),
        (Kind.CONFEXT, "/run/confexts", 257, None),
    ],
)
def test_where_a_mask_goes(paths: Paths, kind: Kind, directory: str, systemd: int, expected: str | None) -> None:
    item = Unmanaged("x", paths.under(directory) / "x.raw", kind=kind)
    place = masks.place_for(paths, item, systemd)
    assert place == (paths.under(expected) / "x" if expected else None)


def test_no_mask_goes_where_something_is(paths: Paths) -> None:
    paths.under("/run/extensions").mkdir()
    paths.under("/run/extensions/x").touch()
    assert masks.place_for(paths, Unmanaged("x", paths.links(Kind.SYSEXT) / "x.raw"), 257) is None


@pytest.mark.parametrize("top", ["run", "etc"])
def test_a_mask_is_recorded_for_as_long_as_it_lasts_and_taken_back(paths: Paths, top: str) -> None:
    path = paths.under(f"/{top}/extensions/byhand")
    masks.mask(paths, _mask(path))
    assert path.is_dir()
    (made,) = masks.read_masks(paths)
    assert (made.ident, made.path, made.reason) == (IDENT, path, "empty")
    assert (paths.masks.exists(), paths.lasting_masks.exists()) == (top == "run", top == "etc")
    masks.unmask(paths, _mask(path))
    assert not path.exists()
    assert masks.read_masks(paths) == ()


def test_what_others_made_is_no_mask(paths: Paths) -> None:
    others, filled, gone = (paths.under(f"/run/extensions/{name}") for name in ("others", "filled", "gone"))
    others.mkdir(parents=True)
    for path in (filled, gone):
        masks.mask(paths, _mask(path))
    (filled / "usr").mkdir()
    gone.rmdir()
    assert masks.read_masks(paths) == ()
    masks.unmask(paths, _mask(filled))
    assert (filled / "usr").is_dir()
    masks.unmask(paths, _mask(gone))


@pytest.mark.parametrize("damaged", ["", "{}", '[["x"]]', '[["x", "nokind", "/a", "/b", "c"]]', "[1, null]"])
def test_a_damaged_record_says_nothing(paths: Paths, damaged: str) -> None:
    paths.runtime.mkdir(parents=True)
    paths.masks.write_text(damaged)
    assert masks.read_masks(paths) == ()
    masks.unhide(paths)
    path = paths.under("/run/extensions/byhand")
    masks.mask(paths, _mask(path))
    assert [it.path for it in masks.read_masks(paths)] == [path]


def test_what_appeared_meanwhile_stays_and_is_told(paths: Paths) -> None:
    path = paths.under("/run/extensions/byhand")
    (path / "usr").mkdir(parents=True)
    with pytest.raises(Failed, match=r"byhand.raw: cannot be masked by .*: File exists"):
        masks.mask(paths, _mask(path))
    assert (path / "usr").is_dir()
    assert masks.read_masks(paths) == ()


@pytest.mark.parametrize(("directory", "place"), [("/var/lib", "/run"), ("/run", "/etc")])
def test_what_is_hidden_for_a_refresh_leaves_nothing(paths: Paths, directory: str, place: str) -> None:
    extension = _placed(paths, f"{directory}/extensions")
    mask = paths.under(f"{place}/extensions/bad")
    with masks.hidden(paths, SYSTEMD, [extension]):
        assert mask.is_dir()
        assert read_links(paths, SYSTEMD).unmanaged[0].path == mask
        assert masks.read_masks(paths) == (), "a run that looks meanwhile must not take it for one that stays"
    assert not mask.exists()
    assert extension.path.is_dir()


def test_a_mask_of_others_and_what_was_put_into_ours_stay(paths: Paths) -> None:
    extensions = [_placed(paths, "/var/lib/extensions", name) for name in ("masked", "bad")]
    theirs = paths.under("/run/extensions/masked")
    theirs.mkdir(parents=True)
    with masks.hidden(paths, SYSTEMD, extensions):
        (paths.under("/run/extensions/bad") / "file").touch()
    assert theirs.is_dir()
    assert paths.under("/run/extensions/bad/file").exists()


def test_what_lasts_outlives_a_refresh(paths: Paths) -> None:
    """Both are in one record."""
    path = paths.under("/run/extensions/byhand")
    masks.mask(paths, _mask(path))
    with masks.hidden(paths, SYSTEMD, [_placed(paths, "/var/lib/extensions")]):
        assert len(json.loads(paths.masks.read_bytes())) == 2
    assert path.is_dir()
    assert [it.path for it in masks.read_masks(paths)] == [path]


@pytest.mark.parametrize(("directory", "place"), [("/var/lib", "/run"), ("/run", "/etc")])
def test_what_a_killed_run_left_is_taken_away(paths: Paths, directory: str, place: str) -> None:
    """Where the mask outlives a power cut, so does its record."""
    extension = _placed(paths, f"{directory}/extensions")
    mask, record = paths.under(f"{place}/extensions/bad"), paths.masks if place == "/run" else paths.lasting_masks
    with masks.hidden(paths, SYSTEMD, [extension]):
        left = record.read_bytes()
    mask.mkdir()
    record.write_bytes(left)
    masks.unhide(paths)
    assert not mask.exists()
    assert json.loads(record.read_bytes()) == []
