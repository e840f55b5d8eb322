"""The verbs about where livelayer keeps what it has: move-state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.errors import Invalid
from reconciler.paths import Paths
from reconciler.verbs.console import PATIENCE, Verbs, add_verb, print_result
from reconciler.verbs.exitstatus import ERROR, OK

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator


def add(verbs: Verbs) -> list[argparse.ArgumentParser]:
    """The verbs of this module."""
    parser = add_verb(verbs, "move-state", _move_state, "move store, links and records to another directory")
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
    moved = located.state_dir == wanted
    lines = _lines(located, statedir.home(paths), is_configured=configured is not None)
    print_result(options, lambda: {"state_dir": located.state_dir, "configured": configured}, lines if moved else ())
    return OK if moved else ERROR


def _checked(directory: str) -> str:
    from reconciler.model.config.values import check_state_dir

    try:
        return check_state_dir(directory.rstrip("/") or "/")
    except ValueError as error:
        raise Invalid(f"{directory}: {error}", "choose a directory on a disk that is there at boot") from None


def _lines(located: Paths, home: Paths, *, is_configured: bool) -> Iterator[str]:
    yield f"the state is in {located.state_dir}"
    if not is_configured and located != home:
        yield f"put this into the configuration, so that it is found without {home.location}, too:"
        yield f"settings:\n  state_dir: {located.state_dir}"
