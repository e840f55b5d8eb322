"""Sources laid over each other, and what one has that another has not."""

from __future__ import annotations

from dataclasses import replace

from reconciler.model.build.assembly import DIRECTORY, Assembly, Item, difference, text_file
from reconciler.model.fit.filekind import FileKind


def _files(**texts: str) -> Assembly:
    assembly = Assembly()
    for name, text in texts.items():
        assembly.put(name.replace("_", "/").encode(), text_file(text))
    return assembly


def _texts(assembly: Assembly) -> dict[str, str]:
    return {
        name.decode(): item.content.place.decode()
        for name, item in assembly
        if item.content and isinstance(item.content.place, bytes)
    }


def _difference(upper: Assembly, base: Assembly) -> tuple[dict[str, str], tuple[bytes, ...]]:
    added, deleted = difference(upper, base, lambda one, other: one.place == other.place)
    return _texts(added), deleted


def test_parents_come_into_being() -> None:
    assert [name for name, _ in _files(usr_bin_x="x")] == [b"usr", b"usr/bin", b"usr/bin/x"]


def test_parents_come_before_what_is_in_them() -> None:
    names = [name for name, _ in _files(**{"a": "", "a-b": "", "c_d": "", "c-": "", "c_d_e": ""})]
    assert names == [b"a", b"a-b", b"c", b"c/d", b"c/d/e", b"c-"]


def test_the_upper_one_counts() -> None:
    lower = _files(usr_bin_x="old", usr_bin_y="y")
    lower.lay(_files(usr_bin_x="new", usr_z="z"))
    assert _texts(lower) == {"usr/bin/x": "new", "usr/bin/y": "y", "usr/z": "z"}


def test_a_file_replaces_a_directory_with_all_in_it() -> None:
    lower = _files(usr_bin_x="x", usr_bin_x_y="y", usr_bin="bin")
    assert _texts(lower) == {"usr/bin": "bin"}


def test_a_directory_replaces_a_link() -> None:
    lower = Assembly({b"lib": Item(FileKind.SYMLINK, 0o777, target=b"usr/lib")})
    lower.lay(_files(lib_x="x"))
    item = lower.get(b"lib")
    assert item
    assert item.is_directory


def test_an_upper_directory_gives_its_mode() -> None:
    lower = _files(usr_x="x")
    lower.put(b"usr", replace(DIRECTORY, mode=0o700))
    item = lower.get(b"usr")
    assert item
    assert item.mode == 0o700
    assert b"usr/x" in lower


def test_what_is_new_or_has_changed() -> None:
    base = _files(usr_a="a", usr_b="b", usr_c="c")
    upper = _files(usr_a="a", usr_b="B", usr_c="c", usr_d_e="e")
    assert _difference(upper, base) == ({"usr/b": "B", "usr/d/e": "e"}, ())


def test_times_do_not_count_but_all_else_does() -> None:
    base, upper = _files(a="a", b="b", c="c"), Assembly()
    for name, item in base:
        changed = {b"a": replace(item, mtime_ns=5), b"b": replace(item, mode=0o755), b"c": replace(item, uid=5)}
        upper.put(name, changed[name])
    assert set(_difference(upper, base)[0]) == {"b", "c"}


def test_a_changed_directory_comes_without_what_is_in_it() -> None:
    base, upper = _files(usr_a="a"), _files(usr_a="a")
    upper.put(b"usr", replace(DIRECTORY, mode=0o750))
    added, _ = difference(upper, base, lambda one, other: one.place == other.place)
    assert [name for name, _ in added] == [b"usr"]


def test_deletions_are_told_at_their_top() -> None:
    base = _files(usr_a_b="", usr_a_c_d="", usr_e="", usr_f="")
    assert _difference(_files(usr_f=""), base) == ({}, (b"usr/a", b"usr/e"))
