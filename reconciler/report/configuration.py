"""Whether a configuration is valid, for `livelayer validate`, and what cloud-configs come to as one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.errors import Invalid, InvalidConfiguration
from reconciler.model.config.document import API_VERSION
from reconciler.model.plan.action import problem
from reconciler.report.documents import problem_object
from reconciler.report.shown import Drawn

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from reconciler.model.config.desired import DesiredState


def valid_lines(desired: DesiredState) -> Iterator[str]:
    if desired.configured:
        yield f"valid: {len(desired.extensions)} extensions"
    else:
        yield "no configuration: nothing is configured, so nothing would be changed"


def valid_document(desired: DesiredState) -> dict[str, Any]:
    return {"valid": True, "extensions": [item.name for item in desired.extensions], "problems": []}


def mistakes_document(error: Invalid) -> dict[str, Any]:
    mistakes = error.mistakes if isinstance(error, InvalidConfiguration) else (error,)
    return {"valid": False, "extensions": [], "problems": [problem_object(problem(None, it)) for it in mistakes]}


def imported_document(tree: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration of livelayer's own, which says what cloud-configs said."""
    parts = {key: tree[key] for key in ("settings", "defaults", "extensions") if key in tree}
    return {"apiVersion": API_VERSION, **parts}


def imported_lines(files: Sequence[Path], text: str) -> Iterator[str]:
    yield f"# From {', '.join(str(path) for path in files)}; see livelayer.yaml(5)"
    yield Drawn(text.rstrip())  # YAML has escapes of its own for control characters
