"""Entries of the store: what each is, and how it is called."""

from __future__ import annotations

import re
from typing import Final

from reconciler.dataclass import dataclass
from reconciler.model.content.format import Format
from reconciler.model.kind import Kind

_ENTRY: Final = re.compile(
    r"(?P<hex>[0-9a-f]{64})(?P<confext>~confext)?(?:\+(?P<name>[A-Za-z0-9][A-Za-z0-9._+-]{0,63}))?"
    rf"\.(?P<format>{'|'.join(Format)})"
)


@dataclass(frozen=True, slots=True, order=True)
class Entry:
    """The identity of something in the store: the source's digest, and what was made of the content."""

    digest: str  # of a container image's manifest, a file, or a directory
    renamed_to: str | None = None  # its release file was also given under this extension's name
    format: Format = Format.DIRECTORY
    kind: Kind = Kind.SYSEXT

    @property
    def file_name(self) -> str:
        kind = "~confext" if self.kind is Kind.CONFEXT else ""
        name = f"+{self.renamed_to}" if self.renamed_to else ""
        return f"{self.digest.removeprefix('sha256:')}{kind}{name}.{self.format}"

    def link_name(self, name: str) -> str:
        """How a link to it must be called, so that systemd takes it for an extension of this name."""
        return f"{name}.raw" if self.format.is_file else name


def parse_entry(file_name: str) -> Entry | None:
    """The entry with this file name; None if the store does not call anything so."""
    match = _ENTRY.fullmatch(file_name)
    if match is None:
        return None
    kind = Kind.CONFEXT if match["confext"] else Kind.SYSEXT
    return Entry(f"sha256:{match['hex']}", match["name"], Format(match["format"]), kind)
