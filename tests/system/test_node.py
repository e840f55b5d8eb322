"""livelayer installed on a whole node with systemd as PID 1: triggered by hand, by units and at boot."""

from __future__ import annotations

import hashlib
import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.rig.images import Member, command, extension, write_image
from tests.rig.releases import RELEASES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.rig.node import Node
    from tests.rig.registry import Registry

pytestmark = [pytest.mark.system, pytest.mark.commands]
on_each = pytest.mark.releases(*RELEASES)  # what depends on systemd; the others run on the oldest one alone

UNITS = (
    "livelayer-boot.service",
    "livelayer-activate.service",
    "livelayer-online.service",
    "livelayer.path",
    "livelayer.timer",
)
MAIN = "/etc/livelayer/extensions.yaml"
DROPINS = "/etc/livelayer/extensions.d"


class Bench:
    """A node and images to give it."""

    def __init__(self, node: Node, registry: Registry, scratch: Path) -> None:
        self.node = node
        self.registry = registry
        self._layout = scratch / "layout"
        self._repository = hashlib.sha256(str(scratch).encode()).hexdigest()[:12]

    def push(self, name: str, tag: str, layer: Sequence[Member]) -> str:
        write_image(self._layout, f"{name}-{tag}", layer)
        return self.registry.push(self._layout, f"{name}-{tag}", f"{self._repository}/{name}:{tag}")

    def want(self, where: str = MAIN, **sources: str) -> None:
        listed = "".join(f"  {name}: {{source: '{source}'}}\n" for name, source in sources.items())
        settings = "settings: {allow_empty: true}\n" if where == MAIN else ""
        self.node.write(where, f"{settings}extensions:\n{listed}")

    def enable(self, *units: str) -> None:
        self.node.run("systemctl", "daemon-reload")
        self.node.run("systemctl", "enable", "--now", *units)

    def status(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.node.run("livelayer", "status", "--json").stdout)
        return document

    def merged(self) -> list[str]:
        listed = json.loads(self.node.run("systemd-sysext", "status", "--json=short").stdout)
        names = [row["extensions"] for row in listed if isinstance(row["extensions"], list)]
        return sorted({name for row in names for name in row})

    def says(self, name: str) -> str:
        return self.node.run(f"/usr/bin/{name}", status=None).stdout.strip()

    def eventually(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 120
        while not condition():
            if time.monotonic() > deadline:
                pytest.fail(
                    f"never came true; journal:\n{self.node.run('journalctl', '-b', '--no-pager').stdout[-6000:]}"
                )
            time.sleep(0.05)


@pytest.fixture
def bench(node: Node, registry: Registry, tmp_path: Path) -> Bench:
    """Everything a test needs."""
    return Bench(node, registry, tmp_path)


@on_each
def test_a_saved_file_becomes_a_merged_overlay(bench: Bench) -> None:
    """The main job by the path unit: install, run, update by tag, drop-ins, withdraw, prune; by-hand things stay."""
    one, two = (bench.push("ipfs", tag, command("ipfs", tag)) for tag in ("v1", "v2"))
    other = bench.push("other", "v1", command("other", "other"))
    for member in command("byhand", "by hand"):
        bench.node.write(f"/var/lib/extensions/byhand/{member.name}", member.content.decode())
    bench.enable(*UNITS)

    bench.want(ipfs=one)
    bench.eventually(lambda: bench.says("ipfs") == "v1")
    bench.want(ipfs=two)
    bench.eventually(lambda: bench.says("ipfs") == "v2")
    bench.want(f"{DROPINS}/10-other.yaml", other=other)
    bench.eventually(lambda: bench.says("other") == "other")
    bench.node.write(f"{DROPINS}/10-other.yaml", "extensions: {ipfs: null}\n")
    bench.eventually(lambda: bench.merged() == ["byhand"])
    bench.node.path(f"{DROPINS}/10-other.yaml").unlink()
    bench.eventually(lambda: bench.merged() == ["byhand", "ipfs"])
    _save_by_rename(bench, other=other)
    bench.eventually(lambda: bench.merged() == ["byhand", "other"])
    bench.want()
    bench.eventually(lambda: bench.merged() == ["byhand"])
    bench.eventually(lambda: bench.status()["in_sync"])
    assert [(item["name"], item["state"]) for item in bench.status()["extensions"]] == [("byhand", "unmanaged")]
    assert "plan: fetch ipfs" in bench.node.journal("livelayer.service")


def _save_by_rename(bench: Bench, **sources: str) -> None:
    bench.want("/etc/livelayer/.extensions.yaml.swp", **sources)
    bench.node.path("/etc/livelayer/.extensions.yaml.swp").replace(bench.node.path(MAIN))


def test_a_drop_in_lets_the_path_unit_see_links_that_are_swapped(bench: Bench) -> None:
    """As livelayer(8) has it; by itself systemd watches what the links lead to, not the links."""
    for tag in ("v1", "v2"):
        bench.want(f"/srv/git/{tag}/livelayer/extensions.yaml", x=bench.push("x", tag, command("x", tag)))
    swap = "ln -s {} /srv/git/new && mv -T /srv/git/new /srv/git/current"
    lead = "rm -r /etc/livelayer && ln -s /srv/git/current/livelayer /etc/livelayer"
    bench.node.run("sh", "-c", f"{swap.format('v1')} && {lead}")
    bench.node.write("/etc/systemd/system/livelayer.path.d/links.conf", "[Path]\nPathChanged=/srv/git\n")
    bench.enable("livelayer.path")
    for tag in ("v2", "v1"):
        bench.node.run("sh", "-c", swap.format(tag))
        bench.eventually(lambda tag=tag: bench.says("x") == tag)  # type: ignore[misc]


@on_each
def test_a_broken_extension_beside_a_good_one(bench: Bench) -> None:
    bad = bench.push("bad", "v1", command("bad", "bad", "ID=fedora\n"))
    bench.enable("livelayer.path")
    bench.want(bad=bad, good=bench.push("good", "v1", command("good", "good")))
    bench.eventually(lambda: bench.says("good") == "good")
    bench.eventually(lambda: "not in sync" in bench.node.journal("livelayer.service"))
    assert "ID=fedora, this host has ID=debian" in bench.node.journal("livelayer.service")
    errors = bench.node.run("journalctl", "-b", "-p", "err", "-u", "livelayer.service", "-o", "cat").stdout
    assert "ID=fedora, this host has ID=debian" in errors
    states = {item["name"]: item["state"] for item in bench.status()["extensions"]}
    assert states == {"bad": "failed", "good": "in-sync"}
    bench.node.run("livelayer", "status", "--check", status=2)


@on_each
def test_a_reboot_with_the_registry_down_comes_up_merged(bench: Bench) -> None:
    bench.enable(*UNITS)
    bench.want(ipfs=bench.push("ipfs", "v1", command("ipfs", "v1")))
    bench.eventually(lambda: bench.says("ipfs") == "v1")
    bench.registry.stop()
    bench.node.reboot()
    assert bench.merged() == ["ipfs"]
    assert bench.says("ipfs") == "v1"
    assert bench.status()["in_sync"]
    assert bench.node.run("systemctl", "is-system-running").stdout.strip() == "running"


def test_a_configuration_changed_while_the_node_was_off_converges_at_boot(bench: Bench) -> None:
    stored, new = (bench.push(name, "v1", command(name, name)) for name in ("stored", "new"))
    bench.enable(*UNITS)
    bench.want(first=bench.push("first", "v1", command("first", "first")))
    bench.node.write(f"{DROPINS}/10.yaml", f"extensions: {{stored: {{source: '{stored}', state: fetched}}}}")
    bench.eventually(lambda: bench.merged() == ["first"])
    bench.eventually(lambda: bench.status()["in_sync"])
    bench.node.power_off()
    bench.node.path(f"{DROPINS}/10.yaml").unlink()
    bench.want(stored=stored, new=new)
    bench.node.boot()
    bench.eventually(lambda: bench.merged() == ["new", "stored"])
    boot = bench.node.journal("livelayer-boot.service")
    assert "done: place stored" in boot
    assert "done: remove first" in boot
    assert "new: docker://" in boot
    assert "done: fetch new" in bench.node.journal("livelayer-online.service")


@on_each
def test_the_boot_run_places_before_systemd_merges(bench: Bench) -> None:
    bench.enable(*UNITS)
    bench.want(ipfs=bench.push("ipfs", "v1", command("ipfs", "v1")))
    bench.eventually(lambda: bench.says("ipfs") == "v1")
    bench.node.power_off()
    bench.node.path("/var/lib/extensions/ipfs").unlink()
    bench.node.boot()
    assert bench.merged() == ["ipfs"]
    show = ("systemctl", "show", "--value", "--property=ActiveEnterTimestampMonotonic")
    times = [int(bench.node.run(*show, unit).stdout) for unit in ("livelayer-boot.service", "systemd-sysext.service")]
    assert times == sorted(times)
    assert "Found left-over" not in bench.node.run("journalctl", "-b", "--no-pager").stdout
    assert "refresh" not in bench.node.journal("livelayer-boot.service")


def test_the_daemon_is_the_alternative_to_the_path_unit(bench: Bench) -> None:
    bench.enable("livelayer.path")
    bench.enable("livelayer-watch.service")
    assert bench.node.run("systemctl", "is-active", "livelayer.path", status=None).stdout == "inactive\n"
    for tag in ("v1", "v2"):
        bench.want(ipfs=bench.push("ipfs", tag, command("ipfs", tag)))
        bench.eventually(lambda tag=tag: bench.says("ipfs") == tag)  # type: ignore[misc]
    shown = ("systemctl", "show", "--value", "--property=StatusText", "livelayer-watch.service")
    bench.eventually(lambda: bench.node.run(*shown).stdout == "in sync: 1 extensions, 0 problems\n")
    bench.node.run("systemctl", "stop", "livelayer-watch.service")
    result = ("systemctl", "show", "--value", "--property=Result", "livelayer-watch.service")
    assert bench.node.run(*result).stdout == "success\n"


def test_the_daemon_ends_cleanly_in_the_middle_of_a_fetch(bench: Bench) -> None:
    bench.node.write("/usr/local/bin/skopeo", "#!/bin/sh\necho begun > /run/begun\nexec sleep 300\n")
    bench.node.path("/usr/local/bin/skopeo").chmod(0o755)
    bench.enable("livelayer-watch.service")
    bench.want(x="docker://registry.example/x:v1")
    bench.eventually(lambda: bench.node.run("test", "-e", "/run/begun", status=None).returncode == 0)
    began = time.monotonic()
    bench.node.run("systemctl", "stop", "livelayer-watch.service")
    assert time.monotonic() - began < 60  # systemd kills it after 90
    result = ("systemctl", "show", "--value", "--property=Result", "livelayer-watch.service")
    assert bench.node.run(*result).stdout == "success\n"
    assert bench.node.run("pgrep", "-f", "sleep 300", status=None).stdout == ""


@on_each
def test_many_edits_in_a_row_end_in_the_last_one(bench: Bench) -> None:
    """Faster than the start limits of the path unit, its service and systemd-sysext.service allow."""
    sources = [bench.push("x", f"v{number}", command("x", f"v{number}")) for number in range(3)]
    bench.enable("livelayer.path")
    for number in range(30):
        bench.want(x=sources[number % 3])
        time.sleep(0.1)
    bench.eventually(lambda: bench.says("x") == "v2")
    bench.want(x=sources[0])
    bench.eventually(lambda: bench.says("x") == "v0")
    assert bench.node.run("systemctl", "is-active", "livelayer.path").stdout == "active\n"


@on_each
def test_the_refresh_is_the_nodes_own(bench: Bench) -> None:
    """Its unit's environment decides the hierarchies, as on Kairos, where /usr/local is persistent."""
    drop_in = '[Service]\nEnvironment="SYSTEMD_SYSEXT_HIERARCHIES=/usr/bin:/usr/lib:/usr/share"\n'
    bench.node.write("/etc/systemd/system/systemd-sysext.service.d/hierarchies.conf", drop_in)
    bench.node.run("systemctl", "daemon-reload")
    bench.want(ipfs=bench.push("ipfs", "v1", command("ipfs", "v1")))
    bench.node.run("livelayer", "apply")
    assert bench.says("ipfs") == "v1"
    assert bench.status()["in_sync"]
    assert bench.status()["extensions"][0]["merged"]
    bench.node.run("touch", "/usr/local/writable")
    bench.node.run("test", "-e", "/usr/.systemd-sysext", status=1)
    bench.node.run("test", "-e", "/usr/bin/.systemd-sysext")
    bench.node.run("livelayer", "apply")
    assert bench.node.run("systemctl", "is-active", "systemd-sysext.service").stdout == "active\n"


@on_each
def test_what_was_merged_by_hand_is_taken_over(bench: Bench) -> None:
    """The unit of systemd 252 is inactive then, and its `merge` fails for as long as something is merged."""
    for member in command("byhand", "by hand"):
        bench.node.write(f"/var/lib/extensions/byhand/{member.name}", member.content.decode())
    bench.node.run("systemd-sysext", "merge")
    bench.want(x=bench.push("x", "v1", command("x", "x")))
    bench.node.run("livelayer", "apply")
    assert bench.merged() == ["byhand", "x"]
    assert bench.node.run("systemctl", "is-active", "systemd-sysext.service").stdout == "active\n"


SERVICE = """\
[Service]
ExecStart=/usr/bin/daemon
"""
UPHOLDS = "[Unit]\nUpholds=daemon.service\n"


@on_each
def test_services_of_an_extension_start_restart_and_stop_with_it(bench: Bench) -> None:
    def daemon(says: str) -> tuple[Member, ...]:
        files = {
            "usr/bin/daemon": f"#!/bin/sh\necho running {says}\nexec sleep infinity\n",
            "usr/lib/systemd/system/daemon.service": SERVICE,
            "usr/lib/systemd/system/multi-user.target.d/10-daemon.conf": UPHOLDS,
        }
        return extension("daemon", files)

    for tag in ("v1", "v2"):
        source = bench.push("daemon", tag, daemon(tag))
        units = "units: {restart: [daemon.service]}"
        bench.node.write(MAIN, f"extensions: {{daemon: {{source: '{source}', {units}}}}}")
        bench.node.run("livelayer", "apply")
        bench.eventually(lambda tag=tag: f"running {tag}" in bench.node.journal("daemon.service"))  # type: ignore[misc]
    assert bench.node.run("systemctl", "is-active", "daemon.service").stdout == "active\n"
    bench.want()
    bench.node.run("livelayer", "apply")
    assert bench.node.run("systemctl", "is-active", "daemon.service", status=None).stdout == "inactive\n"


@on_each
def test_a_run_in_a_mount_namespace_of_its_own_merges_nothing_and_says_so(bench: Bench) -> None:
    """There systemd-sysext would print "Merged" and exit with 0, and the node would see nothing of it."""
    bench.want(x=bench.push("x", "v1", command("x", "x")))
    bench.node.run("systemctl", "mask", "systemd-sysext.service")
    hidden = ("systemd-run", "--wait", "--pipe", "--property=PrivateMounts=yes")
    done = bench.node.run(*hidden, "livelayer", "apply", status=None)
    assert done.returncode == 1
    assert "this process has a mount namespace of its own" in done.stderr
    bench.node.run("livelayer", "status", "--check", status=2)
    bench.node.run("livelayer", "apply")
    assert bench.says("x") == "x"


def _at_work(bench: Bench) -> list[str]:
    """Services of livelayer that are running."""
    listed = bench.node.run("systemctl", "list-units", "--plain", "--no-legend", "--state=activating", "livelayer*")
    return listed.stdout.splitlines()


def test_the_units_are_clean_and_uninstall_leaves_what_is_the_users(
    own_node: Node, registry: Registry, tmp_path: Path
) -> None:
    bench = Bench(own_node, registry, tmp_path)
    units = sorted(path.name for path in bench.node.path("/usr/local/lib/systemd/system").glob("livelayer*[!d]"))
    assert len(units) == 8
    verified = bench.node.run("systemd-analyze", "--man=no", "verify", *units)
    assert [line for line in verified.stderr.splitlines() if "livelayer" in line] == []
    for unit in units:
        shown = bench.node.run("systemctl", "show", "--property=PrivateMounts,ProtectSystem,PrivateTmp", unit).stdout
        assert "yes" not in shown
    services = [unit for unit in units if unit.endswith(".service")]
    bench.node.run("systemd-analyze", "security", "--no-pager", "--threshold=60", *services)
    bench.enable(*UNITS)
    bench.want(ipfs=bench.push("ipfs", "v1", command("ipfs", "v1")))
    bench.eventually(lambda: bench.says("ipfs") == "v1")
    bench.eventually(lambda: _at_work(bench) == [])  # a run that is at work would merge what is unmerged under it
    uninstall = ("make", "--directory=/usr/src/livelayer", "uninstall")
    assert "systemd-sysext unmerge" in bench.node.run(*uninstall, status=2).stderr
    bench.node.run("systemd-sysext", "unmerge")
    bench.node.run(*uninstall)
    left = bench.node.run("find", "/usr/local", "/etc/systemd", "-name", "*livelayer*").stdout
    assert left == ""
    bench.node.run("systemd-sysext", "merge")
    assert bench.says("ipfs") == "v1"
    assert bench.node.path(MAIN).exists()
