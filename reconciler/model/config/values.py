"""Single values of the configuration: durations, limits of removals, URLs of checks, directories for the state.

Each parser raises ValueError, with a sentence for the user, where a text is none.
"""

from __future__ import annotations

import posixpath
import re
from contextlib import suppress
from datetime import timedelta
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from reconciler.dataclass import dataclass
from reconciler.errors import quoted

_UNITS: Final = {"w": "weeks", "d": "days", "h": "hours", "m": "minutes", "s": "seconds"}
_PART: Final = re.compile(rf"([0-9]{{1,12}})\s*([{''.join(_UNITS)}])\s*")
_SHAPE: Final = re.compile(rf"(?:{_PART.pattern})+")
_LONGEST: Final = timedelta(days=36_525)  # a hundred years: what is added to the present time remains a date
_TRANSFER_MAX: Final = timedelta(hours=6)
_SHARE: Final = re.compile(r"(100|[1-9]?[0-9])%")
# Where the state cannot be: why, and the directories.
_NO_PLACE: Final = {
    "must not be in {}, onto which extensions are merged": ("/usr", "/opt", "/etc"),
    "must not be in {}, which a boot empties": (
        *("/run", "/tmp", "/dev", "/proc", "/sys", "/var/run", "/var/tmp"),  # noqa: S108 - refused
    ),
    "must not be {}, in it or above it, since systemd would merge what lies there": (
        *("/var/lib/extensions", "/var/lib/confexts", "/var/lib/kairos/extensions"),
    ),
}


def parse_duration(text: str) -> timedelta:
    """Read whole numbers, each with one of the units w, d, h, m and s, each unit once at most."""
    if not _SHAPE.fullmatch(text.strip()):
        raise ValueError(f"{text!r} is no duration; it looks like 3d, 12h or 1d12h, with the units w, d, h, m and s")
    parts = [(_UNITS[unit], int(number)) for number, unit in _PART.findall(text)]
    if len(dict(parts)) < len(parts):
        raise ValueError(f"{text!r} has one unit twice")
    try:
        duration = timedelta(**dict(parts))
    except OverflowError:
        duration = timedelta.max
    if duration > _LONGEST:
        raise ValueError(f"{text!r} is more than a hundred years")
    return duration


def parse_transfer_timeout(text: str) -> timedelta:
    """Read a duration that is shorter than a run may take, whose units have a timeout of their own."""
    if not timedelta(minutes=1) <= (duration := parse_duration(text)) <= _TRANSFER_MAX:
        raise ValueError(f"{text!r} is not between 1m and 6h")
    return duration


@dataclass(frozen=True, slots=True)
class PruneLimit:
    """A count, or a share of what is placed."""

    count: int | None = None
    percent: int = 100

    def allows(self, pruned: int, placed: int) -> bool:
        return pruned <= (placed * self.percent // 100 if self.count is None else self.count)

    def __str__(self) -> str:
        return f"{self.percent}%" if self.count is None else str(self.count)


def parse_prune_limit(value: int | str) -> PruneLimit:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return PruneLimit(value)
    if isinstance(value, str) and (match := _SHARE.fullmatch(value)):
        return PruneLimit(percent=int(match[1]))
    raise ValueError(f"{value!r} is no limit; it looks like 3, or 50%")


def parse_loopback_url(text: str) -> str:
    """A URL that leads to this machine alone: what answers elsewhere says nothing about an extension here."""
    with suppress(ValueError):
        parts = urlsplit(text)
        is_ours = parts.hostname == "localhost" or ip_address(parts.hostname or "").is_loopback
        if is_ours and parts.scheme in {"http", "https"}:
            return text
    raise ValueError(f"{quoted(text)} is no URL on loopback, such as http://127.0.0.1:8080/healthz")


def check_state_dir(text: str) -> str:
    """A directory of livelayer's own that is there at boot and that no merge covers, as the user wrote it."""
    if not text.startswith("/") or posixpath.normpath(text) != text or text.startswith("//"):
        raise ValueError("must be an absolute path without . and .. and a slash at the end")
    if not text.isprintable():
        raise ValueError("must not have control characters")
    for reason, directories in _NO_PLACE.items():
        for directory in directories:
            if f"{text}/".startswith(f"{directory}/") or f"{directory}/".startswith(f"{text}/"):
                raise ValueError(reason.format(directory))
    if text.count("/") == 1 or posixpath.dirname(text) == "/var":
        raise ValueError("must be a directory of its own, such as /data/livelayer")
    return text
