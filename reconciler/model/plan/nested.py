"""Configuration extensions that came or went with a system extension, in which they lie (systemd 254 on).

systemd merges the two kinds one apart from the other: nobody merges those that come, or takes off those that go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from reconciler.model.kind import Kind

if TYPE_CHECKING:
    from reconciler.model.state.observed import ObservedState

_ENDINGS: Final = (".sysext", ".confext", ".mstack")  # which some versions of systemd take off a name


def strays(kind: Kind, observed: ObservedState) -> frozenset[str]:
    """What is merged and lies in no search directory any more."""
    overlay = observed.overlay(kind)
    names = {ident.name for ident in observed.links if ident.kind is kind}
    names |= {it.name for it in observed.unmanaged if it.kind is kind and it.searched}
    return (overlay.names if overlay else frozenset()) - names - {_bare(name) for name in names}


def came(observed: ObservedState) -> frozenset[str]:
    """The configuration extensions that system extensions carry and that are not merged."""
    overlay = observed.overlay(Kind.CONFEXT)
    return frozenset(it.name for it in observed.carried) - (overlay.names if overlay else frozenset())


def went(observed: ObservedState) -> frozenset[str]:
    """Those that are merged still, although what lay in a system extension is not there any more."""
    confexts, sysexts = observed.overlay(Kind.CONFEXT), observed.overlay(Kind.SYSEXT)
    if not (confexts and sysexts and confexts.since):
        return frozenset()
    is_older = sysexts.since is None or confexts.since < sysexts.since
    return strays(Kind.CONFEXT, observed) if is_older else frozenset()


def nested_change(observed: ObservedState) -> str | None:
    """Why the overlay of configuration extensions is not what the merged system extensions make it; None: it is."""
    if new := sorted(came(observed)):
        return f"{', '.join(new)} came with a system extension"
    if old := sorted(went(observed)):
        return f"{', '.join(old)} went with a system extension"
    return None


def _bare(name: str) -> str:
    return next((name.removesuffix(it) for it in _ENDINGS if name.endswith(it)), name)
