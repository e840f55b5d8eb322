"""What another OS would make of the configuration, for `livelayer check`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from reconciler.errors import sentence
from reconciler.model.facts.hostfit import described
from reconciler.report.documents import short

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.model.plan.forecast import ExtensionForecast, Forecast

_ANSWERS: Final = {True: "would be merged", False: "would not be merged", None: "cannot be told"}


def lines(found: Forecast) -> Iterator[str]:
    yield described(found.host)
    for item in found.extensions:
        reason = f": {item.reason}" if item.reason else ""
        yield f"{item.wanted.name}: {_ANSWERS[item.fits]}{reason}; {item.wanted.text}{_leads_to(item)}"


def hints(found: Forecast) -> list[str]:
    return [f"  {sentence(it.wanted.name, it.hint)}" for it in found.extensions if it.hint]


def _leads_to(item: ExtensionForecast) -> str:
    if not item.target:
        return ""
    tag = f"{item.target.resolution.tag}, " if item.target.resolution.tag else ""
    return f" ({tag}{short(item.target.entry.digest)}, {'' if item.stored else 'not '}in the store)"


def document(found: Forecast) -> dict[str, Any]:
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
        "extensions": [_extension_object(item) for item in found.extensions],
    }


def _extension_object(item: ExtensionForecast) -> dict[str, Any]:
    target = item.target
    return {
        "name": item.wanted.name,
        "kind": str(item.wanted.kind),
        "fits": item.fits,
        "source": item.wanted.text,
        "tag": target.resolution.tag or item.wanted.parts[0].source.tag if target else None,
        "digest": target.entry.digest if target else None,
        "stored": item.stored,
        "code": item.code,
        "reason": item.reason,
        "hint": item.hint,
    }
