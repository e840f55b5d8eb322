"""What a node has and demands for image files: loop devices, image policies, and the tools to make them."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Final

from reconciler.errors import Invalid
from reconciler.host.base.command import available
from reconciler.host.node import units
from reconciler.host.node.dropins import read_texts
from reconciler.host.node.machine import booted_with_systemd
from reconciler.model.fit.hierarchies import settings
from reconciler.model.images.imageformat import FileSystem, naked
from reconciler.model.images.imagepolicy import DEFAULTS, ImagePolicy, parse_image_policy, refusal
from reconciler.model.kind import Kind
from reconciler.paths import Paths

if TYPE_CHECKING:
    from reconciler.model.fit.release import Host

log = logging.getLogger(__name__)

_SINCE: Final = 254  # the systemd that brought --image-policy=
_CONFIGURABLE: Final = 259  # the one that brought sysext.conf and confext.conf
_CONFIGURATION: Final = tuple(f"{top}/systemd" for top in ("/etc", "/run", "/usr/local/lib", "/usr/lib"))
_OPTION: Final = re.compile(r"--image-policy[= ](?P<quote>[\"']?)(?P<policy>[^\s;\"']*)(?P=quote)")
_MADE_HERE: Final = naked(FileSystem.SQUASHFS)


def read_policies(systemd: int) -> dict[Kind, ImagePolicy]:
    """The image policies of the running system: options of the units that merge, else what its configuration says."""
    if systemd < _SINCE:
        return {}
    return {kind: _policy(kind, Paths(), systemd) for kind in Kind}


def _policy(kind: Kind, paths: Paths, systemd: int) -> ImagePolicy:
    usual = configured_policy(kind, paths) if systemd >= _CONFIGURABLE else DEFAULTS[kind]
    return policy_in(units.command_line(f"systemd-{kind}.service"), usual) if booted_with_systemd() else usual


def configured_policy(kind: Kind, paths: Paths) -> ImagePolicy:
    """That of systemd's sysext.conf or confext.conf, with their drop-ins."""
    found = ""
    for text in read_texts(paths, _CONFIGURATION, f"{kind}.conf"):
        found = next(reversed(settings(text, "ImagePolicy")), found)
    try:
        return parse_image_policy(found) if found else DEFAULTS[kind]
    except Invalid as error:  # systemd says so and goes on, too
        log.warning("%s.conf: %s", kind, error.message)
        return DEFAULTS[kind]


def policy_in(command_line: str, usual: ImagePolicy) -> ImagePolicy:
    """The policy in a unit's ExecStart; the last one counts, as for the program."""
    policies = [match["policy"] for match in _OPTION.finditer(command_line)]
    return parse_image_policy(policies[-1]) if policies else usual


def against_images(host: Host, kind: Kind) -> str | None:
    """Why a squashfs made here could not be used on this node, as part of a sentence; None: it could."""
    policy = host.image_policies.get(kind)
    if policy and (reason := refusal(policy, _MADE_HERE)):
        return reason
    if not host.has_loop_devices:
        return "this node has no loop devices"
    return None if available("tar2sqfs") else "tar2sqfs is not installed"
