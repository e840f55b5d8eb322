"""What an extension's content asks of a running system."""

from __future__ import annotations

from reconciler.model.facts.needs import RELOAD_UNITS, RESTART_UNITS, Chore, declared, needs_of

UNITS = "usr/lib/systemd/system"
ODD = ("*.service", "?.timer", "[a-z].service", "--host=h.service", "a b.service", "a\n.service", "x.service/y")


def test_only_names_of_units_are_units() -> None:
    assert needs_of([*(f"{UNITS}/{it}" for it in ODD), f"{UNITS}/a.service"], {}).units == ("a.service",)


def test_a_release_file_names_units_and_nothing_else() -> None:
    for key in (RESTART_UNITS, RELOAD_UNITS):
        release = {key: " ".join(("a.service", "-H.service", "--now", "*", "../x.service", *ODD, "b@1.socket"))}
        assert declared(release, key) == ("a.service", "b.service", "b@1.socket")


def test_names_of_files_are_no_paths() -> None:
    """They are given to systemd-tmpfiles behind `--`, which takes what has a slash for a path."""
    needs = needs_of(["usr/lib/tmpfiles.d/-x.conf", "usr/lib/tmpfiles.d/a/b.conf", "usr/lib/tmpfiles.d/a.conf"], {})
    assert needs.chores == {Chore.TMPFILES}
    assert needs.tmpfiles == ("-x.conf", "a.conf")
