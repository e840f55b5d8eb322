"""What is held against files that others placed, with systemd-dissect and without; what cannot be told is not."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reconciler.host.merge import blockers, judgeimage, links
from reconciler.host.merge.judgeimage import Finding, judge
from reconciler.model.fit.release import Host
from reconciler.model.images.imagepolicy import parse_image_policy
from reconciler.model.kind import ExtensionId, Kind
from reconciler.model.state.observed import Masked
from tests.rig.diskimages import MAKERS, RELEASES, extension_tree, make_tree, squashfs

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.paths import Paths

HOST = Host({"ID": "debian", "VERSION_ID": "12"}, os.uname().machine, 252)
NO_RELEASE = "it has no release file for its own name"


def _lax(scratch: Path, image: Path) -> None:
    tree = extension_tree(scratch / "lax", "other")
    os.setxattr(tree / RELEASES / "extension-release.other", "user.extension-release.strict", b"0")
    squashfs(tree, image)


def _image(name: str, files: dict[str, str | None] | None = None) -> Callable[[Path, Path], object]:
    return lambda scratch, image: squashfs(extension_tree(scratch / name, name, files), image)


IMAGES: dict[str, tuple[Callable[[Path, Path], object], str | None]] = {
    "good": (_image("x"), None),
    "for another OS": (_image("x", {f"{RELEASES}/extension-release.x": "ID=fedora\n"}), None),
    "empty": (lambda _, image: image.touch(), "the image is empty, not an image of an extension"),
    "text": (lambda _, image: image.write_text("<html>"), "the image is an HTML page, not an image of an extension"),
    "no release file": (lambda scratch, image: squashfs(make_tree(scratch / "n", {"usr/x": ""}), image), NO_RELEASE),
    "other release file": (_image("other"), NO_RELEASE),
    "lax release file": (_lax, None),
    "os-release": (_image("x", {"usr/lib/os-release": "ID=x\n"}), "it has /usr/lib/os-release"),
    "os-release in etc": (_image("x", {"etc/os-release": "ID=x\n"}), None),
}


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All that this machine has but systemd-dissect."""
    programs = tmp_path_factory.mktemp("programs")
    found = {it.name: it for directory in ("/usr/bin", "/usr/sbin") for it in Path(directory).iterdir()}
    for name in found.keys() - {"systemd-dissect"}:
        (programs / name).symlink_to(found[name])
    return programs


@pytest.fixture(params=["systemd-dissect", "other tools"])
def means(request: pytest.FixtureRequest, programs: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """What there is on PATH to look into images with."""
    means = str(request.param)
    if means == "other tools":
        monkeypatch.setenv("PATH", str(programs))
    return means


@pytest.mark.commands
@pytest.mark.usefixtures("means")
@pytest.mark.parametrize(("make", "expected"), IMAGES.values(), ids=IMAGES)
def test_images(tmp_path: Path, make: Callable[[Path, Path], object], expected: str | None) -> None:
    image = tmp_path / "x.raw"
    make(tmp_path, image)
    assert judge(image, Kind.SYSEXT, HOST) == Finding(expected)


@pytest.mark.commands
@pytest.mark.usefixtures("means")
def test_later_systemds_leave_out_an_image_with_os_release_alone(tmp_path: Path) -> None:
    """Where systemd-dissect is of another version than the node is taken for, it does not know the option."""
    _image("x", {"usr/lib/os-release": "ID=x\n"})(tmp_path, tmp_path / "x.raw")
    assert judge(tmp_path / "x.raw", Kind.SYSEXT, replace(HOST, systemd=257)) == Finding()


@pytest.mark.commands
def test_what_the_image_policy_refuses(tmp_path: Path) -> None:
    _image("x")(tmp_path, tmp_path / "x.raw")
    host = replace(HOST, systemd=257, image_policies={Kind.SYSEXT: parse_image_policy("root=verity+absent")})
    assert "the node's image policy (root=verity+absent) refuses it" in str(
        judge(tmp_path / "x.raw", Kind.SYSEXT, host)
    )


@pytest.mark.commands
def test_what_cannot_be_mounted_may_be_the_nodes_fault(tmp_path: Path) -> None:
    """Cut off behind its headers, which are well."""
    image = MAKERS["ext4"](extension_tree(tmp_path / "tree", "x"), tmp_path / "x.raw")
    os.truncate(image, 1 << 20)
    finding = judge(image, Kind.SYSEXT, HOST)
    assert finding.flaw is not None
    assert "ext4" in finding.flaw


def _find(paths: Paths, *masks: Masked) -> list[tuple[str, str]]:
    found = blockers.find(paths, HOST, links.read_links(paths, 252).unmanaged, masks)
    return [(str(it.item.path.relative_to(paths.root)), it.reason) for it in found]


def test_directories_with_a_forbidden_file(paths: Paths) -> None:
    place = paths.links(Kind.SYSEXT)
    make_tree(place / "bad", {"usr/lib/os-release": ""})
    make_tree(place / "linked", {"usr/lib/os-release": "-> ../../etc/os-release", "etc/os-release": ""})
    make_tree(place / "dangling", {"usr/lib/os-release": "-> /etc/os-release"})
    make_tree(paths.links(Kind.CONFEXT) / "fine", {"usr/lib/os-release": ""})
    words = "it has /usr/lib/os-release"
    assert _find(paths) == [("var/lib/extensions/bad", words), ("var/lib/extensions/linked", words)]
    paths.under("/etc/extensions/bad").mkdir(parents=True)
    assert _find(paths) == [("var/lib/extensions/linked", words)]


def test_what_kairos_agent_manages_is_not_masked(paths: Paths) -> None:
    make_tree(paths.kairos_extensions / "agents", {"usr/lib/os-release": ""})
    make_tree(paths.under("/run/extensions/byhand"), {"usr/lib/os-release": ""})
    (paths.under("/run/extensions") / "agents").symlink_to("../../var/lib/kairos/extensions/agents")
    found = blockers.find(paths, HOST, links.read_links(paths, 252).unmanaged)
    assert {it.item.name: it.mask for it in found} == {
        "agents": None,
        "byhand": paths.under("/etc/extensions/byhand"),
    }


@pytest.mark.commands
def test_a_file_is_judged_once_until_it_changes(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    place = paths.links(Kind.SYSEXT)
    bad = place / "bad.raw"
    bad.touch()
    first = _find(paths)
    assert first == [("var/lib/extensions/bad.raw", "the image is empty, not an image of an extension")]
    with monkeypatch.context() as patch:
        patch.setenv("PATH", "/nowhere")
        patch.setattr(judgeimage, "judge", lambda *_: pytest.fail("looked again"))
        assert _find(paths) == first
    squashfs(extension_tree(paths.root / "tree", "bad"), place / "new")
    (place / "new").replace(bad)
    assert _find(paths) == []
    assert [it[2] for it in json.loads(paths.judged.read_text()).values()] == [None]
    paths.judged.write_text('{"x": 1}')
    assert _find(paths) == []
    bad.unlink()
    assert _find(paths) == []


def test_who_may_not_look_repeats_what_was_found(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    bad = paths.links(Kind.SYSEXT) / "bad.raw"
    bad.touch()
    assert _find(paths) == []
    mask = Masked(ExtensionId("bad"), paths.under("/run/extensions/bad"), bad, "empty")
    assert _find(paths, mask) == [("var/lib/extensions/bad.raw", "empty")]
