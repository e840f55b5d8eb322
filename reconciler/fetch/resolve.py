"""From sources to what they lead to now: tags and version ranges to digests, URLs and files to digests."""

from __future__ import annotations

import logging
import time
from dataclasses import field
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from reconciler.dataclass import dataclass
from reconciler.errors import Deferred, Invalid, Offline, Pending, ReconcilerError, Unavailable
from reconciler.fetch.transport import Access, look_up, transport_for
from reconciler.host.base.durable import read_json, write_json
from reconciler.host.base.failures import as_failure
from reconciler.host.node.machine import with_image_support
from reconciler.host.store import entries as store
from reconciler.model.content.format import Format, assumed_payload, depends_on_node
from reconciler.model.content.minimumage import FirstSeen, in_utc
from reconciler.model.content.resolution import (
    Resolution,
    combined,
    resolution_as_json,
    resolution_from_json,
)
from reconciler.model.content.source import Transport, url_key
from reconciler.model.plan.target import Target, Targets, entry_for, target_for

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from reconciler.host.sources.catalogs import Catalogs
    from reconciler.model.config.desired import DesiredState, Wanted
    from reconciler.model.config.part import Part
    from reconciler.model.fit.release import Host
    from reconciler.model.kind import ExtensionId, Kind
    from reconciler.model.state.generation import Placed
    from reconciler.model.state.retry import Retry
    from reconciler.paths import Paths

log = logging.getLogger(__name__)

_REFUSED: Final = "refused"  # in the record, beside the keys of sources, which are longer
_PARALLEL: Final = 4  # look-ups; they wait for the network


class Lookups(Enum):
    """Which sources may be asked what they lead to."""

    ALL = "all"
    LOCAL = "local"  # an offline run
    NONE = "none"  # a look at what is known already


@dataclass(frozen=True)
class Resolver:
    """What sources lead to, for one run on one node."""

    access: Access
    host: Host
    lookups: Lookups = Lookups.ALL
    records: dict[str, Resolution] = field(default_factory=dict)  # by `_key`: what was fetched before
    refused: set[str] = field(default_factory=set)  # by `_key`: what has no place, since something speaks against it
    # By extension: digests, and when each was seen first.
    first_seen: dict[str, dict[str, float]] = field(default_factory=dict)
    # What some shall be by a generation, whatever their sources say.
    pinned: Mapping[ExtensionId, Placed] = field(default_factory=dict)
    deferred: Mapping[str, Retry] = field(default_factory=dict)  # by extension: not to be asked again yet

    @property
    def paths(self) -> Paths:
        return self.access.paths

    @property
    def may_use_network(self) -> bool:
        return self.lookups is Lookups.ALL

    def resolve_all(self, wanted: Iterable[Wanted]) -> Targets:
        """What each extension shall be; a failure is that extension's own.

        Several registries are asked at once: one that is silent for a minute must not keep the others waiting,
        however many extensions it has.
        """
        items = tuple(wanted)
        slow: dict[str, list[Wanted]] = {}  # by source
        for item in items if len(items) > 1 else ():
            if self._waits_for_network(item):
                slow.setdefault(self._key(item), []).append(item)
        if len(slow) < 2:  # noqa: PLR2004 - one can only be asked alone
            return self._targets(items)
        from reconciler.host.base.workers import workers

        with workers(min(_PARALLEL, len(slow))) as pool:
            asked = [pool.submit(self._targets, group) for group in slow.values()]
            waiting = {it.name for group in slow.values() for it in group}
            found = self._targets(it for it in items if it.name not in waiting)
            found |= {name: target for it in asked for name, target in it.result().items()}
        return {it.name: found[it.name] for it in items}

    def _targets(self, wanted: Iterable[Wanted]) -> dict[str, Target | ReconcilerError]:
        return {it.name: self._target_or_error(it) for it in wanted}

    def _waits_for_network(self, wanted: Wanted) -> bool:
        """A catalog is read once for all, so its extensions are not asked for at once."""
        if not (self.may_use_network and wanted.is_remote) or wanted.parts[0].source.transport is Transport.CATALOG:
            return False
        if wanted.ident in self.pinned or wanted.unresolved or wanted.name in self.deferred:
            return False
        known = self._known(wanted)
        return known is None or self._asks_anew(wanted, known)

    def remember(self, wanted: Wanted, resolution: Resolution) -> None:
        """Note what a source led to, once its content is in the store."""
        self._record({self._key(wanted): resolution})

    def remember_stored(self, desired: DesiredState, targets: Targets) -> None:
        """Note what led to content that the store had already: without network it would not be found again."""
        found = ((item, targets[item.name]) for item in desired.extensions if not _is_known_by_pin(item))
        news = [(self._key(item), it) for item, it in found if isinstance(it, Target)]
        stored = {
            key: it.resolution
            for key, it in news
            if self.records.get(key) != it.resolution and store.has(self.paths, it.entry)
        }
        if stored:
            self._record(stored)

    def remember_refused(self, desired: DesiredState, names: Collection[str]) -> None:
        """Note whose content was refused by this node: whoever lists its source later, it is asked anew."""
        keys = [(self._key(it), it.name) for it in desired.extensions] if names or self.refused else []
        refused = {key for key, name in keys if name in names and key in self.records}
        before = self.refused & {key for key, _ in keys}
        if refused != before:
            self.refused.difference_update(before)
            self.refused.update(refused)
            self._record({})

    def _record(self, found: Mapping[str, Resolution]) -> None:
        if self.access.catalogs:
            self.access.catalogs.remember()
        self.records.update(found)
        document = {key: resolution_as_json(it) for key, it in self.records.items()}
        if self.refused:
            document[_REFUSED] = sorted(self.refused)
        write_json(self.paths.resolutions, document)

    def remember_seen(self, desired: DesiredState) -> None:
        """Note what there was to be seen, whatever comes of it."""
        if self.access.signed:
            from reconciler.host.sources.signedlists import SignedLists

            SignedLists(self.paths.signed_lists, self.access.signed).remember()
        self._remember_first_seen(desired)

    def _remember_first_seen(self, desired: DesiredState) -> None:
        """Note when digests were seen first, for `min_age`; of what is not configured any more nothing is kept."""
        kept = {item.name: self.first_seen[item.name] for item in desired.extensions if item.name in self.first_seen}
        if kept != _read_first_seen(self.paths):
            write_json(self.paths.first_seen, kept)

    def _target_or_error(self, wanted: Wanted) -> Target | ReconcilerError:
        if placed := self.pinned.get(wanted.ident):
            return self._pinned_target(wanted, placed)
        if wanted.unresolved:
            return wanted.unresolved.about(wanted.name)
        try:
            return self._target(wanted, self._resolve(wanted))
        except Exception as error:  # noqa: BLE001 - of one source, so never the run's
            return as_failure(error, wanted.text).about(wanted.name)

    def _pinned_target(self, wanted: Wanted, placed: Placed) -> Target | ReconcilerError:
        if store.has(self.paths, placed.entry) or self._may_look_up(wanted):
            return Target(placed.resolution, placed.entry, "as it was")
        return Offline(f"{placed.entry.digest} is not in the store any more").about(wanted.name)

    def _target(self, wanted: Wanted, resolution: Resolution) -> Target:
        if wanted.format:
            return target_for(wanted, resolution)
        stored = self._stored(wanted, resolution)
        asks = depends_on_node(resolution.size, stored)
        return target_for(wanted, resolution, self._against_images(wanted.kind) if asks else None, stored)

    def _stored(self, wanted: Wanted, resolution: Resolution) -> list[Format]:
        """The formats in which the store has content."""
        return [it for it in Format if store.has(self.paths, entry_for(wanted, resolution, it))]

    def _against_images(self, kind: Kind) -> str | None:
        """Why image files made here cannot be used on this node; asked only where the format depends on it."""
        if not self.paths.is_running_system:
            return "a system that does not run cannot be asked for its image policy"
        from reconciler.host.node.imagepolicies import against_images

        host = self.access.answers.once("image files of this node", lambda: with_image_support(self.host))
        return against_images(host, kind)

    def _resolve(self, wanted: Wanted) -> Resolution:
        known = self._known(wanted)
        if known and not (self._asks_anew(wanted, known) and self._may_look_up(wanted)):
            return known
        kept = known or self._kept(wanted)
        if kept and not (wanted.pull != "never" and self._may_look_up(wanted)):
            return kept
        if wanted.pull == "never":
            raise Invalid(
                "is not in the store, and pull: never forbids to fetch it",
                "set pull: missing",
                code="source.not-pulled",
            )
        if not self._may_look_up(wanted):
            raise Offline(f"{wanted.text} is not in the store yet", "it is fetched by: livelayer apply")
        if known is None and (retry := self.deferred.get(wanted.name)):
            raise Deferred(retry.message, retry.hint, code=retry.code)
        try:
            found = self._look_up(wanted)
        except ReconcilerError as error:
            if kept is None or not (isinstance(error, Unavailable) or (known and wanted.pull == "missing")):
                raise
            log.warning("%s: staying at %s: %s", wanted.name, kept.digest, error.message)
            return kept
        return self._of_minimum_age(wanted, found, known)

    def _asks_anew(self, wanted: Wanted, known: Resolution) -> bool:
        """Whether known content is to be compared with its source, which may have mended what is refused here."""
        if wanted.pull != "missing" or wanted.pin:
            return wanted.pull == "always"
        if self._key(wanted) in self.refused:
            return True
        entry = self._target(wanted, known).entry
        contents = store.read_contents(self.paths, [entry]).get(entry)
        if contents is None or contents.misfit(wanted.ident, self.host) is None:
            return False
        from reconciler.host.node.hierarchies import with_hierarchies

        return contents.misfit(wanted.ident, with_hierarchies(self.host, self.paths)) is not None

    def _may_look_up(self, wanted: Wanted) -> bool:
        return self.lookups is Lookups.ALL or (self.lookups is Lookups.LOCAL and not wanted.is_remote)

    def _known(self, wanted: Wanted) -> Resolution | None:
        """What the source led to when its content, still in the store, was fetched."""
        record = self.records.get(self._key(wanted))
        candidates = [record] if record else []
        if wanted.pin and not wanted.parts[0].match:
            payload = assumed_payload(wanted.format, wanted.parts[0].source)
            candidates.append(Resolution(wanted.pin, wanted.pin, payload))
        for resolution in candidates:
            if resolution.satisfies(wanted.pin) and store.has(self.paths, self._target(wanted, resolution).entry):
                return resolution
        return None

    def _kept(self, wanted: Wanted) -> Resolution | None:
        """What the source led to when its content was fetched, if the blobs that it was made of are here."""
        record = self.records.get(self._key(wanted))
        if record is None or not record.satisfies(wanted.pin) or len(record.of_parts) != len(wanted.parts):
            return None
        parts = zip(wanted.parts, record.of_parts, strict=True)
        return record if all(transport_for(part, self.access).is_kept(it) for part, it in parts) else None

    def _look_up(self, wanted: Wanted) -> Resolution:
        found = tuple(look_up(part, self.access, wanted.format) for part in wanted.parts)
        return combined(found) if len(found) > 1 else found[0]

    def _of_minimum_age(self, wanted: Wanted, found: Resolution, known: Resolution | None) -> Resolution:
        """Let new content wait until it is as old as `min_age` wants it; what is in use or pinned does not wait."""
        if wanted.min_age is None:
            return found
        seen = FirstSeen(self.first_seen.get(wanted.name, {}), time.time())
        current = known.digest if known else None
        self.first_seen[wanted.name] = seen.record([found.digest, *([current] if current else [])])
        usable_from = seen.usable_from(found.digest, wanted.min_age)
        if usable_from is None or found.digest in {current, wanted.pin}:
            return found
        sentence = f"{found.digest} may be used from {in_utc(usable_from)}"
        if known is None:
            raise Pending(
                f"{wanted.text}: {sentence} (min_age)",
                "pin it with digest: to use it at once",
                code="source.too-young",
            )
        log.info("%s: staying at %s: %s", wanted.name, known.digest, sentence)
        return known

    def _key(self, wanted: Wanted) -> str:
        return " + ".join(map(self._key_of, wanted.parts))

    def _key_of(self, part: Part) -> str:
        platform = self.access.platform(part)
        source = part.source.argument(part.pin) if part.source.transport.is_skopeos else part.source.key
        if part.source.transport is Transport.CATALOG and self.access.catalogs:
            source += f" of {' '.join(map(url_key, self.access.catalogs.urls))}"
        words = [source, str(platform), *([part.version.text] if part.version else [])]
        words += ["of", *(it.text for it in part.patterns)] if part.match else []
        return " ".join(words if part.signed else [*words, "unsigned"])


def open_resolver(paths: Paths, host: Host, desired: DesiredState, lookups: Lookups) -> Resolver:
    document = read_json(paths.resolutions)
    known = document if isinstance(document, dict) else {}
    records = {key: resolution_from_json(it) for key, it in known.items()}
    sound = {key: it for key, it in records.items() if it}
    offline = lookups is not Lookups.ALL
    access = Access(
        paths,
        host.machine,
        desired.limits,
        desired.settings.keyring,
        _catalogs(paths, desired),
        offline,
        transfers=desired.transfers,
        payloads={part.digest: part.payload for it in sound.values() for part in it.of_parts},
    )
    refused = sound.keys() & _strings(known.get(_REFUSED))
    return Resolver(access, host, lookups, sound, refused, _read_first_seen(paths))


def _strings(record: Any) -> set[str]:  # noqa: ANN401 - JSON
    return {it for it in record if isinstance(it, str)} if isinstance(record, list) else set()


def _is_known_by_pin(wanted: Wanted) -> bool:
    """Whether nothing has to be looked up to know what it leads to; but in a directory a pin has a file, too."""
    return bool(wanted.pin and wanted.format and not wanted.parts[0].match)


def _catalogs(paths: Paths, desired: DesiredState) -> Catalogs | None:
    if not desired.settings.catalogs:
        return None
    from reconciler.host.sources.catalogs import Catalogs

    return Catalogs(paths, desired.settings.catalogs, desired.transfers)


def _read_first_seen(paths: Paths) -> dict[str, dict[str, float]]:
    match read_json(paths.first_seen):
        case dict(document) if all(_are_times(it) for it in document.values()):
            return document
        case _:
            return {}


def _are_times(record: Any) -> bool:  # noqa: ANN401 - JSON
    return isinstance(record, dict) and all(isinstance(time, int | float) for time in record.values())
