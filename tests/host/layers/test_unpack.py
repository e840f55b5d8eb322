"""What is in a layer is on disk afterwards, as the OCI specification (layer.md) and the formats of tar say."""

from __future__ import annotations

import errno
import os
import resource
import signal
from typing import TYPE_CHECKING

import pytest

from reconciler.errors import Failed, Invalid
from reconciler.host.layers.unpack import unpack
from reconciler.host.tar import attributes
from tests.host import tars
from tests.host.layers.unpacking import needs_root
from tests.host.tars import END, SOME, directory, file, hard_link, header, symlink, tar

if TYPE_CHECKING:
    from tests.host.layers.unpacking import Bench


pytestmark = needs_root


def test_everything_a_member_says_is_kept(bench: Bench) -> None:
    capability = b"\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
    xattrs = {
        "SCHILY.xattr.security.capability": capability.decode(),
        "SCHILY.xattr.user.note": "",
        "SCHILY.xattr.trusted.note": "kept",
        "SCHILY.xattr.security.selinux": "the host labels its files",
        "SCHILY.xattr.com.apple.provenance": "another system",
    }
    bench.unpack_layers(
        [
            directory("usr", mode=0o1755, uid=7, gid=8, pax={"mtime": "1700000000.123456789"}),
            directory("usr/bin/", mode=0o2750, gid=9, mtime=5, pax={"SCHILY.xattr.user.on": "directory"}),
            file("usr/bin/ping", b"\x7fELF", mode=0o4711, uid=10, gid=11, pax={"mtime": "-1.5", **xattrs}),
            symlink("usr/bin/sh", "/bin/../nowhere", uid=3, gid=4, pax={"mtime": "12.000000001"}),
            symlink("usr/bin/t", "x", pax={"SCHILY.xattr.trusted.note": "on a link"}),
        ]
    )
    kept = (("security.capability", capability), ("trusted.note", b"kept"), ("user.note", b""))
    assert tars.tree(bench.target) == {
        "usr": tars.Found("directory", b"", 0o1755, 7, 8, 1700000000123456789),
        "usr/bin": tars.Found("directory", b"", 0o2750, 0, 9, 5 * 10**9, (("user.on", b"directory"),)),
        "usr/bin/ping": tars.Found("file", b"\x7fELF", 0o4711, 10, 11, -1500000000, kept),
        "usr/bin/sh": tars.Found("symlink", b"/bin/../nowhere", 0o777, 3, 4, 12000000001),
        "usr/bin/t": tars.Found("symlink", b"x", 0o777, 0, 0, 10**9, (("trusted.note", b"on a link"),)),
    }


@pytest.mark.parametrize("umask", [0, 0o22, 0o77, 0o777])
def test_modes_and_owners_are_the_members_whatever_new_files_get(bench: Bench, umask: int) -> None:
    modes = [0, 0o400, 0o600, 0o644, 0o664, 0o666, 0o755, 0o777, 0o2755, 0o4755]
    os.umask(umask)
    bench.unpack_layers([file(f"{mode:o}", mode=mode) for mode in modes], [file("644", uid=1), file("755", gid=2)])
    found = {path: (it.mode, it.uid, it.gid) for path, it in tars.tree(bench.target).items()}
    expected = {f"{mode:o}": (mode, 0, 0) for mode in modes}
    assert found == expected | {"644": (0o644, 1, 0), "755": (0o644, 0, 2)}


def test_files_in_a_setgid_directory_have_their_own_group(bench: Bench) -> None:
    """Also those whose mode the umask leaves alone, so that nothing else has to be set."""
    bench.unpack_layers([directory("d", mode=0o2775, gid=5), file("d/a", mode=0o640)], [file("d/b", mode=0o640)])
    assert [bench.found(name).gid for name in ("d", "d/a", "d/b")] == [5, 0, 0]


def test_parents_without_a_member_are_plain_directories_of_root(bench: Bench) -> None:
    bench.unpack_layers([directory("a", mode=0o2770, gid=5), file("a/b/c/d")])
    assert bench.found("a/b") == bench.found("a/b/c") == tars.Found("directory", b"", 0o755, 0, 0, 0)


def test_directories_have_their_own_time_whatever_came_after_them(bench: Bench) -> None:
    bench.unpack_layers([directory("a", mtime=7), file("a/x")], [file("a/y")], [file("a/.wh.x")])
    assert bench.found("a").mtime_ns == 7 * 10**9


@pytest.mark.parametrize(("asked", "given"), [(0o755, 0o755), (0o7777, 0o755), (0o750, 0o750), (0, 0o700)])
def test_the_root_takes_time_and_a_sane_mode(bench: Bench, asked: int, given: int) -> None:
    bench.unpack_layers([directory("./", mode=asked, uid=9, mtime=3), file("./a", b"1")])
    assert tars.found(bench.target) == tars.Found("directory", b"", given, 0, 0, 3 * 10**9)


def test_a_root_that_no_layer_mentions_is_as_an_implied_directory(bench: Bench) -> None:
    assert bench.unpack_layers([file("a", b"1")]) == {"a": "1"}
    assert tars.found(bench.target) == tars.Found("directory", b"", 0o755, 0, 0, 0)


@pytest.mark.parametrize("name", ["a/b", "./a/b", ".//a/./b", "a//b"])
def test_names_are_cleaned(bench: Bench, name: str) -> None:
    assert bench.unpack_layers([directory("./a/."), file(name, b"1")]) == {"a": "/", "a/b": "1"}


@pytest.mark.parametrize("form", tars.FORMATS)
def test_every_format_of_headers(bench: Bench, form: str) -> None:
    long = "/".join(["d" * 40] * (3 if form == "ustar" else 60))
    entries = [directory("a", mtime=3), file(f"{long}/f", b"x" * 700, uid=12), symlink("a/s", "t" * 90)]
    if form != "ustar":
        entries += [hard_link("h", f"{long}/f"), symlink("long", "t" * 300), file("rich", uid=3_000_000_000)]
    bench.unpack(tars.stack(bench.blobs, tar(*entries, form=form)))
    assert bench.found(f"{long}/f") == tars.Found("file", b"x" * 700, 0o644, 12, 0, 10**9)
    assert bench.found("a/s").data == b"t" * 90
    if form != "ustar":
        assert bench.found("h").data == b"x" * 700
        assert bench.found("long").data == b"t" * 300
        assert bench.found("rich").uid == 3_000_000_000


HEADERS = {
    "V7 directory": (header(b"a/", b"\0", magic=b""), {"a": "/"}),
    "V7 file": (header(b"a", b"\0", magic=b""), {"a": ""}),
    "contiguous file": (header(b"a", b"7"), {"a": ""}),
    "prefix": (header(b"a", prefix=b"p/q"), {"p": "/", "p/q": "/", "p/q/a": ""}),
    "GNU has other things than a prefix": (header(b"a", magic=b"ustar  \0", prefix=b"14000000000"), {"a": ""}),
    "sizes of links count for nothing": (header(b"a", b"2", link=b"b", size=b"777"), {"a": "-> b"}),
    "binary size": (header(b"a", size=b"\x80" + bytes(10) + b"\3") + tars.padded(b"abc"), {"a": "abc"}),
    "pax size": (tars.extended((b"size", b"3")) + header(b"a") + tars.padded(b"abc"), {"a": "abc"}),
    "pax for all": (tars.extended((b"path", b"z"), flag=b"g") + header(b"a", b"5"), {"z": "/"}),
    "own pax over common pax": (
        tars.extended((b"path", b"z"), flag=b"g") + tars.extended((b"path", b"y")) + header(b"a", b"5"),
        {"y": "/"},
    ),
    "empty pax record": (tars.extended((b"path", b""), (b"uid", b"")) + header(b"a", b"5"), {"a": "/"}),
    "one block of zeros at the end": (header(b"a", b"5") + bytes(512), {"a": "/"}),
    "something after the end": (header(b"a", b"5") + END + b"anything", {"a": "/"}),
    "nothing but the end": (b"", {}),
}


@pytest.mark.parametrize(("archive", "expected"), HEADERS.values(), ids=HEADERS)
def test_headers_by_hand(bench: Bench, archive: bytes, expected: dict[str, str]) -> None:
    assert bench.unpack(tars.stack(bench.blobs, archive + END)) == expected


def test_an_archive_may_lack_its_end_mark(bench: Bench) -> None:
    assert bench.unpack(tars.stack(bench.blobs, header(b"a", b"5"))) == {"a": "/"}


def test_names_need_not_be_utf8(bench: Bench) -> None:
    name = b"caf\xe9 \xff".decode("utf-8", "surrogateescape")
    for form in ("gnu", "ustar"):
        bench.unpack(tars.stack(bench.blobs, tar(file(name), symlink("s", name), form=form)))
        assert sorted(os.listdir(os.fsencode(bench.target))) == [b"caf\xe9 \xff", b"s"]
        assert os.readlink(os.fsencode(bench.target) + b"/s") == b"caf\xe9 \xff"


@pytest.mark.parametrize("version", ["gnu", "0.0", "0.1", "1.0"])
def test_sparse_files_of_gnu_tar(bench: Bench, version: str) -> None:
    bench.unpack(tars.stack(bench.blobs, tars.sparse(version)))
    status = (bench.target / "holes").stat()
    assert bench.found("holes") == tars.Found("file", tars.holes(), 0o644, 0, 0, 10**9)
    assert status.st_blocks * 512 < status.st_size // 2


SPARSE = {
    "beyond its size": ("100,50", "120", 50),
    "backwards": ("100,10,50,10", "200", 20),
    "more than is there": ("0,600", "600", 50),
    "odd": ("0,50,60", "100", 50),
    "no number": ("0,x", "100", 50),
    "negative": ("-5,50", "100", 50),
    "huge": ("0,99999999999999999999", "100", 50),
}


@pytest.mark.parametrize(("places", "size", "stored"), SPARSE.values(), ids=SPARSE)
def test_sparse_maps_that_make_no_sense(bench: Bench, places: str, size: str, stored: int) -> None:
    records = {"GNU.sparse.map": places, "GNU.sparse.size": size, "GNU.sparse.name": "holes"}
    archive = tar(file("GNUSparseFile.0/holes", b"x" * stored, pax=records))
    assert "holes: it" in bench.refusal(tars.blob(bench.blobs, archive)).message


@pytest.mark.parametrize("data", [b"", b"1", b"1\n0\n", b"x\n", b"9" * 600, b"999999999\n", b"1\n" * 300])
def test_sparse_maps_in_the_data_that_make_no_sense(bench: Bench, data: bytes) -> None:
    records = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "9"}
    archive = tar(file("a", data, pax=records))
    assert "a: its sparse map" in bench.refusal(tars.blob(bench.blobs, archive)).message


# The node's own trouble.


def test_a_missing_blob(bench: Bench) -> None:
    stack = tars.stack(bench.blobs, SOME)
    (bench.blobs / stack.layers[0].digest).unlink()
    with pytest.raises(Failed, match="cannot be read: No such file"):
        bench.unpack(stack)


def test_an_unreadable_blob(bench: Bench) -> None:
    stack = tars.stack(bench.blobs, SOME)
    (bench.blobs / stack.layers[0].digest).unlink()
    (bench.blobs / stack.layers[0].digest).mkdir()
    with pytest.raises(Failed, match="cannot be read: Is a directory"):
        bench.unpack(stack)


def test_a_missing_target(bench: Bench) -> None:
    stack = tars.stack(bench.blobs, SOME)
    with pytest.raises(Failed, match="cannot be unpacked: No such file"):
        unpack(stack.layers, stack.blob_of, bench.target / "missing")


@pytest.mark.parametrize(
    ("number", "hint"), [(errno.ENOSPC, "free space"), (errno.EIO, "disk"), (errno.EPERM, "as root")]
)
def test_trouble_while_writing(bench: Bench, monkeypatch: pytest.MonkeyPatch, number: int, hint: str) -> None:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fchown", fail)
    with pytest.raises(Failed, match=f"d/: cannot be unpacked: {os.strerror(number)}") as caught:
        bench.unpack(tars.stack(bench.blobs, SOME))
    assert hint in str(caught.value.hint)


def test_a_file_that_is_too_large(bench: Bench) -> None:
    """Python ignores SIGXFSZ, so that the limit gives the error that a file system gives."""
    assert signal.getsignal(signal.SIGXFSZ) == signal.SIG_IGN
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    stack = tars.stack(bench.blobs, tar(file("big", b"x" * 100_000)))
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        assert "big: is too large" in bench.refusal(stack).message
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_more_hard_links_than_the_file_system_can_have(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """ext4 has 65,000 at most."""

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EMLINK, os.strerror(errno.EMLINK))

    monkeypatch.setattr(os, "link", fail)
    refused = bench.refusal(tars.stack(bench.blobs, tar(file("a"), hard_link("h", "a"))))
    assert "h: is one more hard link to one file than the store's file system allows" in refused.message


def test_a_file_system_without_attributes(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    monkeypatch.setattr(os, "setxattr", fail)
    with monkeypatch.context() as patch:
        patch.setattr(os, "listxattr", fail)
        attributes.clear_xattrs(os.fsencode(bench.target))
    with pytest.raises(Failed, match=r"cannot keep the extended attribute user\.a of 1 bytes"):
        bench.unpack_layers([file("a", pax={"SCHILY.xattr.user.a": "1"})])


def test_attributes_larger_than_the_file_system_can_keep(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """ext4 has one block for them, and says that there is no space."""

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "setxattr", fail)
    with pytest.raises(Failed, match=r"cannot keep the extended attribute user\.a of 5000 bytes"):
        bench.unpack_layers([file("a", pax={"SCHILY.xattr.user.a": "x" * 5000})])


def test_nothing_stays_open(bench: Bench) -> None:
    before = os.listdir("/proc/self/fd")
    with pytest.raises(Invalid):
        bench.unpack_layers([file("a", pax={"SCHILY.xattr.trusted.overlay.a": "1"})])
    bench.unpack(tars.stack(bench.blobs, SOME))
    assert len(os.listdir("/proc/self/fd")) == len(before)
