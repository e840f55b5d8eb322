"""When the SHA256SUMS were signed that were accepted: whoever is on the way to a server could send an old one."""

from __future__ import annotations

import hashlib
import time
from dataclasses import field
from typing import TYPE_CHECKING

from reconciler.dataclass import dataclass
from reconciler.errors import Unavailable
from reconciler.host.base.durable import read_json, write_json
from reconciler.model.content.minimumage import in_utc
from reconciler.model.content.source import shown_url

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class SignedLists:
    """What is known of lists by the digest of their URL, which may have a password. For several threads at once."""

    record: Path
    _news: dict[str, float] = field(default_factory=dict)

    def accept(self, url: str, signed: float) -> None:
        """Refuse a list that is older than the last one."""
        key = hashlib.sha256(url.encode()).hexdigest()
        last = _times(self.record).get(key, 0.0)
        if signed < last:
            told = f"{shown_url(url)}: the list of {in_utc(signed)} is older than the last one, of {in_utc(last)}"
            hint = f"a later run tries again; if the publisher went back to it, pin the file, or remove {self.record}"
            raise Unavailable(told, hint, code="signature.stale")
        self._news[key] = min(signed, time.time())  # a signer's clock that was fast must not keep later lists out

    def remember(self) -> None:
        if self._news:
            known = _times(self.record)
            if known != (merged := known | self._news):
                write_json(self.record, merged)


def _times(record: Path) -> dict[str, float]:
    match read_json(record):
        case dict(document) if all(isinstance(it, int | float) for it in document.values()):
            return document
        case _:
            return {}
