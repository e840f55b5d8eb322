"""Tests that share what is dear to make run in one process."""

from __future__ import annotations

import os

import pytest


@pytest.mark.xdist_group("shared")
@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="there is one process only")
def test_groups_take_hold(request: pytest.FixtureRequest) -> None:
    """Pytest-xdist tells groups by the ends of IDs, which not every version of pytest lets it change."""
    assert request.node.nodeid.endswith("@shared")
