"""What tests of host modules share."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.host.unpacking import Bench

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A place to unpack in, under a mask that would show wherever a mode is left to it."""
    before = os.umask(0o027)
    yield Bench(tmp_path)
    os.umask(before)
