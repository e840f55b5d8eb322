"""The verbs about where livelayer keeps what it has: move-state."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from reconciler.errors import Invalid
from reconciler.paths import Paths
from reconciler.verbs.console import PATIENCE, Verbs, add_verb, print_result
from reconciler.verbs.exitstatus import OK

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

log = logging.getLogger(__name__)

_DOING: Final = "livelayer move-state"


def add(verbs: Verbs) -> list[argparse.ArgumentParser]:
    """The verbs of this module."""
    parser = add_verb(verbs, "move-state", _move_state, "move store, links and records to another directory")
    parser.add_argument("directory", metavar="DIR", help="such as /data/livelayer, on the node")
    return [parser]


def _move_state(options: argparse.Namespace) -> int:
    from reconciler.host.base import lock
    from reconciler.host.records import statedir
    from reconciler.loop import config, reconcile

    paths, wanted = Paths(options.root), _checked(options.directory)
    configured = config.load(paths, options.config).desired.settings.state_dir
    if configured not in {None, wanted}:
        raise Invalid(f"settings.state_dir is {configured}, not {wanted}", "change it first, then run this again")
    with lock.hold(paths, _DOING, PATIENCE, log.info):
        moved = statedir.move(paths, wanted)
    how = reconcile.Options(config=options.config, offline=True, patience=PATIENCE)
    merged = reconcile.converge(paths, how, _DOING).view.observed.merged
    with lock.hold(paths, _DOING, PATIENCE, log.info):
        left = statedir.remove_former(moved, merged)
    lines = _lines(moved, statedir.home(paths), left, is_configured=configured is not None)
    print_result(options, lambda: {"state_dir": wanted, "configured": configured, "left": left}, lines)
    return OK


def _checked(directory: str) -> str:
    from reconciler.model.config.values import check_state_dir

    try:
        return check_state_dir(directory.rstrip("/") or "/")
    except ValueError as error:
        raise Invalid(f"{directory}: {error}", "choose a directory on a disk that is there at boot") from None


def _lines(moved: Paths, home: Paths, left: tuple[str, ...], *, is_configured: bool) -> Iterator[str]:
    yield f"the state is in {moved.state_dir}"
    for directory in left:
        yield f"what was in {directory} is merged still: run this again after the next refresh or boot"
    if not is_configured and moved != home:
        yield f"put this into the configuration, so that it is found without {home.location}, too:"
        yield f"settings:\n  state_dir: {moved.state_dir}"
