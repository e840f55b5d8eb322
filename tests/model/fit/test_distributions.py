"""Release matching on the os-release files of distributions; tests/system holds the same table to real systemds."""

from __future__ import annotations

import pytest

from tests.model.fit.distributions import DISTRIBUTIONS, Distribution


@pytest.mark.parametrize(("systemd", "like"), [(252, False), (257, False), (257, True), (258, True), (262, True)])
@pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids=lambda it: it.name)
def test_what_fits_a_distribution(distribution: Distribution, systemd: int, like: bool) -> None:  # noqa: FBT001
    assert distribution.judged(systemd, like=like and systemd < 258) == distribution.expected(like=like)
