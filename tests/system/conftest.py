"""A registry, a namespace, and livelayer as this checkout has it."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.rig.namespace import Namespace
from tests.rig.node import PROJECT, Node, copy_root, debian_root, install_livelayer
from tests.rig.registry import Registry
from tests.system.bench import Bench

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


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


@pytest.fixture(scope="session")
def install(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], None]:
    """What installs livelayer from its wheel into a root."""
    return lambda root: install_livelayer(root, _wheels(tmp_path_factory.mktemp("wheels"), root))


@pytest.fixture(scope="session")
def installed_root(install: Callable[[Path], None]) -> Iterator[Path]:
    """A Debian root with livelayer installed from its wheel; to be copied, not to be booted.

    bookworm (systemd 252) unless LIVELAYER_TEST_SUITE names another suite, such as trixie (257) or forky.
    """
    with _installed(os.environ.get("LIVELAYER_TEST_SUITE", "bookworm"), install) as root:
        yield root


@pytest.fixture(scope="session")
def recent_root(install: Callable[[Path], None]) -> Iterator[Path]:
    """The same with a systemd that knows configuration extensions (254 on): trixie, unless another suite is named."""
    with _installed(os.environ.get("LIVELAYER_TEST_SUITE", "trixie"), install) as root:
        yield root


@contextmanager
def _installed(suite: str, install: Callable[[Path], None]) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="livelayer-root-", dir="/var/tmp") as scratch:
        root = Path(scratch, "root")
        subprocess.run(["cp", "--archive", str(debian_root(suite)), str(root)], check=True)
        install(root)
        yield root


@pytest.fixture
def node(installed_root: Path, registry: Registry) -> Iterator[Node]:
    """A booted node with livelayer installed and nothing of it enabled."""
    with _booted(installed_root, registry) as running:
        yield running


@pytest.fixture
def recent_node(recent_root: Path, registry: Registry) -> Iterator[Node]:
    """The same with a systemd that knows configuration extensions."""
    with _booted(recent_root, registry) as running:
        yield running


@contextmanager
def _booted(installed: Path, registry: Registry) -> Iterator[Node]:
    registry.start()
    with tempfile.TemporaryDirectory(prefix="livelayer-node-", dir="/var/tmp") as scratch:
        root = Path(scratch, "root")
        copy_root(installed, root)
        (root / "etc/containers/registries.conf.d/registry.conf").write_text(registry.registries_conf())
        with Node(root) as running:
            yield running


def _wheels(directory: Path, root: Path) -> Path:
    """The wheel and those of its dependencies, for the Python of a root, in the versions that CI uses."""
    python = (root / "usr/bin/python3").readlink().name.removeprefix("python")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", f"--wheel-dir={directory}", str(PROJECT)], check=True)
    (wheel,) = directory.glob("livelayer-*.whl")
    machine = platform.machine()
    kinds = [f"--platform=manylinux{kind}_{machine}" for kind in ("_2_17", "2014", "_2_28", "_2_34")]
    download = ["download", "--only-binary=:all:", f"--python-version={python}", *kinds, f"--dest={directory}"]
    subprocess.run([*pip, *download, f"--constraint={PROJECT}/requirements.lock", str(wheel)], check=True)
    return directory
