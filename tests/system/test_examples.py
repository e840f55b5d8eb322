"""The examples, from their build to their removal on a booted node."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from tests.rig.guest import guest_root
from tests.rig.node import PROJECT

if TYPE_CHECKING:
    from tests.rig.node import Node
    from tests.rig.registry import Registry

# The first test may have to make two roots.
pytestmark = [pytest.mark.system, pytest.mark.commands, pytest.mark.timeout(900)]

EXAMPLES: Final = ("shell", "greeting", "settings", "module")
MAIN: Final = "/srv/extensions.yaml"  # merged, a configuration extension makes /etc read-only
ADDRESS: Final = "127.0.0.1:8765"
LIVELAYER: Final = ("livelayer", "--config", MAIN)


class Workshop:
    """A copy of the examples, and a registry to push them to."""

    def __init__(self, livelayer: str, directory: Path, registry: Registry) -> None:
        self.directory = directory / "examples"
        self._registry = registry
        settings = directory / ".config/containers/registries.conf"
        settings.parent.mkdir(parents=True)
        settings.write_text(registry.registries_conf())
        self._home = directory
        self._path = f"{Path(livelayer).parent}:{os.environ['PATH']}"
        shutil.copytree(PROJECT / "docs/examples", self.directory)

    def publish(self, name: str, form: str, *arguments: str, **env: str) -> str:
        """Build an example, look whether anything is wrong with it, and push it."""
        self._run(name, "./build", *arguments, "--format", form, "--output", "built", "--force", **env)
        subject = f"oci:{self.directory}/{name}/built" if form == "oci" else "built"
        findings = self._run(name, "livelayer", "lint", "--strict", subject)
        assert "error" not in findings
        self._run(name, "livelayer", "push", "built", self.source(name))
        return self.source(name)

    def inspect(self, name: str, *arguments: str) -> str:
        return self._run(name, "livelayer", "inspect", "built", *arguments)

    def source(self, name: str) -> str:
        return f"docker://{self._registry.address}/examples/{name}:1"

    def _run(self, name: str, *command: str, **env: str) -> str:
        settings = {"HOME": str(self._home), "PATH": self._path}
        done = subprocess.run(
            command,
            cwd=self.directory / name,
            env={**os.environ, **settings, **env},
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout


def _configure(node: Node, listed: dict[str, str]) -> None:
    lines = "".join(f"  {name}: {{{fields}}}\n" for name, fields in listed.items())
    node.write(MAIN, f"settings: {{allow_empty: true}}\ndefaults: {{pull: always}}\nextensions:\n{lines}")
    node.run(*LIVELAYER, "apply")


def _page(node: Node, address: str) -> str:
    """Once the server has begun to listen, which systemd does not wait for."""
    get = f"busybox wget -q -O - http://{address}/"
    script = f"for _ in $(seq 100); do {get} && exit; sleep 0.1; done; systemctl status greeting"
    return node.run("sh", "-c", script).stdout


def _move(unit: Path) -> str:
    """Let the service listen where nobody else does: nodes of tests that run at the same time share the network."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{found.getsockname()[1]}"
    text = unit.read_text()
    assert ADDRESS in text
    unit.write_text(text.replace(ADDRESS, address))
    return address


@pytest.mark.usefixtures("apt")
def test_from_build_to_removal(livelayer: str, tmp_path: Path, registry: Registry, recent_node: Node) -> None:
    workshop, node = Workshop(livelayer, tmp_path, registry), recent_node
    kernel = next(Path(guest_root(), "usr/lib/modules").iterdir()).name
    address = _move(workshop.directory / "greeting/files/usr/lib/systemd/system/greeting.service")
    workshop.publish("shell", "directory")
    workshop.publish("greeting", "oci")
    workshop.publish("settings", "directory")
    workshop.publish("module", "directory", "dummy", ROOT=str(guest_root()), KERNEL=kernel)
    assert "VERSION_ID=13" in workshop.inspect("module")
    wanted = {name: f"source: '{workshop.source(name)}'" for name in EXAMPLES}
    wanted["settings"] += ", kind: confext"
    wanted["greeting"] += ", units: {restart: [greeting.service]}"
    node.run("systemctl", "enable", "systemd-sysext.service", "systemd-confext.service")
    _configure(node, wanted)

    assert node.run("bash-static", "-c", "echo runs").stdout == "runs\n"
    assert node.run("sh", "-l", "-c", "echo $EDITOR").stdout == "vi\n"
    assert node.run("ls", f"/usr/lib/modules/{kernel}/extension").stdout.startswith("dummy.ko")
    assert _page(node, address) == "Hello from an extension.\n"

    (workshop.directory / "greeting/files/usr/share/greeting/index.html").write_text("An update.\n")
    workshop.publish("greeting", "directory")
    node.run(*LIVELAYER, "apply")
    assert _page(node, address) == "An update.\n"
    assert {it["state"] for it in json.loads(node.run(*LIVELAYER, "status", "--json").stdout)["extensions"]} == {
        "in-sync"
    }

    node.reboot()  # now the drop-in alone starts it
    assert _page(node, address) == "An update.\n"
    assert node.run("sh", "-l", "-c", "echo $EDITOR").stdout == "vi\n"

    _configure(node, {})
    for program in ("bash-static", "busybox"):
        assert node.run("sh", "-c", f"command -v {program}", status=None).stdout == ""
    assert node.run("systemctl", "is-active", "greeting.service", status=None).stdout == "inactive\n"
