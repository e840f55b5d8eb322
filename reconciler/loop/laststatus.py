"""The status document of the last run: written after each, and asked why something is still to do."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from reconciler.host.base.durable import link_atomically, read_json, write_json
from reconciler.model.plan.action import Problem
from reconciler.model.plan.status import ExtensionStatus, State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.paths import Paths


def write(paths: Paths, document: dict[str, Any]) -> None:
    """Leave the document where others look for it, with the present time."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    write_json(paths.status, {**document, "time": now}, durable=False)
    target = os.path.relpath(paths.status, paths.public_status.parent)
    link_atomically(paths.public_status, target)


def with_failures(
    statuses: Sequence[ExtensionStatus], problems: Sequence[Problem], paths: Paths
) -> tuple[Problem, ...]:
    """Tell why the last run failed rather than only that something is still to do."""
    waiting = [item for item in statuses if item.state in {State.DRIFTED, State.PENDING}]
    try:
        failures = _failures_in(read_json(paths.status))
    except (KeyError, TypeError, AttributeError):  # not as we write it: then it tells nothing
        return tuple(problems)
    told = [failures[item.name, item.source] for item in waiting if (item.name, item.source) in failures]
    replaced = {item.extension for item in told}
    return (*(item for item in problems if item.extension not in replaced), *told)


def _failures_in(document: Any) -> dict[tuple[str, str | None], Problem]:  # noqa: ANN401 - JSON
    """The failures in a status document, by name and source: with another source they say nothing any more."""
    if document is None:
        return {}
    problems = {item["message"]: item for item in document["problems"]}
    failed = [item for item in document["extensions"] if item["state"] == str(State.FAILED)]
    known = [it for it in failed if it["reason"] in problems]
    return {(it["name"], it["source"]): _failure(it["name"], problems[it["reason"]]) for it in known}


def _failure(name: str, failed: dict[str, Any]) -> Problem:
    """A document has whole sentences, which begin with the extension."""
    return Problem(failed["code"], name, failed["message"].removeprefix(f"{name}: "), failed["hint"])
