"""Durations, limits of removals, URLs to be checked and directories for the state, as a user writes them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.config.values import check_state_dir, parse_duration, parse_loopback_url, parse_prune_limit


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("30s", timedelta(seconds=30)),
        ("5m", timedelta(minutes=5)),
        ("12h", timedelta(hours=12)),
        ("3d", timedelta(days=3)),
        ("2w", timedelta(weeks=2)),
        ("1d12h", timedelta(days=1, hours=12)),
        ("12h1d", timedelta(days=1, hours=12)),
        (" 1 d  12 h ", timedelta(days=1, hours=12)),
        ("1w1d1h1m1s", timedelta(weeks=1, days=1, hours=1, minutes=1, seconds=1)),
        ("0s", timedelta()),
        ("003d", timedelta(days=3)),
        ("36525d", timedelta(days=36_525)),
    ],
)
def test_durations(text: str, duration: timedelta) -> None:
    assert parse_duration(text) == duration


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no duration"),
        ("3", "no duration; it looks like 3d"),
        ("d", "no duration"),
        ("-1d", "no duration"),
        ("1.5h", "no duration"),
        ("3 days", "no duration"),
        ("3D", "no duration"),
        ("5min", "no duration"),
        ("1d,12h", "no duration"),
        ("٣d", "no duration"),
        ("1h1h", "one unit twice"),
        ("36526d", "more than a hundred years"),
        ("999999999999w", "more than a hundred years"),
        ("9" * 5_000 + "s", "no duration"),
    ],
)
def test_what_is_no_duration_is_refused_with_the_reason(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_duration(text)


@given(st.integers(0, 1000), st.integers(0, 1000), st.integers(0, 1000))
def test_parts_add_up(days: int, hours: int, seconds: int) -> None:
    assert parse_duration(f"{seconds}s{days}d{hours}h") == timedelta(days=days, hours=hours, seconds=seconds)


@pytest.mark.parametrize(
    ("limit", "placed", "most"),
    [(0, 5, 0), (3, 5, 3), (9, 5, 5), ("0%", 5, 0), ("50%", 5, 2), ("50%", 4, 2), ("100%", 5, 5), ("1%", 99, 0)],
)
def test_limits_of_removals(limit: int | str, placed: int, most: int) -> None:
    found = parse_prune_limit(limit)
    assert [number for number in range(placed + 1) if found.allows(number, placed)] == list(range(most + 1))
    assert str(found) == str(limit)


@pytest.mark.parametrize("limit", [-1, True, "101%", "5 %", "%", "half", "3", "05%"])
def test_what_is_no_limit(limit: int | str) -> None:
    with pytest.raises(ValueError, match="is no limit; it looks like 3, or 50%"):
        parse_prune_limit(limit)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1/", "http://127.3.2.1:8080/x?y", "https://localhost/", "http://[::1]:80/healthz"]
)
def test_urls_on_loopback(url: str) -> None:
    assert parse_loopback_url(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "http://example/",
        "http://127.example/",
        "http://localhost.example/",
        "http://localhost@example/",
        "http://127.0.0.1@example/",
        "http://[::1ff]/",
        "http://10.0.0.1/",
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        "127.0.0.1",
        "",
    ],
)
def test_urls_that_lead_elsewhere(url: str) -> None:
    with pytest.raises(ValueError, match="loopback"):
        parse_loopback_url(url)


@pytest.mark.parametrize("text", ["/data/livelayer", "/var/lib/livelayer", "/var/lib/kairos/livelayer", "/srv/a/b"])
def test_the_state_can_be_in_a_directory_of_its_own_on_a_disk(text: str) -> None:
    assert check_state_dir(text) == text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "absolute path"),
        ("data", "absolute path"),
        ("/data/", "absolute path"),
        ("//data/x", "absolute path"),
        ("/data/../x", "absolute path"),
        ("/data/\n/x", "control characters"),
        ("/", "a directory of its own"),
        ("/usr/local/livelayer", "extensions are merged"),
        ("/run/livelayer", "which a boot empties"),
        ("/tmp", "which a boot empties"),
        ("/var/lib/extensions", "systemd would merge"),
        ("/var/lib/extensions/livelayer", "systemd would merge"),
        ("/var/lib", "systemd would merge"),
        ("/var/lib/kairos/extensions/x", "systemd would merge"),
        ("/var/lib/kairos", "systemd would merge"),
        ("/data", "a directory of its own"),
        ("/var/livelayer", "a directory of its own"),
    ],
)
def test_the_state_cannot_be_there(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        check_state_dir(text)
