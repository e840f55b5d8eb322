"""What systemd itself is told about merging: by its configuration (259 on) and the kernel command line (261)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.rig.diskimages import extension_tree, squashfs
from tests.rig.releases import FORKY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.rig.node import Node

pytestmark = [pytest.mark.system, pytest.mark.commands, pytest.mark.releases(FORKY)]

CONF: Final = "/etc/systemd/sysext.conf"
STRICT: Final = "root=verity+absent:usr=verity+absent"


@pytest.fixture
def node(shared_node: Node) -> Iterator[Node]:
    """A node that another test finds as it was."""
    yield shared_node
    shared_node.path(CONF).unlink(missing_ok=True)
    shared_node.run("sh", "-c", "systemctl stop systemd-sysext.service; systemd-sysext unmerge", status=None)
    shared_node.run("sh", "-c", "rm -rf /var/lib/extensions/* /var/lib/extensions.mutable /etc/livelayer/*.yaml")


def _want(node: Node, directory: str, more: str = "") -> None:
    text = f"extensions: {{tool: {{source: 'file://{directory}'{more}}}}}\n"
    node.write("/etc/livelayer/extensions.yaml", text)


def _explained(node: Node) -> dict[str, Any]:
    (found,) = json.loads(node.run("livelayer", "explain", "tool", "--json").stdout)["extensions"]
    return dict(found)


def test_the_image_policy_of_sysext_conf_is_obeyed(node: Node, tmp_path: Path) -> None:
    node.write(CONF, f"[SysExt]\nImagePolicy={STRICT}\n")
    byhand = node.path("/var/lib/extensions/byhand.raw")
    byhand.parent.mkdir(exist_ok=True)
    squashfs(extension_tree(tmp_path / "byhand", "byhand"), byhand)
    assert node.run("systemd-sysext", "refresh", status=None).returncode != 0
    byhand.unlink()
    extension_tree(node.path("/srv/policy"), "tool")
    _want(node, "/srv/policy", ", format: squashfs")
    refused = f"the node's image policy ({STRICT}) refuses it"
    assert f"tool: {refused}" in node.run("livelayer", "apply", status=1).stderr
    _want(node, "/srv/policy", ", format: auto")
    node.run("livelayer", "apply")
    assert node.run("tool").stdout == "tool\n"
    assert _explained(node)["target"]["format"] == "directory"


def test_a_mutable_overlay_is_merged_and_renewed_like_any_other(node: Node) -> None:
    node.write(CONF, "[SysExt]\nMutable=yes\n")
    for version in ("v1", "v2"):
        extension_tree(node.path(f"/srv/mutable-{version}"), "tool", {"usr/bin/tool": f"echo {version}"})
        _want(node, f"/srv/mutable-{version}")
        assert "taking the overlay off" not in node.run("livelayer", "apply").stderr
        assert node.run("tool").stdout == f"{version}\n"
        node.run("touch", "/usr/bin/by-hand")
        assert node.run("livelayer", "plan").stdout == "in sync\n"
    assert node.run("livelayer", "provides", "/usr/bin/tool").stdout == "tool: is seen\n"
    node.write("/etc/livelayer/extensions.yaml", "settings: {allow_empty: true}\nextensions: {}\n")
    node.run("livelayer", "apply")
    node.run("test", "-e", "/usr/bin/tool", status=1)
    assert node.run("livelayer", "plan").stdout == "in sync\n"


def test_merging_that_is_switched_off_is_told_and_not_tried(node: Node) -> None:
    """In a container it is the command line of PID 1 that counts."""
    extension_tree(node.path("/srv/off"), "tool", {"usr/bin/tool": "echo on"})
    _want(node, "/srv/off")
    node.run(
        "sh",
        "-c",
        "printf '/sbin/init\\0systemd.sysext=0\\0' > /run/cmdline; mount --bind /run/cmdline /proc/1/cmdline",
    )
    try:
        told = node.run("livelayer", "apply", status=1).stderr
        assert "systemd.sysext=0 on the kernel command line keeps every sysext from being merged" in told
        assert "refresh" not in told
        assert node.run("ls", "/var/lib/extensions").stdout == "tool\n"
        node.run("livelayer", "status", "--check", status=1)
        node.run("systemctl", "restart", "systemd-sysext.service")
        node.run("test", "-e", "/usr/bin/tool", status=1)
    finally:
        node.run("umount", "/proc/1/cmdline")
    node.run("systemctl", "restart", "systemd-sysext.service")  # as a boot without it does
    node.run("livelayer", "apply")
    assert node.run("tool").stdout == "on\n"
