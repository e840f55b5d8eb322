"""What lint and the guide say of a merge's aftermath, with livelayer and without, on booted nodes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import pytest

from tests.rig.diskimages import RELEASES as RELEASE_FILES
from tests.rig.diskimages import make_tree
from tests.rig.releases import RELEASES
from tests.system.test_node import MAIN

if TYPE_CHECKING:
    from tests.rig.node import Node

pytestmark = [pytest.mark.system, pytest.mark.commands, pytest.mark.releases(*RELEASES)]

RELOADS: Final = 255  # the first systemd that obeys EXTENSION_RELOAD_MANAGER=
# As systemd-sysctl.service is: it reads a directory once, early in the boot.
EARLY: Final = """[Unit]
DefaultDependencies=no
After=local-fs.target
Before=sysinit.target systemd-sysext.service livelayer-boot.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=sh -c 'ls /usr/lib/reader.d > /run/read || true'
[Install]
WantedBy=sysinit.target
"""
AGAIN: Final = "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=sh -c 'ls /usr/lib/reader.d > /run/read'\n"


def _is_active(node: Node, unit: str) -> bool:
    return node.run("systemctl", "is-active", unit, status=None).stdout == "active\n"


def test_what_is_read_before_the_merge_is_read_again_by_a_unit_of_the_extension(node: Node) -> None:
    """As the hint of LL706 says; without it nobody does, neither now nor after a boot."""
    node.write("/etc/systemd/system/early.service", EARLY)
    node.run("systemctl", "daemon-reload")
    node.run("systemctl", "enable", "early.service", "livelayer-boot.service", "livelayer-activate.service")
    node.run("systemctl", "start", "early.service")
    files = {
        "usr/lib/reader.d/x.conf": "",
        "usr/lib/sysctl.d/x.conf": "",
        "usr/lib/systemd/system/again.service": AGAIN,
    }
    make_tree(node.path("/srv/x"), {**files, f"{RELEASE_FILES}/extension-release.x": "ID=_any\n"})
    found = json.loads(node.run("livelayer", "lint", "/srv/x", "--json").stdout)
    (hint,) = [it["hint"] for it in found["extensions"][0]["findings"] if it["rule"] == "LL706"]
    assert hint == "bring a unit that runs /usr/lib/systemd/systemd-sysctl with it, and list it in units.start"
    for units, read in (("{}", ""), ("{start: [again.service]}", "x.conf\n")):
        node.write(MAIN, f"extensions: {{x: {{source: 'file:///srv/x', units: {units}}}}}\n")
        node.run("livelayer", "apply")
        assert node.run("cat", "/run/read").stdout == read
        node.reboot()
        node.run(
            "timeout", "20", "sh", "-c", f"until [ \"$(cat /run/read)\" = '{read.strip()}' ]; do sleep 0.1; done"
        )
        assert node.run("ls", "/usr/lib/reader.d").stdout == "x.conf\n"
        assert node.run("cat", "/run/read").stdout == read


def test_an_upheld_unit_starts_at_boot_without_livelayer_if_systemd_reads_units_anew(node: Node) -> None:
    """Where the release file asks for it, and systemd obeys that."""
    service = "[Service]\nExecStart=/usr/bin/sleep infinity\n"
    make_tree(node.path("/srv/tree"), {"usr/lib/systemd/system/x.service": service})
    build = ("livelayer", "build", "x", "--from", "/srv/tree", "--format", "directory", "--enable-unit", "x.service")
    node.run(*build, "--output", "/var/lib/extensions/x")
    node.run("systemctl", "enable", "systemd-sysext.service")
    systemd = int(node.run("systemctl", "--version").stdout.split()[1])
    for is_asked in (True, False):
        release = node.path(f"/var/lib/extensions/x/{RELEASE_FILES}/extension-release.x")
        assert "EXTENSION_RELOAD_MANAGER=1" in release.read_text()
        if not is_asked:
            release.write_text("ID=_any\n")
        node.reboot()
        assert node.run("systemd-sysext", "list", "--no-legend").stdout.startswith("x ")
        assert _is_active(node, "x.service") == (is_asked and systemd >= RELOADS)
    node.run("systemctl", "daemon-reload")
    node.run("timeout", "20", "sh", "-c", "until systemctl is-active x.service; do sleep 0.1; done")
