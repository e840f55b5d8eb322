"""From the save of the configuration until the new content is seen in /usr, beside doing the same by hand.

On a booted node; both versions are in the store before, so that no network and no unpacking is measured.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from bench.figures import Row
from tests.rig.images import extension, write_image
from tests.rig.node import PROJECT, Node, debian_root, install_livelayer
from tests.rig.wheels import build_wheel, dependencies

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SUITE: Final = os.environ.get("LIVELAYER_TEST_SUITE", "bookworm")
_EDITS: Final = 20
_TAGS: Final = ("v1", "v2")
_POLL: Final = 0.002  # seconds
_REST: Final = 1.0  # seconds
_PATIENCE: Final = 30.0  # seconds
_LINK: Final = "/var/lib/extensions/demo"
_SEEN: Final = "/usr/share/demo/version"
_CONFIG: Final = "/etc/livelayer/extensions.yaml"
_PATH: Final = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_DONE: Final = "done"
# What a person at a root shell would do. The start limit is for crash loops: it is forgotten after the clock stops.
_PERSON: Final = f"""
while read -r target; do
    ln -sfn "$target" {_LINK} && systemctl restart systemd-sysext.service
    systemctl reset-failed systemd-sysext.service
    printf {_DONE}
done
"""


class BenchNode(Node):
    """A node that can also be looked into and typed to while it runs."""

    def seen(self) -> str:
        """The content of the extension's file as the node's programs see it; empty while nothing is merged."""
        try:
            return Path(f"/proc/{self._leader}/root{_SEEN}").read_text()
        except OSError:
            return ""

    def shell(self, script: str) -> list[str]:
        """The command line of a shell on the node."""
        return ["nsenter", f"--target={self._leader}", "--all", "--wdns=/", "env", "-i", _PATH, "sh", "-c", script]


class _Person:
    """Somebody with a root shell on the node, who changes the link and refreshes."""

    def __init__(self, node: BenchNode) -> None:
        self._node = node

    def __enter__(self) -> Self:
        keys, self._keyboard = os.pipe()
        self._screen, shown = os.pipe()
        self._shell = subprocess.Popen(self._node.shell(_PERSON), stdin=keys, stdout=shown)
        os.close(keys)
        os.close(shown)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._keyboard)
        self._shell.wait(_PATIENCE)
        os.close(self._screen)

    def place(self, target: str, content: str) -> float:
        """Seconds until the content is seen."""
        line = f"{target}\n".encode()
        begun = time.monotonic()
        os.write(self._keyboard, line)
        taken = until(lambda: self._node.seen() == content, begun)
        os.read(self._screen, len(_DONE))
        return taken


@dataclass(frozen=True, slots=True)
class _Way:
    """A way to be told of an edit."""

    what: str
    unit: str
    goal: str
    rests: Callable[[BenchNode], bool]

    def settle(self, node: BenchNode) -> None:
        """Wait until nothing of livelayer's has run for a while."""
        while True:
            until(lambda: self.rests(node), time.monotonic())
            time.sleep(_REST)
            if self.rests(node):
                return


def run() -> list[Row]:
    """Measure both ways, and a person in between."""
    ways = (
        _Way("edit to merged, daemon", "livelayer-watch.service", "at most 250", _daemon_rests),
        _Way("edit to merged, path unit", "livelayer.path", "at most 600", _services_rest),
    )
    with booted() as node, _Person(node) as person:
        targets = _fetch(node)
        return [row for way in ways for row in _measure(way, node, person, targets)]


def _measure(way: _Way, node: BenchNode, person: _Person, targets: dict[str, str]) -> list[Row]:
    """Edits, each followed by the same change and back by hand, which leaves what the edit left."""
    edits: list[float] = []
    by_hand: list[float] = []
    node.run("systemctl", "enable", "--now", way.unit)  # ends the other one
    way.settle(node)
    new, old = sorted(_TAGS, key=node.seen().__eq__)
    for _ in range(_EDITS):
        edits.append(_edit(node, new))
        way.settle(node)
        for tag in (old, new):
            by_hand.append(person.place(targets[tag], tag))
            way.settle(node)
        new, old = old, new
    edited = Row(way.what, edits, goal=way.goal)
    return [edited, Row("  by hand: ln, systemctl restart", by_hand, subject=edited)]


def _edit(node: BenchNode, tag: str) -> float:
    """Save as editors and configuration management do: a new file, renamed."""
    new = node.path(_CONFIG).with_name(".extensions.yaml.new")
    new.write_text(_configuration(tag))
    begun = time.monotonic()
    new.replace(node.path(_CONFIG))
    return until(lambda: node.seen() == tag, begun)


def _configuration(tag: str) -> str:
    return f"extensions:\n  demo:\n    source: oci:/var/lib/images:{tag}\n"


def until(condition: Callable[[], bool], begun: float) -> float:
    while not condition():
        if time.monotonic() > begun + _PATIENCE:
            raise AssertionError(f"nothing happened within {_PATIENCE:.0f} s")
        time.sleep(_POLL)
    return time.monotonic() - begun


def _daemon_rests(node: BenchNode) -> bool:
    shown = node.run("systemctl", "show", "--value", "--property=StatusText", "livelayer-watch.service").stdout
    return shown == "in sync: 1 extensions, 0 problems\n"


def _services_rest(node: BenchNode) -> bool:
    services = ("livelayer.service", "livelayer-recheck.service")
    return node.run("systemctl", "is-active", *services, status=None).stdout.split() == ["inactive"] * len(services)


def _fetch(node: BenchNode) -> dict[str, str]:
    """Have both versions in the store; returns what the link looks like for each."""
    targets = {}
    for tag in _TAGS:
        write_image(node.path("/var/lib/images"), tag, extension("demo", {_SEEN.lstrip("/"): tag}))
        node.write(_CONFIG, _configuration(tag))
        node.run("livelayer", "apply")
        targets[tag] = str(node.path(_LINK).readlink())
    return targets


@contextmanager
def booted() -> Iterator[BenchNode]:
    """A booted node with livelayer installed from its wheel and nothing of it enabled."""
    with tempfile.TemporaryDirectory(prefix="livelayer-bench-", dir="/var/tmp") as scratch:
        root, wheels = Path(scratch, "root"), Path(scratch, "wheels")
        subprocess.run(["cp", "--archive", str(debian_root(_SUITE)), str(root)], check=True)
        wheels.mkdir()
        subprocess.run(["make", "--silent", f"--directory={PROJECT}", "man"], check=True)  # they are installed, too
        build_wheel(wheels)
        (wheel,) = wheels.iterdir()
        install_livelayer(root, wheel, dependencies(root))
        with BenchNode(root) as node:
            yield node
