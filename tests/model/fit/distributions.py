"""os-release files of distributions, and which release files fit them: read from tests/cases/os-release."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

from reconciler.model.fit.assignments import read_assignments
from reconciler.model.fit.release import Host, misfit

_CASES: Final = Path(__file__).parents[2] / "cases/os-release"
_TABLE: Final = yaml.safe_load((_CASES / "verdicts.yaml").read_text())
RELEASES: Final[dict[str, str]] = _TABLE["releases"]


@dataclass(frozen=True, slots=True)
class Distribution:
    """A system's os-release file."""

    name: str
    os_release: bytes

    def expected(self, *, like: bool) -> list[str]:
        """The release files that fit by the table, whether or not systemd looks at ID_LIKE."""
        row = _TABLE["hosts"][self.name]
        likes = row.get("like", []) if like else []
        return sorted([*row["fits"], *likes, *(name for name in RELEASES if name.startswith("any"))])

    def judged(self, systemd: int, *, like: bool) -> list[str]:
        """The release files that fit this system by livelayer, with that version of systemd in place of its own."""
        os_release = read_assignments(self.os_release.decode(errors="replace"))
        host = Host(os_release, "x86_64", systemd, has_id_like=like)
        return sorted(name for name, text in RELEASES.items() if misfit(read_assignments(text), host) is None)


DISTRIBUTIONS: Final = [Distribution(path.name, path.read_bytes()) for path in sorted((_CASES / "hosts").iterdir())]
