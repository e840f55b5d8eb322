"""The fuzz target, briefly; tests/fuzz.py says how to run it at length."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import fuzz
from tests.host import tars
from tests.host.layers.unpacking import needs_root
from tests.luck import examples

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = needs_root

_brief = settings(
    max_examples=examples(30),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


@_brief
@given(images=fuzz.layers)
def test_spoilt_archives_do_no_harm(tmp_path: Path, images: list[fuzz.Spoilt]) -> None:
    fuzz.check(tmp_path / "place", images)


@_brief
@given(data=st.binary(max_size=3000), compression=st.sampled_from(sorted(tars.COMPRESSIONS)))
def test_random_bytes_are_refused(tmp_path: Path, data: bytes, compression: str) -> None:
    image = fuzz.Spoilt(b"\1" + data, (compression,), None, None, b"")
    assert fuzz.check(tmp_path / "place", [image])
