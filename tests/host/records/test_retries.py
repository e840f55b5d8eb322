"""The record of sources that did not answer."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from reconciler.errors import Unavailable
from reconciler.host.records.retries import after_failure, read_retries, write_retries
from reconciler.model.state.retry import Retry

if TYPE_CHECKING:
    from reconciler.paths import Paths


def test_a_record_counts_under_its_configuration_only(paths: Paths) -> None:
    retries = {
        "x": Retry(2, 1000.5, "registry.unreachable", "no answer", "wait"),
        "y": Retry(1, 7.0, "unavailable", "no answer"),
    }
    write_retries(paths, "one", retries)
    assert read_retries(paths, "one") == retries
    assert read_retries(paths, "two") == {}
    write_retries(paths, "one", {})
    assert not paths.retries.exists()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"configuration": "one", "extensions": {"x": {}}}', '{"a": '])
def test_what_is_no_record_says_nothing(paths: Paths, text: str) -> None:
    paths.retries.parent.mkdir(parents=True, exist_ok=True)
    paths.retries.write_text(text)
    assert read_retries(paths, "one") == {}


def test_each_failure_makes_the_next_attempt_later() -> None:
    retry = None
    for _ in range(4):
        retry = after_failure(retry, Unavailable("no answer", "wait", code="registry.unreachable").about("x"))
    assert retry
    assert (retry.failures, retry.code, retry.message, retry.hint) == (4, "registry.unreachable", "no answer", "wait")
    assert time.time() + 80 < retry.at < time.time() + 150
