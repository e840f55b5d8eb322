"""The fuzz targets for texts of others, briefly; tests/fuzztexts.py says how to run them at length."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzztexts import targets
from tests.luck import examples


@pytest.mark.parametrize("name", targets())
def test_a_valid_text_is_taken(name: str) -> None:
    target = targets()[name]
    for seed in target.seeds:
        target.parse(seed) if name not in {"http", "configuration"} else target.check(seed)


@settings(max_examples=examples(40), deadline=None, suppress_health_check=list(HealthCheck))
@pytest.mark.parametrize("name", targets())
@given(data=st.data())
def test_spoilt_texts_are_refused_in_words(name: str, data: st.DataObject) -> None:
    target = targets()[name]
    target.check(data.draw(target.texts))
