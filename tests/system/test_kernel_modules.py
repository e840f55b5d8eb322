"""Kernel modules that are spread over the host and several extensions, found by their names on booted nodes."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reconciler.model.kind import MODULE_INDEX
from tests.rig.diskimages import erofs, squashfs
from tests.rig.kernelmodules import KERNEL, MODULES, give_modules
from tests.rig.releases import RELEASES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.rig.node import Node
    from tests.system.bench import Bench

pytestmark = [pytest.mark.system, pytest.mark.commands]

MAIN = "/etc/livelayer/extensions.yaml"
INDEX = MODULE_INDEX.name


@pytest.fixture
def with_modules(node: Node) -> Iterator[Node]:
    """A node whose own modules are dm-mod alone."""
    give_modules(node.root, "dm-mod")
    yield node
    shutil.rmtree(node.path(f"/{MODULES}/{KERNEL}"))


@pytest.mark.releases(*RELEASES)
def test_modules_of_several_extensions_are_found_by_name(with_modules: Node) -> None:
    """dm-verity, in one, needs dm-bufio, in another, and both need the host's dm-mod."""
    node = with_modules
    _extension(node.path("/srv/a"), "dm-bufio")
    _extension(node.path("/srv/b"), "dm-verity", "reed_solomon")
    _want(node, "a")
    assert f"generate {INDEX}" in node.run("livelayer", "apply").stderr
    assert _load(node, "dm-bufio") == ["dm-bufio", "dm-mod"]
    before = _generation(node)
    _want(node, "a", "b")
    told = node.run("livelayer", "apply").stderr
    assert "this host" not in told
    assert "hides" not in told
    assert _generation(node) == before + 1
    assert _load(node, "dm-verity") == ["dm-bufio", "dm-mod", "dm-verity", "reed_solomon"]
    assert _load(node, "dm-mod") == ["dm-mod"]
    (shown,) = [
        it for it in json.loads(node.run("livelayer", "status", "--json").stdout)["extensions"] if it["name"] == INDEX
    ]
    assert (shown["state"], shown["merged"]) == ("in-sync", True)
    assert "generated" in shown["reason"]
    assert node.run("livelayer", "plan").stdout == "in sync\n"
    assert "plan:" not in node.run("livelayer", "apply").stderr
    node.run("livelayer", "verify", INDEX)
    assert "generate" not in node.run("livelayer", "rollback").stderr  # it is kept
    assert _load(node, "dm-bufio") == ["dm-bufio", "dm-mod"]
    assert _load(node, "dm-verity", status=1) == []
    _want(node)
    node.run("livelayer", "apply")
    assert _load(node, "dm-mod") == ["dm-mod"]
    assert not os.listdir(node.path("/var/lib/extensions"))


def test_a_boot_finds_the_modules_that_an_update_of_the_host_has_brought(with_modules: Node) -> None:
    """The indexes are made before systemd merges."""
    node = with_modules
    node.run("systemctl", "enable", "livelayer-boot.service", "systemd-sysext.service")
    _extension(node.path("/srv/a"), "dm-bufio")
    _want(node, "a")
    node.run("livelayer", "apply")
    node.power_off()
    give_modules(node.root, "dm-crypt")
    node.boot()
    assert _load(node, "dm-crypt") == ["dm-crypt", "dm-mod"]
    assert _load(node, "dm-bufio") == ["dm-bufio", "dm-mod"]
    assert node.run("livelayer", "plan").stdout == "in sync\n"
    assert node.journal("livelayer-boot.service").count(f"done: place {INDEX}") == 1


def test_modules_in_image_files_and_of_others_are_part_of_the_index(bench: Bench, tmp_path: Path) -> None:
    """On a host without modules: those of a squashfs, of an erofs and of a directory that somebody placed by hand."""
    squashfs(_extension(tmp_path / "a", "dm-bufio"), bench.namespace.path("/var/lib/livelayer/a.raw"))
    erofs(_extension(tmp_path / "b", "dm-verity"), bench.namespace.path("/var/lib/livelayer/b.raw"))
    _extension(bench.namespace.path("/etc/extensions/c"), "dm-mod", "reed_solomon")
    bench.configure(
        "extensions:\n  a: {source: 'file:///var/lib/livelayer/a.raw', format: raw}\n"
        "  b: {source: 'file:///var/lib/livelayer/b.raw', format: raw}\n"
    )
    bench.namespace.run("mount", "--bind", "/usr/bin/false", "/usr/bin/kmod")
    told = bench.livelayer("apply", status=1).stderr
    assert f"making the indexes of kernel modules for {KERNEL} failed" in told
    assert bench.merged() == ["a", "b", "c"]
    bench.namespace.run("sh", "-c", "systemd-sysext unmerge && umount /usr/bin/kmod")
    bench.livelayer("apply")
    assert bench.merged() == [INDEX, "a", "b", "c"]
    done = bench.namespace.run("modprobe", "--show-depends", "dm-verity").stdout
    found = {Path(it).name.partition(".")[0] for it in done.split() if "/" in it}
    assert found == {"dm-mod", "dm-bufio", "reed_solomon", "dm-verity"}
    assert bench.livelayer("plan").stdout == "in sync\n"
    give_modules(bench.namespace.path("/etc/extensions/c"), "dm-crypt")
    assert f"generate {INDEX}" in bench.livelayer("plan", status=2).stdout
    bench.livelayer("apply")
    assert "dm-crypt" in bench.namespace.run("modprobe", "--show-depends", "dm-crypt").stdout
    place = f"/var/lib/extensions/{INDEX}/usr/lib/modules/{KERNEL}"
    with bench.namespace.root.joinpath(place.lstrip("/"), "modules.dep").open("a") as file:
        file.write("# by hand\n")
    assert "was changed" in bench.livelayer("plan", status=2).stdout
    bench.livelayer("apply")
    assert bench.livelayer("plan").stdout == "in sync\n"


def _extension(tree: Path, *modules: str) -> Path:
    give_modules(tree, *modules)
    release = tree / f"usr/lib/extension-release.d/extension-release.{tree.name}"
    release.parent.mkdir()
    release.write_text("ID=_any\n")
    return tree


def _want(node: Node, *names: str) -> None:
    listed = "".join(f"  {name}: {{source: 'file:///srv/{name}'}}\n" for name in names)
    node.write(MAIN, f"settings: {{allow_empty: true}}\nextensions:\n{listed}")


def _load(node: Node, module: str, status: int = 0) -> list[str]:
    """Which modules modprobe would load for one; each is there."""
    done = node.run("modprobe", "--show-depends", module, status=status)
    paths = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("insmod ")]
    node.run("ls", "/", *paths)
    return sorted(Path(it).name.partition(".")[0] for it in paths)


def _generation(node: Node) -> int:
    found = json.loads(node.run("livelayer", "status", "--json").stdout)["generation"]
    assert isinstance(found, int)
    return found
