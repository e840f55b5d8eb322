"""A registry, a namespace, and livelayer as this checkout has it."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from tests.luck import ALL_RELEASES, seeded
from tests.rig.namespace import Namespace
from tests.rig.node import Node, copy_root, debian_root, install_livelayer, spare_generators
from tests.rig.once import once_in_this_run
from tests.rig.registry import Registry
from tests.rig.releases import BOOKWORM, RELEASES, TRIXIE, Release
from tests.rig.wheels import build_wheel, dependencies
from tests.system.bench import Bench

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from _pytest.mark import ParameterSet


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry for all tests; each uses repositories of its own."""
    with Registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    """A private mount namespace; on a real disk, since an overlay's layers want one."""
    with (
        tempfile.TemporaryDirectory(prefix="livelayer-", dir="/var/tmp") as scratch,
        Namespace(Path(scratch)) as running,
    ):
        yield running


@pytest.fixture(scope="session")
def livelayer() -> str:
    """The command under test."""
    return str(Path(sys.executable).parent / "livelayer")


@pytest.fixture
def bench(namespace: Namespace, registry: Registry, livelayer: str, tmp_path: Path) -> Bench:
    """Everything a test in a namespace needs."""
    registry.start()
    return Bench(namespace, registry, livelayer, tmp_path)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test on a node runs on releases that it is marked with, and its ID says which one."""
    if "release" not in metafunc.fixturenames:
        return
    releases = _releases_of(metafunc)
    shared = sorted({"node_of_release", "shared_node"} & set(metafunc.fixturenames))
    metafunc.parametrize("release", [_parameter(it, shared) for it in releases], ids=str, scope="session")


def _releases_of(metafunc: pytest.Metafunc) -> Sequence[Release]:
    """All it is marked with where they differ, or where there is time; else one of them, by lot."""
    default = TRIXIE if {"recent_node", "recent_root"} & set(metafunc.fixturenames) else BOOKWORM
    marker = metafunc.definition.get_closest_marker("releases")
    releases: tuple[Release, ...] = marker.args if marker else (default,)
    if ALL_RELEASES or metafunc.definition.get_closest_marker("releases_differ"):
        return releases
    return [seeded(metafunc.definition.nodeid).choice(releases)]


def _parameter(release: Release, shared: Sequence[str]) -> ParameterSet:
    """Tests that share a booted node run in one process, one after the other."""
    return pytest.param(release, marks=[pytest.mark.xdist_group(f"{it}-{release}") for it in shared])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which version of systemd each result on a node is from."""
    passed, failed = (
        Counter(_release_of(report) for report in terminalreporter.getreports(outcome) if _release_of(report))
        for outcome in ("passed", "failed")
    )
    if passed or failed:
        terminalreporter.section("tests by version of systemd")
    for release in map(str, RELEASES):
        if release in passed | failed:
            line = f"{release}: {passed[release]} passed, {failed[release]} failed"
            terminalreporter.write_line(f"{line}; {_VERSIONS.get(release, 'in a root that was not booted')}")


def _release_of(report: pytest.TestReport | pytest.CollectReport) -> str | None:
    """The release in a report's ID; of a test that passed, only its call counts."""
    if report.passed and getattr(report, "when", "") != "call":
        return None
    parts = re.split(r"[\[\]]", report.nodeid)
    return next((str(it) for it in RELEASES if f"{it}-" in f"{parts[1]}-"), None) if len(parts) > 1 else None


_PACKAGES: Final = ("bash-static", "busybox-static", "redis-server", "libatomic1", "nginx-light")
_VERSIONS: Final[dict[str, str]] = {}  # what nodes said themselves, by release


def _ask_version(node: Node, release: Release) -> None:
    said = node.run("systemctl", "--version").stdout.splitlines()[0]
    assert said.split()[1] == str(release.systemd), f"{release} has {said}: update tests/rig/releases.py"
    _VERSIONS[str(release)] = said


@pytest.fixture(scope="session")
def wheel() -> Path:
    """The wheel, made from this checkout."""
    (wheel,) = once_in_this_run("wheel", build_wheel).iterdir()
    return wheel


@pytest.fixture(scope="session")
def install(wheel: Path) -> Callable[[Path], None]:
    """What installs livelayer from its wheel into a root."""
    return lambda root: install_livelayer(root, wheel, dependencies(root))


@pytest.fixture(scope="session")
def installed(install: Callable[[Path], None]) -> Callable[[Release], Path]:
    """What makes, once for each release, a root with livelayer installed; to be copied, not to be booted."""

    def make(release: Release) -> Path:
        def fill(root: Path) -> None:
            copy_root(debian_root(release.suite), root)
            spare_generators(root)
            install(root)

        return once_in_this_run(f"installed-{release}", fill)

    return make


@pytest.fixture
def installed_root(installed: Callable[[Release], Path], release: Release) -> Path:
    """A Debian root with livelayer installed from its wheel: bookworm, unless the test is marked otherwise."""
    return installed(release)


@pytest.fixture
def recent_root(installed_root: Path) -> Path:
    """The same with a systemd that knows configuration extensions (254 on): trixie, unless marked otherwise."""
    return installed_root


@pytest.fixture(scope="session")
def node_of_release(installed: Callable[[Release], Path], release: Release, registry: Registry) -> Iterator[Node]:
    """One boot for all tests on a release."""
    with booted(installed(release), release, registry) as running:
        yield running


@pytest.fixture
def node(node_of_release: Node, installed_root: Path, registry: Registry) -> Node:
    """A booted node with livelayer installed and nothing of it enabled."""
    registry.start()
    node_of_release.reset(installed_root)
    return node_of_release


@pytest.fixture
def own_node(installed_root: Path, release: Release, registry: Registry) -> Iterator[Node]:
    """The same for a test that takes it apart."""
    with booted(installed_root, release, registry) as running:
        yield running


@pytest.fixture
def recent_node(node: Node) -> Node:
    """The same with a systemd that knows configuration extensions: trixie, unless marked otherwise."""
    return node


@pytest.fixture(scope="module")
def shared_node(installed: Callable[[Release], Path], release: Release, registry: Registry) -> Iterator[Node]:
    """A node for all tests of a module, each of which leaves it as it found it; image files can be attached."""
    with booted(installed(release), release, registry, "--bind=/dev/loop-control") as running:
        running.make_loop_devices()
        yield running


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An apt that can download: this machine's, or the same with lists of its own if those are missing or stale."""
    (tmp_path / "packages").mkdir()
    download = ["apt-get", "--quiet", "download", *_PACKAGES]
    if subprocess.run(download, cwd=tmp_path / "packages", check=False, capture_output=True).returncode == 0:
        return
    (tmp_path / "lists/partial").mkdir(parents=True)
    (tmp_path / "apt.conf").write_text(f'Dir::State::lists "{tmp_path}/lists";\nAPT::Sandbox::User "root";\n')
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    subprocess.run(["apt-get", "--quiet", "update"], check=True, capture_output=True)


@contextmanager
def booted(root: Path, release: Release, registry: Registry, *options: str) -> Iterator[Node]:
    """A node from a copy of a root, which may use the registry."""
    registry.start()
    with tempfile.TemporaryDirectory(prefix="livelayer-node-", dir="/var/tmp") as scratch:
        own = Path(scratch, "root")
        copy_root(root, own)
        (own / "etc/containers/registries.conf.d/registry.conf").write_text(registry.registries_conf())
        with Node(own, *options) as running:
            _ask_version(running, release)
            yield running
