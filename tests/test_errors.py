"""Messages are one line, whatever names and documents of others have in them."""

from __future__ import annotations

import copy
import pickle

import pytest

from reconciler.errors import Invalid, Offline, Unavailable, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [("plain \u00e9", "plain \u00e9"), ("a\nb", "a\\nb"), ("\x1b[31m", "\\x1b[31m"), ("\u202ex", "\\u202ex")],
)
def test_what_would_break_or_colour_the_line_is_escaped(text: str, shown: str) -> None:
    error = Invalid(text, text)
    assert (error.message, error.hint, str(error)) == (shown, shown, shown)
    assert printable(text) == shown
    assert error.about("x").message == f"x: {shown}"


def test_no_hint_is_no_hint() -> None:
    assert Invalid("a").hint is None


@pytest.mark.parametrize("kind", [Unavailable, Offline])
def test_for_how_long_to_wait_goes_along(kind: type[Unavailable]) -> None:
    error = kind("a", "b", retry_after=30.0).about("x")
    for same in (error, copy.copy(error), pickle.loads(pickle.dumps(error))):  # noqa: S301 - our own
        assert (type(same), same.message, same.hint, same.retry_after) == (kind, "x: a", "b", 30.0)
    assert kind("a").about("x").retry_after is None
