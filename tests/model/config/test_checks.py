"""Which URLs a check may ask."""

from __future__ import annotations

import pytest

from reconciler.model.config.checks import Checks, parse_loopback_url


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1/", "http://127.3.2.1:8080/x?y", "https://localhost/", "http://[::1]:80/healthz"]
)
def test_loopback(url: str) -> None:
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
def test_elsewhere(url: str) -> None:
    with pytest.raises(ValueError, match="loopback"):
        parse_loopback_url(url)


def test_words() -> None:
    checks = Checks(("a.service", "b.socket"), ("x", "check"), "/run/x", "http://localhost/")
    assert checks.words == "a.service, b.socket, x check, /run/x, http://localhost/"
    assert Checks(file="/x").words == "/x"
