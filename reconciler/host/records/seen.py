"""What configuration the last run worked from: recorded for `apply --if-changed`, and for who watches it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.dataclass import dataclass
from reconciler.host.base.durable import read_json, write_json
from reconciler.host.base.onhost import on_host
from reconciler.host.config.cloudplaces import cloud_configs
from reconciler.host.config.configfiles import Fingerprint, fingerprint_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.paths import Paths


@dataclass(frozen=True, slots=True)
class Clouds:
    """The places of cloud-configs, and the files there before they were read."""

    places: tuple[Path, ...] = ()
    files: Fingerprint = ()

    @property
    def inhabited(self) -> tuple[Path, ...]:
        return tuple(place for place in self.places if any(Path(it[0]).is_relative_to(place) for it in self.files))

    @property
    def are_unchanged(self) -> bool:
        return self.files == look_at(self.places).files


def look_at(places: Sequence[Path]) -> Clouds:
    """The files at these places as they are now."""
    return Clouds(tuple(places), on_host(lambda: fingerprint_of(cloud_configs(places)), places))


def record(paths: Paths, files: Fingerprint, clouds: Clouds) -> None:
    write_json(paths.seen, _document(files, clouds), durable=False)


def is_current(paths: Paths, files: Fingerprint, named: Sequence[Path] | None) -> bool:
    """Whether the last run worked from the configuration as it is now; `named` cloud-configs replace its own."""
    clouds = look_at(last_places(paths) if named is None else named)
    return bool(read_json(paths.seen) == _document(files, clouds))


def last_places(paths: Paths) -> tuple[Path, ...]:
    match read_json(paths.seen):
        case {"places": [*places]} if all(isinstance(it, str) for it in places):
            return tuple(map(Path, places))
        case _:
            return ()


def _document(files: Fingerprint, clouds: Clouds) -> dict[str, Any]:
    """As JSON gives it back."""
    return {
        "files": [list(it) for it in files],
        "cloud_configs": [list(it) for it in clouds.files],
        "places": [str(it) for it in clouds.places],
    }
