"""Which extension fits which host, as the installed systemd-sysext judges it.

Source of the rules: `extension_release_validate()` of systemd 248 to 262; the differences between versions are
told apart here and nowhere else. A test merges each row of its table with the real systemd-sysext.
"""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from reconciler.dataclass import dataclass
from reconciler.model.content.ociread import GO_NAMES
from reconciler.model.fit.hierarchies import default_hierarchies
from reconciler.model.kind import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.model.images.imagepolicy import ImagePolicy

LAX_SINCE: Final = 250  # the systemd that takes a release file of another name, if that says so itself
_DEFAULT_SCOPES: Final = ("system", "portable")
LIKE_SINCE: Final = 258  # the systemd that matches a host's ID_LIKE, too
# systemd's names for what uname(2) says (src/basic/architecture.c).
ARCHITECTURES: Final = {
    "x86_64": "x86-64",
    "i386": "x86",
    "i486": "x86",
    "i586": "x86",
    "i686": "x86",
    "aarch64": "arm64",
    "aarch64_be": "arm64-be",
    "armv6l": "arm",
    "armv7l": "arm",
    "armv8l": "arm",
    "ppc64le": "ppc64-le",
    "ppc64": "ppc64",
    "riscv64": "riscv64",
    "s390x": "s390x",
    "loongarch64": "loongarch64",
    "mips64": "mips64-le",
}


# What others call an architecture, where systemd's name is another: Go (container images), Debian, and uname(2).
SYNONYMS: Final[Mapping[str, str]] = {
    **{go: architecture for architecture, go in GO_NAMES.items() if go != architecture},
    "armhf": "arm",
    "ppc64el": "ppc64-le",
    **{machine: name for machine, name in ARCHITECTURES.items() if machine != name},
}


def parse_architecture(text: str) -> str:
    """Read an architecture in anybody's words, into systemd's."""
    known = sorted({*ARCHITECTURES.values()})
    word = SYNONYMS.get(text, text)
    if word not in known:
        raise ValueError(f"{text!r} is no architecture; known are {', '.join(known)}")
    return word


@dataclass(frozen=True, slots=True)
class Host:
    """What a node is, as far as extensions care."""

    os_release: Mapping[str, str]
    machine: str  # uname -m
    systemd: int  # the version's first number
    image_policies: Mapping[Kind, ImagePolicy] = field(default_factory=dict)  # by kind; where none is known, none is
    has_loop_devices: bool = True  # without them systemd cannot attach image files
    boot_state: str = "active"  # Kairos's; other nodes have this one only
    has_device_mapper: bool = True  # without it systemd cannot verify what the policy lets it verify
    # Whether a systemd before 258 looks at ID_LIKE nevertheless: 257 got it in a point release.
    has_id_like: bool = False
    kernel: str = ""  # the release of the running kernel (uname -r); empty: there is none, or it is not known
    scope: Literal["system", "initrd"] = "system"
    switched_off: frozenset[Kind] = frozenset()  # what the kernel command line keeps from being merged
    hierarchies: Mapping[Kind, tuple[str, ...]] = field(default_factory=dict)  # its own; of other kinds systemd's

    @property
    def architecture(self) -> str:
        return ARCHITECTURES.get(self.machine, self.machine)

    def hierarchies_of(self, kind: Kind) -> tuple[str, ...]:
        """Onto what extensions of a kind are merged, as the node names it: links are followed by systemd."""
        return self.hierarchies.get(kind) or default_hierarchies(kind)


class Misfit(NamedTuple):
    """Why systemd would ignore an extension on a host, and what to do about it."""

    reason: str
    hint: str


_OTHER_OS: Final = "use an image built for this OS version, or ID=_any for content that needs nothing of the host"
_NO_ID: Final = "add ID=_any to the release file for content that needs nothing of the host, or the ID of the OS"


def misfit(release: Mapping[str, str], host: Host, kind: Kind = Kind.SYSEXT) -> Misfit | None:
    """Why systemd would ignore an extension with this release file on this host; None: it fits."""
    return (
        _scope_misfit(release, host, kind.traits.scope)
        or _architecture_misfit(release, host)
        or _os_misfit(release, host, kind.traits.level)
    )


def _scope_misfit(release: Mapping[str, str], host: Host, field: str) -> Misfit | None:
    """Without the field an extension is for systems and portable services, and for no initrd."""
    scope = release.get(field)
    if host.systemd < 250 or host.scope in (_DEFAULT_SCOPES if scope is None else scope.split()):
        return None
    hint = f"add {host.scope} to {field} in the release file"
    if scope is None:
        return Misfit(f"the release file has no {field}, so it is for no {host.scope}", hint)
    return Misfit(f"{field}={scope} does not contain {host.scope}", hint)


def _architecture_misfit(release: Mapping[str, str], host: Host) -> Misfit | None:
    wanted = release.get("ARCHITECTURE", "")
    if host.systemd < 252 or wanted in {"", "_any", host.architecture}:
        return None
    hint = f"use an image built for {host.architecture}; platform: chooses one of several in a container image"
    return Misfit(f"ARCHITECTURE={wanted}, this machine is {host.architecture}", hint)


def _os_misfit(release: Mapping[str, str], host: Host, level: str) -> Misfit | None:
    wanted = release.get("ID", "")
    if not wanted:
        return Misfit("the release file has no ID", _NO_ID)
    if wanted == "_any" and host.systemd >= 252:
        return None
    if wanted not in _host_ids(host):
        return Misfit(f"ID={wanted}, this host has ID={host.os_release.get('ID', '')}", _OTHER_OS)
    reason = _version_misfit(release, host.os_release, level)
    return Misfit(reason, _OTHER_OS) if reason else None


def _host_ids(host: Host) -> tuple[str, ...]:
    """The IDs a host answers to; os-release(5) gives a host without ID the name linux."""
    own = host.os_release.get("ID", "linux")
    if host.systemd < LIKE_SINCE and not host.has_id_like:
        return (own,)
    return (own, *host.os_release.get("ID_LIKE", "").split())


def _version_misfit(release: Mapping[str, str], host: Mapping[str, str], level: str) -> str | None:
    levels = release.get(level, ""), host.get(level, "")
    if all(levels):
        return None if levels[0] == levels[1] else f"{level}={levels[0]}, this host has {levels[1]}"
    version = host.get("VERSION_ID", "")
    if not version or release.get("VERSION_ID") == version:
        return None
    if not release.get("VERSION_ID"):
        return f"the release file has no VERSION_ID, this host has {version}"
    return f"VERSION_ID={release['VERSION_ID']}, this host has {version}"
