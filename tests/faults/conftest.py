"""A node for tests of faults."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.faults.victim import Victim
from tests.system.conftest import bench, livelayer, namespace, registry  # noqa: F401 - fixtures

if TYPE_CHECKING:
    from pathlib import Path

    from tests.rig.namespace import Namespace


@pytest.fixture
def victim(namespace: Namespace, livelayer: str, tmp_path: Path) -> Victim:  # noqa: F811 - fixtures
    """A node whose search directory and state are on one file system, with sources on its own disk."""
    namespace.run("mount", "--bind", str(namespace.path("/var/lib")), "/var/lib")
    return Victim(namespace, livelayer, tmp_path)
