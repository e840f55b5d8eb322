"""What of an extension's files the overlays show: those in a merged hierarchy, and below no mount that lies on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.dataclass import dataclass
from reconciler.errors import Invalid
from reconciler.model.fit.hierarchies import variable_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from reconciler.model.kind import Kind


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """A hierarchy onto which an overlay is merged."""

    place: str  # its mount point; where a hierarchy is a symbolic link, systemd merges where that leads
    kept: tuple[str, ...] = ()  # mount points that lie on top, whose file systems hide what extensions have there
    covered: tuple[str, ...] = ()  # those that it hides, together with what the host has there (before systemd 257)


@dataclass(frozen=True, slots=True)
class Sight:
    """Where files of extensions of a kind are seen, by paths as extensions have them."""

    hierarchies: tuple[str, ...]
    kept: tuple[str, ...] = ()

    @classmethod
    def of(cls, merged: Iterable[Hierarchy], places: Mapping[str, str]) -> Sight:
        """Of what is merged; `places` are where the node's hierarchies lead, by their own names."""
        found = [(it, name) for it in merged for name in _names(it.place, places)]
        kept = tuple(f"{name}{mount.removeprefix(it.place)}" for it, name in found for mount in it.kept)
        return cls(tuple(name for _, name in found), kept)

    def shows(self, path: str) -> bool:
        """Whether a file at an absolute path is seen, as far as the mounts tell."""
        return _within(path, self.hierarchies) and not _within(path, self.kept)

    def shows_all_below(self, directory: str) -> bool:
        return self.shows(directory) and not any(_within(mount, (directory,)) for mount in self.kept)

    def mount_over(self, path: str) -> str | None:
        return next((mount for mount in self.kept if _within(path, (mount,))), None)

    def unseen(self, paths: Iterable[str], kind: Kind) -> tuple[str, ...]:
        """Of files, by paths without a leading slash, those that are not seen, absolute."""
        return tuple(
            sorted(path for it in paths if not self.is_moot(path := f"/{it}", kind) and not self.shows(path))
        )

    def is_moot(self, path: str, kind: Kind) -> bool:
        """Whether it does not matter that a file is not seen: a release file is read in the extension itself."""
        return path.startswith(f"/{kind.traits.releases}/")


@dataclass(frozen=True, slots=True)
class Unseen:
    """Files of a merged extension that are not seen."""

    path: str  # one of them, absolute
    mount: str | None  # what lies on top; None: nothing is merged onto where it is
    hierarchies: tuple[str, ...]

    @classmethod
    def among(cls, unseen: Iterable[str], sight: Sight) -> Unseen | None:
        """What to tell of files that are not seen; None: there are none."""
        path = next(iter(unseen), None)
        return cls(path, sight.mount_over(path), sight.hierarchies) if path else None

    @property
    def reason(self) -> str:
        if self.mount:
            return f"the mount {self.mount} lies on top of what is merged"
        return f"extensions are merged onto {', '.join(self.hierarchies) or 'nothing'} only"

    def error(self, kind: Kind) -> Invalid:
        message = f"{self.path} is not seen: {self.reason}"
        if self.mount:
            return Invalid(message, "put the file elsewhere, or take the mount away", code="overlay.covered")
        hint = (
            f"leave it out, or add its directory to {variable_of(kind)} (systemctl edit systemd-{kind}.service) "
            f"and restart systemd-{kind}.service"
        )
        return Invalid(message, hint, code="overlay.outside")


def hides(mount: str, systemd: int) -> Invalid:
    """What to say of a mount of the host that is hidden while something is merged around it."""
    return Invalid(
        f"systemd {systemd} hides the mount {mount} of this host while extensions are merged",
        "let the unit merge other directories (SYSTEMD_SYSEXT_HIERARCHIES), or update systemd to 257",
        code="overlay.hides-mount",
    )


def _names(place: str, places: Mapping[str, str]) -> list[str]:
    """What extensions call a place: the hierarchies that lead there, or itself, if somebody merged another one."""
    return [name for name, leads_to in places.items() if leads_to == place] or [place]


def _within(path: str, tops: Iterable[str]) -> bool:
    return any(path == top or path.startswith(f"{top}/") for top in tops)
