"""Each source and each format merged for real: what is fetched, what is made of it, and what never gets that far."""

from __future__ import annotations

import gzip
import hashlib
import json
import lzma
import subprocess
from typing import TYPE_CHECKING

import pytest
import zstandard

from tests.rig import diskimages
from tests.rig.images import Member, command, extension, tar
from tests.rig.openpgp import KeyOwner
from tests.rig.webserver import WebServer, certificate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.system.bench import Bench

pytestmark = [pytest.mark.system, pytest.mark.commands]

PACKED: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda content: content,
    "gz": lambda content: gzip.compress(content, 1),
    "xz": lambda content: lzma.compress(content, preset=0),
    "zst": lambda content: zstandard.ZstdCompressor().compress(content),
}


def _image(scratch: Path, kind: str, name: str = "tool") -> bytes:
    """An image file of an extension whose command says its own name."""
    tree = diskimages.extension_tree(scratch / f"{name}-tree", name)
    if kind != "disk":
        return diskimages.MAKERS[kind](tree, scratch / f"{name}.{kind}").read_bytes()
    root = diskimages.squashfs(tree, scratch / f"{name}.squashfs").read_bytes()
    return diskimages.disk([diskimages.Part(diskimages.ROOT, root)])


def _want(bench: Bench, **fields: str) -> None:
    inner = ", ".join(f"{key}: {value if value == 'true' else repr(value)}" for key, value in fields.items())
    bench.configure(f"settings: {{allow_empty: true}}\nextensions: {{tool: {{{inner}}}}}\n")


def _placed(bench: Bench) -> list[str]:
    return sorted(path.name for path in bench.namespace.path("/var/lib/extensions").iterdir())


@pytest.mark.by_lot(2)
@pytest.mark.parametrize("kind", ["squashfs", "erofs", "ext4", "btrfs", "disk"])
def test_an_artifact_with_an_image_file_is_merged(bench: Bench, tmp_path: Path, kind: str) -> None:
    _want(bench, source=bench.push_artifact("v1", _image(tmp_path, kind)), format="raw")
    bench.livelayer("apply")
    assert bench.says("tool") == "tool"
    assert _placed(bench) == ["tool.raw"]
    assert bench.livelayer("plan").stdout == "in sync\n"
    _want(bench, source=bench.push_artifact("v1", _image(tmp_path, kind)), format="auto")
    assert bench.livelayer("plan").stdout == "in sync\n"
    bench.configure("settings: {allow_empty: true}\nextensions: {}\n")
    bench.livelayer("apply")
    assert (bench.merged(), _placed(bench)) == ([], [])


@pytest.mark.by_lot(2)
@pytest.mark.parametrize("packing", PACKED)
def test_an_image_file_may_be_compressed(bench: Bench, tmp_path: Path, packing: str) -> None:
    packed = PACKED[packing](_image(tmp_path, "erofs"))
    _want(bench, source=bench.push_artifact(packing, packed), format="raw")
    bench.livelayer("apply")
    assert bench.says("tool") == "tool"


def test_a_container_image_may_carry_an_image_file(bench: Bench, tmp_path: Path) -> None:
    image = _image(tmp_path, "squashfs")
    _want(bench, source=bench.push("sole", [Member("srv/tool.img", image)]), format="raw")
    bench.livelayer("apply")
    assert bench.says("tool") == "tool"
    _want(bench, source=bench.push("two", [Member("a.raw", image), Member("readme", b"x")]), format="raw")
    told = bench.livelayer("apply", status=1).stderr
    assert "the image has 2 files; format: raw takes an image whose only file is an image file" in told
    assert bench.says("tool") == "tool"


@pytest.mark.by_lot(2)
@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda image: image[:512], "cut off"),
        (lambda _image: b"", "empty"),
        (lambda _image: b"<html>not found</html>" * 100, "HTML"),
        (lambda image: gzip.compress(image)[:-20], "cut off"),
    ],
    ids=["truncated", "empty", "web page", "truncated gzip"],
)
def test_a_bad_image_never_reaches_the_search_directory(
    bench: Bench, tmp_path: Path, spoil: Callable[[bytes], bytes], words: str
) -> None:
    good = bench.push("good", command("good", "good"), name="good")
    bad = bench.push_artifact("bad", spoil(_image(tmp_path, "squashfs")))
    bench.configure(f"extensions: {{good: {{source: '{good}'}}, tool: {{source: '{bad}', format: raw}}}}\n")
    told = bench.livelayer("apply", status=1).stderr
    assert words in told
    assert (bench.says("good"), _placed(bench)) == ("good", ["good"])
    assert bench.status()["tool"]["state"] == "failed"
    staging = bench.namespace.path("/var/lib/livelayer/staging")
    assert list(staging.iterdir()) == []


def test_what_an_image_file_holds_is_judged_before_it_is_placed(bench: Bench, tmp_path: Path) -> None:
    _want(bench, source=bench.push_artifact("other", _image(tmp_path, "ext4", "other")), format="raw")
    told = bench.livelayer("apply", status=1).stderr
    assert "the content's release file is extension-release.other, not extension-release.tool" in told
    assert _placed(bench) == []
    _want(bench, source=bench.push_artifact("other", _image(tmp_path, "ext4", "other")), format="raw", rename="true")
    assert "rename: true cannot change an image file" in bench.livelayer("apply", status=1).stderr


def test_an_artifact_cannot_be_a_directory(bench: Bench, tmp_path: Path) -> None:
    _want(bench, source=bench.push_artifact("v1", _image(tmp_path, "squashfs")), format="directory")
    told = bench.livelayer("plan", status=1).stderr
    assert "the source is an image file, which cannot be had as directory" in told
    assert "set format: raw" in told


def _extension(node: Path, name: str = "tool") -> Path:
    """A directory on the node with an extension in it."""
    return diskimages.extension_tree(node / "srv/tree", name)


def test_a_directory_of_the_node_is_an_extension(bench: Bench, tmp_path: Path) -> None:
    tree = _extension(tmp_path)
    _want(bench, source=f"file://{tree}", pull="always")
    bench.livelayer("apply", "--offline")
    assert bench.says("tool") == "tool"
    assert bench.livelayer("plan").stdout == "in sync\n"
    (tree / "usr/bin/tool").write_text("#!/bin/sh\necho changed\n")
    assert bench.says("tool") == "tool"
    bench.livelayer("apply")
    assert bench.says("tool") == "changed"


@pytest.mark.parametrize("packing", PACKED)
def test_a_tar_of_the_node_is_an_extension(bench: Bench, tmp_path: Path, packing: str) -> None:
    archive = tmp_path / "tool.archive"
    archive.write_bytes(PACKED[packing](tar(command("tool", f"from a tar, {packing}"))))
    _want(bench, source=f"file://{archive}")
    bench.livelayer("apply")
    assert bench.says("tool") == f"from a tar, {packing}"
    assert _placed(bench) == ["tool"]


def test_an_image_file_of_the_node_is_an_extension(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "any name.tar"
    path.write_bytes(gzip.compress(_image(tmp_path, "squashfs")))
    _want(bench, source=f"file://{tmp_path}/any%20name.tar", format="auto")
    plan = json.loads(bench.livelayer("plan", "--json", status=2).stdout)
    assert plan["actions"][0]["reason"] == "not in the store; raw, auto: the source is an image file"
    bench.livelayer("apply")
    assert bench.says("tool") == "tool"
    assert "raw (auto: the source is an image file)" in bench.livelayer("explain", "tool").stdout


def test_a_pinned_file_must_be_the_one(bench: Bench, tmp_path: Path) -> None:
    archive = tmp_path / "tool.tar"
    archive.write_bytes(tar(command("tool", "tool")))
    wrong = "sha256:" + "0" * 64
    _want(bench, source=f"file://{archive}", digest=wrong)
    assert f"not to the pinned {wrong}" in bench.livelayer("apply", status=1).stderr
    _want(bench, source=f"file://{archive}", digest=f"sha256:{hashlib.sha256(archive.read_bytes()).hexdigest()}")
    bench.livelayer("apply")
    assert bench.says("tool") == "tool"


def test_a_file_that_is_neither_is_told_as_what_it_is(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("<!DOCTYPE html><html>not found</html>")
    _want(bench, source=f"file://{path}", format="auto")
    assert "HTML" in bench.livelayer("apply", status=1).stderr
    _want(bench, source=f"file://{path}", format="directory")
    told = bench.livelayer("apply", status=1).stderr
    assert "the source is an image file, which cannot be had as directory" in told
    _want(bench, source=f"file://{tmp_path}/nothing.raw", format="raw")
    assert "there is no such file or directory" in bench.livelayer("apply", status=1).stderr


def test_a_tag_is_chosen_by_a_range_of_versions(bench: Bench) -> None:
    tags = ("v1.28.9", "v1.29.3", "v1.29.10", "v1.30.0", "latest")
    sources = [bench.push(tag, command("tool", tag), name="versions") for tag in tags]
    repository = sources[0].rpartition(":")[0]
    _want(bench, source=repository, version=">=1.29,<1.30")
    bench.livelayer("apply")
    assert bench.says("tool") == "v1.29.10"
    assert "version   v1.29.10" in bench.livelayer("explain", "tool").stdout
    bench.push("v1.29.11", command("tool", "v1.29.11"), name="versions")
    bench.livelayer("apply")
    assert bench.says("tool") == "v1.29.10"
    _want(bench, source=repository, version=">=1.29,<1.30", pull="always")
    bench.livelayer("apply")
    assert bench.says("tool") == "v1.29.11"
    _want(bench, source=repository, version=">=2")
    told = bench.livelayer("apply", status=1).stderr
    assert "fits >=2; the highest is v1.30.0" in told
    assert bench.says("tool") == "v1.29.11"


def test_new_content_waits_until_it_is_old_enough(bench: Bench) -> None:
    source = bench.push("moving", command("tool", "first"))
    _want(bench, source=source, pull="always", min_age="3d")
    told = bench.livelayer("apply", status=1).stderr
    assert "may be used from" in told
    assert bench.status()["tool"]["state"] == "pending"
    _age(bench, days=4)
    bench.livelayer("apply")
    assert bench.says("tool") == "first"
    bench.push("moving", command("tool", "second"))
    bench.livelayer("apply")
    assert bench.says("tool") == "first"
    _age(bench, days=2)
    bench.livelayer("apply")
    assert bench.says("tool") == "first"
    _age(bench, days=2)
    bench.livelayer("apply")
    assert bench.says("tool") == "second"


def _age(bench: Bench, days: int) -> None:
    """Let time pass for what was seen."""
    record = bench.namespace.path("/var/lib/livelayer/first-seen.json")
    seen = json.loads(record.read_text())
    older = {name: {digest: when - days * 86400 for digest, when in times.items()} for name, times in seen.items()}
    record.write_text(json.dumps(older))


def test_an_unpinned_minimum_age_does_not_hold_up_a_pin(bench: Bench) -> None:
    source = bench.push("pinned", command("tool", "pinned"))
    digest = json.loads(
        subprocess.run(["skopeo", "inspect", "--tls-verify=false", source], check=True, capture_output=True).stdout
    )["Digest"]
    _want(bench, source=source, digest=digest, min_age="3d")
    bench.livelayer("apply")
    assert bench.says("tool") == "pinned"


def test_several_extensions_are_fetched_at_once_and_fail_one_by_one(bench: Bench) -> None:
    sources = {f"tool{n}": bench.push("v1", command(f"tool{n}", f"tool{n}"), name=f"many{n}") for n in range(6)}
    sources["tool3"] = sources["tool3"].replace(":v1", ":v2")
    bench.want(**sources)
    told = bench.livelayer("apply", status=1).stderr
    assert "tool3" in told
    assert bench.merged() == ["tool0", "tool1", "tool2", "tool4", "tool5"]
    assert [line.split()[2] for line in told.splitlines() if line.startswith("done: fetch")] == bench.merged()


def test_limits_hold(bench: Bench) -> None:
    source = bench.push("v1", extension("tool", {"usr/share/large": "x" * 100_000}))
    bench.configure(f"settings: {{limits: {{size: 50K}}}}\nextensions: {{tool: {{source: '{source}'}}}}\n")
    told = bench.livelayer("apply", status=1).stderr
    assert "usr/share/large" in told
    assert "raise settings.limits.size" in told
    assert _placed(bench) == []


def test_an_update_to_another_format_replaces_the_link(bench: Bench, tmp_path: Path) -> None:
    directory = bench.push("v1", command("tool", "directory"))
    _want(bench, source=directory)
    bench.livelayer("apply")
    assert (bench.says("tool"), _placed(bench)) == ("directory", ["tool"])
    _want(bench, source=bench.push_artifact("v2", _image(tmp_path, "erofs")), format="raw")
    bench.livelayer("apply")
    assert (bench.says("tool"), _placed(bench)) == ("tool", ["tool.raw"])
    _want(bench, source=directory)
    bench.livelayer("apply")
    assert (bench.says("tool"), _placed(bench)) == ("directory", ["tool"])


@pytest.fixture
def web(tmp_path: Path) -> Iterator[WebServer]:
    """A web server with an image file and a tar archive."""
    www = tmp_path / "www"
    www.mkdir()
    (www / "tool.raw.gz").write_bytes(gzip.compress(_image(tmp_path, "squashfs")))
    (www / "tool.tar").write_bytes(tar(command("tool", "from the web")))
    with WebServer(www, tls=certificate(tmp_path / "tls")) as running:
        yield running


def _apply(bench: Bench, web: WebServer, status: int = 0) -> str:
    trusted = str(web.directory.parent / "tls/server.pem")
    return bench.livelayer("apply", status=status, SSL_CERT_FILE=trusted).stderr


def test_a_pinned_file_of_the_web_is_an_extension(bench: Bench, web: WebServer) -> None:
    digest = f"sha256:{hashlib.sha256((web.directory / 'tool.raw.gz').read_bytes()).hexdigest()}"
    source = web.url.replace("//", "//user:secret@") + "/tool.raw.gz?token=x"
    _want(bench, source=source, digest=digest, format="raw")
    told = _apply(bench, web)
    assert bench.says("tool") == "tool"
    assert "secret" not in told + bench.livelayer("status", "--json").stdout
    assert bench.livelayer("plan", "--offline").stdout == "in sync\n"
    _want(bench, source=web.url + "/tool.tar", digest="sha256:" + "0" * 64)
    assert "has the digest" in _apply(bench, web, 1)
    assert bench.says("tool") == "tool"


def test_a_signed_list_decides_where_nothing_is_pinned(bench: Bench, web: WebServer) -> None:
    _want(bench, source=web.url + "/tool.tar", pull="always", format="auto")
    assert "SHA256SUMS beside the file decides" in _apply(bench, web, 1)
    with KeyOwner("vendor") as vendor:
        vendor.export(bench.namespace.path("/etc/livelayer/keyring.gpg"))
        _publish(web, vendor)
        _apply(bench, web)
        assert bench.says("tool") == "from the web"
        (web.directory / "tool.tar").write_bytes(tar(command("tool", "updated")))
        _apply(bench, web)
        assert bench.says("tool") == "from the web"  # the list does not know the new file yet
        _publish(web, vendor)
        _apply(bench, web)
        assert bench.says("tool") == "updated"
    with KeyOwner("stranger") as stranger:
        (web.directory / "tool.tar").write_bytes(tar(command("tool", "evil")))
        _publish(web, stranger)
        assert "in none of the keyrings" in _apply(bench, web, 1)
    assert bench.says("tool") == "updated"


def test_the_newest_file_of_a_directory_is_an_extension(bench: Bench, web: WebServer) -> None:
    def publish(version: str, *, architecture: str = "x86-64") -> None:
        name = f"tool-{version}-{architecture}.tar"
        (web.directory / name).write_bytes(tar(command("tool", f"{version} {architecture}")))
        _list(web)

    keys = "match: tool-@v-%a.tar, version: '>=1.31,<1.32', signed: false, platform: linux/amd64, pull: always"
    bench.configure(f"extensions: {{tool: {{source: '{web.url}/', {keys}}}}}")
    publish("v1.31.9")
    publish("v1.31.9", architecture="arm64")
    publish("v1.32.0")
    assert "(signed: false), so its server decides" in _apply(bench, web)
    assert bench.says("tool") == "v1.31.9 x86-64"
    status = bench.status()["tool"]
    assert (status["state"], status["version"]) == ("in-sync", "v1.31.9")
    publish("v1.31.10+build2")
    publish("v1.31.11-rc1")
    _apply(bench, web)
    assert bench.says("tool") == "v1.31.10+build2 x86-64"
    assert "v1.31.10+build2, of 4 versions; v1.32.0 is not in" in bench.livelayer("explain", "tool").stdout
    (web.directory / "tool-v1.31.10+build2-x86-64.tar").unlink()  # what the node has, it needs no server for
    bench.livelayer("rollback")
    assert bench.says("tool") == "v1.31.9 x86-64"
    bench.livelayer("rollback", "--release", SSL_CERT_FILE=str(web.directory.parent / "tls/server.pem"))
    assert bench.says("tool") == "v1.31.10+build2 x86-64"


def _list(web: WebServer) -> None:
    files = [path for path in web.directory.iterdir() if not path.name.startswith("SHA256SUMS")]
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()} *{path.name}\n" for path in files]
    (web.directory / "SHA256SUMS").write_text("".join(lines))


def _publish(web: WebServer, owner: KeyOwner) -> None:
    """Write SHA256SUMS and its signature."""
    _list(web)
    owner.sign(web.directory / "SHA256SUMS")
