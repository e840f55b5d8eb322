"""What every test shares: a miniature node, a guard against programs, and lots."""

from __future__ import annotations

import logging
import os
import re
import sys
import tempfile
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import HealthCheck, settings

from reconciler.paths import Paths
from tests.luck import IS_LONG, examples, seeded
from tests.rig.releases import RELEASES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_STARTS: Final = frozenset({"os.exec", "os.fork", "os.posix_spawn", "os.system", "subprocess.Popen"})
"""What the interpreter tells its audit hooks before a program is started (PEP 578), whichever way."""
_may_start = True
_RELEASE: Final = re.compile("|".join(map(str, RELEASES)))


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
    """Leave cases out by lot; and side by side, let the long ones come first, so that none is left to the end."""
    if not (IS_LONG or any("::" in it for it in config.args)):
        left_out = _left_out(items)
        items[:] = [it for it in items if it not in left_out]
        config.hook.pytest_deselected(items=sorted(left_out, key=lambda it: it.nodeid))
    if hasattr(config, "workerinput"):
        items.sort(key=lambda it: it.get_closest_marker("system") is None)


def _left_out(items: Iterable[pytest.Item]) -> set[pytest.Item]:
    """All but so many cases of each test that is marked so, for each release that it runs on."""
    cases: dict[str, list[pytest.Item]] = {}
    counts: dict[str, int] = {}
    for item in items:
        if marker := item.get_closest_marker("by_lot"):
            test = item.nodeid.partition("[")[0]
            if marker.kwargs.get("of_releases"):
                test = _RELEASE.sub("", item.nodeid)
            cases.setdefault(test, []).append(item)
            counts[test] = marker.args[0]
    tried = {it for test, of_it in cases.items() for it in seeded(test).sample(of_it, min(counts[test], len(of_it)))}
    return {it for of_it in cases.values() for it in of_it} - tried


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
