"""What others than root can change, on the whole way to a file, is refused by name, with what to do."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from reconciler.errors import Invalid
from reconciler.host.base import ownership
from reconciler.host.base.mounts import FileSystem
from reconciler.host.base.ownership import refuse_foreign_hands
from tests.rig.node import PROJECT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

OTHER = 1234


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file in two directories, all of them root's."""
    path = tmp_path / "a/b/file"
    path.parent.mkdir(parents=True)
    path.write_text("x")
    return path


def _behind_a_link(file: Path, place: Path) -> None:
    """The directory lies elsewhere, and a link in its place leads there."""
    place.mkdir()
    file.parent.rename(place / "b")
    file.parent.symlink_to(os.path.relpath(place / "b", file.parent.parent))


def _link_of_others(file: Path) -> None:
    _behind_a_link(file, file.parents[2] / "elsewhere")
    os.chown(file.parent, OTHER, OTHER, follow_symlinks=False)


def _leads_through_others(file: Path) -> None:
    place = file.parents[2] / "elsewhere"
    _behind_a_link(file, place)
    place.chmod(0o777)


@pytest.mark.parametrize(
    ("spoil", "told", "hint"),
    [
        (lambda it: it.chmod(0o664), "/a/b/file: others than root can write it (mode 0664)", "chmod go-w "),
        (lambda it: it.chmod(0o602), "/a/b/file: others than root can write it (mode 0602)", "chmod go-w "),
        (lambda it: os.chown(it, OTHER, 0), f"/a/b/file: belongs to user {OTHER}", "chown root "),
        (
            lambda it: it.parent.chmod(0o775),
            "/a/b: others than root can write it (mode 0775); it leads",
            "chmod go-w ",
        ),
        (lambda it: it.parents[1].chmod(0o757), "/a: others than root can write it (mode 0757); it", "chmod go-w "),
        (
            lambda it: os.chown(it.parents[1], OTHER, 0),
            f"/a: belongs to user {OTHER}, not to root; it",
            "chown root ",
        ),
        (_link_of_others, f"/a/b: belongs to user {OTHER}", "chown root "),
        (_leads_through_others, "/elsewhere: others than root can write it (mode 0777)", "chmod go-w "),
        (
            lambda it: (it.unlink(), it.symlink_to("/tmp")),
            "/tmp: others than root can write it (mode 1777); it",
            "chmod go-w ",
        ),
    ],
)
def test_what_others_can_change_is_refused(spoil: Callable[[Path], object], told: str, hint: str, file: Path) -> None:
    refuse_foreign_hands(file)
    spoil(file)
    with pytest.raises(Invalid) as caught:
        refuse_foreign_hands(file)
    assert told in caught.value.message
    assert str(file) in caught.value.message
    assert (caught.value.hint or "").startswith(hint)
    assert caught.value.code == "file.not-roots"


def test_the_hint_helps(file: Path) -> None:
    os.chown(file.parent, OTHER, OTHER)
    file.parents[1].chmod(0o777)
    for command, mend in (("chmod go-w", lambda it: it.chmod(0o755)), ("chown root", lambda it: os.chown(it, 0, 0))):
        with pytest.raises(Invalid) as caught:
            refuse_foreign_hands(file)
        words, _, place = (caught.value.hint or "").rpartition(" ")
        assert words == command
        mend(file.parents[1] if command == "chmod go-w" else file.parent)
        assert place in {str(file.parent), str(file.parents[1])}
    refuse_foreign_hands(file)


def test_a_sticky_directory_keeps_what_is_root_s(file: Path) -> None:
    file.parent.chmod(0o1777)
    refuse_foreign_hands(file)
    os.chown(file, OTHER, OTHER)
    with pytest.raises(Invalid, match=f"file: belongs to user {OTHER}"):
        refuse_foreign_hands(file)
    with pytest.raises(Invalid, match="mode 1777"):  # others may put something there
        refuse_foreign_hands(file.parent)


def test_what_is_not_there_yet_is_nobody_s_and_its_directory_counts(file: Path) -> None:
    refuse_foreign_hands(file.with_name("missing") / "below")
    file.parent.chmod(0o777)
    with pytest.raises(Invalid, match="b: others than root can write it"):
        refuse_foreign_hands(file.with_name("missing") / "below")


def test_what_leads_to_another_root_is_the_affair_of_who_named_it(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc/link").symlink_to("/etc/file")
    (root / "etc/file").touch(0o644)
    root.chmod(0o777)
    refuse_foreign_hands(root / "etc/link", root)
    (root / "etc").chmod(0o777)
    with pytest.raises(Invalid, match="etc: others than root can write it"):
        refuse_foreign_hands(root / "etc/link", root)


def test_links_that_lead_in_circles_end(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    refuse_foreign_hands(tmp_path / "a")


def test_an_ordinary_user_trusts_what_is_their_own_too(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.chown(file, OTHER, OTHER)
    monkeypatch.setattr(os, "geteuid", lambda: OTHER)
    refuse_foreign_hands(file)
    os.chown(file, OTHER + 1, OTHER)
    with pytest.raises(Invalid, match="belongs to user"):
        refuse_foreign_hands(file)


def test_in_a_user_namespace_those_outside_are_nobody(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = 65534
    os.chown(file, nobody, nobody)
    with pytest.raises(Invalid, match="belongs to user 65534"):
        refuse_foreign_hands(file)
    monkeypatch.setattr(ownership, "_overflow_uid", lambda: nobody)
    refuse_foreign_hands(file)


@pytest.mark.parametrize(
    ("kind", "is_read_only", "excuses"),
    [
        ("squashfs", True, True),
        ("erofs", True, True),
        ("iso9660", True, True),
        ("ext4", True, True),
        ("ext4", False, False),
        ("vfat", True, True),
        ("overlay", True, False),
        ("fuse.sshfs", True, False),
        ("nfs4", True, False),
        ("tmpfs", True, False),
    ],
)
def test_modes_say_nothing_where_nobody_can_write(
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    is_read_only: bool,  # noqa: FBT001 - a parameter
    excuses: bool,  # noqa: FBT001 - a parameter
) -> None:
    os.chown(file, OTHER, OTHER)
    monkeypatch.setattr(ownership, "file_system", lambda _: FileSystem(kind, is_read_only))
    if excuses:
        refuse_foreign_hands(file)
    else:
        with pytest.raises(Invalid, match="belongs to user"):
            refuse_foreign_hands(file)


@pytest.mark.commands
@pytest.mark.system
def test_a_read_only_mount_of_what_others_write_excuses_nothing(tmp_path: Path) -> None:
    script = """
        mount --make-rprivate / && mount -t tmpfs -o mode=755 tmpfs {0} && cd {0} && mkdir home etc sealed
        touch home/file && chown -R 1234 home
        mount --bind home etc && mount -o remount,bind,ro etc
        mksquashfs home sealed.squashfs -quiet -no-progress >&2 && mount -o loop sealed.squashfs sealed
        {1} -c '
from pathlib import Path
from reconciler.errors import Invalid
from reconciler.host.base.ownership import refuse_foreign_hands
refuse_foreign_hands(Path("{0}/sealed/file"))
try:
    refuse_foreign_hands(Path("{0}/etc/file"))
except Invalid as error:
    print(error.message)
'"""
    command = ["unshare", "--mount", "sh", "-euc", script.format(tmp_path, sys.executable)]
    told = subprocess.run(command, check=True, capture_output=True, text=True, cwd=PROJECT)
    assert told.stdout == f"{tmp_path}/etc: belongs to user {OTHER}, not to root; it leads to {tmp_path}/etc/file\n"
