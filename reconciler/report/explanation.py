"""Why an extension is as it is, for `livelayer explain`."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from reconciler.errors import ReconcilerError
from reconciler.model.content.releases import Choice
from reconciler.model.kind import UNIT, ExtensionId
from reconciler.model.plan.action import Action, Activate, Problem, action_ident
from reconciler.model.plan.activation import owes
from reconciler.model.plan.plan import make_plan
from reconciler.report.documents import action_line, problem_object, times

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.model.plan.collisions import Collision
    from reconciler.model.plan.status import ExtensionStatus, View
    from reconciler.model.plan.target import Target


def explain(
    status: ExtensionStatus, view: View, problems: Sequence[Problem], collisions: Sequence[Collision] = ()
) -> dict[str, Any]:
    target = view.targets.get(status.name)
    ident = ExtensionId(status.name, status.kind)
    link = view.observed.links.get(ident)
    return {
        "name": status.name,
        "kind": str(status.kind),
        "state": str(status.state),
        "reason": status.reason,
        "code": status.code,
        **times(status),
        "source": status.source,
        "version": status.version,
        "target": None if target is None or isinstance(target, ReconcilerError) else _target(target, view),
        "placed": {"digest": link.entry.digest, "format": str(link.entry.format)} if link else None,
        "merged": status.merged,
        "units": [asdict(it) for it in status.units],
        "hides": [_hidden(it, it.lower) for it in collisions if it.upper == status.name],
        "hidden_by": [_hidden(it, it.upper) for it in collisions if it.lower == status.name],
        "actions": [action_line(action) for action in _due(ident, view)],
        "problems": [problem_object(it) for it in problems if it.extension == status.name],
    }


def _due(ident: ExtensionId, view: View) -> list[Action]:
    """What a run by hand would do for it: such a run leaves nothing alone that failed lately."""
    observed = replace(view.observed, looked_at=None, deferred={})
    actions = make_plan(view.desired, observed, view.targets).actions
    is_owed = owes(ident, view.desired, observed) is not None
    return [it for it in actions if action_ident(it) == ident or (is_owed and isinstance(it, Activate))]


def _hidden(collision: Collision, other: str) -> dict[str, Any]:
    return {"extension": other, "paths": [f"/{path}" for path in collision.paths]}


def _target(target: Target, view: View) -> dict[str, Any]:
    contents = view.observed.store.get(target.entry)
    return {
        "digest": target.entry.digest,
        "index_digest": target.resolution.index_digest,
        "tag": target.resolution.tag,
        "choice": asdict(target.resolution.choice) if target.resolution.choice else None,
        "origin": target.resolution.origin.argument() if target.resolution.origin else None,
        "payload": target.resolution.payload.noun,
        "size": target.resolution.size,
        "format": str(target.entry.format),
        "format_reason": target.why,
        "stored": contents is not None,
        "units": [it for it in contents.units if UNIT.fullmatch(it)] if contents else [],
    }


def lines(explained: dict[str, Any]) -> list[str]:
    rows = [("source", explained["source"]), *_target_rows(explained["target"]), *_placed_rows(explained)]
    rows.append(("units", _units(explained)))
    rows += [("hides", f"{' '.join(it['paths'])} of {it['extension']}") for it in explained["hides"]]
    rows += [("hidden by", f"{it['extension']}: {' '.join(it['paths'])}") for it in explained["hidden_by"]]
    rows += [("to do", line) for line in explained["actions"]]
    rows += [("again at", explained["retry_at"]), ("waits for", explained["waiting_until"])]
    head = f"{explained['name']} ({explained['kind']}): {explained['state']}"
    known = [f"  {label:<9} {text}" for label, text in rows if text]
    return [head + (f": {explained['reason']}" if explained["reason"] else ""), *known, *_problem_lines(explained)]


def _target_rows(target: dict[str, Any] | None) -> list[tuple[str, str | None]]:
    if target is None:
        return []
    size = f", {target['size']} bytes to transfer" if target["size"] is not None else ""
    return [
        ("leads to", f"{target['digest']}, {target['payload']}{size}"),
        ("index", target["index_digest"]),
        ("version", _version(target)),
        ("file", target["choice"] and target["choice"]["file"]),
        ("image", target["origin"]),
        ("format", f"{target['format']} ({target['format_reason']})"),
        ("stored", "yes" if target["stored"] else "no"),
    ]


def _version(target: dict[str, Any]) -> str | None:
    """With what else there was to choose from, where that is known."""
    return Choice(**target["choice"]).words if target["choice"] else target["tag"]


def _units(explained: dict[str, Any]) -> str:
    """Those that it brings, or that shall run for it, with their states where they are known."""
    states = {it["name"]: f"{it['name']} ({it['state']})" for it in explained["units"]}
    names = dict.fromkeys((*states, *(explained["target"]["units"] if explained["target"] else ())))
    return ", ".join(states.get(name, name) for name in names)


def _placed_rows(explained: dict[str, Any]) -> list[tuple[str, str | None]]:
    placed = explained["placed"]
    where = f"{placed['digest']}, {placed['format']}" if placed else "no"
    return [("placed", where), ("merged", "yes" if explained["merged"] else "no")]


def _problem_lines(explained: dict[str, Any]) -> list[str]:
    hints = [it["hint"] for it in explained["problems"] if it["hint"]]
    messages = [it["message"] for it in explained["problems"]]
    found = [f"  problem   {it}" for it in messages if it not in (explained["reason"] or "")]
    return found + [f"  hint      {hint}" for hint in hints]
