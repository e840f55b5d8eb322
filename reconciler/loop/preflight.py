"""What of the extensions that are about to be placed collides with others or with the host."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from reconciler.errors import Invalid, ReconcilerError
from reconciler.host.base.blobs import blob_in
from reconciler.host.merge.hostfiles import beside_host
from reconciler.host.merge.hostmounts import harm_to_mounts, to_be_hidden
from reconciler.host.merge.links import read_links
from reconciler.host.merge.visibility import sight_of
from reconciler.host.node.hierarchies import with_hierarchies
from reconciler.host.node.selinux import is_enforcing
from reconciler.host.store.labels import unlabelled
from reconciler.host.store.pathlists import readable_lists
from reconciler.model.fit.permissions import NARROWED_HINT
from reconciler.model.kind import ExtensionId, Kind
from reconciler.model.plan.action import Action, Fetch, Place, Problem, Remove, problem
from reconciler.model.plan.collisions import Collision, FileList, collisions, shown
from reconciler.model.plan.space import in_excess, no_room
from reconciler.model.state.sight import Unseen, hides

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from reconciler.loop.session import Session
    from reconciler.model.config.document import Preflight, Reaction
    from reconciler.model.content.ociread import Manifest
    from reconciler.model.facts.extensionfacts import HostFacts
    from reconciler.model.fit.release import Host
    from reconciler.model.plan.status import View
    from reconciler.model.state.entry import Entry
    from reconciler.model.state.observed import Link
    from reconciler.paths import Paths

_APART = "give the files other names, or leave one of the extensions out"


@dataclass(frozen=True, slots=True)
class Findings:
    """What is only to be said, and what must not be placed."""

    warnings: list[Problem] = field(default_factory=list)
    refused: dict[str, ReconcilerError] = field(default_factory=dict)  # by extension

    def add(self, name: str, error: ReconcilerError, reaction: Reaction) -> None:
        if reaction == "refuse":
            self.refused.setdefault(name, error.about(name))
        else:
            self.warnings.append(problem(name, error))


def examined(view: View, session: Session) -> View:
    """With what is found of extensions that are to be fetched, or placed and in the store already."""
    plan, reactions = view.plan, view.desired.settings.preflight
    fetches = [action for action in plan.actions if isinstance(action, Fetch)]
    if not fetches and not any(isinstance(action, Place) for action in plan.actions):
        return view
    room = examine_space(session.paths, fetches, session.resolver.access.manifests, reactions)
    host = with_hierarchies(view.observed.host, session.paths)
    found = examine(session.paths, host, plan.actions, reactions)
    problems = (problem(name, error) for name, error in (room.refused | found.refused).items())
    warnings = (*plan.warnings, *room.warnings, *found.warnings)
    return replace(view, plan=replace(plan, problems=(*plan.problems, *problems), warnings=warnings))


def examine(
    paths: Paths, host: Host, actions: Sequence[Action], reactions: Preflight, *, remember: bool = False
) -> Findings:
    findings = Findings()
    new = {action.ident: action for action in actions if isinstance(action, Place)}
    if not new:
        return findings
    gone = {action.ident for action in actions if isinstance(action, Remove)}
    placed = {ident: link.entry for ident, link in read_links(paths, host.systemd).links.items() if ident not in gone}
    _examine_labels(paths, new, findings, reactions)
    for kind in {ident.kind for ident in new}:
        after = placed | {ident: action.new for ident, action in new.items()}
        lists = _lists_of_kind(kind, paths, after, remember=remember)
        names = {ident.name for ident in new if ident.kind is kind} & lists.keys()
        for name, collision in _about(collisions(lists), names):
            collides = Invalid(collision.told_of(name), _APART, code="preflight.collision")
            findings.add(name, collides, reactions.collisions)
        _examine_mounts(paths, host, kind, {name: lists[name] for name in sorted(names)}, findings)
        sight = sight_of(paths, host, kind)
        for name in sorted(names):
            if unseen := Unseen.among(sight.unseen(lists[name].files, kind), sight):
                findings.warnings.append(problem(name, unseen.error(kind)))
            if paths.is_running_system:
                beside = beside_host(paths, kind, lists[name], sight)
                _examine_beside_host(ExtensionId(name, kind), beside, findings, reactions)
    return findings


def examine_space(
    paths: Paths, fetches: Sequence[Fetch], manifests: Mapping[str, Manifest], reactions: Preflight
) -> Findings:
    """Look whether what is to be fetched fits, all of it together, before any of it is transferred."""
    findings = Findings()
    layers = {
        it.digest for fetch in fetches if (found := manifests.get(fetch.resolution.manifest)) for it in found.layers
    }
    here = frozenset(digest for digest in layers if blob_in(paths.blobs, digest).exists())
    place = next(it for it in (paths.state, *paths.state.parents) if it.is_dir())
    for excess in in_excess(fetches, manifests, here, shutil.disk_usage(place).free):
        error = no_room(excess.fetch.wanted.text, excess.needed, paths.state, excess.left)
        findings.add(excess.fetch.wanted.name, error, reactions.space)
    return findings


def present(paths: Paths, links: Mapping[ExtensionId, Link], ident: ExtensionId) -> list[Collision]:
    """What a placed extension hides of others that are placed, and they of it."""
    if ident not in links:
        return []
    entries = {it: link.entry for it, link in links.items()}
    lists = _lists_of_kind(ident.kind, paths, entries, remember=False)
    return [it for it in collisions(lists) if ident.name in {it.upper, it.lower}]


def _lists_of_kind(
    kind: Kind, paths: Paths, entries: Mapping[ExtensionId, Entry], *, remember: bool
) -> dict[str, FileList]:
    """By name: extensions of another kind lie in other hierarchies, so nothing of them is hidden."""
    alike = {ident: entry for ident, entry in entries.items() if ident.kind is kind}
    return {ident.name: it for ident, it in readable_lists(paths, alike, remember=remember).items()}


def _about(found: Sequence[Collision], names: set[str]) -> Iterator[tuple[str, Collision]]:
    """Each collision with the extension that is to be placed, the upper one if both are."""
    for collision in found:
        if collision.upper in names:
            yield collision.upper, collision
        elif collision.lower in names:
            yield collision.lower, collision


def _examine_labels(paths: Paths, new: Mapping[ExtensionId, Place], findings: Findings, reactions: Preflight) -> None:
    """Services may not use what has the store's label, or none, where SELinux is enforcing."""
    if not is_enforcing(paths):
        return
    for ident, action in sorted(new.items()):
        if lack := unlabelled(paths, action.new):
            error = Invalid(f"{lack.sentence}, and SELinux is enforcing", lack.hint, code="preflight.labels")
            findings.add(ident.name, error, reactions.labels)


def _examine_mounts(paths: Paths, host: Host, kind: Kind, new: Mapping[str, FileList], findings: Findings) -> None:
    """What of the host is mounted where something will be merged: it may vanish, livelayer itself among it."""
    if not paths.is_running_system:
        return
    if harm := harm_to_mounts(paths, host, kind):
        for name in new:
            findings.add(name, harm, "refuse")
        return
    merged = [own for name, own in new.items() if name not in findings.refused]
    for hierarchy, mounts in to_be_hidden(paths, host, kind).items():
        top = hierarchy.lstrip("/")
        if any(top in own.directories for own in merged):
            findings.warnings.extend(problem(None, hides(mount, host.systemd)) for mount in mounts)


def _examine_beside_host(ident: ExtensionId, host: HostFacts, findings: Findings, reactions: Preflight) -> None:
    """What the extension would hide of the host, merged extensions aside."""
    if host.clashes:
        clash = host.clashes[0]
        findings.add(ident.name, Invalid(str(clash), clash.hint, code="preflight.link"), reactions.links)
    if host.narrowed:
        more = f" (and {len(host.narrowed) - 1} more)" if len(host.narrowed) > 1 else ""
        error = Invalid(f"{host.narrowed[0]}{more}", NARROWED_HINT, code="preflight.directory")
        findings.add(ident.name, error, reactions.directories)
    if host.hidden and ident.kind is Kind.SYSEXT:  # a configuration extension is meant to
        error = Invalid(f"hides {shown(host.hidden)} of this host", "leave it out", code="preflight.host-file")
        findings.add(ident.name, error, reactions.host_files)
