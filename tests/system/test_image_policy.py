"""A node whose systemd takes only verified images: what is refused, why, and what `auto` does instead."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import pytest

from tests.rig.images import Member, command, extension, write_image

if TYPE_CHECKING:
    from tests.rig.node import Node

pytestmark = [pytest.mark.system, pytest.mark.commands]

POLICY = "root=verity+absent:usr=verity+absent"
DROP_IN = f"""\
[Service]
ExecStart=
ExecStart=systemd-sysext refresh --image-policy={POLICY}
ExecReload=
ExecReload=systemd-sysext refresh --image-policy={POLICY}
"""
# Larger than what `auto` leaves unpacked, and not to be compressed.
LARGE = Member("usr/share/large/data", hashlib.shake_256(b"large").digest(70 << 20))


def test_a_node_without_loop_devices_takes_no_image_files(recent_node: Node) -> None:
    node = recent_node
    layout = node.path("/srv/images")
    layout.mkdir(parents=True)
    write_image(layout, "tool", command("tool", "runs"))
    write_image(layout, "other", command("other", "runs"))
    node.write(
        "/etc/livelayer/extensions.yaml",
        "extensions:\n"
        "  tool: {source: 'oci:/srv/images:tool', format: squashfs}\n"
        "  other: {source: 'oci:/srv/images:other', format: auto}\n",
    )
    told = node.run("livelayer", "apply", status=1).stderr
    assert "tool: this node has no loop devices" in told
    assert node.run("other").stdout == "runs\n"


def test_a_refused_format_is_not_even_fetched_and_auto_avoids_it(recent_node: Node) -> None:
    node = recent_node
    node.write("/etc/systemd/system/systemd-sysext.service.d/policy.conf", DROP_IN)
    node.run("systemctl", "daemon-reload")
    layout = node.path("/srv/images")
    layout.mkdir(parents=True)
    write_image(layout, "tool", command("tool", "runs"))
    write_image(layout, "large", (*extension("large", {}), LARGE))
    node.write(
        "/etc/livelayer/extensions.yaml",
        "extensions:\n"
        "  tool: {source: 'oci:/srv/images:tool', format: squashfs}\n"
        "  large: {source: 'oci:/srv/images:large', format: auto}\n",
    )
    told = node.run("livelayer", "apply", status=1).stderr
    assert f"tool: the node's image policy ({POLICY}) refuses it" in told
    assert "fetch tool" not in told
    explained = json.loads(node.run("livelayer", "explain", "large", "--json").stdout)["extensions"][0]
    assert explained["target"]["format"] == "directory"
    assert (explained["state"], explained["merged"]) == ("in-sync", True)
    node.write("/etc/livelayer/extensions.yaml", "extensions: {tool: {source: 'oci:/srv/images:tool'}}\n")
    node.run("livelayer", "apply")
    assert node.run("tool").stdout == "runs\n"
