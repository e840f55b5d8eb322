"""A registry, a namespace, and livelayer as this checkout has it."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.rig.namespace import Namespace
from tests.rig.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Iterator


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
