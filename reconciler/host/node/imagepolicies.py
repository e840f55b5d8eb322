"""What a node has and demands for image files: loop devices, image policies, and the tools to make them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from reconciler.host.base.command import available
from reconciler.host.node import units
from reconciler.host.node.machine import booted_with_systemd
from reconciler.model.images.imageformat import FileSystem, naked
from reconciler.model.images.imagepolicy import DEFAULTS, ImagePolicy, parse_image_policy, refusal
from reconciler.model.kind import Kind

if TYPE_CHECKING:
    from reconciler.model.fit.release import Host

_SINCE: Final = 254  # the systemd that brought --image-policy=
_OPTION: Final = re.compile(r"--image-policy[= ](?P<quote>[\"']?)(?P<policy>[^\s;\"']*)(?P=quote)")
_MADE_HERE: Final = naked(FileSystem.SQUASHFS)


def read_policies(systemd: int) -> dict[Kind, ImagePolicy]:
    """The image policies of the running system, which are options of the units that merge."""
    if systemd < _SINCE:
        return {}
    if not booted_with_systemd():
        return dict(DEFAULTS)
    return {kind: policy_in(units.command_line(f"systemd-{kind}.service"), kind) for kind in Kind}


def policy_in(command_line: str, kind: Kind) -> ImagePolicy:
    """The policy in a unit's ExecStart; the last one counts, as for the program."""
    policies = [match["policy"] for match in _OPTION.finditer(command_line)]
    return parse_image_policy(policies[-1]) if policies else DEFAULTS[kind]


def against_images(host: Host, kind: Kind) -> str | None:
    """Why a squashfs made here could not be used on this node, as part of a sentence; None: it could."""
    policy = host.image_policies.get(kind)
    if policy and (reason := refusal(policy, _MADE_HERE)):
        return reason
    if not host.has_loop_devices:
        return "this node has no loop devices"
    return None if available("tar2sqfs") else "tar2sqfs is not installed"
