"""When a source that did not answer is asked again."""

from __future__ import annotations

import pytest

from reconciler.model.state.retry import Retry, delay


@pytest.mark.parametrize(
    ("failures", "seconds"), [(1, 15), (2, 30), (3, 60), (8, 1920), (9, 3600), (10, 3600), (10_000, 3600)]
)
def test_later_each_time_up_to_an_hour(failures: int, seconds: float) -> None:
    assert delay(failures, 0) == seconds
    assert (delay(failures, -1), delay(failures, 1)) == (0.8 * seconds, 1.2 * seconds)


@pytest.mark.parametrize(("asked", "seconds"), [(None, 15), (3.0, 15), (120.0, 120), (10.0**9, 6 * 3600), (-5.0, 15)])
def test_a_server_may_ask_for_more_patience_but_not_for_ever(asked: float | None, seconds: float) -> None:
    assert delay(1, 0, asked) == seconds


def test_due() -> None:
    retry = Retry(1, 1000.0, "unavailable", "no answer")
    assert [retry.is_due(now) for now in (0.0, 999.0, 1000.0, 1001.0)] == [False, False, True, True]
    assert Retry(1, 10.0**9, "unavailable", "of a clock that was wrong").is_due(1000.0)
