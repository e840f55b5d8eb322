"""Extensions built of all that they can be built of, in all forms but those that other tests merge."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.author.build import Request, build
from reconciler.author.ingredients import Option, Origin
from reconciler.errors import Failed, Invalid, Malformed
from reconciler.host.base.command import run
from reconciler.host.base.digest import file_digest
from reconciler.host.sources.local import look_at
from reconciler.model.build.output import Built, Output
from reconciler.model.build.recipe import Recipe
from reconciler.model.kind import ExtensionId, Kind
from reconciler.paths import Paths
from tests.host.layers.unpacking import needs_root
from tests.rig.debs import write_deb
from tests.rig.images import Member, extension, tar, write_artifact, write_image
from tests.rig.newererofs import newer_mkfs
from tests.rig.newersystemd import newer_repart
from tests.rig.rpms import write_repository, write_rpm, write_system

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.commands

X = Recipe(ExtensionId("x"))
PROJECT = Path(__file__).parents[2]
DROPIN = "usr/lib/systemd/system/multi-user.target.d/10-x-x.service.conf"
BASE = (
    Member("usr/bin/sh", b"sh", 0o755),
    Member("usr/bin/old", b"old", 0o755),
    Member("etc/os-release", b"ID=base\n"),
)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A directory with a bit of everything."""
    tree = tmp_path / "tree"
    for name, text in {
        "usr/bin/x": "#!/bin/sh\necho x\n",
        "usr/lib/systemd/system/x.service": "[Service]\n",
        "etc/x": "",
    }.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
    (tree / "usr/bin/x").chmod(0o755)
    (tree / "usr/bin/y").symlink_to("x")
    (tree / "usr/bin/z").hardlink_to(tree / "usr/bin/x")
    (tree / "usr/share/x").mkdir(parents=True)
    (tree / "usr/share/x/zeros").write_bytes(bytes(300_000))
    return tree


@pytest.fixture
def make(tmp_path: Path, paths: Paths) -> Callable[..., Built]:
    """Build `x` from sources, into the directory `out` unless said otherwise."""

    def make(*words: str, origin: Origin = Origin.FROM, recipe: Recipe = X, **changes: Any) -> Built:  # noqa: ANN401 - fields of Request
        request = Request(recipe, (Option(origin, words),), Output.DIRECTORY, tmp_path / "out")
        return build(replace(request, **changes), paths)

    return make


def _files(directory: Path) -> set[str]:
    return {
        str(path.relative_to(directory)) for path in directory.rglob("*") if not path.is_dir() or path.is_symlink()
    }


def _dropped(built: Built) -> set[str]:
    return {it.path for it in built.dropped}


def test_a_directory(make: Callable[..., Built], tree: Path, tmp_path: Path) -> None:
    built = make(str(tree), recipe=Recipe(ExtensionId("x"), enable=("x.service",)))
    out = tmp_path / "out"
    release = "usr/lib/extension-release.d/extension-release.x"
    names = {"usr/bin/x", "usr/bin/y", "usr/bin/z", "usr/share/x/zeros", "usr/lib/systemd/system/x.service"}
    assert _files(out) == names | {release, DROPIN}
    assert (out / release).read_text() == "ID=_any\nEXTENSION_RELOAD_MANAGER=1\n"
    assert (out / DROPIN).read_text() == "[Unit]\nUpholds=x.service\n"
    assert (out / "usr/bin/x").samefile(out / "usr/bin/z")
    assert _dropped(built) == {"/etc/x"}
    assert (built.digest, built.files) == (look_at(out)[0], 7)
    assert list(tmp_path.glob(".livelayer-*")) == []


@needs_root
def test_whoever_made_a_directory_root_owns_it(make: Callable[..., Built], tree: Path, tmp_path: Path) -> None:
    for path in tree.rglob("*"):
        os.chown(path, 1234, 1234, follow_symlinks=False)
    (tree / "usr/share/x/zeros").chmod(0o666)
    (tree / "usr/lib").chmod(0o777)
    make(str(tree))
    found = [path.lstat() for path in (tmp_path / "out").rglob("*")]
    assert {(it.st_uid, it.st_gid, it.st_mtime) for it in found} == {(0, 0, 1)}
    assert (tmp_path / "out/usr/share/x/zeros").stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "out/usr/lib").stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("form", ["directory", "archive"])
def test_directories_that_hosts_have_are_everybodys(
    make: Callable[..., Built], tree: Path, tmp_path: Path, form: str
) -> None:
    """Others keep the mode that they have."""
    for directory in ("usr", "usr/lib", "usr/bin"):
        (tree / directory).chmod(0o700)
    (tree / "opt/private").mkdir(parents=True)
    (tree / "opt/private/x").touch()
    (tree / "opt/private").chmod(0o700)
    archive = tmp_path / "tree.tar"
    subprocess.run(["tar", "--create", f"--file={archive}", "--owner=1000", f"--directory={tree}", "usr"], check=True)
    built = make(str(tree if form == "directory" else archive))
    assert [it for it in built.notices if it.endswith(" directories that hosts have, too, are root's with mode 0755")]
    for directory in ("usr", "usr/lib", "usr/bin"):
        status = (tmp_path / "out" / directory).stat()
        assert (status.st_mode & 0o777, status.st_uid) == (0o755, os.geteuid())
    if form == "directory":
        assert (tmp_path / "out/opt/private").stat().st_mode & 0o777 == 0o700


@needs_root
def test_a_users_setuid_program_does_not_become_roots(make: Callable[..., Built], tree: Path) -> None:
    (tree / "usr/bin/x").chmod(0o4755)
    make(str(tree))
    os.chown(tree / "usr/bin/x", 1234, 0)
    (tree / "usr/bin/x").chmod(0o4755)
    with pytest.raises(Invalid, match="user 1234's"):
        make(str(tree), force=True)


@pytest.mark.parametrize("output", list(Output))
def test_the_same_source_gives_the_same_bytes(
    output: Output, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In another place, at another time, with another umask and locale, its files made in another order."""
    tools = [newer_mkfs(tmp_path / "erofs"), newer_repart(tmp_path / "repart")]
    monkeypatch.setenv("PATH", ":".join([*map(str, tools), os.environ["PATH"]]))
    elsewhere = tmp_path / "else where"
    elsewhere.mkdir()
    shutil.copytree(tree, elsewhere / "copy", symlinks=True, copy_function=shutil.copy)
    (elsewhere / "copy/usr/bin/z").unlink()
    (elsewhere / "copy/usr/bin/z").hardlink_to(elsewhere / "copy/usr/bin/x")
    (elsewhere / "copy/usr").chmod(0o775)
    _livelayer(tree.parent, "tree", output)
    _livelayer(elsewhere, "copy", output, umask=0o027, LC_ALL="C", TZ="Asia/Tokyo", LANG="tr_TR.UTF-8")
    assert _bytes(tree.parent / "out") == _bytes(elsewhere / "out")


def _livelayer(directory: Path, source: str, output: Output, umask: int = 0o022, **env: str) -> None:
    command = [
        sys.executable,
        "-m",
        "reconciler",
        "build",
        "x",
        "--from",
        source,
        "--format",
        str(output),
        "-o",
        "out",
    ]
    environment = {**os.environ, **env, "PYTHONPATH": str(PROJECT)}
    subprocess.run(command, cwd=directory, umask=umask, env=environment, check=True, capture_output=True)


def _bytes(path: Path) -> Any:  # noqa: ANN401 - to be compared
    if path.is_file():
        return file_digest(path)
    return {
        str(it.relative_to(path)): (
            it.lstat().st_mode if path.joinpath("usr").exists() else None,
            it.lstat().st_mtime if path.joinpath("usr").exists() else None,
            str(it.readlink()) if it.is_symlink() else it.read_bytes() if it.is_file() else None,
        )
        for it in path.rglob("*")
    }


@needs_root
def test_an_ext4_is_sound_and_has_what_is_in_it(make: Callable[..., Built], tree: Path, tmp_path: Path) -> None:
    (tree / "usr/share/many").mkdir()
    for number in range(500):
        (tree / f"usr/share/many/{number}").write_bytes(b"x" * number * 40)
    os.setxattr(tree / "usr/bin/x", "user.note", b"kept")
    image = tmp_path / "out"
    make(str(tree), output=Output.EXT4)
    assert run("e2fsck", "-f", "-n", str(image), timeout=60).status == 0
    assert run("debugfs", "-R", "cat usr/bin/x", str(image), timeout=60).stdout == b"#!/bin/sh\necho x\n"
    assert b"kept" in run("debugfs", "-R", "ea_get usr/bin/x user.note", str(image), timeout=60).stdout


def test_source_date_epoch(
    make: Callable[..., Built], tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000")
    archive = tmp_path / "a.tar"
    archive.write_bytes(tar([Member("usr/share/old", b"")]))  # of a time that is later
    make(str(tree), str(archive))
    assert {path.lstat().st_mtime for path in (tmp_path / "out").rglob("*")} == {1000}
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "tomorrow")
    with pytest.raises(Invalid, match="SOURCE_DATE_EPOCH"):
        make(str(tree), force=True)


def test_strict_refuses_what_would_be_left_out(make: Callable[..., Built], tree: Path, tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=r"/etc/x cannot be in the extension: a system extension does not carry /etc"):
        make(str(tree), strict=True)
    assert not (tmp_path / "out").exists()
    shutil.rmtree(tree / "etc")
    make(str(tree), strict=True)


def test_a_configuration_extension(make: Callable[..., Built], tree: Path, tmp_path: Path) -> None:
    built = make(str(tree), recipe=Recipe(ExtensionId("x", Kind.CONFEXT)))
    assert _files(tmp_path / "out") == {"etc/x", "etc/extension-release.d/extension-release.x"}
    assert "/usr/bin/x" in _dropped(built)


def test_the_result_may_lie_in_its_own_source(
    make: Callable[..., Built], tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / "a.tar"
    archive.write_bytes(tar([Member("usr/share/a", b"")]))
    monkeypatch.chdir(tree)
    for _ in range(2):
        built = make(str(archive), ".", out=tree / "x.raw", output=Output.SQUASHFS, force=True)
        assert _dropped(built) - {"/x.raw"} == {"/etc/x"}


def test_later_sources_lie_over_earlier_ones(make: Callable[..., Built], tree: Path, tmp_path: Path) -> None:
    upper, archive = tmp_path / "upper", tmp_path / "a.tar.gz"
    (upper / "usr/bin").mkdir(parents=True)
    (upper / "usr/bin/x").write_text("upper")
    archive.write_bytes(tar([Member("usr/bin/x", b"archive"), Member("lib/y", b"y")]))
    built = make(str(tree), str(upper), str(archive))
    assert (tmp_path / "out/usr/bin/x").read_text() == "archive"
    assert (tmp_path / "out/usr/lib/y").read_text() == "y"
    assert "1 files of /bin, /lib and the like are in /usr, as on hosts where these are links" in built.notices
    make(str(archive), str(tree), force=True)
    assert (tmp_path / "out/usr/bin/x").read_text().startswith("#!")


def test_an_image_is_flattened(make: Callable[..., Built], tmp_path: Path) -> None:
    upper = (Member("usr/bin/.wh.old"), Member("usr/bin/new", b"new", 0o755), Member("etc/x", b""))
    write_image(tmp_path / "oci", "v1", BASE, upper)
    built = make(f"oci:{tmp_path}/oci:v1")
    assert _files(tmp_path / "out/usr/bin") == {"sh", "new"}
    assert _dropped(built) == {"/etc/x", "/etc/os-release"}


def test_a_layout_is_an_image_and_may_be_relative(
    make: Callable[..., Built], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_image(tmp_path / "oci", "v1", BASE)
    monkeypatch.chdir(tmp_path)
    for source in ("oci", "./oci", "oci:oci:v1"):
        make(source, force=True)
        assert _files(tmp_path / "out/usr/bin") == {"sh", "old"}


def test_the_difference_of_two_images(make: Callable[..., Built], tmp_path: Path) -> None:
    upper = (
        *(Member("usr/bin/.wh.old"), Member("usr/bin/new", b"new", 0o755), Member("usr/bin/sh", b"sh", 0o755)),
        *(Member("opt/new/x", b""), Member("etc/new", b""), Member("etc/os-release", b"ID=base\n")),
    )
    write_image(tmp_path / "oci", "base", BASE)
    write_image(tmp_path / "oci", "upper", BASE, upper)
    built = make(f"oci:{tmp_path}/oci:upper", base=f"oci:{tmp_path}/oci:base")
    release = "usr/lib/extension-release.d/extension-release.x"
    assert _files(tmp_path / "out") == {"usr/bin/new", "opt/new/x", release}
    assert {it.path: it.reason for it in built.dropped} == {
        "/etc/new": "a system extension does not carry /etc; a configuration extension does: --kind confext",
        "/usr/bin/old": "it was deleted, and an extension cannot take away what the host has",
    }
    with pytest.raises(Invalid, match="nothing is left"):
        make(f"oci:{tmp_path}/oci:base", base=f"oci:{tmp_path}/oci:base", force=True)


def test_the_difference_of_two_directories(make: Callable[..., Built], tree: Path, tmp_path: Path) -> None:
    """Of which those who made them were different users."""
    base = tmp_path / "base"
    shutil.copytree(tree, base, symlinks=True)
    (base / "usr/lib/systemd/system/x.service").unlink()
    os.mkfifo(base / "fifo")
    os.mkfifo(tree / "fifo")
    make(str(tree), base=str(base))
    release = "usr/lib/extension-release.d/extension-release.x"
    assert _files(tmp_path / "out") == {"usr/lib/systemd/system/x.service", release}


def test_a_program_that_needs_the_system_fits_that_system_only(make: Callable[..., Built], tmp_path: Path) -> None:
    system = (Member("usr/lib/os-release", b"ID=theirs\nVERSION_ID=3\n"), Member("usr/bin/old", b""))
    write_image(tmp_path / "oci", "base", system)
    built = make("/usr/bin/env", origin=Origin.BINARY, base=f"oci:{tmp_path}/oci:base")
    assert (built.release["ID"], built.release["VERSION_ID"]) == ("theirs", "3")
    assert built.release_reason == "/usr/bin/env needs libc.so.6 of the host"


def test_an_os_release_file_goes_and_its_words_stay(make: Callable[..., Built], tmp_path: Path) -> None:
    program = Path("/usr/bin/env").read_bytes()
    system = (Member("usr/lib/os-release", b"ID=theirs\nVERSION_ID=3\n"), Member("usr/bin/x", program, 0o755))
    write_image(tmp_path / "oci", "v1", system)
    built = make(f"oci:{tmp_path}/oci:v1")
    assert (built.release["ID"], built.release["VERSION_ID"]) == ("theirs", "3")
    assert _dropped(built) == {"/usr/lib/os-release"}


def test_a_static_program_fits_every_system(make: Callable[..., Built], tmp_path: Path) -> None:
    built = make("/usr/sbin/ldconfig", origin=Origin.BINARY, strict=True)
    assert built.release["ID"] == "_any"
    assert "ARCHITECTURE" in built.release
    assert (tmp_path / "out/usr/bin/ldconfig").stat().st_mode & 0o777 == 0o755


def test_a_dynamic_program_is_told_with_its_libraries(make: Callable[..., Built]) -> None:
    (notice,) = make("/usr/bin/env", origin=Origin.BINARY).notices
    assert notice.startswith("/usr/bin/env is linked dynamically: it needs libc.so.6")
    with pytest.raises(Invalid, match="linked dynamically"):
        make("/usr/bin/env", origin=Origin.BINARY, strict=True, force=True)


def test_a_program_with_its_libraries_fits_every_system(
    make: Callable[..., Built], tmp_path: Path, tree: Path
) -> None:
    libraries = tree / "usr/lib/x"
    libraries.mkdir()
    shutil.copy("/usr/bin/env", tree / "usr/bin/env")
    listed = subprocess.run(["ldd", "/usr/bin/env"], capture_output=True, text=True, check=True).stdout
    for word in listed.split():
        if word.startswith("/"):
            shutil.copy(word, libraries)
    assert make(str(tree)).release["ID"] == "_any"
    assert (tmp_path / "out/usr/bin/env").exists()


@pytest.mark.parametrize(
    ("name", "size"), [("bin/env", 4), ("bin/env", 300), ("bin/env", 20_000), ("lib/libx.so.1", 20_000)]
)
def test_a_program_that_is_cut_off_is_told_and_fits_its_system_only(
    make: Callable[..., Built], tree: Path, name: str, size: int
) -> None:
    """Of which nobody can say what it needs; a library has no loader that would show it."""
    (tree / "usr" / name).write_bytes(Path("/usr/bin/env").read_bytes()[:size])
    (tree / "usr" / name).chmod(0o755)
    (tree / "usr/lib/ld-linux-x86-64.so.2").touch()
    (tree / "usr/lib/os-release").write_text("ID=theirs\nVERSION_ID=3\n")
    built = make(str(tree))
    assert (built.release["ID"], built.release["VERSION_ID"]) == ("theirs", "3")
    assert built.release_reason == f"what /usr/{name} needs of the host cannot be told"
    damaged = f"/usr/{name} is an ELF file that is damaged or cut off"
    assert built.notices == (f"{damaged}: fetch or build it again, or leave it out",)
    (tree / "usr/lib/os-release").unlink()
    shutil.rmtree(tree / "etc")
    with pytest.raises(Malformed, match=damaged):
        make(str(tree), strict=True, force=True)


def test_what_a_file_of_debugging_symbols_says_does_not_count(make: Callable[..., Built], tree: Path) -> None:
    (tree / "usr/lib/debug").mkdir()
    (tree / "usr/lib/debug/libx.so.debug").write_bytes(Path("/usr/bin/env").read_bytes()[:300])
    built = make(str(tree))
    assert (built.release["ID"], built.notices) == ("_any", ())


def test_a_kernel_module_takes_its_system(make: Callable[..., Built], tree: Path) -> None:
    (tree / "usr/lib/modules/6.1/extra").mkdir(parents=True)
    (tree / "usr/lib/modules/6.1/extra/x.ko.xz").write_bytes(b"x")
    built = make(str(tree))
    assert (built.release["ID"], built.release_reason) == (
        "debian",
        "/usr/lib/modules/6.1/extra/x.ko.xz is for the kernel 6.1",
    )


@pytest.mark.parametrize("size", [4, 300, 20_000])
def test_the_one_program_that_is_asked_for_must_be_whole(
    make: Callable[..., Built], tmp_path: Path, size: int
) -> None:
    (tmp_path / "file").write_bytes(Path("/usr/bin/env").read_bytes()[:size])
    with pytest.raises(Malformed, match="damaged or cut off"):
        make(str(tmp_path / "file"), origin=Origin.BINARY)


@pytest.mark.parametrize("content", [b"text\n", b""])
def test_no_program(make: Callable[..., Built], tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(Invalid, match="neither an ELF program nor a script"):
        make(str(tmp_path / "file"), origin=Origin.BINARY)


def test_packages(make: Callable[..., Built], tmp_path: Path) -> None:
    (tmp_path / "debs").mkdir()
    files = {"usr/bin/hi": "#!/bin/sh\n", "lib/systemd/system/hi.service": "[Service]\n", "etc/hi.conf": "x"}
    write_deb(tmp_path / "debs", "hi", files, postinst="#!/bin/sh\n")
    other = write_deb(tmp_path, "other", {"usr/share/other": "x"}, depends="libc6 (>= 2.3), hi, x-data | y-data")
    built = make(str(tmp_path / "debs"), str(other), origin=Origin.DEBS)
    names = {"usr/bin/hi", "usr/lib/systemd/system/hi.service", "usr/share/other"}
    assert _files(tmp_path / "out") == names | {"usr/lib/extension-release.d/extension-release.x"}
    assert _dropped(built) == {"/etc/hi.conf"}
    assert built.notices[:4] == (
        "package hi 1.0",
        "hi: not run: postinst",
        "package other 1.0",
        "other: needs packages that are not brought along: libc6, x-data",
    )


def test_packages_of_another_system(make: Callable[..., Built], tmp_path: Path) -> None:
    """By name, from the repositories of the base, and with what the base does not have."""
    repository = tmp_path / "repository"
    repository.mkdir()
    there = write_rpm(repository, "there", {"usr/lib/there": ""})
    write_rpm(repository, "library", {"usr/lib64/library": ""})
    write_rpm(repository, "hi", {"usr/bin/hi": "#!/bin/sh\n", "etc/hi.conf": ""}, requires=["library", "there"])
    write_repository(repository)
    write_system(tmp_path / "base", repository, [there])
    built = make("hi", origin=Origin.RPMS, base=str(tmp_path / "base"))
    release = "usr/lib/extension-release.d/extension-release.x"
    assert _files(tmp_path / "out") == {"usr/bin/hi", "usr/lib64/library", release}
    assert _dropped(built) == {"/etc/hi.conf"}
    assert built.notices[:2] == ("package hi 1.0-1", "package library 1.0-1")
    shutil.rmtree(tmp_path / "out")
    make(str(there), str(repository), origin=Origin.RPMS)
    assert _files(tmp_path / "out") == {"usr/bin/hi", "usr/lib/there", "usr/lib64/library", release}


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("broken", "broken.(deb|rpm)"),
        ("empty", "there is no \\*.(deb|rpm) in"),
        ("-o=Dir", "neither a directory, a file nor a package"),
        ("../../x", "neither a directory, a file nor a package"),
    ],
)
def test_no_packages(
    make: Callable[..., Built], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    for origin, suffix in {Origin.DEBS: ".deb", Origin.RPMS: ".rpm"}.items():
        (tmp_path / f"broken{suffix}").write_text("x")
        with pytest.raises((Invalid, Malformed), match=message):
            make(f"{word}{suffix}" if word == "broken" else word, origin=origin)


def test_a_release_file_that_is_brought_along(make: Callable[..., Built], tmp_path: Path) -> None:
    archive = tmp_path / "a.tar"
    archive.write_bytes(tar(extension("kubo", {"usr/bin/ipfs": "#!/bin/sh\n"}, "ID=_any\nSYSEXT_VERSION_ID=0.15\n")))
    built = make(str(archive))
    assert built.release == {"ID": "_any", "SYSEXT_VERSION_ID": "0.15"}
    assert built.notices == ("the release file was one of kubo",)
    assert _dropped(built) == set()
    second = tmp_path / "b.tar"
    second.write_bytes(tar(extension("other", {"usr/bin/other": "#!/bin/sh\n"})))
    built = make(str(archive), str(second), force=True)
    directory = "/usr/lib/extension-release.d/extension-release"
    assert _dropped(built) == {f"{directory}.kubo", f"{directory}.other"}


def test_what_is_there_is_replaced_only_if_asked(make: Callable[..., Built], tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "precious").write_text("x")
    with pytest.raises(Invalid, match="is there already"):
        make(str(tree))
    with pytest.raises(Invalid, match="is a directory that is no extension"):
        make(str(tree), force=True)
    assert (out / "precious").read_text() == "x"
    shutil.rmtree(out)
    out.write_text("x")
    make(str(tree), force=True)
    make(str(tree), force=True, output=Output.SQUASHFS)
    make(str(tree), force=True, output=Output.OCI)
    make(str(tree), force=True, output=Output.OCI)
    assert (out / "oci-layout").exists()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere/at/all", "names no transport"),
        ("./nowhere", "no such file or directory"),
        ("https://example.org/x.tar.gz", "not fetched for a build"),
        ("ftp://x/y", "unknown scheme"),
        ("file", "no tar archive"),
        ("x.deb", "give it as: --debs"),
        ("x.rpm", "give it as: --rpms"),
        ("oci:oci:artifact", "is an artifact"),
        ("fifo", "neither a file, a link nor a directory"),
    ],
)
def test_what_is_no_source(
    make: Callable[..., Built], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("text")
    (tmp_path / "x.deb").write_text("text")
    (tmp_path / "x.rpm").write_text("text")
    (tmp_path / "fifo").mkdir()
    os.mkfifo(tmp_path / "fifo/usr")
    write_artifact(tmp_path / "oci", "artifact", b"x")
    with pytest.raises(Invalid) as raised:
        make(source)
    assert message in f"{raised.value.message} {raised.value.hint}"
    assert list(tmp_path.glob(".livelayer-*")) == []


def test_a_missing_tool_is_named(
    make: Callable[..., Built], tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for output, tool in ((Output.SQUASHFS, "tar2sqfs"), (Output.EXT4, "mke2fs"), (Output.DDI, "systemd-repart 255")):
        with pytest.raises(Failed, match=tool):
            make(str(tree), output=output)
    for word, tool in (("hello", "apt-get"), (str(tree.parent / "x.deb"), "dpkg-deb")):
        with pytest.raises(Failed, match=tool):
            make(word, origin=Origin.DEBS)
    for word, tool in (("hello", "dnf"), (str(tree.parent / "x.rpm"), "rpm is not")):
        with pytest.raises(Failed, match=tool):
            make(word, origin=Origin.RPMS)


@needs_root
@pytest.mark.parametrize("output", [it for it in Output if it is not Output.DDI])
def test_nobody_needs_to_be_root(output: Output, tree: Path, paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others build the same bytes."""
    with tempfile.TemporaryDirectory(prefix="livelayer-", dir="/var/tmp") as scratch:
        monkeypatch.setenv("PATH", f"{newer_mkfs(Path(scratch, 'erofs'))}:{os.environ['PATH']}")
        shutil.copytree(tree, Path(scratch, "tree"), symlinks=True)
        for path in (Path(scratch), *Path(scratch, "tree").rglob("*")):
            os.chown(path, 65534, 65534, follow_symlinks=False)
        request = Request(
            Recipe(ExtensionId("x")), (Option(Origin.FROM, (f"{scratch}/tree",)),), output, Path(scratch, "root")
        )
        ours = build(request, paths)
        with _nobody():
            theirs = build(replace(request, out=Path(scratch, "nobody")), Paths(Path("/")))
        if output is not Output.DIRECTORY:  # which is theirs
            assert theirs.digest == ours.digest
        if output is not Output.EROFS:  # whose newer program here takes root
            assert Path(scratch, "nobody").stat().st_uid == 65534


@needs_root
def test_files_of_other_users_take_root(make: Callable[..., Built], tmp_path: Path, paths: Paths) -> None:
    with tempfile.TemporaryDirectory(prefix="livelayer-", dir="/var/tmp") as scratch:
        archive = Path(scratch, "a.tar")
        with tarfile.open(archive, "w") as members:
            info = tarfile.TarInfo("usr/x")
            info.uid = 5
            members.addfile(info)
        make(str(archive))
        assert (tmp_path / "out/usr/x").stat().st_uid == 5
        os.chown(scratch, 65534, 65534)
        request = Request(
            Recipe(ExtensionId("x")), (Option(Origin.FROM, (str(archive),)),), Output.EXT4, Path(scratch, "x")
        )
        with (
            _nobody(),
            pytest.raises(Invalid, match="/usr/x belongs to user 5 and group 0, which only root can write"),
        ):
            build(request, paths)


@contextmanager
def _nobody() -> Iterator[None]:
    os.setegid(65534)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
