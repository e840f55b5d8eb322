"""The image policy of the unit that merges, as systemctl shows its command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from reconciler.errors import ReconcilerError
from reconciler.host.node import imagepolicies
from reconciler.host.node.imagepolicies import against_images, configured_policy, policy_in
from reconciler.model.fit.release import Host
from reconciler.model.images.imagepolicy import DEFAULTS, parse_image_policy
from reconciler.model.kind import Kind
from tests.rig.diskimages import make_tree

if TYPE_CHECKING:
    from reconciler.paths import Paths

# As `systemctl show --property=ExecStart --value` prints it on systemd 257.
SHOWN = (
    "{{ path=/usr/bin/systemd-sysext ; argv[]=systemd-sysext refresh{options} ; ignore_errors=no ; "
    "start_time=[n/a] ; stop_time=[n/a] ; pid=0 ; code=(null) ; status=0/0 }}"
)
STRICT = "root=verity+absent:usr=verity+absent"


@pytest.mark.parametrize(
    "options",
    [f" --image-policy={STRICT}", f" --image-policy {STRICT}", f" --image-policy=* --image-policy={STRICT}"],
)
def test_the_policy_is_read_off_the_command_line(options: str) -> None:
    assert policy_in(SHOWN.format(options=options), DEFAULTS[Kind.SYSEXT]) == parse_image_policy(STRICT)


def test_without_an_option_systemds_default_holds() -> None:
    assert policy_in(SHOWN.format(options=" --force"), DEFAULTS[Kind.CONFEXT]) == DEFAULTS[Kind.CONFEXT]
    assert policy_in("", DEFAULTS[Kind.SYSEXT]) == DEFAULTS[Kind.SYSEXT]


@pytest.mark.parametrize(
    ("files", "policy"),
    [
        ({}, None),
        ({"etc/systemd/sysext.conf": f"[SysExt]\nImagePolicy={STRICT}\n"}, STRICT),
        ({"usr/lib/systemd/sysext.conf.d/1.conf": f"[SysExt]\nImagePolicy = {STRICT}\n"}, STRICT),
        (
            {
                "etc/systemd/sysext.conf": f"[SysExt]\nImagePolicy={STRICT}\n",
                "run/systemd/sysext.conf.d/1.conf": "[SysExt]\nImagePolicy=*\n",
            },
            "*",
        ),
        (
            {
                "etc/systemd/sysext.conf": f"[SysExt]\nImagePolicy={STRICT}\n",
                "etc/systemd/sysext.conf.d/1.conf": "[SysExt]\nImagePolicy=\n",
            },
            None,
        ),
        ({"etc/systemd/sysext.conf": "[SysExt]\nImagePolicy=root=nonsense\n"}, None),
        ({"etc/systemd/sysext.conf": "[SysExt]\n#ImagePolicy=-\nMutable=yes\n"}, None),
        ({"etc/systemd/confext.conf": f"[ConfExt]\nImagePolicy={STRICT}\n"}, None),
    ],
)
def test_systemds_configuration_has_a_policy(paths: Paths, files: dict[str, str | None], policy: str | None) -> None:
    make_tree(paths.root, files)
    expected = parse_image_policy(policy) if policy else DEFAULTS[Kind.SYSEXT]
    assert configured_policy(Kind.SYSEXT, paths) == expected


def test_what_is_no_policy_is_told() -> None:
    with pytest.raises((ReconcilerError, ValueError)):
        policy_in(SHOWN.format(options=" --image-policy=root=nonsense"), DEFAULTS[Kind.SYSEXT])


def test_a_policy_a_missing_device_or_a_missing_tool_speak_against_image_files(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    host = Host({}, "x86_64", 257)
    monkeypatch.setattr(imagepolicies, "available", lambda _program: True)
    assert against_images(host, Kind.SYSEXT) is None
    strict = Host({}, "x86_64", 257, {Kind.SYSEXT: parse_image_policy(STRICT)})
    assert "image policy" in (against_images(strict, Kind.SYSEXT) or "")
    assert against_images(strict, Kind.CONFEXT) is None
    monkeypatch.setattr(imagepolicies, "available", lambda _program: False)
    assert against_images(host, Kind.SYSEXT) == "tar2sqfs is not installed"
    without = Host({}, "x86_64", 257, has_loop_devices=False)
    assert against_images(without, Kind.SYSEXT) == "this node has no loop devices"
