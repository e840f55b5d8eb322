"""Which hosts an extension fits, and why not others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.model.kind import Ident

if TYPE_CHECKING:
    from reconciler.model.extensionfacts import ExtensionFacts
    from reconciler.model.release import Host


@dataclass(frozen=True, slots=True)
class HostFit:
    """Whether it fits one host."""

    host: str  # in words
    fits: bool | None  # None: it cannot be told
    reason: str | None = None  # why not


def judge(facts: ExtensionFacts, label: str, host: Host) -> HostFit:
    """Whether livelayer would place the extension on a host, and systemd would merge it there."""
    ident = Ident(facts.name or "NAME", facts.kind)
    if host.systemd < facts.kind.traits.since:
        too_old = f"a {facts.kind} takes systemd {facts.kind.traits.since}, and this host has {host.systemd}"
        return HostFit(_described(label, host), fits=False, reason=too_old)
    error = facts.contents.misfit(ident, host)
    reason = error.message.removeprefix(f"{ident}: ") if error else None
    return HostFit(_described(label, host), fits=error is None, reason=reason)


def _described(label: str, host: Host) -> str:
    names = [host.os_release.get("ID", "linux"), host.os_release.get("VERSION_ID", "")]
    words = f"{' '.join(name for name in names if name)}, systemd {host.systemd}, {host.architecture}"
    return f"{label} ({words})"
