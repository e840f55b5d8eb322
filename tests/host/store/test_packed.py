"""What is kept of release files while an image file is made is little, however many an image has."""

from __future__ import annotations

import pytest

from reconciler.errors import Invalid
from reconciler.host.store.packed import PackedTree, ReleaseKeeper
from reconciler.host.tar.reader import Member
from reconciler.model.fit.filekind import FileKind
from reconciler.model.fit.filetree import read_contents
from reconciler.model.kind import Kind as ExtensionKind

RELEASES = "usr/lib/extension-release.d"
PARENTS = dict.fromkeys((b"", b"usr", b"usr/lib", RELEASES.encode()), FileKind.DIRECTORY)
LARGE = bytes(1 << 17)


@pytest.fixture
def keeper() -> ReleaseKeeper:
    return ReleaseKeeper(RELEASES)


def _take(keeper: ReleaseKeeper, name: str, content: bytes = b"", kind: FileKind = FileKind.FILE) -> bytes:
    path = f"{RELEASES}/extension-release.{name}".encode()
    half = len(content) // 2
    chunks = [memoryview(content[:half]), memoryview(content[half:])] if content else []
    member = Member(path, kind, 0o644, 0, 0, 0, len(content), b"x" if kind is FileKind.SYMLINK else b"", {})
    for _, passed in keeper.watch([(member, chunks)]):
        assert b"".join(passed) == content
    return path


def test_many_release_files_take_little_memory_and_are_refused(keeper: ReleaseKeeper) -> None:
    names = {_take(keeper, f"r{number}", LARGE): FileKind.FILE for number in range(500)}
    assert sum(map(len, keeper.kept.values())) <= 16 << 20
    with pytest.raises(Invalid, match="the image has 500 release files"):
        read_contents(PackedTree({**PARENTS, **names}, keeper), ExtensionKind.SYSEXT)


def test_as_many_as_are_allowed_are_kept(keeper: ReleaseKeeper) -> None:
    names = {_take(keeper, f"r{number}", b"ID=n%d\n" % number): FileKind.FILE for number in range(100)}
    contents = read_contents(PackedTree({**PARENTS, **names}, keeper), ExtensionKind.SYSEXT)
    assert contents.releases == {f"r{number}": {"ID": f"n{number}"} for number in range(100)}


@pytest.mark.parametrize("kind", [FileKind.DIRECTORY, FileKind.SYMLINK])
def test_what_only_has_such_a_name_leaves_room_for_the_true_one(keeper: ReleaseKeeper, kind: FileKind) -> None:
    names = {_take(keeper, f"a{number}", kind=kind): kind for number in range(500)}
    names |= {_take(keeper, "d/inside", LARGE): FileKind.FILE, _take(keeper, "true", b"ID=debian\n"): FileKind.FILE}
    tree = PackedTree({**PARENTS, **names, f"{RELEASES}/extension-release.d".encode(): FileKind.DIRECTORY}, keeper)
    assert read_contents(tree, ExtensionKind.SYSEXT).releases == {"true": {"ID": "debian"}}


def test_a_file_that_is_too_long_is_kept_as_long_as_it_takes_to_tell(keeper: ReleaseKeeper) -> None:
    path = _take(keeper, "long", LARGE + b"more")
    assert keeper.kept[path] == LARGE
    with pytest.raises(Invalid, match="has more than 64 KiB"):
        read_contents(PackedTree({**PARENTS, path: FileKind.FILE}, keeper), ExtensionKind.SYSEXT)
