"""Where extensions are merged is a matter of the node: its unit's hierarchies, its links, its mounts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import pytest

from tests.rig.diskimages import extension_tree
from tests.rig.releases import BOOKWORM, RELEASES

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


@pytest.fixture
def mounting(node: Node) -> Iterator[Node]:
    """A node on which a test may mount what it likes below /usr/local and /opt."""
    node.run("sh", "-c", "mkdir -p /opt/data /usr/local/share; touch /opt/own")
    yield node
    node.run("systemctl", "stop", "systemd-sysext.service")
    unmount = "while umount --recursive --lazy {} 2>/dev/null; do :; done"
    node.run("sh", "-c", "; ".join(unmount.format(it) for it in ("/usr/local/share", "/opt/data", "/opt")))
    node.run("sh", "-c", "rm -r /opt; mkdir /opt")


def _mount(node: Node, place: str) -> None:
    node.run("sh", "-c", f"mkdir -p {place}; mount -t tmpfs host {place}; touch {place}/hosts")


def _systemd(node: Node) -> int:
    return int(node.run("systemctl", "--version").stdout.split()[1])


def test_a_mount_below_a_hierarchy_hides_or_is_hidden(mounting: Node) -> None:
    """It is hidden by systemd 252; 257 on keeps it on top, and what an extension has there is not seen."""
    node, files = mounting, {"usr/bin/tool": "echo v1", "usr/local/share/tool/x": ""}
    extension_tree(node.path("/root/mounts"), "tool", files)
    _mount(node, "/usr/local/share")
    _want(node, "/root/mounts")
    path = "/usr/local/share/tool/x"
    if _systemd(node) < 257:
        warning = "systemd 252 hides the mount /usr/local/share of this host while extensions are merged"
        assert warning in node.run("livelayer", "apply").stderr
        assert warning in node.run("livelayer", "status").stderr
        node.run("test", "-e", "/usr/local/share/hosts", status=1)
        assert _provided(node, path) == ["tool: is seen"]
        assert "this host: hidden by tool" not in _provided(node, path)
        return
    covered = "the mount /usr/local/share lies on top of what is merged"
    assert f"tool: {path} is not seen: {covered}" in node.run("livelayer", "apply", status=1).stderr
    assert covered in _reason(node)
    assert _provided(node, path) == [f"tool: is merged, but not seen here: {covered}"]
    assert _provided(node, "/usr/local/share/hosts") == ["this host: is seen"]
    node.run("umount", "/usr/local/share")
    assert _reason(node) == ""
    assert _provided(node, path) == ["tool: is seen"]


def test_what_the_host_has_beside_a_mount_is_not_hidden_by_an_empty_directory(mounting: Node) -> None:
    """That is what systemd 257 and 262 leave over /opt where something is mounted and no extension has anything."""
    node = mounting
    extension_tree(node.path("/root/plain"), "tool", {"usr/bin/tool": "echo v1"})
    extension_tree(node.path("/root/with-opt"), "tool", {"usr/bin/tool": "echo v2", "opt/tool": ""})
    _mount(node, "/opt/data")
    for directory in ("/root/plain", "/root/with-opt", "/root/plain"):
        _want(node, directory)
        node.run("livelayer", "apply")
        assert _reason(node) == ""
        assert node.run("ls", "/opt").stdout.split() == [
            "data",
            "own",
            *(["tool"] if directory == "/root/with-opt" else []),
        ]
        if directory == "/root/plain" or _systemd(node) >= 257:
            assert node.run("ls", "/opt/data").stdout == "hosts\n"
    assert node.run("findmnt", "--types", "tmpfs", "--source", "sysext", "/opt", status=1).stdout == ""

    node.run("systemctl", "restart", "systemd-sysext.service")  # as at boot
    if _systemd(node) >= 257:
        node.run("test", "-e", "/opt/own", status=1)
        assert "left an empty directory over /opt" in node.run("livelayer", "plan", status=2).stdout
    node.run("livelayer", "apply")
    assert node.run("ls", "/opt", "/opt/data").stdout.split() == ["/opt:", "data", "own", "/opt/data:", "hosts"]


def test_mounts_in_mounts_are_not_lost(mounting: Node) -> None:
    """Of systemd, 257 aborts on them, and all that was mounted there is gone."""
    node = mounting
    for version in ("v1", "v2"):
        extension_tree(
            node.path(f"/root/nested-{version}"), "tool", {"usr/bin/tool": f"echo {version}", "opt/tool": ""}
        )
    _want(node, "/root/nested-v1")
    node.run("livelayer", "apply")
    node.run("systemctl", "stop", "systemd-sysext.service")
    for place in ("/opt/data", "/opt/data/deep"):
        _mount(node, place)
    breaks = _systemd(node) == 257
    lost = "the mount /opt/data/deep lies in the mount /opt/data, and this systemd, 257, loses both"
    for version in ("v1", "v2"):
        _want(node, f"/root/nested-{version}")
        done = node.run("livelayer", "apply", status=int(breaks))
        mounted = node.run(
            "findmnt", "--noheadings", "--list", "--source", "host", "--output", "TARGET"
        ).stdout.split()
        assert mounted == ["/opt/data", "/opt/data/deep"]
        if breaks:
            assert lost in done.stderr
        else:
            assert node.run("tool").stdout == f"{version}\n"
            assert _reason(node) == ""
    if breaks:
        assert lost in _reason(node)
        node.run("umount", "/opt/data/deep")  # as the hint says
        node.run("livelayer", "apply")
        assert node.run("tool").stdout == "v2\n"
        assert node.run("ls", "/opt/data").stdout.split() == ["deep", "hosts"]


@pytest.mark.releases(BOOKWORM)
def test_livelayer_does_not_hide_itself(node: Node) -> None:
    """With /usr/local on a partition of its own, it would be gone after the first merge, and nobody could undo it."""
    extension_tree(node.path("/root/self"), "tool", {"usr/bin/tool": "echo v1"})
    _want(node, "/root/self")
    node.run("mount", "--bind", "/usr/local", "/usr/local")
    try:
        told = node.run("livelayer", "apply", status=1).stderr
        assert "tool: livelayer itself lies on the mount /usr/local, which systemd 252 hides" in told
        assert _overlays(node) == []
        assert "livelayer itself lies on" in node.run("livelayer", "apply", "--no-refresh", status=1).stderr
        assert node.run("ls", "/var/lib/extensions").stdout == ""
        _set_hierarchies(node, "/usr/bin", "/usr/lib", "/usr/share")  # as the hint says
        node.run("livelayer", "apply")
        assert node.run("tool").stdout == "v1\n"
        assert _reason(node) == ""
    finally:
        node.run("systemctl", "stop", "systemd-sysext.service")
        node.run("umount", "--lazy", "/usr/local")
