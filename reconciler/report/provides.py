"""Who has a path, for `livelayer provides`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.model.plan.collisions import Provided, Provider


def lines(found: Provided) -> Iterator[str]:
    seen = next((it.name for it in found.extensions if it.is_seen), None)
    for it in found.extensions:
        yield f"{it.name}: {_standing(it, seen, found.unseen)}" + ("" if it.is_managed else ", placed by others")
    if found.on_host:
        yield f"this host: {f'hidden by {seen}' if seen else 'is seen'}"
    if found.on_host is None:
        yield "this host: what lies below merged extensions takes root to see"
    if not found.is_provided:
        yield f"nothing has {found.path}"
    yield from (f"{name}: what is in it is not known" for name in found.unknown)


def _standing(provider: Provider, seen: str | None, unseen: str | None) -> str:
    if provider.is_seen:
        return "is seen"
    if provider.is_merged and unseen:
        return f"is merged, but not seen here: {unseen}"
    return f"hidden by {seen}" if provider.is_merged else "is not merged"


def document(found: Provided) -> dict[str, Any]:
    return {
        "path": found.path,
        "extensions": [
            {
                "name": it.name,
                "kind": str(it.kind),
                "seen": it.is_seen,
                "merged": it.is_merged,
                "managed": it.is_managed,
            }
            for it in found.extensions
        ],
        "host": found.on_host,
        "unknown": list(found.unknown),
    }
