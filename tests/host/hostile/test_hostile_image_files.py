"""What layers may not have, image files may not have either, whatever their file system."""

from __future__ import annotations

import os
import socket
import stat
from typing import TYPE_CHECKING, Final

import pytest

from reconciler.host.images import dissect
from reconciler.host.images import listing as imagelisting
from reconciler.host.merge.links import read_links
from tests.host.layers.unpacking import needs_root
from tests.rig.diskimages import MAKERS, ROOT, Part, disk, extension_tree
from tests.seed import configure, converge

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from reconciler.loop.reconcile import Result
    from reconciler.paths import Paths

pytestmark = [pytest.mark.commands, needs_root]

_CAPABILITY: Final = bytes.fromhex("0100000200200000000000000000000000000000")


def _node(kind: int, device: int = 0) -> Callable[[Path], None]:
    return lambda tree: os.mknod(tree / "usr/share/odd", kind | 0o644, device)


def _attribute(place: str, name: str, value: bytes = b"y") -> Callable[[Path], None]:
    return lambda tree: os.setxattr(tree / place, name, value)


def _socket(tree: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        directory = os.open(tree / "usr/share", os.O_RDONLY)
        listener.bind(f"/proc/self/fd/{directory}/odd")  # a path of its own may be too long
        os.close(directory)


FLAWS: Final[dict[str, Callable[[Path], None]]] = {
    "whiteout": _node(stat.S_IFCHR),
    "opaque": _attribute("usr/share", "trusted.overlay.opaque"),
    "device": _node(stat.S_IFBLK, os.makedev(8, 0)),
    "fifo": _node(stat.S_IFIFO),
    "redirect": _attribute("usr/share", "trusted.overlay.redirect", b"/usr/bin"),
    "metacopy": _attribute("usr/bin/x", "trusted.overlay.metacopy", b""),
    "user's": _attribute("usr/share", "user.overlay.opaque"),
    "socket": _socket,
}
_FIRST: Final = ("whiteout", "opaque")
CASES: Final = [(form, flaw) for form in (*MAKERS, "disk") for flaw in (FLAWS if form == "squashfs" else _FIRST)]


def _image(paths: Paths, scratch: Path, form: str, spoil: Callable[[Path], None]) -> None:
    tree = extension_tree(scratch / "tree", "x", {"usr/share/x": "x"})
    spoil(tree)
    target = paths.root / "x.raw"
    if form == "disk":
        target.write_bytes(disk([Part(ROOT, MAKERS["erofs"](tree, scratch / "part").read_bytes())]))
    else:
        MAKERS[form](tree, target)


def _converged(paths: Paths, limits: str = "{}") -> Result:
    wanted = "{source: 'file:///x.raw', format: raw}"
    configure(paths, f"settings: {{limits: {limits}}}\nextensions: {{x: {wanted}}}")
    return converge(paths)


@pytest.mark.by_lot(8)
@pytest.mark.parametrize(("form", "flaw"), CASES)
def test_what_would_steer_the_overlay_is_refused(paths: Paths, tmp_path: Path, form: str, flaw: str) -> None:
    _image(paths, tmp_path, form, FLAWS[flaw])
    (problem,) = _converged(paths).problems
    expected = "overlayfs" if (flaw in {"opaque", "redirect", "metacopy", "user's"}) else "device|FIFO|socket"
    assert any(word in problem.message for word in expected.split("|")), problem.message
    assert not read_links(paths, 252).links
    assert not paths.store.exists()


@pytest.mark.by_lot(3)
@pytest.mark.parametrize("form", [*MAKERS, "disk"])
def test_without_a_flaw_it_is_placed(paths: Paths, tmp_path: Path, form: str) -> None:
    _image(paths, tmp_path, form, lambda _: None)
    assert _converged(paths).in_sync


@pytest.mark.by_lot(3)
@pytest.mark.parametrize(
    ("spoil", "limits", "words"),
    [
        (lambda tree: (tree / "usr/bin/x").chmod(0o4755), "{setuid: false}", "setuid"),
        (_attribute("usr/bin/x", "security.capability", _CAPABILITY), "{setuid: false}", "capabilities"),
        (lambda _: None, "{members: 3}", "3 files, directories and links"),
    ],
)
@pytest.mark.parametrize("form", ["squashfs", "ext4"])
def test_limits_hold_for_image_files(  # noqa: PLR0913, PLR0917 - a case, and where it is tried
    paths: Paths, tmp_path: Path, form: str, spoil: Callable[[Path], None], limits: str, words: str
) -> None:
    _image(paths, tmp_path, form, spoil)
    (problem,) = _converged(paths, limits).problems
    assert words in problem.message
    assert not read_links(paths, 252).links
    assert _converged(paths).in_sync


def test_what_cannot_be_told_is_refused(paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no tool tells the attributes, as without squashfs-tools-ng where nothing can be mounted."""
    _image(paths, tmp_path, "squashfs", lambda _: None)
    monkeypatch.setattr(imagelisting, "available", lambda program: program != "sqfs2tar")
    monkeypatch.setattr(dissect, "obstacle", lambda *_: ("it is not installed", "install it"))
    (problem,) = _converged(paths).problems
    assert problem.code == "program.missing"
    assert "what attributes the image's files have cannot be told" in problem.message
