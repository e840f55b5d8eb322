"""The status document of the last run: written after each, and asked why something is still to do."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from reconciler.host.base.durable import PUBLIC, link_atomically, read_json, write_json
from reconciler.model.plan.action import Problem
from reconciler.model.plan.status import CHECKS_PENDING, ExtensionStatus, State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.paths import Paths


def write(paths: Paths, document: dict[str, Any]) -> None:
    """Leave the document where others look for it, with the present time."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    write_json(paths.status, {**document, "time": now}, durable=False, mode=PUBLIC)
    target = os.path.relpath(paths.status, paths.public_status.parent)
    link_atomically(paths.public_status, target)


def had_problems(paths: Paths) -> bool:
    """Whether the last run did not get as far as it should."""
    match read_json(paths.status):
        case {"in_sync": False, "problems": [_, *_]}:
            return True
        case _:
            return False


def with_failures(
    statuses: Sequence[ExtensionStatus], problems: Sequence[Problem], paths: Paths
) -> tuple[Problem, ...]:
    """Why the last run failed, in place of only that something is still to do."""
    told = {State.DRIFTED, State.PENDING, State.IN_SYNC}
    waiting = [it for it in statuses if it.state in told and it.code != CHECKS_PENDING]
    try:
        failures = _failures_in(read_json(paths.status))
    except (KeyError, TypeError, AttributeError):  # not as we write it: then it tells nothing
        return tuple(problems)
    reported = [it for item in waiting for it in failures.get((item.name, item.source), ())]
    replaced = {item.extension for item in reported}
    return (*(item for item in problems if item.extension not in replaced), *reported)


def _failures_in(document: Any) -> dict[tuple[str, str | None], list[Problem]]:  # noqa: ANN401 - JSON
    """The failures in a status document, by name and source: with another source they say nothing any more."""
    if document is None:
        return {}
    sources = {it["name"]: it["source"] for it in document["extensions"] if it["state"] == State.FAILED}
    failures = [Problem(**item) for item in document["problems"] if item["extension"] in sources]
    found: dict[tuple[str, str | None], list[Problem]] = {}
    for it in failures:
        found.setdefault((it.extension or "", sources[it.extension]), []).append(it)
    return found
