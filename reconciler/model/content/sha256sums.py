"""Lists of checksums as sha256sum(1) and its BSD kin print them, and the file names of URLs."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit, urlunsplit

from reconciler.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Mapping

_GNU: Final = re.compile(r"(?P<escaped>\\?)(?P<hex>[0-9A-Fa-f]{64})(?: [ *]|  ?)(?P<name>.+)")
_BSD: Final = re.compile(r"(?P<escaped>\\?)SHA256 \((?P<name>.+)\) = (?P<hex>[0-9A-Fa-f]{64})")
_BEST_BEFORE: Final = "BEST-BEFORE-"
_ESCAPES: Final = {r"\n": "\n", r"\r": "\r", r"\\": "\\"}


def parse_checksums(text: str) -> dict[str, str]:
    """The digests in a list, by file name. Names that lead elsewhere and lines that are no checksums are left out."""
    found: dict[str, str] = {}
    for line in text.split("\n"):
        match = _BSD.fullmatch(line.rstrip("\r")) or _GNU.fullmatch(line.rstrip("\r"))
        name = _unescaped(match["name"]) if match and match["escaped"] else match["name"] if match else ""
        name = name.removeprefix("./")
        if match and is_file_name(name):
            found[name] = f"sha256:{match['hex'].lower()}"
    return found


def best_before(listed: Mapping[str, str]) -> datetime | None:
    """Until when a list counts: a BEST-BEFORE-YYYY-MM-DD in it says so, with any digest (systemd-sysupdate 260)."""
    markers = (it for it in listed if it.startswith(_BEST_BEFORE))
    return min(filter(None, (_date(it.removeprefix(_BEST_BEFORE)) for it in markers)), default=None)


def _date(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        return None


def file_name(url: str) -> str:
    name = unquote(urlsplit(url).path.rpartition("/")[2])
    if not is_file_name(name):
        raise Invalid(f"{name!r} in the URL is no file name", "correct source:")
    return name


def beside(url: str, name: str) -> str:
    """The URL of another file in the same directory. A query belongs to a file, or else to the whole directory."""
    parts = urlsplit(url)
    directory, _, file = parts.path.rpartition("/")
    query = "" if file else parts.query
    return urlunsplit(parts._replace(path=f"{directory}/{name}", query=query, fragment=""))


def is_file_name(name: str) -> bool:
    """Whether a name stays in its directory."""
    return bool(name) and name not in {".", ".."} and "/" not in name and "\0" not in name


def _unescaped(name: str) -> str:
    return re.sub(r"\\[nr\\]", lambda match: _ESCAPES[match[0]], name)
