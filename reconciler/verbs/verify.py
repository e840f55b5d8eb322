"""The verb that compares what is placed with how it was placed: verify."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.paths import Paths
from reconciler.verbs.console import ERROR, NOT_IN_SYNC, OK, Verbs, add_verb, print_json, print_line, say

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from reconciler.query.verification import Verified


def add(verbs: Verbs) -> list[argparse.ArgumentParser]:
    """The verbs of this module."""
    text = "read all that is placed and say what was changed since; exit 0 nothing, 2 something, 1 error"
    parser = add_verb(verbs, "verify", _verify, text)
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these extensions")
    return [parser]


def _verify(options: argparse.Namespace) -> int:
    from reconciler.query.verification import verify

    found = verify(Paths(options.root), frozenset(options.names))
    if options.json:
        print_json(_document(found))
    else:
        for it in found:
            for line in _lines(it, verbose=bool(options.verbose)):
                print_line(line)
    _tell(found)
    if any(it.error for it in found):
        return ERROR
    return OK if all(it.is_intact for it in found) else NOT_IN_SYNC


def _lines(found: Verified, *, verbose: bool) -> Iterator[str]:
    from reconciler.model.content.limits import size_text
    from reconciler.model.state.contentmanifest import summary

    if found.error:
        return
    if found.is_intact:
        files = "1 file" if found.files == 1 else f"{found.files} files"
        yield f"{found.ident}: ok ({files}, {size_text(found.bytes)})"
    elif verbose:
        yield from (f"{found.ident}: {it}" for it in found.differences)
    else:
        yield f"{found.ident}: {summary(found.differences)}"


def _tell(found: Sequence[Verified]) -> None:
    for it in found:
        if it.error:
            say(f"livelayer: {it.error}")
            say(f"  {it.error.hint}")
    if any(it.differences for it in found):
        say("  livelayer apply makes what was changed anew")


def _document(found: Sequence[Verified]) -> dict[str, object]:
    return {
        "intact": all(it.is_intact for it in found),
        "extensions": [
            {
                "name": it.ident.name,
                "kind": str(it.ident.kind),
                "digest": it.entry.digest,
                "intact": None if it.error else it.is_intact,
                "files": it.files,
                "bytes": it.bytes,
                "differences": [{"path": item.path, "what": item.what} for item in it.differences],
            }
            for it in found
        ],
    }
