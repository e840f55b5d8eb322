"""Whom a directory of an extension's would lock out of the host's."""

from __future__ import annotations

import pytest

from reconciler.model.fit.permissions import Permissions, is_usual


@pytest.mark.parametrize(
    ("own", "host", "narrows"),
    [
        (Permissions(0o755), Permissions(0o755), False),
        (Permissions(0o700), Permissions(0o755), True),
        (Permissions(0o750), Permissions(0o755), True),
        (Permissions(0o754), Permissions(0o755), True),
        (Permissions(0o700), Permissions(0o700), False),
        (Permissions(0o755), Permissions(0o700), False),
        (Permissions(0o555), Permissions(0o755), False),  # as Nix makes them
        (Permissions(0o755), Permissions(0o2775, 0, 50), False),  # /usr/local on older Debian: nobody writes there
        (Permissions(0o755, 1000, 1000), Permissions(0o755), True),
        (Permissions(0o755, 0, 1000), Permissions(0o755), False),
        (Permissions(0o755, 1000), Permissions(0o755, 1000), False),
        (Permissions(0o755), Permissions(0o700, 102), False),  # rules.d of polkit, of which root's may be read
        (Permissions(0o700), Permissions(0o700, 102), True),
        (Permissions(0o700, 102), Permissions(0o700, 102), False),
        (Permissions(0o750), Permissions(0o750, 0, 50), True),
        (Permissions(0o750, 0, 50), Permissions(0o750, 0, 50), False),
        (Permissions(0o710, 0, 50), Permissions(0o750, 0, 50), True),
    ],
)
def test_who_is_locked_out(own: Permissions, host: Permissions, *, narrows: bool) -> None:
    assert own.narrows(host) is narrows


@pytest.mark.parametrize(
    ("path", "usual"),
    [
        *(
            (path, True)
            for path in ("usr", "opt", "usr/bin", "usr/lib64", "usr/lib/x86_64-linux-gnu", "usr/share/man")
        ),
        *(
            (path, True)
            for path in ("usr/lib/systemd/system/multi-user.target.d", "usr/lib/extension-release.d", "etc")
        ),
        *((path, False) for path in ("opt/x", "usr/share/x", "usr/lib/x", "etc/x", "usr/lib/systemd/x", "srv")),
    ],
)
def test_what_every_host_has(path: str, *, usual: bool) -> None:
    assert is_usual(path) is usual
