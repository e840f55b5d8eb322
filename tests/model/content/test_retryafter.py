"""What a server may write into Retry-After."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from reconciler.model.content.retryafter import retry_after

DAY = 86400.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        ("9" * 400, DAY),
        ("9" * 5000, DAY),
        (f"Wed, 21 Oct 2015 07:28:00 +{'9' * 4000}", None),
        (f"Wed, 21 Oct {'9' * 5000} 07:28:00 GMT", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("Wed, 21 Oct 2015 07:28:00 -0000", 0.0),
        ("Wed, 21 Oct 9000 07:28:00 GMT", DAY),
        ("", None),
        ("-1", None),
        ("\u00b2", None),
        ("soon", None),
        ("Wed, 99 Oct 2015 07:28:00 GMT", None),
    ],
)
def test_seconds_and_dates(text: str, seconds: float | None) -> None:
    assert retry_after(text) == seconds


def test_a_date_that_is_to_come() -> None:
    asked = retry_after(format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True))
    assert asked
    assert 3000 < asked <= 3600
