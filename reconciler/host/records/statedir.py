"""Where a node's state is.

The directory is chosen when there is no state yet: the configured one, or else the node's default. A record at the
default place says where the state is, if not there; it is what leads to the last good configuration while the
present one is broken.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from reconciler.errors import Invalid
from reconciler.host.base.durable import drop_leftovers, read_json, write_json
from reconciler.host.base.ownership import refuse_foreign_hands
from reconciler.host.base.walk import children
from reconciler.host.merge import links
from reconciler.host.node.machine import is_kairos
from reconciler.host.store import entries as store
from reconciler.paths import KAIROS_STATE_DIR, STATE_DIR, Paths

log = logging.getLogger(__name__)


def home(paths: Paths) -> Paths:
    """The locations with the state where it is by default."""
    return replace(paths, state_dir=KAIROS_STATE_DIR if is_kairos(paths) else STATE_DIR)


def locate(paths: Paths, wanted: str | None = None) -> Paths:
    """The locations with the state where it is now; where there is none yet, where it is wanted.

    Who could change a record there would decide where that is and what was good; who could change the store, what is
    merged.
    """
    at_home = home(paths)
    refuse_foreign_hands(at_home.location, paths.root)
    found = replace(paths, state_dir=_read(at_home))
    if not (wanted is None or at_home.location.exists() or children(found.store)):
        found = replace(paths, state_dir=wanted)
    ways = (found.by_name(found.state_dir), found.store, found.blobs, found.staging, found.last_good)
    for place in ways[found.is_running_system :]:
        refuse_foreign_hands(place, paths.root)
    return found


def complaint(paths: Paths, wanted: str | None) -> Invalid | None:
    """What is wrong with where the state is. A symbolic link from there to where it is wanted will do."""
    if wanted is None or paths.state.resolve() == paths.under(wanted).resolve():
        return None
    words = f"settings.state_dir is {wanted}, but the state is in {paths.state_dir}, and stays there"
    hint = f"set it to {paths.state_dir}, or move the state as STATE in livelayer(8) says"
    return Invalid(words, hint, code="state.elsewhere")


def remember(paths: Paths) -> None:
    """Record where the state is, for when the configuration cannot say it; in its default place it needs none."""
    at_home = home(paths)
    drop_leftovers(at_home.state)
    is_damaged = at_home.location.exists() and not _recorded(at_home)
    if is_damaged:
        log.warning("%s: damaged, made anew: the state is in %s", at_home.location, paths.state_dir)
    if not is_damaged and _read(at_home) == paths.state_dir:
        return
    if paths.state_dir == at_home.state_dir:
        at_home.location.unlink(missing_ok=True)
    else:
        store.make_state_directory(at_home)
        write_json(at_home.location, {"state_dir": paths.state_dir})


def _read(at_home: Paths) -> str:
    """Where a record is damaged, the links tell where the state is."""
    if recorded := _recorded(at_home):
        return recorded
    linked = links.find_state(at_home) if at_home.location.exists() else None
    return linked or _older_default(at_home) or at_home.state_dir


def _recorded(at_home: Paths) -> str | None:
    match read_json(at_home.location):
        case {"state_dir": str(state_dir)}:
            return state_dir
        case _:
            return None


def _older_default(at_home: Paths) -> str | None:
    """Where the state of a Kairos node was before it had a default place of its own."""
    older = replace(at_home, state_dir=STATE_DIR)
    return STATE_DIR if not at_home.store.is_dir() and older.store.is_dir() else None
