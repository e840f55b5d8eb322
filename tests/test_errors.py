"""Messages are one line, whatever names and documents of others have in them."""

from __future__ import annotations

import pytest

from reconciler.errors import Invalid, printable


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
