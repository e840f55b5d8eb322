"""Masks in the search directories of a miniature node, and the records that tell them from others' directories."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reconciler.errors import Failed
from reconciler.host.merge import quarantine
from reconciler.model.kind import ExtensionId, Kind
from reconciler.model.plan.action import Mask, Unmask
from reconciler.model.state.observed import Unmanaged

if TYPE_CHECKING:
    from reconciler.paths import Paths

IDENT = ExtensionId("byhand")


def _mask(path: Path) -> Mask:
    return Mask(IDENT, path, Path("/var/lib/extensions/byhand.raw"), "empty", "because")


def _unmask(path: Path) -> Unmask:
    return Unmask(IDENT, path, Path("/var/lib/extensions/byhand.raw"), "because")


@pytest.mark.parametrize("top", ["run", "etc"])
def test_a_mask_is_recorded_for_as_long_as_it_lasts_and_taken_back(paths: Paths, top: str) -> None:
    path = paths.under(f"/{top}/extensions/byhand")
    quarantine.mask(paths, _mask(path))
    assert path.is_dir()
    (made,) = quarantine.read_masks(paths)
    assert (made.ident, made.path, made.reason) == (IDENT, path, "empty")
    assert (paths.masks.exists(), paths.lasting_masks.exists()) == (top == "run", top == "etc")
    quarantine.unmask(paths, _unmask(path))
    assert not path.exists()
    assert quarantine.read_masks(paths) == ()


def test_what_others_made_is_no_mask(paths: Paths) -> None:
    others, filled, gone = (paths.under(f"/run/extensions/{name}") for name in ("others", "filled", "gone"))
    others.mkdir(parents=True)
    for path in (filled, gone):
        quarantine.mask(paths, _mask(path))
    (filled / "usr").mkdir()
    gone.rmdir()
    assert quarantine.read_masks(paths) == ()
    quarantine.unmask(paths, _unmask(filled))
    assert (filled / "usr").is_dir()
    quarantine.unmask(paths, _unmask(gone))
    for damaged in ("", "{}", '[["x"]]', '[["x", "nokind", "/a", "/b", "c"]]'):
        paths.masks.write_text(damaged)
        assert quarantine.read_masks(paths) == ()


def test_what_appeared_meanwhile_stays_and_is_told(paths: Paths) -> None:
    path = paths.under("/run/extensions/byhand")
    (path / "usr").mkdir(parents=True)
    with pytest.raises(Failed, match=r"byhand.raw: cannot be masked by .*: File exists"):
        quarantine.mask(paths, _mask(path))
    assert (path / "usr").is_dir()
    assert quarantine.read_masks(paths) == ()


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
    place = quarantine.place_for(paths, item, systemd)
    assert place == (paths.under(expected) / "x" if expected else None)


def test_nothing_is_masked_that_is_kairos_agents_or_where_something_is(paths: Paths) -> None:
    path = paths.links(Kind.SYSEXT) / "x.raw"
    assert quarantine.place_for(paths, Unmanaged("x", path, agent=True), 257) is None
    paths.under("/run/extensions").mkdir()
    paths.under("/run/extensions/x").touch()
    assert quarantine.place_for(paths, Unmanaged("x", path), 257) is None
