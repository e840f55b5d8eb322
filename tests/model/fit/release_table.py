"""Which release file fits which host, on which systemd: rows for the unit test and for the real systemd-sysext."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from reconciler.model.fit.release import Host

if TYPE_CHECKING:
    from collections.abc import Mapping

DEBIAN: Final = MappingProxyType({"ID": "debian", "VERSION_ID": "12"})
UBUNTU: Final = MappingProxyType({"ID": "ubuntu", "ID_LIKE": "debian", "VERSION_ID": "24.04"})
ARCH: Final = MappingProxyType({"ID": "arch"})
FLATCAR: Final = MappingProxyType({"ID": "flatcar", "VERSION_ID": "4081.2.0", "SYSEXT_LEVEL": "1.0"})
NAMELESS: Final = MappingProxyType({"VERSION_ID": "1"})


@dataclass(frozen=True, slots=True)
class Row:
    """A release file and a host."""

    title: str
    release: Mapping[str, str]
    os_release: Mapping[str, str] = field(default_factory=lambda: DEBIAN)
    systemd: int = 252
    because: str = ""

    @property
    def host(self) -> Host:
        """The host of this row, on x86-64."""
        return Host(self.os_release, "x86_64", self.systemd)


FITS: Final = (
    Row("any", {"ID": "_any"}),
    Row("any needs no version", {"ID": "_any", "VERSION_ID": "99"}),
    Row("same version", {"ID": "debian", "VERSION_ID": "12"}),
    Row("this architecture", {"ID": "_any", "ARCHITECTURE": "x86-64"}),
    Row("any architecture", {"ID": "_any", "ARCHITECTURE": "_any"}),
    Row("empty architecture", {"ID": "_any", "ARCHITECTURE": ""}),
    Row("system scope", {"ID": "_any", "SYSEXT_SCOPE": "system"}),
    Row("several scopes", {"ID": "_any", "SYSEXT_SCOPE": "initrd system portable"}),
    Row("rolling host", {"ID": "arch"}, ARCH),
    Row("rolling host, versioned extension", {"ID": "arch", "VERSION_ID": "1"}, ARCH),
    Row("same level", {"ID": "flatcar", "SYSEXT_LEVEL": "1.0"}, FLATCAR),
    Row("level goes before version", {"ID": "flatcar", "SYSEXT_LEVEL": "1.0", "VERSION_ID": "1"}, FLATCAR),
    Row("version where the extension has no level", {"ID": "flatcar", "VERSION_ID": "4081.2.0"}, FLATCAR),
    Row("level only the extension has", {"ID": "debian", "VERSION_ID": "12", "SYSEXT_LEVEL": "2"}),
    Row("like, from 258", {"ID": "debian", "VERSION_ID": "24.04"}, UBUNTU, systemd=258),
    Row("scope is unknown before 250", {"ID": "debian", "VERSION_ID": "12", "SYSEXT_SCOPE": "initrd"}, systemd=249),
    Row(
        "architecture is unknown before 252",
        {"ID": "debian", "VERSION_ID": "12", "ARCHITECTURE": "arm64"},
        systemd=251,
    ),
)
MISFITS: Final = (
    Row("empty file", {}, because="no ID"),
    Row("empty ID", {"ID": "", "VERSION_ID": "12"}, because="no ID"),
    Row("other OS", {"ID": "fedora", "VERSION_ID": "12"}, because="ID=fedora"),
    Row("other version", {"ID": "debian", "VERSION_ID": "11"}, because="VERSION_ID=11"),
    Row("no version", {"ID": "debian"}, because="no VERSION_ID"),
    Row("other architecture", {"ID": "_any", "ARCHITECTURE": "arm64"}, because="ARCHITECTURE=arm64"),
    Row("kernel's name of the architecture", {"ID": "_any", "ARCHITECTURE": "x86_64"}, because="x86-64"),
    Row("initrd scope", {"ID": "_any", "SYSEXT_SCOPE": "initrd"}, because="SYSEXT_SCOPE"),
    Row("empty scope", {"ID": "_any", "SYSEXT_SCOPE": ""}, because="SYSEXT_SCOPE"),
    Row("scope is a word, not a part of one", {"ID": "_any", "SYSEXT_SCOPE": "subsystem"}, because="SYSEXT_SCOPE"),
    Row("other level", {"ID": "flatcar", "SYSEXT_LEVEL": "2.0", "VERSION_ID": "4081.2.0"}, FLATCAR, because="LEVEL"),
    Row("like, before 258", {"ID": "debian", "VERSION_ID": "24.04"}, UBUNTU, systemd=257, because="ID=debian"),
    Row("any, before 252", {"ID": "_any"}, systemd=251, because="ID=_any"),
    Row("ID is matched exactly", {"ID": "Debian", "VERSION_ID": "12"}, because="ID=Debian"),
)
