"""What dump.erofs 1.8.6 prints, recorded: older versions print no files."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.errors import Invalid
from reconciler.host.base.command import Finished
from reconciler.host.images import erofs
from reconciler.host.images.erofs import ErofsTree
from reconciler.model.fit.filekind import FileKind
from reconciler.model.fit.filetree import read_contents
from reconciler.model.kind import Kind

HEAD = """Path : /etc
Size: 72  On-disk size: 72  directory
NID: 41   Links: 2   Layout: 2   Compression ratio: 100.00%
Inode size: 64   Xattr size: 0
Uid: 0   Gid: 0  Access: 0755/rwxr-xr-x
Timestamp: 2026-11-23 06:25:23.176130252

       NID TYPE  FILENAME
"""
TREE = {
    "/": "        41    2  .\n        46    2  proc\n        47    2  usr\n        48    7  lib\n",
    "/proc": "        46    2  .\n        41    2  ..\n",
    "/usr": "        50    2  lib\n",
    "/usr/lib": "        51    2  extension-release.d\n        52    7  os-release\n",
    "/usr/lib/extension-release.d": "        53    1  extension-release.x\n        54    7  extension-release.y\n",
}
RELEASE = "/usr/lib/extension-release.d/extension-release.x"


def _answer(monkeypatch: pytest.MonkeyPatch, tree: dict[str, str], release: Finished) -> ErofsTree:
    def run(program: str, what: str, path: str, file: str, **_: object) -> Finished:
        assert (program, file) == ("dump.erofs", "/image")
        place = path.removeprefix("--path=")
        if what == "--cat":
            assert place == RELEASE
            return release
        return Finished(0, (HEAD + tree[place]).encode(), "")

    monkeypatch.setattr(erofs, "run", run)
    return ErofsTree(Path("/image"))


def test_what_decides_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    contents = read_contents(_answer(monkeypatch, TREE, Finished(0, b"ID=_any\n", "")), Kind.SYSEXT)
    assert contents.releases == {"x": {"ID": "_any"}}
    assert contents.misplaced == ("lib",)
    assert contents.has_os_release


def test_types_of_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    tree = _answer(monkeypatch, TREE, Finished(0, b"", ""))
    assert tree.children("") == {"proc": FileKind.DIRECTORY, "usr": FileKind.DIRECTORY, "lib": FileKind.SYMLINK}


@pytest.mark.parametrize(
    "listing", ["        40    1  a\nb\n", "        40    1  a\n        40    1  a\n", "nothing\n", "\n"]
)
def test_listings_that_are_none(listing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = _answer(monkeypatch, {"/": listing}, Finished(0, b"", ""))
    with pytest.raises(Invalid):
        tree.children("")


def test_an_entry_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name with a line break may look like a line; what it promises does not exist."""
    complaint = f"<E> erofs: read inode failed @ {RELEASE}\n"
    with pytest.raises(Invalid, match="read inode failed"):
        read_contents(_answer(monkeypatch, TREE, Finished(0, b"", complaint)), Kind.SYSEXT)
