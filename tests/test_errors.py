"""Messages are one line, whatever names and documents of others have in them."""

from __future__ import annotations

import copy
import errno
import os
import pickle
import time

import pytest

from reconciler.errors import Failed, Invalid, Offline, Pending, Unavailable, file_of, printable, redacted, shortened
from reconciler.model.plan.action import Problem, problem


@pytest.mark.parametrize(
    ("text", "shown"),
    [("plain \u00e9", "plain \u00e9"), ("a\nb", "a\\nb"), ("\x1b[31m", "\\x1b[31m"), ("\u202ex", "\\u202ex")],
)
def test_what_would_break_or_colour_the_line_is_escaped(text: str, shown: str) -> None:
    error = Invalid(text, text)
    assert (error.message, error.hint, str(error)) == (shown, shown, shown)
    assert printable(text) == shown
    assert str(error.about("x")) == f"x: {shown}"


def test_messages_are_cut_in_their_middle_before_they_are_looked_at() -> None:
    for text in ("a" + "x" * 10_000_000 + "z", "a" + "\n" * 3000 + "z"):
        message = Invalid(text).message
        assert len(message) <= 4000
        assert (message[0], message[-1]) == ("a", "z")
        assert " ... " in message


def test_the_file_of_an_error_is_a_name_and_never_none() -> None:
    assert [file_of(OSError(5, "x", name), "here") for name in ("/a", b"/b", None)] == ["/a", "/b", "here"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://u:p@h/x: 404", "https://***@h/x: 404"),
        ("no (https://token@h/x?a=b&c=d), but", "no (https://***@h/x?***), but"),
        ("'https://h/x?a=\"b\"c'.", "'https://h/x?***'."),
        ("https://h/?: what?", "https://h/?***: what?"),
        ("https://u:p@q@h", "https://***@h"),
        ("http://a@b/c?d http://e@f/g?h", "http://***@b/c?*** http://***@f/g?***"),
        (f"docker://alpine:3@sha256:{'a' * 64}", f"docker://alpine:3@sha256:{'a' * 64}"),
        (f"docker://u@alpine:3@sha256:{'a' * 64}", f"docker://***@alpine:3@sha256:{'a' * 64}"),
        ("is there none? user@host says no", "is there none? user@host says no"),
    ],
)
def test_what_may_be_a_secret_in_a_url_is_left_out(text: str, shown: str) -> None:
    assert redacted(text) == redacted(shown) == shown
    assert Invalid(text, text).message == Invalid(text, text).hint == shown


@pytest.mark.parametrize(
    "text", ["://" * 300_000, "://" + "a" * 1_000_000, "://?" + "?:'" * 300_000, "://@" * 250_000]
)
def test_a_long_text_takes_no_longer_than_its_length(text: str) -> None:
    begun = time.process_time()
    redacted(text)
    assert time.process_time() - begun < 5


def test_no_hint_is_no_hint() -> None:
    assert Invalid("a").hint is None


@pytest.mark.parametrize("kind", [Unavailable, Offline])
def test_for_how_long_to_wait_goes_along(kind: type[Unavailable]) -> None:
    error = kind("a", "b", retry_after=30.0).about("x")
    for same in (error, copy.copy(error), pickle.loads(pickle.dumps(error))):  # noqa: S301 - our own
        assert (type(same), same.message, same.hint, same.retry_after) == (kind, "a", "b", 30.0)
    assert kind("a").about("x").retry_after is None


def test_the_extension_and_the_code_are_fields_and_people_read_one_sentence() -> None:
    error = Invalid("does not fit", "wait", code="release.mismatch")
    of_x, of_y = error.about("x"), error.about("x").about("y")
    assert [(it.extension, it.message, str(it)) for it in (error, of_x, of_y)] == [
        (None, "does not fit", "does not fit"),
        ("x", "does not fit", "x: does not fit"),
        ("y", "does not fit", "y: does not fit"),
    ]
    assert {it.code for it in (error, of_x, of_y, pickle.loads(pickle.dumps(of_y)))} == {"release.mismatch"}  # noqa: S301


def test_a_problem_is_of_the_extension_that_its_error_names() -> None:
    error = Failed("is full", code="disk.full")
    assert problem("x", error) == Problem("disk.full", "x", "is full")
    assert problem("x", error.about("y")).sentence == problem(None, error.about("y")).sentence == "y: is full"
    assert problem(None, Pending("waits")).pending


def test_what_the_kernel_refused_has_the_code_of_its_reason() -> None:
    cases = {errno.ENOSPC: "disk.full", errno.EROFS: "disk.read-only", errno.EPERM: "file.forbidden"}
    for number, code in (cases | {errno.ELOOP: "file.unusable"}).items():
        error = Failed.of(OSError(number, os.strerror(number), "/x"), "/x: cannot be written", "look at the disk")
        assert (error.code, error.hint) == (code, "look at the disk")
        assert str(error) == f"/x: cannot be written: {os.strerror(number)}"
    assert str(Failed.of(OSError("of Python's own"), "/x")) == "/x: of Python's own"


def test_no_cut_leaves_a_secret_without_what_tells_that_it_is_one() -> None:
    url = f"https://user:{'p' * 300}END@h/f?Signature={'a' * 300}END"
    for most in (40, 200, 500):
        assert "END" not in shortened(f"{'x' * 100} {url} {'y' * 20}", most)
