"""Configuration extensions on a whole node with a systemd that knows them, beside system extensions."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.rig.images import command, extension, tar, write_image
from tests.rig.images import confext as members_of
from tests.rig.releases import FORKY, TRIXIE

if TYPE_CHECKING:
    from tests.rig.node import Node

pytestmark = [pytest.mark.system, pytest.mark.commands]
on_recent = pytest.mark.releases(TRIXIE, FORKY)

# Merged, a configuration extension makes /etc read-only.
MAIN = "/srv/extensions.yaml"
LIVELAYER = ("livelayer", "--config", MAIN)
_INNER = {"etc/extension-release.d/extension-release.inner": "ID=_any\n", "etc/inner.conf": "inner\n"}


def _write_images(node: Node) -> None:
    layout = node.path("/srv/images")
    layout.mkdir(parents=True)
    for tag in ("v1", "v2"):
        write_image(layout, f"settings-{tag}", members_of("settings", {"etc/demo.conf": f"level={tag}\n"}))
    write_image(layout, "tool", command("tool", "runs"))
    node.path("/srv/settings.tar").write_bytes(tar(members_of("other", {"etc/other.conf": "by tar\n"})))


def _want(node: Node, **extensions: str) -> None:
    listed = "".join(f"  {name}: {{{fields}}}\n" for name, fields in extensions.items())
    node.write(MAIN, f"settings: {{allow_empty: true}}\nextensions:\n{listed}")


def _merged(node: Node, kind: str) -> list[str]:
    rows = json.loads(node.run(f"systemd-{kind}", "status", "--json=short").stdout)
    return sorted({name for row in rows if isinstance(row["extensions"], list) for name in row["extensions"]})


@on_recent
def test_both_kinds_converge_in_one_plan(recent_node: Node) -> None:
    node = recent_node
    _write_images(node)
    _want(
        node, settings="source: 'oci:/srv/images:settings-v1', kind: confext", tool="source: 'oci:/srv/images:tool'"
    )
    plan = json.loads(node.run(*LIVELAYER, "plan", "--json", status=2).stdout)["actions"]
    assert [(it["action"], it["extension"], it["kind"]) for it in plan] == [
        ("fetch", "settings", "confext"),
        ("fetch", "tool", "sysext"),
        ("place", "settings", "confext"),
        ("place", "tool", "sysext"),
        ("refresh", None, "confext"),
        ("refresh", None, "sysext"),
        ("activate", None, None),
    ]
    node.run(*LIVELAYER, "apply")
    assert node.run("cat", "/etc/demo.conf").stdout == "level=v1\n"
    assert node.run("tool").stdout == "runs\n"
    assert (_merged(node, "confext"), _merged(node, "sysext")) == (["settings"], ["tool"])
    assert node.run(*LIVELAYER, "plan").stdout == "in sync\n"
    assert "settings (confext)  in-sync  yes" in node.run(*LIVELAYER, "status").stdout
    status = json.loads(node.run(*LIVELAYER, "status", "--json").stdout)["extensions"]
    assert [(it["name"], it["kind"], it["state"], it["merged"]) for it in status] == [
        ("settings", "confext", "in-sync", True),
        ("tool", "sysext", "in-sync", True),
    ]


@on_recent
def test_an_update_refreshes_its_own_kind_only_and_a_withdrawal_takes_it_away(recent_node: Node) -> None:
    node = recent_node
    _write_images(node)
    tool = "source: 'oci:/srv/images:tool'"
    _want(node, settings="source: 'oci:/srv/images:settings-v1', kind: confext", tool=tool)
    node.run(*LIVELAYER, "apply")
    _want(node, settings="source: 'oci:/srv/images:settings-v2', kind: confext", tool=tool)
    plan = json.loads(node.run(*LIVELAYER, "plan", "--json", status=2).stdout)["actions"]
    assert [it["kind"] for it in plan if it["action"] == "refresh"] == ["confext"]
    node.run(*LIVELAYER, "apply")
    assert node.run("cat", "/etc/demo.conf").stdout == "level=v2\n"
    _want(node, tool=tool)
    node.run(*LIVELAYER, "apply")
    assert (_merged(node, "confext"), _merged(node, "sysext")) == ([], ["tool"])
    node.run("test", "-e", "/etc/demo.conf", status=1)


@on_recent
def test_a_tar_becomes_a_configuration_extension_and_stays_over_a_reboot(recent_node: Node) -> None:
    node = recent_node
    _write_images(node)
    node.run("systemctl", "enable", "livelayer-boot.service")
    node.write(
        "/etc/livelayer/extensions.yaml",
        "extensions: {other: {source: 'file:///srv/settings.tar', kind: confext}}\n",
    )
    node.run("livelayer", "apply")
    assert node.run("cat", "/etc/other.conf").stdout == "by tar\n"
    node.reboot()
    assert node.run("cat", "/etc/other.conf").stdout == "by tar\n"
    assert node.run("livelayer", "plan").stdout == "in sync\n"


@on_recent
def test_what_belongs_to_the_other_kind_is_not_placed(recent_node: Node) -> None:
    node = recent_node
    _write_images(node)
    _want(node, tool="source: 'oci:/srv/images:tool', kind: confext")
    told = node.run(*LIVELAYER, "apply", status=1).stderr
    assert "tool: the content holds /usr; a configuration extension carries /etc only" in told
    assert node.run("ls", "/var/lib/confexts").stdout == ""


def test_an_old_systemd_says_that_it_is_too_old(node: Node) -> None:
    _write_images(node)
    _want(
        node, settings="source: 'oci:/srv/images:settings-v1', kind: confext", tool="source: 'oci:/srv/images:tool'"
    )
    told = node.run(*LIVELAYER, "apply", status=1).stderr
    assert "settings: kind: confext takes systemd 254 or newer; this host has 252" in told
    assert node.run("tool").stdout == "runs\n"


@on_recent
def test_one_that_lies_in_a_system_extension_comes_and_goes_with_it(recent_node: Node) -> None:
    """The two kinds are merged apart from each other, whoever has systemd merge one of them."""
    node = recent_node
    inner = {f"usr/lib/confexts/inner/{name}": text for name, text in _INNER.items()}
    write_image(node.path("/srv/images"), "outer", extension("outer", inner))
    outer = "source: 'oci:/srv/images:outer'"

    def gone() -> bool:
        return node.run("test", "-e", "/etc/inner.conf", status=None).returncode == 1

    _want(node, outer=outer)
    node.run(*LIVELAYER, "apply")
    assert node.run("cat", "/etc/inner.conf").stdout == "inner\n"
    status = json.loads(node.run(*LIVELAYER, "status", "--json").stdout)
    assert status["in_sync"]
    assert [(it["name"], it["state"], it["merged"]) for it in status["extensions"]] == [
        ("inner", "unmanaged", True),
        ("outer", "in-sync", True),
    ]
    _want(node)
    node.run(*LIVELAYER, "apply")
    assert gone()
    assert _merged(node, "confext") == []

    _want(node, outer=outer)
    node.run(*LIVELAYER, "apply", "--no-refresh")
    node.run("systemd-sysext", "refresh")
    assert "inner came with a system extension" in node.run(*LIVELAYER, "plan", status=2).stdout
    node.run(*LIVELAYER, "apply")
    assert not gone()
    _want(node)
    node.run(*LIVELAYER, "apply", "--no-refresh", status=None)
    node.run("systemd-sysext", "refresh")
    shown = json.loads(node.run(*LIVELAYER, "status", "--json").stdout)
    assert [(it["name"], it["reason"]) for it in shown["extensions"]] == [
        ("inner", "is merged, and lies in no search directory any more")
    ]
    assert not shown["in_sync"]
    node.run(*LIVELAYER, "apply")
    assert gone()
    assert node.run(*LIVELAYER, "plan").stdout == "in sync\n"


@on_recent
def test_a_refresh_of_one_kind_that_fails_takes_the_other_back(recent_node: Node) -> None:
    """What changes at once may belong together: neither kind stays changed alone, whichever is merged first."""
    node = recent_node
    _write_images(node)
    write_image(node.path("/srv/images"), "tool-v2", command("tool", "v2"))

    def want(version: str, tool: str) -> None:
        settings = f"source: 'oci:/srv/images:settings-{version}', kind: confext"
        _want(node, settings=settings, tool=f"source: 'oci:/srv/images:{tool}'")

    def shown() -> tuple[str, str]:
        return node.run("cat", "/etc/demo.conf").stdout, node.run("tool").stdout

    want("v1", "tool")
    node.run(*LIVELAYER, "apply")
    before = shown()
    assert before == ("level=v1\n", "runs\n")
    for kind in ("sysext", "confext"):
        directory = f"/run/systemd/system/systemd-{kind}.service.d"
        lines = "[Service]\\nExecStartPre=false\\nExecReload=\\nExecReload=false\\n"
        node.run(
            "sh", "-ec", f"mkdir -p {directory}; printf '{lines}' > {directory}/test.conf; systemctl daemon-reload"
        )
        want("v2", "tool-v2")
        told = node.run(*LIVELAYER, "apply", "--automatic", status=1).stderr
        assert "settings, tool: after a refresh" in told
        if kind == "sysext":
            assert node.run("cat", "/etc/demo.conf").stdout == "level=v1\n"
        else:
            assert node.run("tool").stdout == "runs\n"
        second = node.run(*LIVELAYER, "apply", "--automatic", status=1).stderr
        assert "plan:" not in second
        node.run("sh", "-ec", f"rm -r {directory}; systemctl daemon-reload; systemctl reset-failed")
        want("v1", "tool")
        node.run(*LIVELAYER, "apply")
        assert shown() == before
    want("v2", "tool-v2")
    node.run(*LIVELAYER, "apply")
    assert shown() == ("level=v2\n", "v2\n")
