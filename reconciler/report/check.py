"""What another OS would make of the configuration, for `livelayer check`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from reconciler.errors import sentence
from reconciler.model.facts.hostfit import described
from reconciler.report.documents import short

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.model.plan.forecast import Forecast, Verdict

_ANSWERS: Final = {True: "would be merged", False: "would not be merged", None: "cannot be told"}


def lines(found: Forecast) -> Iterator[str]:
    """The other OS, and a line for each extension."""
    yield described(found.host)
    for verdict in found.verdicts:
        reason = f": {verdict.reason}" if verdict.reason else ""
        yield f"{verdict.wanted.name}: {_ANSWERS[verdict.fits]}{reason}; {verdict.wanted.text}{_leads_to(verdict)}"


def hints(found: Forecast) -> list[str]:
    """What to do about those that would not be merged."""
    return [f"  {sentence(it.wanted.name, it.hint)}" for it in found.verdicts if it.hint]


def _leads_to(verdict: Verdict) -> str:
    if not verdict.target:
        return ""
    tag = f"{verdict.target.resolution.tag}, " if verdict.target.resolution.tag else ""
    return f" ({tag}{short(verdict.target.entry.digest)}, {'' if verdict.stored else 'not '}in the store)"


def document(found: Forecast) -> dict[str, Any]:
    """The JSON document of `check`."""
    host = found.host
    return {
        "fits": found.fits,
        "host": {
            "id": host.os_release.get("ID", "linux"),
            "version_id": host.os_release.get("VERSION_ID"),
            "systemd": host.systemd,
            "kernel": host.kernel or None,
            "architecture": host.architecture,
        },
        "extensions": [_verdict_object(verdict) for verdict in found.verdicts],
    }


def _verdict_object(verdict: Verdict) -> dict[str, Any]:
    target = verdict.target
    return {
        "name": verdict.wanted.name,
        "kind": str(verdict.wanted.kind),
        "fits": verdict.fits,
        "source": verdict.wanted.text,
        "tag": target.resolution.tag or verdict.wanted.parts[0].source.tag if target else None,
        "digest": target.entry.digest if target else None,
        "stored": verdict.stored,
        "code": verdict.code,
        "reason": verdict.reason,
        "hint": verdict.hint,
    }
