"""An OS update as a node sees it: another os-release, another kernel, and no network at the first boot."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.rig.images import command

if TYPE_CHECKING:
    from tests.system.bench import Bench

pytestmark = [pytest.mark.system, pytest.mark.commands]

_NEW = "ID=debian\nVERSION_ID=13\n"


def test_the_new_os_merges_its_own_image_without_network(bench: Bench) -> None:
    for version in ("12", "13"):
        bench.push(f"debian-{version}", command("x", f"x for {version}", f"ID=debian\nVERSION_ID={version}\n"))
    source = bench.push("debian-11", command("x", "x", "ID=_any\n")).replace("debian-11", "{ID}-{VERSION_ID}")
    bench.configure(f"extensions: {{x: {{source: '{source}'}}}}")
    bench.namespace.path("/etc/livelayer/new").write_text(_NEW)
    bench.livelayer("apply")
    assert bench.says("x") == "x for 12"

    document = json.loads(bench.livelayer("check", "--os-release", "/etc/livelayer/new", "--json").stdout)
    (told,) = document["extensions"]
    assert (told["fits"], told["tag"], told["stored"]) == (True, "debian-13", False)
    bench.livelayer("apply", "--for-os-release", "/etc/livelayer/new")
    assert bench.says("x") == "x for 12"
    assert bench.livelayer("plan").stdout == "in sync\n"

    bench.registry.stop()
    _boot(bench)
    assert bench.says("x") == "x for 13"
    assert bench.status()["x"]["source"] == source.replace("{ID}-{VERSION_ID}", "debian-13")


def test_what_the_kernel_does_not_fit_is_withdrawn_before_the_merge(bench: Bench) -> None:
    one, two = (bench.push(tag, command(tag, tag), name=tag) for tag in ("one", "two"))
    bench.want(one=one, two=two)
    bench.livelayer("apply")
    assert bench.merged() == ["one", "two"]
    bench.configure(f"extensions: {{one: {{source: '{one}', kernel: '<2'}}, two: {{source: '{two}', kernel: '>2'}}}}")
    bench.namespace.run("systemd-sysext", "unmerge")
    bench.livelayer("apply", "--offline", "--no-refresh", status=1)
    bench.namespace.run("systemd-sysext", "merge")
    assert bench.merged() == ["two"]
    assert bench.status()["one"]["reason"].startswith("takes a kernel <2, and this host has ")


def _boot(bench: Bench) -> None:
    """What happens at the first boot of the new OS, in its order."""
    bench.namespace.run("systemd-sysext", "unmerge")
    bench.namespace.run("cp", "--remove-destination", "/etc/livelayer/new", "/etc/os-release")
    bench.livelayer("apply", "--offline", "--no-refresh")
    bench.namespace.run("systemd-sysext", "merge")
