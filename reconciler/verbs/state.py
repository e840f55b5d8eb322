"""The verbs about where livelayer keeps what it has: move-state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.errors import Invalid
from reconciler.paths import Paths
from reconciler.verbs.console import ERROR, OK, PATIENCE, Verbs, add_verb, print_json, print_line

if TYPE_CHECKING:
    import argparse


def add(verbs: Verbs) -> list[argparse.ArgumentParser]:
    """The verbs of this module."""
    parser = add_verb(
        verbs, "move-state", _move_state, "move store, links and records to another directory; exit 0 moved, 1 not"
    )
    parser.add_argument("directory", metavar="DIR", help="such as /data/livelayer, on the node")
    return [parser]


def _move_state(options: argparse.Namespace) -> int:
    from reconciler.host.records import statedir
    from reconciler.loop import config, reconcile

    paths, wanted = Paths(options.root), _checked(options.directory)
    configured = config.load(paths, options.config).desired.state_dir
    if configured not in {None, wanted}:
        hint = f"set it to {wanted}: the next run moves the state there"
        raise Invalid(f"settings.state_dir is {configured}, and every run would move the state back there", hint)
    how = reconcile.Options(config=options.config, offline=True, patience=PATIENCE, state_dir=wanted)
    reconcile.converge(paths, how, "livelayer move-state")
    located = statedir.locate(paths)
    if options.json:
        print_json({"state_dir": located.state_dir, "configured": configured})
    elif located.state_dir == wanted:
        _tell(located, statedir.home(paths), configured)
    return OK if located.state_dir == wanted else ERROR


def _checked(directory: str) -> str:
    from reconciler.model.config.values import check_state_dir

    try:
        return check_state_dir(directory.rstrip("/") or "/")
    except ValueError as error:
        raise Invalid(f"{directory}: {error}", "choose a directory on a disk that is there at boot") from None


def _tell(located: Paths, home: Paths, configured: str | None) -> None:
    print_line(f"the state is in {located.state_dir}")
    if configured is None and located != home:
        print_line(f"put this into the configuration, so that it is found without {home.location}, too:")
        print_line(f"settings:\n  state_dir: {located.state_dir}")
