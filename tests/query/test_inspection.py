"""From every kind of source to facts; nothing is left behind, and what is hostile is refused with a message."""

from __future__ import annotations

import gzip
import lzma
import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Final

import pytest

from reconciler.errors import Failed, Invalid
from reconciler.host.base.digest import file_digest
from reconciler.host.sources import local
from reconciler.model.content.format import Payload
from reconciler.model.content.limits import Limits
from reconciler.model.content.ociread import parse_platform
from reconciler.model.facts.extensionfacts import Clash
from reconciler.model.fit.filekind import FileKind
from reconciler.model.kind import Kind
from reconciler.model.lint.rule import Severity, lint
from reconciler.model.lint.rules import RULES
from reconciler.paths import Paths
from reconciler.query.inspection import Request, fits, gather
from tests.host.hostile import kinds, links, names
from tests.rig import diskimages
from tests.rig.diskimages import extension_tree, make_tree
from tests.rig.images import Member, command, confext, tar, write_artifact, write_image, write_index
from tests.rig.webserver import WebServer

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from reconciler.model.facts.extensionfacts import ExtensionFacts
    from tests.host.hostile.cases import Case

ARM64_ROOT: Final = "b921b045-1df0-41c3-af44-4c6f280d3fae"
SCRIPT: Final = "#!/bin/sh\necho 'x runs'\n"


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where everything is fetched and unpacked; empty again afterwards, whatever happened."""
    directory = tmp_path / "scratch"
    directory.mkdir()
    monkeypatch.setenv("TMPDIR", str(directory))
    yield directory
    assert list(directory.iterdir()) == []


def _gather(subject: object, paths: Paths, **request: object) -> ExtensionFacts:
    return gather(Request(str(subject), **request), paths)  # type: ignore[arg-type]


def _files(facts: ExtensionFacts) -> set[str]:
    return {path for path, file in facts.files.items() if file.kind is not FileKind.DIRECTORY}


COMMAND: Final = {"usr/bin/x", "usr/lib/extension-release.d/extension-release.x"}


def test_a_directory(tmp_path: Path, paths: Paths) -> None:
    tree = extension_tree(tmp_path / "tree", "x")
    facts = _gather(tree, paths)
    assert (facts.name, facts.kind, facts.origin.payload) == ("x", Kind.SYSEXT, Payload.TREE)
    assert facts.contents.releases == {"x": {"ID": "_any"}}
    assert facts.contents.units == ("x.service",)
    assert facts.origin.digest
    assert _gather(f"file://{tree}", Paths()).origin.digest == facts.origin.digest
    (tree / "usr/bin/x").write_text("changed")
    assert _gather(tree, paths).origin.digest != facts.origin.digest


def test_a_directory_is_not_read_for_a_digest_that_nobody_asks_for(
    tmp_path: Path, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = extension_tree(tmp_path / "tree", "x")
    wrong = f"sha256:{'0' * 64}"
    with pytest.raises(Invalid, match="has the digest"):
        _gather(tree, paths, digest=wrong, shows_digest=False)
    monkeypatch.setattr(local, "file_digest", lambda _: pytest.fail("a file was read for its digest"))
    facts = _gather(tree, paths, shows_digest=False)
    assert (facts.name, facts.origin.digest) == ("x", None)


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_a_tar_archive(compress: type[bytes], tmp_path: Path, paths: Paths) -> None:
    archive = tmp_path / "anything"
    archive.write_bytes(compress(tar(command("x", "x runs"))))
    facts = _gather(archive, paths)
    assert facts.origin.payload is Payload.TAR
    assert _files(facts) == COMMAND
    assert facts.files["usr/bin/x"].size == len(SCRIPT)
    assert (facts.origin.digest, facts.origin.packed) == (file_digest(archive), archive.stat().st_size)


def test_a_configuration_extension(tmp_path: Path, paths: Paths) -> None:
    archive = tmp_path / "c.tar"
    archive.write_bytes(tar(confext("c", {"etc/c.conf": "c"})))
    facts = _gather(archive, paths)
    assert (facts.name, facts.kind) == ("c", Kind.CONFEXT)


@pytest.mark.commands
@pytest.mark.parametrize("compress", [bytes, gzip.compress])
@pytest.mark.parametrize(("name", "stem"), [("x.raw", "x"), ("y_1.sysext.raw", "y_1"), ("x.squashfs", None)])
def test_an_image_file(compress: type[bytes], name: str, stem: str | None, tmp_path: Path, paths: Paths) -> None:
    image = diskimages.squashfs(extension_tree(tmp_path / "tree", "x"), tmp_path / "image")
    file = tmp_path / (name + (".gz" if compress is not bytes else ""))
    file.write_bytes(compress(image.read_bytes()))
    facts = _gather(file, paths)
    assert facts.origin.payload is Payload.IMAGE
    assert (facts.name, facts.origin.stem) == ("x", stem)
    assert str(facts.origin.image) == "squashfs"
    assert facts.files["usr/bin/x"].program


@pytest.mark.commands
def test_container_images(tmp_path: Path, paths: Paths) -> None:
    layout = tmp_path / "layout"
    digest = write_image(layout, "v1", command("x", "old"), [Member("usr/bin/.wh.x"), *command("y", "y runs")])
    facts = _gather(f"oci:{layout}:v1", paths)
    assert (facts.origin.digest, facts.origin.index_digest) == (digest, None)
    assert facts.origin.payload is Payload.LAYERS
    assert "usr/bin/x" not in facts.files
    assert sorted(facts.contents.releases) == ["x", "y"]


@pytest.mark.commands
def test_an_image_for_another_platform(tmp_path: Path, paths: Paths) -> None:
    layout = tmp_path / "layout"
    index = write_index(layout, "v1", {"amd64": command("x", "amd64"), "arm64": command("arm", "arm64")})
    facts = _gather(f"oci:{layout}:v1", paths, platform=parse_platform("linux/arm64"))
    assert facts.name == "arm"
    assert facts.origin.index_digest == index
    assert facts.origin.digest not in {None, index}


@pytest.mark.commands
def test_an_artifact(tmp_path: Path, paths: Paths) -> None:
    image = diskimages.erofs(extension_tree(tmp_path / "tree", "x"), tmp_path / "image")
    write_artifact(tmp_path / "layout", "v1", image.read_bytes())
    facts = _gather(f"oci:{tmp_path}/layout:v1", paths)
    assert (facts.name, facts.origin.payload) == ("x", Payload.IMAGE)
    write_artifact(tmp_path / "layout", "v2", b"one", b"two")
    with pytest.raises(Invalid, match="has 2 files, not one"):
        _gather(f"oci:{tmp_path}/layout:v2", paths)


LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
ARCHIVES: Final = [
    (f"{LAYER}+gzip", "x", gzip.compress),  # as `oras push REF DIR` makes it
    (LAYER, "x.tar", bytes),
    (LAYER, "", bytes),
    (f"{LAYER}+zstd", "x", zstd.compress),
    ("application/octet-stream", "x.tar.xz", lzma.compress),
    ("application/octet-stream", "", gzip.compress),
]


@pytest.mark.commands
@pytest.mark.parametrize(("media_type", "title", "compress"), ARCHIVES)
def test_an_artifact_that_is_an_archive(
    media_type: str, title: str, compress: Callable[[bytes], bytes], tmp_path: Path, paths: Paths
) -> None:
    content = compress(tar(command("x", "x runs")))
    digest = write_artifact(tmp_path / "layout", "v1", content, media_type=media_type, title=title)
    facts = _gather(f"oci:{tmp_path}/layout:v1", paths)
    assert _files(facts) == COMMAND
    assert (facts.origin.digest, facts.origin.payload, facts.origin.packed) == (digest, Payload.TAR, len(content))
    assert not {it.rule.severity for it in lint(facts, RULES)} & {Severity.ERROR}


@pytest.mark.commands
@pytest.mark.parametrize("media_type", ["application/octet-stream", LAYER, f"{LAYER}+gzip"])
@pytest.mark.parametrize(("suffix", "compress"), [("", bytes), (".gz", gzip.compress), (".zst", zstd.compress)])
def test_an_artifact_that_is_an_image_file(
    media_type: str, suffix: str, compress: Callable[[bytes], bytes], tmp_path: Path, paths: Paths
) -> None:
    """Whatever media type a tool has given it: some call everything a layer."""
    image = diskimages.squashfs(extension_tree(tmp_path / "tree", "x"), tmp_path / "image").read_bytes()
    title = f"x.raw{suffix}"
    write_artifact(tmp_path / "layout", "v1", compress(image), media_type=media_type, title=title)
    facts = _gather(f"oci:{tmp_path}/layout:v1", paths)
    assert (facts.name, facts.origin.stem, facts.origin.payload) == ("x", "x", Payload.IMAGE)


@pytest.mark.commands
def test_a_container_image_that_carries_an_image_file(tmp_path: Path, paths: Paths) -> None:
    image = diskimages.squashfs(extension_tree(tmp_path / "tree", "x"), tmp_path / "image").read_bytes()
    write_image(tmp_path / "layout", "v1", [Member("images/x.raw", image)])
    write_image(tmp_path / "layout", "v2", [Member("images/x.raw", image), Member("README")])
    write_image(tmp_path / "layout", "v3", [Member("images/x.raw", b"text")])
    write_image(tmp_path / "layout", "v4", [Member("x.raw", b"old"), Member("x.raw", image)])
    facts = _gather(f"oci:{tmp_path}/layout:v1", paths)
    assert (facts.name, facts.origin.stem, facts.origin.payload) == ("x", "x", Payload.IMAGE)
    assert facts.contents.units == ("x.service",)
    assert _gather(f"oci:{tmp_path}/layout:v2", paths).contents.misplaced == ("README", "images")
    with pytest.raises(Invalid, match="no file system or partition table"):
        _gather(f"oci:{tmp_path}/layout:v3", paths)
    facts = _gather(f"oci:{tmp_path}/layout:v4", paths)  # takes more than one pass
    assert (facts.name, facts.origin.payload) == ("x", Payload.IMAGE)


def test_the_web(tmp_path: Path, paths: Paths) -> None:
    content = gzip.compress(tar(command("x", "x runs")))
    (tmp_path / "x.tar.gz").write_bytes(content)
    digest = file_digest(tmp_path / "x.tar.gz")
    with WebServer(tmp_path) as web:
        facts = _gather(f"{web.url}/x.tar.gz", paths, digest=digest)
        assert (facts.name, facts.origin.payload, facts.origin.digest) == ("x", Payload.TAR, digest)
        with pytest.raises(Invalid, match="without a digest it needs a signed SHA256SUMS"):
            _gather(f"{web.url}/x.tar.gz", paths)


def test_what_takes_more_than_one_pass(tmp_path: Path, paths: Paths) -> None:
    """A name that occurs twice: the last one counts."""
    archive = tmp_path / "x.tar"
    archive.write_bytes(tar([*command("x", "old"), *command("x", "x runs")]))
    facts = _gather(archive, paths)
    assert _files(facts) == COMMAND
    assert facts.files["usr/bin/x"].size == len(SCRIPT)


def test_digests_are_checked(tmp_path: Path, paths: Paths) -> None:
    archive = tmp_path / "x.tar"
    archive.write_bytes(tar(command("x", "x runs")))
    assert _gather(archive, paths, digest=file_digest(archive)).name == "x"
    for subject in (archive, extension_tree(tmp_path / "tree", "x")):
        with pytest.raises(Invalid, match=f"has the digest sha256:.*, not sha256:{'0' * 64}"):
            _gather(subject, paths, digest=f"sha256:{'0' * 64}")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"hsqs" + bytes(8), "cut off within its squashfs superblock"),
        (b"text", "no file system or partition table"),
        (tar(command("x", "x runs"))[:520], "the tar archive is cut off"),
        (tar([Member("../x")]), "x"),
        (tar([Member("usr/x", kind=b"3")]), "usr/x: is a character device"),
        (gzip.compress(tar(command("x", "x runs")), mtime=0)[:60], "cut off"),
        (tar([Member("usr/x", pax={"SCHILY.xattr.trusted.overlay.opaque": "y"})]), "would change the overlay"),
    ],
)
def test_what_is_hostile_or_broken(content: bytes, message: str, tmp_path: Path, paths: Paths) -> None:
    file = tmp_path / "x"
    file.write_bytes(content)
    with pytest.raises(Invalid, match=message):
        _gather(file, paths)


@pytest.mark.parametrize("cases", [names.CASES, links.CASES, kinds.CASES], ids=["names", "links", "kinds"])
def test_hostile_archives(cases: tuple[Case, ...], tmp_path: Path, paths: Paths) -> None:
    """What is refused when it is unpacked is refused here, in the same words; what is not is told."""
    file = tmp_path / "x.tar"
    for case in cases:
        packed = case.build("/outside")
        if len(packed) > 1:
            continue
        file.write_bytes(packed[0].blob)
        if case.tree is None:
            with pytest.raises(Invalid) as caught:
                _gather(file, paths, limits=case.limits)
            assert case.refused in caught.value.message
        else:
            assert len(_files(_gather(file, paths, limits=case.limits))) <= len(case.tree), case.name


def test_limits_hold(tmp_path: Path, paths: Paths) -> None:
    tree = extension_tree(tmp_path / "tree", "x")
    archive = tmp_path / "x.tar"
    archive.write_bytes(tar(command("x", "x runs")))
    for subject in (tree, archive):
        with pytest.raises(Invalid, match="files"):
            _gather(subject, paths, limits=Limits(members=1))


def test_hostile_directories(tmp_path: Path, paths: Paths) -> None:
    """What no source may have is a finding here; no link is followed, no FIFO opened."""
    tree = make_tree(
        tmp_path / "tree", {"usr/lib/extension-release.d": f"-> {tmp_path}", "usr/a\x1b[2J": "-> usr/a\nb"}
    )
    os.mkfifo(tree / "usr/fifo")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tree / "usr/socket"))
    facts = _gather(tree, paths)
    assert facts.origin.digest is None
    assert facts.contents.releases == {}
    assert all(path.isprintable() and file.target.isprintable() for path, file in facts.files.items())
    found = {(finding.rule.id, finding.path) for finding in lint(facts, RULES)}
    assert found >= {("LL001", None), ("LL206", "usr/fifo"), ("LL206", "usr/socket")}


@pytest.mark.parametrize(
    ("subject", "message"),
    [
        ("/there/is/nothing", "there is no such file or directory"),
        ("file:///there/is/nothing", "there is no such file or directory"),
        ("ftp://host/file", "unknown scheme ftp://"),
        ("oci:relative", "needs an absolute path"),
        ("/dev/null", "neither a file nor a directory"),
        ("n" * 300, "File name too long"),
    ],
)
def test_wrong_subjects(subject: str, message: str) -> None:
    with pytest.raises((Invalid, Failed), match=message):
        _gather(subject, Paths())


def test_what_the_host_has(tmp_path: Path, paths: Paths) -> None:
    make_tree(
        paths.root,
        {
            "usr/bin/y": "",
            "usr/bin/python3": "",
            "usr/sbin": "-> bin",
            "opt/x": "",
            "usr/lib/shared/z": "",
            "usr/lib/kept/z": "",
            "usr/share/z": "",
        },
    )
    tree = extension_tree(
        tmp_path / "tree",
        "x",
        {
            "usr/bin/y": "#!/usr/bin/python3\n",
            "usr/bin/z": "#!/usr/bin/perl\n",
            "usr/sbin/y": "",
            "usr/lib/shared/new": "",
            "opt/x": "-> /usr/bin/python3",
            "usr/lib/kept": "-> shared",
            "usr/share/new": "",
        },
    )
    (tree / "usr/share").chmod(0o700)
    facts = _gather(tree, paths)
    assert facts.host.is_known
    assert facts.host.hidden == ("/opt/x", "/usr/bin/y")
    assert facts.host.clashes == (Clash("/usr/lib/kept", FileKind.DIRECTORY), Clash("/usr/sbin", FileKind.SYMLINK))
    assert [it.path for it in facts.host.narrowed] == ["/usr/share"]
    assert facts.host.has == {"/usr/bin/python3", "/usr/lib/shared"}
    found = {(finding.rule.id, finding.path) for finding in lint(facts, RULES)}
    assert found >= {
        ("LL103", "usr/lib/kept"),
        ("LL103", "usr/sbin"),
        ("LL211", "usr/share"),
        ("LL106", "usr/bin/y"),
        ("LL405", "usr/bin/z"),
    }
    assert "LL405" not in {rule for rule, path in found if path == "usr/bin/y"}


def test_which_hosts_it_fits(tmp_path: Path, paths: Paths) -> None:
    release = "ID=debian\nVERSION_ID=12\nARCHITECTURE=x86-64\n"
    files: dict[str, str | None] = {"usr/lib/extension-release.d/extension-release.x": release}
    facts = _gather(extension_tree(tmp_path / "tree", "x", files), paths)
    other = tmp_path / "os-release"
    other.write_text("ID=debian\nVERSION_ID=13\n")
    own, newer, arm = fits(facts, paths, [(other, 257, None), (other, None, "arm64")])
    assert (own.fits, own.reason) == (True, None)
    assert own.host == "this host (debian 12, systemd 252, x86-64)"
    assert (newer.fits, newer.reason) == (False, "VERSION_ID=12, it has 13")
    assert newer.host == f"{other} (debian 13, systemd 257, x86-64)"
    assert (arm.fits, arm.reason) == (False, "ARCHITECTURE=x86-64, it is arm64")
    with pytest.raises(Invalid, match="cannot be read"):
        fits(facts, paths, [(tmp_path / "none", None, None)])
    os.truncate(other, 12 << 30)
    with pytest.raises(Invalid, match="File too large"):
        fits(facts, paths, [(other, None, None)])


def test_a_host_without_systemd(tmp_path: Path) -> None:
    facts = _gather(extension_tree(tmp_path / "tree", "x"), Paths(tmp_path))
    other = tmp_path / "os-release"
    other.write_text("ID=fedora\n")
    own, fedora = fits(facts, Paths(tmp_path), [(other, None, None)])
    assert own.fits is None
    assert fedora.fits is True
    assert "systemd 262" in fedora.host


def test_confexts_take_a_newer_systemd(tmp_path: Path, paths: Paths) -> None:
    archive = tmp_path / "c.tar"
    archive.write_bytes(tar(confext("c", {"etc/c.conf": "c"})))
    (own,) = fits(_gather(archive, paths), paths, [])
    assert own.reason == "a confext takes systemd 254, and this host has 252"


@pytest.mark.commands
def test_a_disk_image_for_another_architecture(tmp_path: Path, paths: Paths) -> None:
    content = diskimages.erofs(extension_tree(tmp_path / "tree", "x"), tmp_path / "content").read_bytes()
    image = tmp_path / "x.raw"
    image.write_bytes(diskimages.disk([diskimages.Part(ARM64_ROOT, content)]))
    found = _gather(image, paths)
    assert found.origin.image
    assert "usr/lib/extension-release.d/extension-release.x" in found.files


@pytest.mark.commands
@pytest.mark.parametrize("form", ["gnu", "pax"])
@pytest.mark.parametrize("size", [12 << 30, 60 << 10])
def test_a_release_file_with_a_hole_is_judged_as_if_it_were_unpacked(
    paths: Paths, tmp_path: Path, form: str, size: int
) -> None:
    tree = extension_tree(tmp_path / "tree", "x")
    release = tree / "usr/lib/extension-release.d/extension-release.x"
    with release.open("r+b") as file:
        file.seek(32 << 10)
        file.write(b"\nSYSEXT_LEVEL=1\n")
        file.truncate(size)
    archive = tmp_path / "x.tar"
    subprocess.run(["tar", "--sparse", f"--format={form}", "-C", str(tree), "-cf", str(archive), "usr"], check=True)
    facts = _gather(archive, paths)
    if size > 64 << 10:
        with pytest.raises(Invalid, match="more than 64 KiB"):
            assert facts.contents.releases
    else:
        assert facts.files["usr/lib/extension-release.d/extension-release.x"].content == release.read_bytes()
        assert facts.contents == _gather(tree, paths).contents
