"""What others placed and what makes the real systemd-sysext merge nothing: found in advance, waited for or masked."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.rig.diskimages import RELEASES, extension_tree, make_tree, squashfs
from tests.rig.foreignroot import ForeignRoot
from tests.rig.images import command, write_image

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.rig.node import Node
    from tests.system.bench import Bench

pytestmark = [pytest.mark.system, pytest.mark.commands]

EXTENSIONS = "/var/lib/extensions"


def _image(bench: Bench, text: str) -> str:
    write_image(bench.layout, text, command("x", text))
    return f"oci:{bench.layout}:{text}"


def _want(bench: Bench, source: str, *, quarantine: bool) -> None:
    bench.configure(
        f"settings: {{quarantine: {str(quarantine).lower()}}}\nextensions: {{x: {{source: '{source}'}}}}\n"
    )


def _garbage(place: Path, _: Path) -> Path:
    path = place / "byhand.raw"
    path.write_bytes(b"no image" * 1000)
    return path


def _wrong_release(place: Path, scratch: Path) -> Path:
    tree = make_tree(scratch / "wrong", {"usr/bin/byhand": "", f"{RELEASES}/extension-release.other": "ID=_any\n"})
    return squashfs(tree, place / "byhand.raw")


def _os_release(place: Path, _: Path) -> Path:
    return extension_tree(place / "byhand", "byhand", {"usr/lib/os-release": "ID=evil\n"})


BAD: dict[str, tuple[Callable[[Path, Path], Path], str]] = {
    "garbage": (_garbage, "the image is no file system or partition table"),
    "wrong release name": (_wrong_release, "it has no release file for its own name"),
    "os-release": (_os_release, "it has /usr/lib/os-release"),
}


@pytest.mark.parametrize(("spoil", "words"), BAD.values(), ids=BAD)
def test_a_bad_one_is_told_or_masked(
    bench: Bench, tmp_path: Path, spoil: Callable[[Path, Path], Path], words: str
) -> None:
    bad = spoil(bench.namespace.path(EXTENSIONS), tmp_path)
    source = _image(bench, "one")
    _want(bench, source, quarantine=False)
    assert f"{EXTENSIONS}/{bad.name}: {words}" in bench.livelayer("apply", status=1).stderr
    assert bench.merged() == []
    _want(bench, source, quarantine=True)
    bench.livelayer("apply")
    assert bench.merged() == ["x"]


def test_an_update_waits_or_the_bad_one_is_masked_and_shown_again_once_it_is_good(
    bench: Bench, tmp_path: Path
) -> None:
    one, two = _image(bench, "one"), _image(bench, "two")
    _want(bench, one, quarantine=False)
    bench.livelayer("apply")
    spoil, words = BAD["garbage"]
    bad = spoil(bench.namespace.path(EXTENSIONS), tmp_path)
    shown = f"{EXTENSIONS}/{bad.name}"

    _want(bench, two, quarantine=False)
    told = bench.livelayer("apply", status=1).stderr
    assert f"{shown}: {words}" in told
    assert "remove it, or set settings.quarantine: true" in told
    assert (bench.merged(), bench.says("x")) == (["x"], "one")
    waiting = bench.status()
    assert (waiting["x"]["state"], waiting["x"]["merged"]) == ("pending", True)
    assert waiting["x"]["reason"] == f"waits: {shown} would make systemd merge nothing"
    assert waiting["byhand"]["reason"].startswith(f"makes systemd merge no sysext: {words}")

    _want(bench, two, quarantine=True)
    planned = json.loads(bench.livelayer("plan", "--json", status=2).stdout)
    assert [it["action"] for it in planned["actions"]] == ["mask", "place", "refresh"]
    bench.livelayer("apply")
    assert (bench.merged(), bench.says("x")) == (["x"], "two")
    assert bench.livelayer("plan").stdout == "in sync\n"
    masked = bench.status()
    assert masked.keys() == {"x", "byhand"}
    assert (masked["byhand"]["state"], masked["byhand"]["merged"]) == ("unmanaged", False)
    assert masked["byhand"]["reason"].startswith(f"quarantined: {words}")

    bad.unlink()
    squashfs(extension_tree(tmp_path / "good", "byhand"), bench.namespace.path(f"{EXTENSIONS}/byhand.raw"))
    assert f"unmask {shown}" in bench.livelayer("apply").stderr
    assert bench.merged() == ["byhand", "x"]
    bench.namespace.run("test", "-e", "/run/extensions/byhand", status=1)


def test_a_mask_goes_with_the_bad_file(bench: Bench) -> None:
    """An update that a damaged file had blocked before comes through; what is left behind is nothing."""
    _want(bench, _image(bench, "one"), quarantine=True)
    bench.namespace.path(f"{EXTENSIONS}/empty.raw").touch()
    bench.livelayer("apply")
    assert bench.merged() == ["x"]
    bench.namespace.run("test", "-d", "/run/extensions/empty")
    bench.namespace.path(f"{EXTENSIONS}/empty.raw").unlink()
    assert bench.livelayer("plan", status=2).stdout.startswith("unmask ")
    assert "refresh" not in bench.livelayer("apply").stderr
    bench.namespace.run("test", "-e", "/run/extensions/empty", status=1)
    assert bench.livelayer("plan").stdout == "in sync\n"


def test_in_the_highest_directory_it_is_told_and_what_is_merged_stays(bench: Bench) -> None:
    one, two = _image(bench, "one"), _image(bench, "two")
    _want(bench, one, quarantine=True)
    bench.livelayer("apply")
    bench.namespace.path("/etc/extensions/byhand.raw").write_bytes(b"no image" * 1000)
    _want(bench, two, quarantine=True)
    told = bench.livelayer("apply", status=1).stderr
    assert "/etc/extensions/byhand.raw: the image is" in told
    assert "  remove it\n" in told
    assert (bench.merged(), bench.says("x")) == (["x"], "one")
    bench.namespace.path("/etc/extensions/byhand.raw").unlink()
    bench.livelayer("apply")
    assert bench.says("x") == "two"


def test_what_is_in_run_is_masked_from_etc(bench: Bench) -> None:
    _want(bench, _image(bench, "one"), quarantine=True)
    bench.namespace.run("sh", "-c", "mkdir -p /run/extensions && touch /run/extensions/byhand.raw")
    bench.livelayer("apply")
    assert bench.merged() == ["x"]
    assert bench.namespace.path("/etc/extensions/byhand").is_dir()
    bench.namespace.run("rm", "/run/extensions/byhand.raw")
    bench.livelayer("apply")
    assert not bench.namespace.path("/etc/extensions/byhand").exists()


def test_what_systemd_takes_or_ignores_is_not_held_against_it(bench: Bench, tmp_path: Path) -> None:
    """For another OS, without a release file, cut off, with a link to nowhere, with a name that does not matter."""
    place = bench.namespace.path(EXTENSIONS)
    other = {f"{RELEASES}/extension-release.other": "ID=fedora\n"}
    squashfs(extension_tree(tmp_path / "a", "other", other), place / "other.raw")
    make_tree(place / "nothing", {"usr/share/nothing": "x"})
    cut = squashfs(extension_tree(tmp_path / "b", "cut"), place / "cut.raw")
    cut.write_bytes(cut.read_bytes()[:-512])
    extension_tree(place / "dangling", "dangling", {"usr/lib/os-release": "-> /nowhere"})
    lax = extension_tree(tmp_path / "c", "lax")
    os.setxattr(lax / RELEASES / "extension-release.lax", "user.extension-release.strict", b"false")
    squashfs(lax, place / "lax-1.2.raw")
    _want(bench, _image(bench, "one"), quarantine=True)
    assert "mask" not in bench.livelayer("apply").stderr
    assert bench.merged() == ["cut", "dangling", "lax-1.2", "x"]


_MEASURE = """
for name in $(ls /cases); do
    cp -a /cases/$name/* /var/lib/extensions/
    for mask in no yes; do
        [ $mask = no ] || mkdir -p /run/extensions/byhand
        systemd-sysext unmerge > /dev/null 2>&1
        systemd-sysext refresh > /dev/null 2>&1
        echo $name masked=$mask $(test -e /usr/bin/good && echo merged)
    done
    rm -r /var/lib/extensions/byhand* /run/extensions/byhand
done
"""


def test_newer_systemds_fail_for_the_same_and_heed_the_same_masks(tmp_path: Path) -> None:
    suite = os.environ.get("LIVELAYER_TEST_SUITE", "trixie")
    with tempfile.TemporaryDirectory(prefix="livelayer-", dir="/var/tmp") as scratch:
        root = ForeignRoot(suite, Path(scratch, "root"))
        extension_tree(root.root / "var/lib/extensions/good", "good")
        for number, (spoil, _) in enumerate(BAD.values()):
            place = root.root / f"cases/{number}"
            place.mkdir(parents=True)
            spoil(place, tmp_path)
        told = root.run(_MEASURE).stdout.splitlines()
    assert told == [f"{number} masked={mask}" for number in range(len(BAD)) for mask in ("no", "yes merged")]


def test_at_boot_the_mask_is_there_before_systemd_merges(node: Node) -> None:
    """A node without loop devices, on which any image file makes every merge fail."""
    layout = node.path("/srv/images")
    layout.mkdir(parents=True)
    write_image(layout, "one", command("x", "one"))
    extensions = "extensions: {x: {source: 'oci:/srv/images:one'}}\n"
    node.write("/etc/livelayer/extensions.yaml", f"settings: {{quarantine: true}}\n{extensions}")
    squashfs(extension_tree(node.path("/srv/tree"), "byhand"), node.path(f"{EXTENSIONS}/byhand.raw"))
    node.run("livelayer", "apply")
    assert node.run("x").stdout == "one\n"
    node.run("systemctl", "enable", "livelayer-boot.service")
    node.reboot()
    assert node.run("x").stdout == "one\n"
    assert "quarantined: this node has no loop devices" in node.run("livelayer", "status").stdout
    node.write("/etc/livelayer/extensions.yaml", extensions)
    node.reboot()
    told = node.run("livelayer", "apply", status=1).stderr
    assert f"{EXTENSIONS}/byhand.raw: this node has no loop devices" in told
    node.run("test", "-e", "/usr/bin/x", status=1)
