"""Which hosts an extension fits, and why not others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from reconciler.dataclass import dataclass
from reconciler.model.kind import ExtensionId

if TYPE_CHECKING:
    from reconciler.model.facts.extensionfacts import ExtensionFacts
    from reconciler.model.fit.release import Host

THIS_HOST: Final = "this host"
_OF_ANOTHER: Final = (
    ("does not fit this host: ", ""),
    ("this host's os-release", "its os-release"),
    ("this host has", "it has"),
    ("this machine is", "it is"),
)


@dataclass(frozen=True, slots=True)
class HostFit:
    """Whether it fits one host."""

    host: str  # in words
    fits: bool | None  # None: it cannot be told
    reason: str | None = None  # why not


def judge(facts: ExtensionFacts, label: str, host: Host) -> HostFit:
    """Whether livelayer would place the extension on a host, and systemd would merge it there."""
    reason = _misfit(facts, host)
    if reason and label != THIS_HOST:
        reason = about_another_host(reason)
    return HostFit(f"{label} ({described(host)})", fits=reason is None, reason=reason)


def about_another_host(reason: str) -> str:
    """A sentence about this host, said of another one."""
    for said, meant in _OF_ANOTHER:
        reason = reason.replace(said, meant)
    return reason


def _misfit(facts: ExtensionFacts, host: Host) -> str | None:
    if host.systemd < facts.kind.traits.since:
        return f"a {facts.kind} takes systemd {facts.kind.traits.since}, and this host has {host.systemd}"
    error = facts.contents.misfit(ExtensionId(facts.name or "NAME", facts.kind), host)
    return error.message.removeprefix("does not fit this host: ") if error else None


def described(host: Host) -> str:
    names = [host.os_release.get("ID", "linux"), host.os_release.get("VERSION_ID", "")]
    return f"{' '.join(name for name in names if name)}, systemd {host.systemd}, {host.architecture}"
