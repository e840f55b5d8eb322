"""How what is placed compares with how it was placed, for `livelayer verify`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from reconciler.model.content.limits import size_text
from reconciler.model.plan.action import problem
from reconciler.model.state.contentmanifest import Verified, summary
from reconciler.report.documents import problem_object

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def lines(found: Sequence[Verified], *, verbose: bool) -> Iterator[str]:
    for it in found:
        if it.is_intact:
            files = "1 file" if it.files == 1 else f"{it.files} files"
            yield f"{it.ident}: ok ({files}, {size_text(it.bytes)})"
        elif verbose:
            yield from (f"{it.ident}: {difference}" for difference in it.differences)
        elif not it.error:
            yield f"{it.ident}: {summary(it.differences)}"


def complaints(found: Sequence[Verified]) -> Iterator[str]:
    for it in found:
        if it.error:
            yield f"livelayer: {it.error}"
            yield f"  {it.error.hint}"
    if any(it.differences for it in found):
        yield "  livelayer apply makes what was changed anew"


def document(found: Sequence[Verified]) -> dict[str, Any]:
    return {
        "intact": all(it.is_intact for it in found),
        "extensions": [_verified_object(it) for it in found],
        "problems": [problem_object(problem(None, it.error)) for it in found if it.error],
    }


def _verified_object(it: Verified) -> dict[str, Any]:
    return {
        "name": it.ident.name,
        "kind": str(it.ident.kind),
        "digest": it.entry.digest,
        "intact": None if it.error else it.is_intact,
        "files": it.files,
        "bytes": it.bytes,
        "differences": [asdict(item) for item in it.differences],
    }
