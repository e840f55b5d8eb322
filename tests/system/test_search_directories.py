"""Search directories as others leave them: symbolic links to data disks, with extensions of others that win."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.rig.diskimages import extension_tree
from tests.rig.foreignroot import ForeignRoot
from tests.rig.images import command, write_image
from tests.rig.images import confext as confext_members
from tests.rig.releases import FORKY, RELEASES, TRIXIE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.rig.node import Node
    from tests.rig.releases import Release

pytestmark = [pytest.mark.system, pytest.mark.commands]
on_all = pytest.mark.releases(*RELEASES)

# Merged, a configuration extension makes /etc read-only.
MAIN = "/srv/extensions.yaml"
LIVELAYER = ("livelayer", "--config", MAIN)


def _want(node: Node, *names: str, tag: str = "v1", settings: str = "") -> None:
    """Extensions with a command of their own name each; one called `settings` is a configuration extension."""
    layout = node.path("/srv/images")
    layout.mkdir(parents=True, exist_ok=True)
    lines = []
    for name in names:
        is_confext = name == "settings"
        files = confext_members(name, {"etc/demo.conf": f"level={tag}\n"}) if is_confext else command(name, tag)
        write_image(layout, f"{name}-{tag}", files)
        kind = ", kind: confext" if is_confext else ""
        lines.append(f"  {name}: {{source: 'oci:/srv/images:{name}-{tag}'{kind}}}\n")
    node.write(MAIN, f"settings: {{allow_empty: true{settings}}}\nextensions:\n{''.join(lines)}")


def _status(node: Node) -> dict[str, Any]:
    document = json.loads(node.run(*LIVELAYER, "status", "--json").stdout)
    listed = document["extensions"]
    return {"in_sync": document["in_sync"], "all": listed} | {item["name"]: item for item in listed}


def _says(node: Node, name: str) -> str:
    return node.run(f"/usr/bin/{name}", status=None).stdout.strip()


def _move_to_data_disk(node: Node, name: str) -> None:
    """`/var/lib/NAME` becomes a link to a directory at another depth, with whatever lay in it."""
    script = 'mkdir -p /srv/disk && mv "/var/lib/$1" /srv/disk/ && ln -s "/srv/disk/$1" "/var/lib/$1"'
    node.run("sh", "-ec", script, "sh", name)


@on_all
def test_a_search_directory_on_a_data_disk(node: Node) -> None:
    """A link to it is followed by systemd, so what is placed there is merged; what dangled there is made anew."""
    has_confexts = int(node.run("systemctl", "--version").stdout.split()[1]) >= 254
    names = ("tool", "settings") if has_confexts else ("tool",)
    _want(node, *names)
    node.run(*LIVELAYER, "apply")
    for directory in ("extensions", "confexts"):
        node.run("mkdir", "-p", f"/var/lib/{directory}")
        _move_to_data_disk(node, directory)
    status = _status(node)
    assert not status["in_sync"]
    assert {status[name]["state"] for name in names} == {"drifted"}
    node.run(*LIVELAYER, "apply", "--no-refresh")
    node.run("test", "-d", "/var/lib/extensions/tool/")
    assert _says(node, "tool") == "v1"
    node.run(*LIVELAYER, "apply")
    assert node.run(*LIVELAYER, "plan").stdout == "in sync\n"

    _want(node, *names, tag="v2")
    node.run(*LIVELAYER, "apply")
    assert _status(node)["in_sync"]
    assert _says(node, "tool") == "v2"
    if has_confexts:
        assert node.run("cat", "/etc/demo.conf").stdout == "level=v2\n"
    node.run("systemd-sysext", "refresh")
    assert _says(node, "tool") == "v2"

    _want(node)
    node.run(*LIVELAYER, "apply")
    assert node.run("ls", "-A", "/srv/disk/extensions", "/srv/disk/confexts").stdout.split() == [
        "/srv/disk/confexts:",
        "/srv/disk/extensions:",
    ]


@on_all
@pytest.mark.by_lot(2)
@pytest.mark.releases_differ
def test_what_wins_over_an_extension_is_named(node: Node, release: Release) -> None:
    """In a directory of higher rank: another one, a directory of versions where systemd knows them, a mask."""
    _want(node, "tool")
    node.run(*LIVELAYER, "apply")
    has_versions = release.systemd >= 256
    stranger = "/etc/extensions/tool.v/tool_1.0" if has_versions else "/etc/extensions/tool"
    extension_tree(node.path("/srv/other"), "tool", {"usr/bin/tool": "#!/bin/sh\necho other\n"})
    node.path("/srv/other/usr/bin/tool").chmod(0o755)
    node.run("sh", "-ec", f"mkdir -p $(dirname {stranger}) && mv /srv/other {stranger}")
    for refresh in (False, True):
        if refresh:
            node.run("systemd-sysext", "refresh")
            assert _says(node, "tool") == "other"
        status = _status(node)
        mine = next(it for it in status["all"] if it["name"] == "tool" and it["source"])
        assert not status["in_sync"]
        assert (mine["state"], mine["merged"]) == ("failed", False)
        assert f"{stranger} is in the way" in mine["reason"]

    # What was merged is still seen after it has gone; its names are those that are asked for.
    node.run("mv", stranger, "/srv/other")
    status = _status(node)
    assert (status["in_sync"], status["tool"]["merged"]) == (False, False)
    assert _says(node, "tool") == "other"
    node.run(*LIVELAYER, "apply")
    assert _says(node, "tool") == "v1"
    assert _status(node)["in_sync"]

    node.run("sh", "-ec", "rm -rf /etc/extensions/*; mkdir -p /etc/extensions/tool")
    told = node.run(*LIVELAYER, "apply", status=1).stderr
    assert "/etc/extensions/tool is in the way, and livelayer did not place it" in told
    node.run("rmdir", "/etc/extensions/tool")
    node.run(*LIVELAYER, "apply")


@pytest.mark.releases(TRIXIE, FORKY)
def test_versions_beside_a_link_and_bad_ones(node: Node) -> None:
    _want(node, "tool")
    node.run(*LIVELAYER, "apply")
    extension_tree(node.path("/var/lib/extensions/tool.v/tool_2"), "tool")
    told = node.run(*LIVELAYER, "apply", status=1).stderr
    assert "/var/lib/extensions/tool.v/tool_2 is in the way" in told
    assert "remove /var/lib/extensions/tool.v, or give" in told
    node.run("rm", "-r", "/var/lib/extensions/tool.v")

    # One bad version keeps all from being merged.
    node.run("mkdir", "-p", "/var/lib/extensions/bad.raw.v")
    node.write("/var/lib/extensions/bad.raw.v/bad_2.raw", "no image")
    _want(node, "tool", tag="v2")
    told = node.run(*LIVELAYER, "apply", status=1).stderr
    assert "/var/lib/extensions/bad.raw.v/bad_2.raw would make systemd merge nothing" in told
    assert _says(node, "tool") == "v1"
    _want(node, "tool", tag="v2", settings=", quarantine: true")
    node.run(*LIVELAYER, "apply")
    assert _says(node, "tool") == "v2"
    node.run("test", "-d", "/run/extensions/bad")
    node.run("rm", "-r", "/var/lib/extensions/bad.raw.v")
    node.run(*LIVELAYER, "apply")
    node.run("test", "-e", "/run/extensions/bad", status=1)


@on_all
def test_a_data_disk_of_another_root(release: Release, livelayer: str, tmp_path: Path) -> None:
    """What an installer places through an absolute link leads to the content on the node itself."""
    root = ForeignRoot(release.suite, tmp_path / "root")
    write_image(tmp_path / "images", "tool", command("tool", "v1"))
    main = tmp_path / "extensions.yaml"
    main.write_text(f"extensions: {{tool: {{source: 'oci:{tmp_path}/images:tool'}}}}\n")
    (root.root / "srv/disk/extensions").mkdir(parents=True)
    (root.root / "var/lib/extensions").symlink_to("/srv/disk/extensions")
    for verb in ("apply", "plan"):
        arguments = [livelayer, "--root", str(root.root), "--config", str(main), verb]
        subprocess.run(arguments, check=True, capture_output=True)
    shown = root.run("systemd-sysext merge && tool")
    assert shown.stdout.splitlines()[-1:] == ["v1"], shown
