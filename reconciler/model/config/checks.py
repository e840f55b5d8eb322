"""What must hold after a change of extensions for it to stay."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from urllib.parse import urlsplit

SETTLE: Final = timedelta(seconds=5)
TIMEOUT: Final = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Checks:
    """All of these, within the timeout."""

    units: tuple[str, ...] = ()  # active, and still the same processes after the settle time
    command: tuple[str, ...] = ()  # exits with 0
    file: str | None = None  # exists
    http: str | None = None  # answers with a status below 400
    settle: timedelta = SETTLE
    timeout: timedelta = TIMEOUT

    @property
    def words(self) -> str:
        """What is looked at, for people."""
        parts = [*self.units, " ".join(self.command), self.file or "", self.http or ""]
        return ", ".join(part for part in parts if part)


def parse_loopback_url(text: str) -> str:
    """A URL that leads to this machine alone: what answers elsewhere says nothing about an extension here.

    Raises:
        ValueError: with a sentence for the user.
    """
    from ipaddress import ip_address

    try:
        parts = urlsplit(text)
        is_ours = parts.hostname == "localhost" or ip_address(parts.hostname or "").is_loopback
    except ValueError:
        is_ours = False
    else:
        is_ours = is_ours and parts.scheme in {"http", "https"}
    if not is_ours:
        raise ValueError(f"{text!r} is no URL on loopback, such as http://127.0.0.1:8080/healthz")
    return text
