"""Where paths lead below a root, whatever the links say."""

from __future__ import annotations

import pytest

from reconciler.model.fit.symlinks import follow

LINKS = {"bin": "usr/bin", "etc/up": "../../../x", "usr/lib/own": "/opt/own", "a": "b", "b": "a", "last": "/bin/sh"}


@pytest.mark.parametrize(
    ("path", "leads_to"),
    [
        ("/", ""),
        ("/bin/./sh", "usr/bin/sh"),
        ("bin/../x", "usr/x"),
        ("/etc/up", "x"),
        ("/usr/lib/own//file", "opt/own/file"),
        ("/last", "usr/bin/sh"),
        ("/a/file", None),
    ],
)
def test_no_link_leads_out_of_the_root(path: str, leads_to: str | None) -> None:
    assert follow(path, LINKS.get) == leads_to
