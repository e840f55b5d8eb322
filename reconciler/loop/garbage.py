"""Drops what nothing can come to need any more: generations, then content, blobs and lists that none refers to."""

from __future__ import annotations

import logging
import os
import shutil
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from reconciler.errors import Failed, ReconcilerError, file_of
from reconciler.fetch.resolve import Lookups
from reconciler.host.base import lock
from reconciler.host.base.blobs import blob_in
from reconciler.host.base.durable import sync_directory
from reconciler.host.base.walk import children, walk
from reconciler.host.records import history, prefetched
from reconciler.host.records.checks import read_checks
from reconciler.host.registry import keptimages, unfinished
from reconciler.host.store import entries as store
from reconciler.loop.session import look_at_node
from reconciler.model.content.ociread import Index, parse_manifest
from reconciler.model.plan.target import Target
from reconciler.model.state.entry import Entry, parse_entry
from reconciler.model.state.generation import Dropped, Generation, expired

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from reconciler.loop.session import Options, Session
    from reconciler.model.content.resolution import Resolution
    from reconciler.model.state.observed import ObservedState
    from reconciler.paths import Paths

log = logging.getLogger(__name__)

_BLOCK: Final = 512  # bytes, of st_blocks


def clear_away(paths: Paths, options: Options, *, dry_run: bool) -> list[Dropped]:
    with lock.hold(paths, "livelayer gc", options.patience, log.info):
        session = look_at_node(paths, options, Lookups.NONE)
        return collect(session, session.view().observed, dry_run=dry_run)


def collect(session: Session, observed: ObservedState, *, dry_run: bool = False) -> list[Dropped]:
    paths = session.paths
    recorded = history.read_history(paths)
    old = _expired(recorded, session)
    kept = [it for it in recorded.generations if it not in old]
    drops = [_dropped(history.record_of(paths, it.number), "generation") for it in old]
    drops += [_dropped(it, "generation") for it in recorded.damaged if kept and int(it.stem) < kept[0].number]
    if reason := _why_not_now(recorded, observed):
        log.info("content is not cleared away: %s", reason)
    else:
        drops += _unneeded(paths, *_needed(session, observed, kept))
    if not dry_run:
        _drop(paths, drops)
    return drops


def _expired(recorded: history.History, session: Session) -> list[Generation]:
    old = expired(recorded.generations, session.desired.settings.retention, datetime.now(UTC))
    held = session.held.number if session.held else None
    return [it for it in old if it.number != held]


def _why_not_now(recorded: history.History, observed: ObservedState) -> str | None:
    """Content that an overlay still shows must stay, and what a newer livelayer recorded is not for us to judge."""
    if recorded.newer:
        return f"{recorded.newer[0]} was written by a newer livelayer"
    placed = {ident.name for ident in observed.links} | {item.name for item in observed.unmanaged}
    for kind, overlay in (observed.merged or {}).items():
        is_stale = any(observed.unmerged(link) for link in observed.mergeable_links(kind))
        if overlay.since is not None and (is_stale or observed.refresh_owed or overlay.names - placed):
            return f"the {kind} overlay is yet to be merged anew"
    return None


def _needed(session: Session, observed: ObservedState, kept: Iterable[Generation]) -> tuple[set[Entry], set[str]]:
    """Entries of the store, and the hexadecimal digests of blobs."""
    placed = [it for generation in kept for it in generation.extensions.values()]
    resolutions = {it.entry: it.resolution for it in placed}
    targets = [it for it in session.configured_targets().values() if isinstance(it, Target)]
    resolutions |= {it.entry: it.resolution for it in targets}
    linked = {link.entry for link in observed.links.values()}
    prefetches = prefetched.read_prefetched(session.paths)
    entries = {*resolutions, *linked, *read_checks(session.paths).entries, *prefetches}
    digests = {entry.digest for entry in entries}
    digests |= {digest for it in resolutions.values() for digest in _digests(it)}
    blobs = {blob for digest in digests for blob in _blobs(session.paths, digest)}
    return entries, blobs | {it.removeprefix("sha256:") for it in unfinished.blobs(session.paths)}


def _digests(resolution: Resolution) -> Iterator[str]:
    yield resolution.manifest
    for part in resolution.parts:
        yield from _digests(part)


def _blobs(paths: Paths, digest: str) -> Iterator[str]:
    """A manifest's own blob, and those that it names."""
    kept = keptimages.kept(paths, digest)
    yield from (digest.removeprefix("sha256:"), kept.removeprefix("sha256:"))
    try:
        manifest = parse_manifest(blob_in(paths.blobs, kept).read_bytes())
    except (OSError, ReconcilerError, ValueError):
        return  # a file, or not here
    if not isinstance(manifest, Index):
        yield from (it.removeprefix("sha256:") for it in manifest.blobs)


def _unneeded(paths: Paths, entries: set[Entry], blobs: set[str]) -> Iterator[Dropped]:
    names = {entry.file_name for entry in entries}
    for path in children(paths.store):
        if path.name.removesuffix(".json") not in names:
            yield _dropped(path, "content")
    for path in _unneeded_records(paths, names, blobs):
        yield _dropped(path, "record")
    for path in children(paths.blobs / "sha256"):
        if path.name.partition(".")[0] not in blobs and not (".part" in path.name and unfinished.is_fresh(path)):
            yield _dropped(path, "blob")


def _unneeded_records(paths: Paths, names: set[str], blobs: set[str]) -> Iterator[Path]:
    for directory in paths.records_of_entries:
        yield from (it for it in children(directory) if _entry_name(it.name) not in names)
    yield from (it for it in children(paths.images) if it.name not in blobs)
    yield from (it for it in children(paths.transfers) if not unfinished.is_fresh(it))


def _entry_name(file_name: str) -> str:
    """Records are called as their entry is, with something behind it."""
    while file_name and parse_entry(file_name) is None:
        file_name = file_name.rpartition(".")[0]
    return file_name


def _dropped(path: Path, what: str) -> Dropped:
    return Dropped(path, what, _size(path))


def _size(path: Path) -> int:
    """Bytes on disk, of a file with several names once."""
    blocks: dict[tuple[int, int], int] = {}
    with suppress(OSError):
        blocks.update(((it.st_dev, it.st_ino), it.st_blocks) for _, it in walk(os.fsencode(path)))
    return sum(blocks.values()) * _BLOCK


def _drop(paths: Paths, drops: Iterable[Dropped]) -> None:
    """Directories leave the store by a rename, so that none is ever half there."""
    touched: set[Path] = set()
    try:
        with store.stage(paths) as stage:
            for number, it in enumerate(drops):
                touched.add(it.path.parent)
                if it.path.is_dir() and not it.path.is_symlink():
                    away = it.path.rename(stage / str(number))
                    shutil.rmtree(away, ignore_errors=True)
                else:
                    it.path.unlink(missing_ok=True)
        for directory in touched:
            sync_directory(directory)
    except OSError as error:
        hint = "look at the file system's mode and its disk"
        raise Failed.of(error, f"{file_of(error, paths.store)}: cannot be removed", hint) from error
