"""Which directories the state can be in."""

from __future__ import annotations

import pytest

from reconciler.model.config.statedir import check_state_dir


@pytest.mark.parametrize("text", ["/data/livelayer", "/var/lib/livelayer", "/var/lib/kairos/livelayer", "/srv/a/b"])
def test_a_directory_of_its_own_on_a_disk(text: str) -> None:
    assert check_state_dir(text) == text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "absolute path"),
        ("data", "absolute path"),
        ("/data/", "absolute path"),
        ("//data/x", "absolute path"),
        ("/data/../x", "absolute path"),
        ("/data/\n/x", "control characters"),
        ("/", "a directory of its own"),
        ("/usr/local/livelayer", "extensions are merged"),
        ("/run/livelayer", "which a boot empties"),
        ("/tmp", "which a boot empties"),
        ("/var/lib/extensions", "systemd would merge"),
        ("/var/lib/extensions/livelayer", "systemd would merge"),
        ("/var/lib", "systemd would merge"),
        ("/var/lib/kairos/extensions/x", "systemd would merge"),
        ("/var/lib/kairos", "systemd would merge"),
        ("/data", "a directory of its own"),
        ("/var/livelayer", "a directory of its own"),
    ],
)
def test_what_is_none(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        check_state_dir(text)
