"""Where extensions are merged is a matter of the node: its unit's hierarchies, its links, its mounts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import pytest

from tests.rig.diskimages import extension_tree
from tests.rig.releases import RELEASES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.rig.node import Node

pytestmark = [pytest.mark.system, pytest.mark.commands, pytest.mark.releases(*RELEASES)]

DROP_IN: Final = "/etc/systemd/system/systemd-sysext.service.d/hierarchies.conf"


def _want(node: Node, directory: str) -> None:
    node.write("/etc/livelayer/extensions.yaml", f"extensions: {{tool: {{source: 'file://{directory}'}}}}\n")


def _set_hierarchies(node: Node, *hierarchies: str) -> None:
    node.write(DROP_IN, f'[Service]\nEnvironment="SYSTEMD_SYSEXT_HIERARCHIES={":".join(hierarchies)}"\n')
    node.run("systemctl", "daemon-reload")


def _overlays(node: Node) -> list[str]:
    listed = node.run("findmnt", "--noheadings", "--list", "--source", "sysext", "--output", "TARGET", status=None)
    return sorted(listed.stdout.split())


def _reason(node: Node) -> str:
    document = json.loads(node.run("livelayer", "status", "--json").stdout)
    (item,) = document["extensions"]
    assert document["in_sync"] == (item["reason"] is None)
    return str(item["reason"] or "")


def _provided(node: Node, path: str) -> list[str]:
    return node.run("livelayer", "provides", path).stdout.splitlines()


def test_files_outside_of_the_nodes_hierarchies_are_told_with_path_and_reason(node: Node) -> None:
    """As on Kairos, whose unit lists directories below /usr; and one beside /usr and /opt is as good."""
    files = {"usr/bin/tool": "echo v1", "usr/libexec/tool/part": "", "opt/tool": "", "srv/data/x": ""}
    extension_tree(node.path("/root/outside"), "tool", files)
    _set_hierarchies(node, "/usr/bin", "/usr/lib", "/srv/data")
    _want(node, "/root/outside")
    told = node.run("livelayer", "apply", status=1).stderr
    merged = "extensions are merged onto /usr/bin, /usr/lib, /srv/data only"
    assert f"tool: /opt/tool is not seen: {merged}" in told
    assert _overlays(node) == ["/srv/data", "/usr/bin", "/usr/lib"]
    assert node.run("tool").stdout == "v1\n"
    assert "/opt/tool is not seen" in _reason(node)
    node.run("livelayer", "status", "--check", status=2)
    assert _provided(node, "/usr/libexec/tool/part") == [f"tool: is merged, but not seen here: {merged}"]
    assert _provided(node, "/srv/data/x") == ["tool: is seen"]
    assert node.run("livelayer", "provides", "/opt/tool").stdout.startswith("tool: is merged, but not seen here")

    _set_hierarchies(node, "/usr/bin", "/usr/lib", "/srv/data", "/opt", "/usr/libexec")
    node.run("systemctl", "restart", "systemd-sysext.service")  # as the hint says
    node.run("livelayer", "apply")
    assert _reason(node) == ""
    assert _provided(node, "/usr/libexec/tool/part") == ["tool: is seen"]


def test_an_overlay_that_is_not_the_units_is_taken_off(node: Node) -> None:
    """A refresh by hand knows nothing of the unit's variable; what it merged would be renewed by nobody."""
    for version in ("v1", "v2"):
        extension_tree(node.path(f"/root/byhand-{version}"), "tool", {"usr/bin/tool": f"echo {version}"})
    _set_hierarchies(node, "/usr/bin", "/usr/lib")
    _want(node, "/root/byhand-v1")
    node.run("livelayer", "apply")
    node.run("systemd-sysext", "merge")
    assert _overlays(node) == ["/usr", "/usr/bin", "/usr/lib"]
    _want(node, "/root/byhand-v2")
    assert "taking the overlay off /usr, which" in node.run("livelayer", "apply").stderr
    assert _overlays(node) == ["/usr/bin", "/usr/lib"]
    assert node.run("tool").stdout == "v2\n"
    assert _reason(node) == ""


@pytest.fixture
def ostree(node: Node) -> Iterator[Node]:
    """A node whose /opt is a link, as ostree's systems have it."""
    node.run("sh", "-c", "rmdir /opt; mkdir -p /var/opt; touch /var/opt/own; ln -s var/opt /opt")
    yield node
    node.run("systemctl", "stop", "systemd-sysext.service")
    node.run("sh", "-c", "rm -r /opt /var/opt; mkdir /opt")


def test_a_hierarchy_that_is_a_link_is_merged_where_it_leads(ostree: Node) -> None:
    node = ostree
    extension_tree(node.path("/root/opt"), "tool", {"usr/bin/tool": "", "opt/tool/x": "", "opt/own": ""})
    _want(node, "/root/opt")
    lint = node.run("livelayer", "lint", "/root/opt", status=None).stdout
    assert "LL103" not in lint
    assert "it would hide /opt/own of this host" in lint
    assert "hides /opt/own of this host" in node.run("livelayer", "apply").stderr
    assert _overlays(node) == ["/usr", "/var/opt"]
    assert _reason(node) == ""
    for top in ("/opt", "/var/opt"):
        assert _provided(node, f"{top}/tool/x") == ["tool: is seen"]
        assert _provided(node, f"{top}/own") == ["tool: is seen", "this host: hidden by tool"]
    assert node.run("livelayer", "plan").stdout == "in sync\n"
