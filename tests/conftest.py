"""What every test shares: a miniature node, a guard against programs, and turns at the machine."""

from __future__ import annotations

import fcntl
import logging
import os
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import HealthCheck, settings

from reconciler.paths import Paths
from tests.luck import examples

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

_STARTS: Final = frozenset({"os.exec", "os.fork", "os.posix_spawn", "os.system", "subprocess.Popen"})
"""What the interpreter tells its audit hooks before a program is started (PEP 578), whichever way."""
_may_start = True


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event in _STARTS and not _may_start:
        what = f" ({arguments[0]})" if arguments else ""
        pytest.fail(f"this test starts a program{what}; mark it with @pytest.mark.commands if that is meant")


sys.addaudithook(_watch)


@pytest.fixture(autouse=True)
def no_unmarked_commands(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test that starts programs says so; every other one that tries fails."""
    global _may_start  # noqa: PLW0603 - a hook cannot be taken away again
    _may_start = request.node.get_closest_marker("commands") is not None
    yield
    _may_start = True


def pytest_configure(config: pytest.Config) -> None:
    """Settle for how long examples are looked for, and make what the processes of a run share."""
    # A busy machine is slow; that is no fault of a test.
    settings.register_profile(
        "livelayer",
        max_examples=examples(40),
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    settings.load_profile("livelayer")
    if not hasattr(config, "workerinput"):  # not one of xdist's workers, which inherit the environment
        shared = tempfile.TemporaryDirectory(prefix="livelayer-run-", dir="/var/tmp")
        config.add_cleanup(shared.cleanup)
        os.environ["LIVELAYER_TEST_RUN"] = shared.name


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Side by side, let the long ones come first, so that no process is left with one in the end."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda it: it.get_closest_marker("system") is None)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """While a test runs that is marked `alone`, no other one does."""
    with _turn(fcntl.LOCK_EX if item.get_closest_marker("alone") else fcntl.LOCK_SH):
        return (yield)


@contextmanager
def _turn(kind: int) -> Iterator[None]:
    """Hold the machine. Those who want it alone keep others from queueing before them."""
    run = Path(os.environ["LIVELAYER_TEST_RUN"])
    with (run / "machine").open("w") as machine:
        with (run / "queue").open("w") as queue:
            fcntl.flock(queue, fcntl.LOCK_EX)
            fcntl.flock(machine, kind)
        yield


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A miniature node: an os-release, a systemd, nothing placed."""
    node = tmp_path / "node"
    for directory in (
        "etc/livelayer/extensions.d",
        "var/lib/extensions",
        "var/lib/livelayer",
        "run",
        "usr/lib/systemd",
    ):
        (node / directory).mkdir(parents=True)
    (node / "etc/os-release").write_text('ID=debian\nVERSION_ID="12"\n')
    (node / "usr/lib/systemd/libsystemd-shared-252.so").touch()
    return node


@pytest.fixture
def paths(root: Path) -> Paths:
    """The locations of the miniature node."""
    return Paths(root)


@pytest.fixture(autouse=True)
def plain_logger() -> Iterator[None]:
    """What a test of the command sets of its logger ends with that test."""
    logger = logging.getLogger("reconciler")
    before = logger.handlers[:], logger.level, logger.propagate
    yield
    logger.handlers[:], logger.level, logger.propagate = before


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the developer's environment decides a result."""
    for name in ("REGISTRY_AUTH_FILE", "NOTIFY_SOCKET", "WATCHDOG_USEC", "JOURNAL_STREAM"):
        if name in os.environ:
            monkeypatch.delenv(name)
