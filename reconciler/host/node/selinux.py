"""SELinux: the files of an extension get the labels that the node's policy has for where they will appear.

Otherwise they would have the store's label, also in the overlay, and services may not start programs that have it.
setfiles(8) looks the labels up as if the extension's directory were the root.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Final, NamedTuple

from reconciler.errors import Failed, ReconcilerError
from reconciler.host.base.bounded import read_bounded
from reconciler.host.base.command import available, check, run
from reconciler.host.base.walk import children
from reconciler.host.tar.attributes import LABEL, label_of
from reconciler.model.fit.assignments import read_assignments
from reconciler.model.kind import Kind

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.paths import Paths

log = logging.getLogger(__name__)

_TIMEOUT: Final = 600.0  # seconds; 100,000 files take a few
_HINT: Final = (
    "install policycoreutils and the policy, or make SELinux permissive: services could not use the extension"
)


class Policy(NamedTuple):
    """The policy of a node that uses SELinux."""

    contexts: Path  # its file_contexts
    enforcing: bool


def policy_of(paths: Paths) -> Policy | None:
    """The policy by which files are to be labelled; None where SELinux is off, or could not be used anyway."""
    enforcing = _is_enforcing(paths)
    if enforcing is None:
        return None
    kind = _configuration(paths).get("SELINUXTYPE", "targeted")
    contexts = paths.under(f"/etc/selinux/{kind}/contexts/files/file_contexts")
    if contexts.is_file() and available("setfiles"):
        return Policy(contexts, enforcing)
    missing = "setfiles" if contexts.is_file() else str(contexts)
    message = f"SELinux is on, but {missing} is not there to label files with"
    _give_up(Failed(message, _HINT, code="selinux.no-labels"), enforcing=enforcing)
    return None


def is_enforcing(paths: Paths) -> bool:
    return _is_enforcing(paths) is True


def label(tree: Path, paths: Paths) -> bool:
    """Label an extension's files, links and directories, and tell whether there is a policy for that."""
    policy = policy_of(paths)
    return policy is not None and _set_labels(policy, tree, (tree,))


def label_state(paths: Paths) -> None:
    """Label what livelayer has made on a node that does not run, and that no kernel has labelled therefore."""
    policy = policy_of(paths)
    places = [place for place in (paths.state, *map(paths.links, Kind)) if place.is_dir()]
    if policy is None or not places or not _set_labels(policy, paths.root, places, leave_out=paths.store):
        return
    if paths.store.is_dir():
        given = label_of(os.fsencode(paths.store.parent)) or b""
        for path in (paths.store, *(it for it in children(paths.store) if not it.is_dir())):
            os.setxattr(path, LABEL, given)


def _configuration(paths: Paths) -> dict[str, str]:
    try:
        return read_assignments(read_bounded(paths.under("/etc/selinux/config")).decode(errors="replace"))
    except OSError:
        return {}


def _is_enforcing(paths: Paths) -> bool | None:
    """None: off. Of the running system the kernel tells, of another one its configuration."""
    if not paths.is_running_system:
        return {"enforcing": True, "permissive": False}.get(_configuration(paths).get("SELINUX", "disabled"))
    try:
        return paths.under("/sys/fs/selinux/enforce").read_text().strip() == "1"
    except OSError:
        return None


def _set_labels(
    policy: Policy, root: Path, places: tuple[Path, ...] | list[Path], leave_out: Path | None = None
) -> bool:
    """Replace whatever labels there are (-F), on all file systems (-m)."""
    without = ("-e", str(leave_out)) if leave_out and leave_out.is_dir() else ()
    arguments = ("-F", "-m", *without, "-r", str(root), str(policy.contexts), *map(str, places))
    try:
        check(run("setfiles", *arguments, timeout=_TIMEOUT), f"labelling {places[0]} for SELinux with setfiles")
    except Failed as error:
        _give_up(error, enforcing=policy.enforcing)
        return False
    return True


def _give_up(error: ReconcilerError, *, enforcing: bool) -> None:
    """Where SELinux only warns, so does livelayer."""
    if enforcing:
        raise error
    log.warning("%s; SELinux is permissive, so this is not an error here", error.message)
