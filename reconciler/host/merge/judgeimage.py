"""Whether an image file that others placed fails every merge.

Measured on systemd 252, 257 and 262: one does that cannot be attached and mounted, or that has no release file for
its own name; before 254 also one with a /usr/lib/os-release, which later ones leave out alone. One that does not fit
the host is merely ignored. The kernel mounts some files that are cut off or damaged, so systemd-dissect is asked,
which has the code of systemd-sysext. Where it is missing, only what is certain is said: a file in which there is
nothing that anything could mount, or whose release files are all known.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final, NamedTuple

from reconciler.errors import Invalid, ReconcilerError
from reconciler.host.base.command import available, run
from reconciler.host.images import dissect
from reconciler.host.images.facts import Listing
from reconciler.host.images.inspect import identify, inspect_image
from reconciler.host.images.listing import list_image
from reconciler.host.node.imagepolicies import read_policies
from reconciler.host.node.loopdevices import loop_devices_available
from reconciler.model.content.limits import DEFAULT
from reconciler.model.fit.filekind import FileKind
from reconciler.model.images.imagepolicy import refusal
from reconciler.model.kind import RELEASE_PREFIX
from reconciler.paths import SCRATCH

if TYPE_CHECKING:
    from reconciler.model.fit.release import Host
    from reconciler.model.images.imageformat import ImageFormat
    from reconciler.model.images.imagepolicy import ImagePolicy
    from reconciler.model.kind import Kind

_OS_RELEASE_SINCE: Final = 254  # the systemd that leaves out an image with one alone
_HAS_OS_RELEASE: Final = "it has /usr/lib/os-release"
_NO_RELEASE: Final = "it has no release file for its own name"
_NO_LOOP: Final = "this node has no loop devices, by which systemd attaches image files"
_PROBE: Final = "blkid"
_NOTHING: Final = 2  # its exit status for a file in which it finds nothing
_TIMEOUT: Final = 60.0  # seconds


class Finding(NamedTuple):
    """What is known of an image file."""

    flaw: str | None = None  # why it fails every merge; None: it does not, or that cannot be told
    lasts: bool = True  # until the file changes; False: the node may be to blame


def judge(path: Path, kind: Kind, host: Host) -> Finding:
    """Look into an image file. Takes root; nothing is raised, since what cannot be told is not held against it."""
    if not loop_devices_available():
        return Finding(_NO_LOOP, lasts=False)
    try:
        policies = host.image_policies or read_policies(host.systemd)
        return _judged(_Suspect(path, kind, replace(host, image_policies=policies)))
    except (ReconcilerError, OSError):
        return Finding()


class _Suspect(NamedTuple):
    """An image file on a node."""

    path: Path
    kind: Kind
    host: Host

    @property
    def policy(self) -> ImagePolicy | None:
        """What the node lets be merged; None: all."""
        return self.host.image_policies.get(self.kind)


def _judged(it: _Suspect) -> Finding:
    image: ImageFormat | None = None
    words = None
    try:
        image = identify(it.path)
    except Invalid as error:  # systemd may think otherwise
        words = error.message
    if it.policy and image and (reason := refusal(it.policy, image)):
        return Finding(reason)
    return _by_systemd(it, words) if available(dissect.PROGRAM) else Finding(_by_tools(it, words))


def _by_systemd(it: _Suspect, words: str | None) -> Finding:
    """What it cannot mount is tried again, and remembered only if the file's own first bytes tell why."""
    policy = it.policy.text if it.policy else None
    verdict = dissect.ask(it.path, it.kind, policy)
    if verdict.complaint:
        verdict = dissect.ask(it.path, it.kind, policy)
    if verdict.complaint:
        return Finding(words or f"systemd-dissect: {verdict.complaint}", lasts=words is not None)
    # Later versions may go by the name of the file that a link leads to, which is not the extension's.
    if verdict.extends is False and words is None and not it.path.is_symlink():
        return Finding(_NO_RELEASE)
    if not verdict.has_os_release or it.host.systemd >= _OS_RELEASE_SINCE:
        return Finding()
    with tempfile.TemporaryDirectory(prefix="livelayer-", dir=SCRATCH) as scratch:
        contents = inspect_image(it.path, it.kind, Path(scratch))
    return Finding(_HAS_OS_RELEASE if contents.has_os_release else None)


def _by_tools(it: _Suspect, words: str | None) -> str | None:
    if words is not None:
        return words if _is_nothing(it.path) else None
    with tempfile.TemporaryDirectory(prefix="livelayer-", dir=SCRATCH) as scratch:
        contents = inspect_image(it.path, it.kind, Path(scratch))
        if contents.has_os_release and it.host.systemd < _OS_RELEASE_SINCE:
            return _HAS_OS_RELEASE
        if not contents.releases.keys().isdisjoint(_names(it.path)):
            return None
        return None if _may_have_release(it, Path(scratch)) else _NO_RELEASE


def _is_nothing(path: Path) -> bool:
    """Whether there is nothing in a file that systemd, which looks with libblkid, could mount."""
    if path.stat().st_size == 0:
        return True
    if not available(_PROBE):
        return False
    return run(_PROBE, "--probe", str(path), timeout=_TIMEOUT).status == _NOTHING


def _names(path: Path) -> frozenset[str]:
    """The names of extensions that some version of systemd takes a file's name for."""
    name = path.name.removesuffix(".raw")
    bare = name.removesuffix(".sysext").removesuffix(".confext")
    return frozenset({name, bare, name.partition("_")[0], bare.partition("_")[0]})


def _may_have_release(it: _Suspect, scratch: Path) -> bool:
    """Whether a release file is one of a kind that livelayer itself does not take, or that may be."""
    listing = Listing()
    workplace = scratch / "listing"
    workplace.mkdir()
    known = list_image(it.path, identify(it.path), listing, workplace, DEFAULT)
    directory = it.kind.traits.releases
    files = listing.files()
    ways = (directory, *map(str, PurePosixPath(directory).parents))
    if any(way in files and files[way].kind is not FileKind.DIRECTORY for way in ways):
        return True
    prefix = f"{directory}/{RELEASE_PREFIX}"
    found = [path for path in files if path.startswith(prefix)]
    names = {path.removeprefix(prefix) for path in found}
    is_lax = any(files[path].is_lax for path in found) or (bool(found) and not known.attributes)
    return is_lax or not names.isdisjoint(_names(it.path))
