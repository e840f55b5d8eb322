"""A node that is laid out as Kairos does it: a fresh root at each boot, persistent directories, its own drop-in."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.rig.images import command, extension, write_image
from tests.rig.node import Node, copy_root, run_in_root
from tests.system.test_node import UNITS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.rig.registry import Registry

pytestmark = [pytest.mark.system, pytest.mark.commands]

POLICY = "root=verity+absent:usr=verity+absent"
HIERARCHIES = ("/usr/bin", "/usr/lib", "/usr/share", "/usr/sbin", "/usr/include", "/usr/src")
DROP_IN = f"""\
[Service]
TimeoutStartSec=10
ExecStart=
ExecStart=systemd-sysext refresh --image-policy="{POLICY}"
ExecReload=
ExecReload=systemd-sysext refresh --image-policy="{POLICY}"
Environment="SYSTEMD_SYSEXT_HIERARCHIES={":".join(HIERARCHIES)}"
[Unit]
JobRunningTimeoutSec=5
"""
PERSISTENT = ("/var/lib/extensions", "/var/lib/confexts", "/var/lib/kairos", "/oem", "/usr/local")
STORE = "/var/lib/kairos/livelayer/store/sha256"


class Kairos:
    """A machine with a persistent disk, whose root is made anew at each boot."""

    def __init__(self, image: Path, disk: Path, registry: Registry) -> None:
        self.disk = disk
        self.registry = registry
        self._image = image
        self._boots = 0
        for path in PERSISTENT:
            self._kept(path).mkdir()
        # Where a Kairos image would have livelayer below /usr.
        shutil.copytree(image / "usr/local", self._kept("/usr/local"), symlinks=True, dirs_exist_ok=True)

    @contextmanager
    def booted(self, files: dict[str, str], state: str = "active", *, enabled: bool = True) -> Iterator[Node]:
        """Boot the image; `files` are those that cloud-init writes at each boot, `enabled` are livelayer's units."""
        self._boots += 1
        root, marks = self.disk / f"root{self._boots}", self.disk / f"marks{self._boots}"
        copy_root(self._image, root)
        marks.mkdir()
        (marks / f"{state}_mode").write_text("1")
        (root / "etc/containers/registries.conf.d/registry.conf").write_text(self.registry.registries_conf())
        node = Node(root, *(f"--bind={self._kept(path)}:{path}" for path in PERSISTENT), f"--bind={marks}:/run/cos")
        everything = {
            "/etc/systemd/system/systemd-sysext.service.d/kairos.conf": DROP_IN,
            "/etc/kairos-release": 'KAIROS_VERSION="v3.6.0"\n',
            **files,
        }
        for path, text in everything.items():
            node.write(path, text)
        if enabled:
            binds = [f"--bind={self._kept('/usr/local')}:/usr/local"]
            run_in_root(root, "systemctl", "--quiet", "enable", *UNITS, options=binds)
        with node:
            yield node

    def push(self, name: str, tag: str) -> str:
        write_image(self.disk / "layout", f"{name}-{tag}", command(name, f"{name} {tag}"))
        return self.registry.push(self.disk / "layout", f"{name}-{tag}", f"kairos/{name}:{tag}")

    def keep(self, path: str, text: str) -> None:
        """Write a file below one of the persistent directories, as an administrator would, on or off."""
        top = next(it for it in PERSISTENT if path.startswith(f"{it}/"))
        file = self._kept(top) / path.removeprefix(f"{top}/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def _kept(self, path: str) -> Path:
        return self.disk / path.strip("/").replace("/", "-")


@pytest.fixture
def kairos(recent_root: Path, registry: Registry) -> Iterator[Kairos]:
    """The machine, switched off."""
    registry.start()
    with tempfile.TemporaryDirectory(prefix="livelayer-kairos-", dir="/var/tmp") as disk:
        yield Kairos(recent_root, Path(disk), registry)


def _says(node: Node, name: str) -> str:
    return node.run(f"/usr/bin/{name}", status=None).stdout.strip()


def _status(node: Node) -> dict[str, dict[str, Any]]:
    document = json.loads(node.run("livelayer", "status", "--json").stdout)
    return {item["name"]: item for item in document["extensions"]}


def _overlays(node: Node) -> set[str]:
    listed = node.run("findmnt", "--noheadings", "--list", "--source", "sysext", "--output", "TARGET", status=None)
    return set(listed.stdout.split())


def _eventually(node: Node, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        if time.monotonic() > deadline:
            journal = node.run("journalctl", "--boot", "--no-pager").stdout
            pytest.fail(f"never came true; journal:\n{journal[-6000:]}")
        time.sleep(0.05)


def _assert_local_is_writable(node: Node) -> None:
    """What is merged covers neither /usr/local nor what somebody puts there."""
    assert _overlays(node) <= set(HIERARCHIES)
    node.run("touch", "/usr/local/kept")
    node.run("test", "-w", "/usr/local/bin/livelayer")


def test_it_converges_at_boot_and_stays_merged_without_network(kairos: Kairos) -> None:
    """The first boot fetches; the second one, in another state, merges what the disk has."""
    everywhere, here = kairos.push("everywhere", "v1"), kairos.push("here", "v1")
    main = {
        "/etc/livelayer/extensions.yaml": "extensions:\n"
        f"  everywhere: {{source: '{everywhere}'}}\n"
        f"  here: {{source: '{here}', boot_states: [active]}}\n"
    }
    with kairos.booted(main) as node:
        _eventually(node, lambda: _says(node, "everywhere") == "everywhere v1")
        assert _says(node, "here") == "here v1"
        node.run("livelayer", "status", "--check")
        _assert_local_is_writable(node)
        node.run("touch", "/var/lib/volatile")
        assert len(node.run("ls", STORE).stdout.split()) == 2
        assert not node.path("/var/lib/livelayer/store").exists()
    kairos.registry.stop()
    with kairos.booted(main, "passive") as node:
        assert _says(node, "everywhere") == "everywhere v1"
        assert _says(node, "here") == ""
        assert "plan: fetch" not in node.journal("livelayer-boot.service")
        node.run("livelayer", "status", "--check")
        assert "this is passive" in _status(node)["here"]["reason"]
        assert len(node.run("ls", STORE).stdout.split()) == 2
        assert not node.path("/var/lib/volatile").exists()
        node.run("test", "-e", "/usr/local/kept")
        _assert_local_is_writable(node)


def test_it_refreshes_as_the_node_does(kairos: Kairos) -> None:
    """Policy, hierarchies, start limit and conditions of the unit; kairos-agent's own extensions stay its own."""
    source, taken = kairos.push("tool", "v1"), kairos.push("agents", "v1")
    with kairos.booted({}, enabled=False) as node:

        def want(more: str = "") -> None:
            node.write(
                "/etc/livelayer/extensions.yaml",
                f"settings: {{allow_empty: true}}\nextensions:\n{more}",
            )

        for member in command("agents", "agents"):
            path = kairos.disk / "var-lib-kairos/extensions/agents" / member.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(member.content)
        (kairos.disk / "var-lib-kairos/extensions/idle.raw").touch()
        node.run("mkdir", "/run/extensions")
        node.run("ln", "-s", "/var/lib/kairos/extensions/agents", "/run/extensions/agents")

        want(f"  tool: {{source: '{source}', format: auto}}\n  agents: {{source: '{taken}'}}\n")
        told = node.run("livelayer", "apply", status=1).stderr
        assert "agents: /run/extensions/agents is in the way, and it is kairos-agent's" in told
        assert _says(node, "tool") == "tool v1"
        explained = json.loads(node.run("livelayer", "explain", "tool", "--json").stdout)["extensions"][0]
        assert explained["target"]["format"] == "directory"

        want(f"  tool: {{source: '{source}', format: squashfs}}\n")
        told = node.run("livelayer", "apply", status=1).stderr
        assert f"tool: the node's image policy ({POLICY}) refuses it" in told
        assert _says(node, "tool") == "tool v1"
        reasons = {name: item["reason"] for name, item in _status(node).items()}
        assert reasons["agents"] == "placed by kairos-agent: /run/extensions/agents"
        assert reasons["idle"] == (
            "kept by kairos-agent, not enabled in this boot: /var/lib/kairos/extensions/idle.raw"
        )

        want(f"  tool: {{source: '{source}'}}\n")
        for _ in range(7):  # more than the unit may start in 10 seconds
            node.run("systemctl", "stop", "systemd-sysext.service")
            assert _says(node, "tool") == ""
            node.run("livelayer", "apply")
            assert _says(node, "tool") == "tool v1"
        _assert_local_is_writable(node)

        node.run("rm", "/run/extensions/agents")
        want()
        node.run("livelayer", "apply")
        assert _overlays(node) == set()
        node.run("livelayer", "status", "--check")

        want(f"  tool: {{source: '{source}'}}\n")
        node.run("livelayer", "apply")
        node.run("systemctl", "stop", "systemd-sysext.service")
        node.run("env", f"SYSTEMD_SYSEXT_HIERARCHIES={':'.join(HIERARCHIES)}", "systemd-sysext", "merge")
        assert _overlays(node)
        want()
        node.run("livelayer", "apply")
        assert _overlays(node) == set()


BUNDLE = """\
#cloud-config
hostname: "kairos-{{{{ trunc 4 .Random }}}}"
install:
  bundles:
  - rootfs_path: /var/lib/extensions/ipfs
    targets:
    - container://{image}
"""


def test_a_bundle_in_the_cloud_config_is_all_it_takes(kairos: Kairos) -> None:
    """The configuration of Kairos's own documentation, in /oem: at the first boot, in service, offline."""
    files = {"usr/bin/ipfs": "#!/bin/sh\necho 'ipfs version 0.15.0'\n"}
    write_image(kairos.disk / "layout", "kubo", extension("kubo", files))
    image = kairos.registry.push(kairos.disk / "layout", "kubo", "kairos/ipfs-sysext:v0.15.0")
    other = kairos.push("other", "v1").removeprefix("docker://")
    bundle = BUNDLE.format(image=image.removeprefix("docker://"))
    kairos.keep("/oem/90_custom.yaml", bundle)
    with kairos.booted({}) as node:
        _eventually(node, lambda: _says(node, "ipfs") == "ipfs version 0.15.0")
        more = f"  - rootfs_path: /var/lib/extensions/other\n    targets: ['CONTAINER://{other}']\n"
        kairos.keep("/oem/90_custom.yaml", bundle + more)
        _eventually(node, lambda: _says(node, "other") == "other v1")
        _assert_local_is_writable(node)
    kairos.registry.stop()
    with kairos.booted({}, "passive") as node:
        assert _says(node, "ipfs") == "ipfs version 0.15.0"
        assert _says(node, "other") == "other v1"
        assert "plan: fetch" not in node.journal("livelayer-boot.service")
        node.run("livelayer", "status", "--check")
