"""Plans, outcomes and status as text and as the JSON documents of the contract."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, assert_never

from reconciler.errors import sentence
from reconciler.model.plan.action import (
    Action,
    Activate,
    Check,
    Fetch,
    Generate,
    Mask,
    Place,
    Plan,
    Problem,
    Refresh,
    Remove,
    Start,
    Stop,
    Unmask,
    action_ident,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from reconciler.model.kind import ExtensionId
    from reconciler.model.plan.status import ExtensionStatus, NodeStatus
    from reconciler.model.state.entry import Entry

_SHORT = len("sha256:") + 12
NOT_IN_SYNC: Final = "not in sync"


def action_line(action: Action) -> str:
    choice = action.resolution.choice if isinstance(action, Fetch) else None
    return f"{_deed(action)} ({action.reason}{f'; {choice.words}' if choice else ''})"


def _deed(action: Action) -> str:
    match action:
        case Fetch() | Generate():
            deed = _obtained(action)
        case Place():
            change = f"{short(action.old.digest)} -> " if action.old else ""
            deed = f"place {action.ident} {change}{short(action.new.digest)}"
        case Remove():
            deed = f"remove {action.ident} {short(action.old.digest)}"
        case Refresh():
            deed = f"refresh the {action.kind} overlay"
        case Activate():
            deed = "activate what is merged"
        case Start():
            deed = f"{_started(action)} of {action.ident}"
        case Stop():
            deed = f"stop {' '.join(action.units)} of {action.ident}"
        case Check():
            deed = f"check {action.ident or 'the node'}: {action.checks.words}"
        case Mask() | Unmask():
            verb = "mask" if isinstance(action, Mask) else "unmask"
            deed = f"{verb} {action.masked.file} at {action.masked.path}"
        case _:
            assert_never(action)
    return deed


def _started(action: Start) -> str:
    jobs = {"start": [it for it in action.units if it not in action.reload], "reload": action.reload}
    return ", ".join(f"{job} {' '.join(units)}" for job, units in jobs.items() if units)


def _obtained(action: Fetch | Generate) -> str:
    if isinstance(action, Generate):
        return f"generate {action.ident} {short(action.entry.digest)}"
    part, choice = action.wanted.parts[0], action.resolution.choice
    source = part.source.file_in(choice.file).text if choice and part.match else action.wanted.text
    return f"fetch {action.wanted.name} {short(action.entry.digest)} from {source}"


def problem_lines(problems: Iterable[Problem]) -> Iterator[str]:
    """What is wrong, each once, with all extensions that it concerns; and below it what to do."""
    concerned: dict[Problem, list[str]] = {}
    for item in dict.fromkeys(problems):
        concerned.setdefault(replace(item, extension=None), []).extend(filter(None, [item.extension]))
    for item, names in concerned.items():
        yield sentence(", ".join(names), item.message)
        if item.hint:
            yield f"  {item.hint}"


def short(digest: str | None) -> str:
    """Enough of a digest for people to tell two apart."""
    return digest[:_SHORT] if digest else "-"


def plan_document(plan: Plan, node: NodeStatus) -> dict[str, Any]:
    others = [item for item in node.problems if item not in plan.problems]
    return {
        "in_sync": node.in_sync,
        "actions": [_action_object(action) for action in plan.actions],
        "problems": [problem_object(item) for item in (*others, *plan.problems)],
        "warnings": [problem_object(item) for item in node.warnings],
    }


def plan_lines(plan: Plan, verdict: str) -> list[str]:
    return [*map(action_line, plan.actions), *([] if verdict == NOT_IN_SYNC else [verdict])]


def verdict(*, converged: bool, awaiting_boot: Sequence[str]) -> str:
    """How a node stands to its configuration, in few words."""
    if not converged:
        return NOT_IN_SYNC
    return f"waits for the merge at boot: {', '.join(awaiting_boot)}" if awaiting_boot else "in sync"


def status_document(node: NodeStatus) -> dict[str, Any]:
    """The JSON document of `status`, `apply` and `rollback`."""
    return {
        "in_sync": node.in_sync,
        "generation": node.standing.generation,
        "held_generation": node.standing.held,
        "retry_at": rfc3339(node.standing.retry_at),
        "extensions": [_extension_object(item) for item in node.extensions],
        "problems": [problem_object(item) for item in node.problems],
        "warnings": [problem_object(item) for item in node.warnings],
    }


def _extension_object(item: ExtensionStatus) -> dict[str, Any]:
    return asdict(item) | times(item)


def times(item: ExtensionStatus) -> dict[str, str | None]:
    return {"retry_at": rfc3339(item.retry_at), "waiting_until": rfc3339(item.waiting_until)}


def ways_out(node: NodeStatus) -> Iterator[str]:
    """Below the table, whose reasons say what is wrong: what to do, and what concerns no single extension."""
    for item in node.problems:
        if item.extension is None:
            yield item.message
        if item.hint:
            yield f"  {sentence(item.extension, item.hint)}"
    if node.standing.held:
        yield f"generation {node.standing.held} is held until the configuration changes"


def rollback_lines(node: NodeStatus) -> list[str]:
    is_held = node.in_sync and node.standing.held
    return [f"generation {node.standing.held} is in force until the configuration changes"] if is_held else []


def rfc3339(time: float | None) -> str | None:
    return None if time is None else datetime.fromtimestamp(time, UTC).isoformat(timespec="seconds")


def problem_object(item: Problem) -> dict[str, Any]:
    return {"code": item.code, "extension": item.extension, "message": item.message, "hint": item.hint}


def _action_object(action: Action) -> dict[str, Any]:
    ident, old, new = _subject(action)
    return {
        "action": type(action).__name__.lower(),
        "extension": ident.name if ident else None,
        "kind": action.kind if isinstance(action, Refresh) else ident.kind if ident else None,
        "from": old.digest if old else None,
        "to": new.digest if new else None,
        "reason": action.reason,
    }


def _subject(action: Action) -> tuple[ExtensionId | None, Entry | None, Entry | None]:
    match action:
        case Fetch():
            return action.wanted.ident, None, action.entry
        case Generate():
            return action.ident, None, action.entry
        case Place():
            return action.ident, action.old, action.new
        case Remove():
            return action.ident, action.old, None
        case Activate() | Start() | Stop() | Check() | Mask() | Unmask() | Refresh():
            return action_ident(action), None, None
        case _:
            assert_never(action)
