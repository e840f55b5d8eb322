"""Services of Debian's packages, made into extensions by `build`: they answer where they should, and only there."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Final

import pytest

from tests.rig.once import once_in_this_run
from tests.rig.releases import RELEASES
from tests.system.test_node import MAIN, UNITS, Bench

if TYPE_CHECKING:
    from pathlib import Path

    from tests.rig.node import Node
    from tests.rig.registry import Registry

pytestmark = [
    pytest.mark.system,
    pytest.mark.commands,
    pytest.mark.timeout(900),
    pytest.mark.releases(*RELEASES),
]

REDIS: Final = {
    "usr/lib/sysusers.d/redis.conf": 'u redis - "Redis" /var/lib/redis\n',
    "usr/lib/tmpfiles.d/redis.conf": "d /var/lib/redis 0750 redis redis -\nd /var/log/redis 0750 redis redis -\n",
    "usr/share/redis/redis.conf": "port 0\nunixsocket {socket}\ndir /var/lib/redis\n",
    "usr/lib/systemd/system/redis-server.service.d/10-config.conf": "[Service]\nExecStart=\n"
    "ExecStart=/usr/bin/redis-server /usr/share/redis/redis.conf --supervised systemd --daemonize no\n",
}
NGINX: Final = {
    "usr/lib/tmpfiles.d/nginx.conf": "d /var/log/nginx 0755 root root -\nd /var/lib/nginx 0755 root root -\n",
    "usr/share/nginx/nginx.conf": "events {{}}\nhttp {{ server {{ listen unix:{socket}; "
    "location / {{ return 200 'nginx {version}'; }} }} }}\n",
    "usr/lib/systemd/system/nginx.service.d/10-config.conf": "[Service]\nExecStartPre=\nExecStart=\n"
    "ExecStart=/usr/sbin/nginx -c /usr/share/nginx/nginx.conf -g 'daemon on; master_process on;'\n",
}
# Nodes share this machine's network, so a port would be taken by the same test on another release.
SERVICES: Final = {
    "redis": (("redis-server", "libatomic1"), "/run/redis/answers.socket", REDIS),
    "nginx": (("nginx-light",), "/run/nginx-answers.socket", NGINX),
}
_ASK_NGINX: Final = """
import socket, sys
asked = socket.socket(socket.AF_UNIX)
asked.connect(sys.argv[1])
asked.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
print(asked.makefile().read().splitlines()[-1])
"""


def _build(livelayer: str, place: Path, name: str, version: str) -> None:
    """An extension of a package and what makes it one: users, directories, a configuration in /usr."""
    packages, socket, files = SERVICES[name]
    own = place / f"{name}-{version}"
    for path, text in files.items():
        (own / path).parent.mkdir(parents=True, exist_ok=True)
        (own / path).write_text(text.format(socket=socket, version=version))
    command = (livelayer, "build", name, "--debs", *packages, "--from", str(own), "--id", "_any")
    output = ("--format", "oci", "--output", f"{own}.oci")
    subprocess.run([*command, *output], check=True, capture_output=True, cwd=place)


@pytest.fixture
def sources(request: pytest.FixtureRequest, livelayer: str, registry: Registry) -> dict[str, str]:
    """Two versions of each, published."""
    registry.start()

    def make(place: Path) -> None:
        request.getfixturevalue("apt")
        place.mkdir()
        for name in SERVICES:
            for version in ("1", "2"):
                _build(livelayer, place, name, version)

    made = once_in_this_run("services", make)
    return {path.stem: registry.push(path, None, f"services/{path.stem}:1") for path in made.glob("*.oci")}


def _want(bench: Bench, **sources: str) -> None:
    units = {"redis": "redis-server.service", "nginx": "nginx.service"}
    listed = "".join(
        f"  {name}: {{source: '{source}', units: {{start: [{units[name]}]}}, checks: {{units: [{units[name]}]}}}}\n"
        for name, source in sources.items()
    )
    bench.node.write(MAIN, f"settings: {{allow_empty: true}}\nextensions:\n{listed}")
    bench.node.run("livelayer", "apply")


def _answers(node: Node) -> dict[str, str]:
    ask_redis = ("/usr/bin/redis-cli", "-s", SERVICES["redis"][1], "ping")
    ask_nginx = ("python3", "-c", _ASK_NGINX, SERVICES["nginx"][1])
    asked = {"redis": ask_redis, "nginx": ask_nginx}
    return {name: node.run(*ask, status=None).stdout.strip() for name, ask in asked.items()}


def _started(node: Node) -> str:
    show = ("systemctl", "show", "--property=ExecMainStartTimestampMonotonic", "--value")
    return node.run(*show, "redis-server.service").stdout


def test_they_answer_after_apply_boot_update_and_rollback_and_are_gone_when_withdrawn(
    node: Node, registry: Registry, sources: dict[str, str], tmp_path: Path
) -> None:
    bench = Bench(node, registry, tmp_path)
    bench.enable(*(it for it in UNITS if it != "livelayer.path"))
    _want(bench, redis=sources["redis-1"], nginx=sources["nginx-1"])
    assert _answers(node) == {"redis": "PONG", "nginx": "nginx 1"}

    registry.stop()
    node.reboot()
    bench.eventually(lambda: _answers(node) == {"redis": "PONG", "nginx": "nginx 1"})
    registry.start()

    before = _started(node)
    _want(bench, redis=sources["redis-1"], nginx=sources["nginx-2"])
    assert _answers(node) == {"redis": "PONG", "nginx": "nginx 2"}
    assert _started(node) == before  # what has not changed runs on

    node.run("livelayer", "rollback")
    assert _answers(node) == {"redis": "PONG", "nginx": "nginx 1"}
    _want(bench)
    assert _answers(node) == {"redis": "", "nginx": ""}
    for unit in ("redis-server.service", "nginx.service"):
        assert node.run("systemctl", "is-active", unit, status=None).stdout.strip() == "inactive"
