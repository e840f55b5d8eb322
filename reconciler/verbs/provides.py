"""The verb about a path of the node: provides."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.errors import Invalid
from reconciler.paths import Paths
from reconciler.verbs.console import ERROR, OK, Verbs, add_verb, print_json, print_line

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from reconciler.query.providers import Provided, Provider


def add(verbs: Verbs) -> list[argparse.ArgumentParser]:
    """The verbs of this module."""
    parser = add_verb(
        verbs, "provides", _provides, "say which extension a path comes from; exit 1 if nothing has the path"
    )
    parser.add_argument("path", metavar="PATH", help="absolute, such as /usr/bin/ipfs")
    return [parser]


def _provides(options: argparse.Namespace) -> int:
    from reconciler.query import providers

    if not options.path.startswith("/"):
        raise Invalid(f"{options.path}: is not an absolute path", "begin it with /")
    found = providers.find(Paths(options.root), options.path)
    if options.json:
        print_json(_document(found))
    else:
        for line in _lines(found):
            print_line(line)
    return OK if found.is_provided else ERROR


def _lines(found: Provided) -> Iterator[str]:
    seen = next((it.name for it in found.extensions if it.is_seen), None)
    for it in found.extensions:
        yield f"{it.name}: {_standing(it, seen)}" + ("" if it.is_managed else ", placed by others")
    if found.on_host:
        yield f"this host: {f'hidden by {seen}' if seen else 'is seen'}"
    if found.on_host is None:
        yield "this host: what lies below merged extensions takes root to see"
    if not found.is_provided:
        yield f"nothing has {found.path}"
    for name in found.unknown:
        yield f"{name}: what is in it is not known"


def _standing(provider: Provider, seen: str | None) -> str:
    if provider.is_seen:
        return "is seen"
    return f"hidden by {seen}" if provider.is_merged else "is not merged"


def _document(found: Provided) -> dict[str, object]:
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
