"""What of the extensions that are about to be placed collides with others or with the host."""

from __future__ import annotations

import os
import shutil
from dataclasses import field, replace
from typing import TYPE_CHECKING

from reconciler.dataclass import dataclass
from reconciler.errors import Invalid, ReconcilerError
from reconciler.host.base.blobs import blob_in
from reconciler.host.base.failures import as_failure
from reconciler.host.merge.hostfiles import beside_host
from reconciler.host.merge.hostmounts import harm_to_mounts, to_be_hidden
from reconciler.host.merge.links import read_links
from reconciler.host.merge.ownextension import own_extensions
from reconciler.host.merge.visibility import sight_of
from reconciler.host.node.hierarchies import with_hierarchies
from reconciler.host.node.selinux import is_enforcing
from reconciler.host.store import entries as store
from reconciler.host.store.abilities import abilities_of
from reconciler.host.store.labels import unlabelled
from reconciler.host.store.pathlists import file_list, readable_lists
from reconciler.model.facts.powers import foreign, is_itself, refusal, told
from reconciler.model.fit.permissions import NARROWED_HINT
from reconciler.model.kind import ExtensionId, Kind
from reconciler.model.plan.action import Action, Fetch, Place, Problem, Remove, problem
from reconciler.model.plan.collisions import Collision, FileList, collisions, shown
from reconciler.model.plan.space import in_excess, no_room
from reconciler.model.state.sight import Unseen, hides

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from reconciler.loop.session import Session
    from reconciler.model.config.desired import DesiredState
    from reconciler.model.config.settings import Preflight, Reaction
    from reconciler.model.content.ociread import Manifest
    from reconciler.model.content.power import Power
    from reconciler.model.facts.extensionfacts import HostFacts
    from reconciler.model.facts.powers import Ability
    from reconciler.model.fit.release import Host
    from reconciler.model.plan.status import View
    from reconciler.model.state.entry import Entry
    from reconciler.model.state.observed import Link
    from reconciler.model.state.sight import Sight
    from reconciler.paths import Paths

_LOOK = "look at the warnings, and at what livelayer inspect says of it"
_LIMIT = "if that is not meant, settings.limits can refuse it"
_BENEATH = "let livelayer look below what is merged: it takes root, and unshare(2) to be allowed"
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
    found = examine(session.paths, host, plan.actions, view.desired)
    problems = (problem(name, error) for name, error in (room.refused | found.refused).items())
    warnings = (*plan.warnings, *room.warnings, *found.warnings)
    return replace(view, plan=replace(plan, problems=(*plan.problems, *problems), warnings=warnings))


def examine(
    paths: Paths, host: Host, actions: Sequence[Action], desired: DesiredState, *, remember: bool = False
) -> Findings:
    new = {action.ident: action.new for action in actions if isinstance(action, Place)}
    if not new:
        return Findings()
    gone = {action.ident for action in actions if isinstance(action, Remove)}
    links = read_links(paths, host.systemd).links
    after = {ident: link.entry for ident, link in links.items() if ident not in gone} | new
    looked = _Examination(paths, host, desired, new, links)
    _examine_labels(paths, new, looked.findings, desired.settings.preflight)
    for kind in {ident.kind for ident in new}:
        looked.look_at({ident: it for ident, it in after.items() if ident.kind is kind}, kind, remember=remember)
    return looked.findings


@dataclass(frozen=True, slots=True)
class _Examination:
    """A look at all that is to be placed."""

    paths: Paths
    host: Host
    desired: DesiredState
    new: Mapping[ExtensionId, Entry]
    links: Mapping[ExtensionId, Link]  # as they are before
    findings: Findings = field(default_factory=Findings)

    def look_at(self, after: Mapping[ExtensionId, Entry], kind: Kind, *, remember: bool) -> None:
        """Examine what is new of a kind, beside all of the kind that will be placed."""
        lists = _lists_of_kind(kind, self.paths, after, remember=remember)
        self._refuse_unknown(after, lists)
        names = {ident.name for ident in self.new if ident.kind is kind} & lists.keys()
        for name, collision in _about(collisions(lists), names):
            collides = Invalid(collision.told_of(name), _APART, code="preflight.collision")
            self.findings.add(name, collides, self.desired.settings.preflight.collisions)
        own = {name: lists[name] for name in sorted(names)}
        _examine_mounts(self.paths, self.host, kind, own, self.findings)
        sight = sight_of(self.paths, self.host, kind)
        for name, files in own.items():
            try:
                self._look_at_one(ExtensionId(name, kind), files, sight)
            except Exception as error:  # noqa: BLE001 - what cannot be judged is not placed, and keeps nothing else out
                self.findings.add(name, as_failure(error, "what it has"), "refuse")

    def _look_at_one(self, ident: ExtensionId, own: FileList, sight: Sight) -> None:
        if unseen := Unseen.among(sight.unseen(own.files, ident.kind), sight):
            self.findings.warnings.append(problem(ident.name, unseen.error(ident.kind)))
        beside = beside_host(self.paths, ident.kind, own, sight)
        _examine_beside_host(ident, beside, self.findings, self.desired.settings.preflight)
        self._judge(ident, (*abilities_of(self.paths, self.new[ident], own), *beside.abilities), sight)

    def _judge(self, ident: ExtensionId, able: Sequence[Ability], sight: Sight) -> None:
        """What it can do to the host is told of one that is new, and of a new version what is new about that."""
        can = foreign(able, ident.name, is_own=self._is_own(ident, able))
        if refused := refusal(can, self.desired.limits.refused):
            self.findings.add(ident.name, refused, "refuse")
            return
        link = self.links.get(ident)
        before = self._before(ident, link.entry, sight) if can and link else frozenset()
        for words in told([it for it in can if (it.power, it.words) not in before]):
            what = f"can do more than the version before: it {words}" if link else f"is new, and {words}"
            self.findings.add(ident.name, Invalid(what, _LIMIT, code="preflight.power"), "warn")

    def _before(self, ident: ExtensionId, entry: Entry, sight: Sight) -> frozenset[tuple[Power, str]]:
        """What the version that is placed can do; nothing, if it is not known any more."""
        found = file_list(self.paths, entry, remember=False)
        if found is None:
            return frozenset()
        beside = beside_host(self.paths, ident.kind, found, sight)
        return frozenset((it.power, it.words) for it in (*abilities_of(self.paths, entry, found), *beside.abilities))

    def _is_own(self, ident: ExtensionId, can: Iterable[Ability]) -> bool:
        """Whether livelayer runs from what it was; to look for that takes a while."""
        link = self.links.get(ident)
        return link is not None and any(map(is_itself, can)) and bool(own_extensions(self.paths, [link]))

    def _refuse_unknown(self, after: Mapping[ExtensionId, Entry], lists: Mapping[str, FileList]) -> None:
        """What cannot be known is not allowed: what an extension has, and whether it collides where that counts."""
        unknown = [it for it, entry in after.items() if it.name not in lists and store.has(self.paths, entry)]
        for ident in unknown:
            if ident in self.new:
                error = Invalid("what is in it is not known", _LOOK, code="preflight.unknown")
                self.findings.add(ident.name, error, "refuse")
            elif self.desired.settings.preflight.collisions == "refuse":
                what = f"whether it collides with {ident.name} is not known, since what is in that is not"
                for name in (it.name for it in self.new if it.kind is ident.kind):
                    self.findings.add(name, Invalid(what, _LOOK, code="preflight.unknown"), "refuse")


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


def _examine_labels(paths: Paths, new: Mapping[ExtensionId, Entry], findings: Findings, reactions: Preflight) -> None:
    """Services may not use what has the store's label, or none, where SELinux is enforcing."""
    if not is_enforcing(paths):
        return
    for ident, entry in sorted(new.items()):
        if lack := unlabelled(paths, entry):
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
    """What the extension would hide of the host, merged extensions aside; what cannot be known is not allowed."""
    if not host.is_known and os.geteuid() == 0:
        strict = "refuse" in {reactions.links, reactions.directories, reactions.host_files}
        error = Invalid("what of this host it hides is not known", _BENEATH, code="preflight.unknown")
        findings.add(ident.name, error, "refuse" if strict else "warn")
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
