"""What would start the units of an extension."""

from __future__ import annotations

import pytest

from reconciler.model.facts.unitfiles import parse_unit, units
from tests.model.lint.extensions import UNITS, UPHOLDS, extension, file, link

SERVICE = file("[Service]\nExecStart=/usr/bin/x\n")
TARGET = "multi-user.target"


def test_settings() -> None:
    text = "[Unit]\n# Wants=no\nWants=a.service b.service\nWants= \\\nc.service\nAfter=x\nAfter=\nnonsense\n"
    assert parse_unit(text) == {"Wants": ["a.service", "b.service", "c.service"], "After": []}


@pytest.mark.parametrize(
    ("path", "content", "words"),
    [
        (UPHOLDS, file("[Unit]\nUpholds=y.service\n"), f"Upholds= in {TARGET}.d/10-x.conf"),
        (f"{UNITS}/{TARGET}.upholds/y.service", link("../y.service"), f"a link in {TARGET}.upholds"),
        (f"{UNITS}/y.timer", file("[Timer]\nOnBootSec=1\n"), "triggered by y.timer"),
        (f"{UNITS}/z.path", file("[Path]\nUnit=y.service\n"), "triggered by z.path"),
        (f"{UNITS}/z.socket", file("[Socket]\nService=y.service\n"), "triggered by z.socket"),
        (f"{UNITS}/x.service", file("[Unit]\nWants=y.service\n"), "Wants= in x.service"),
        (f"{UNITS}/x.service.wants/y.service", link("../y.service"), "a link in x.service.wants"),
        (
            "usr/share/dbus-1/system-services/org.y.service",
            file("[D-BUS Service]\nSystemdService=y.service\n"),
            "called over D-Bus by org.y.service",
        ),
    ],
)
def test_what_starts_a_unit(path: str, content: object, words: str) -> None:
    facts = extension({f"{UNITS}/y.service": SERVICE, path: content})  # type: ignore[dict-item]
    (unit,) = [unit for unit in units(facts) if unit.name == "y.service"]
    assert unit.starts == (words,)
    assert unit.pulls == ()


@pytest.mark.parametrize(
    ("path", "content", "words"),
    [
        (f"{UNITS}/{TARGET}.wants/y.service", link("../y.service"), f"a link in {TARGET}.wants"),
        (f"{UNITS}/{TARGET}.d/y.conf", file("[Unit]\nRequires=y.service\n"), f"Requires= in {TARGET}.d/y.conf"),
    ],
)
def test_what_a_target_pulls_in_does_not_start_at_boot(path: str, content: object, words: str) -> None:
    facts = extension({f"{UNITS}/y.service": SERVICE, path: content})  # type: ignore[dict-item]
    (unit,) = [unit for unit in units(facts) if unit.name == "y.service"]
    assert unit.starts == ()
    assert unit.pulls == (words,)


def test_instances_start_templates() -> None:
    upholds = file("[Unit]\nUpholds=y@one.service\n")
    facts = extension({f"{UNITS}/y@.service": SERVICE, UPHOLDS: upholds})
    (unit,) = [unit for unit in units(facts) if unit.name == "y@.service"]
    assert unit.starts


def test_aliases_and_directories_are_no_units() -> None:
    facts = extension({f"{UNITS}/alias.service": link("x.service"), f"{UNITS}/x.service.d/y.conf": file("")})
    assert [unit.name for unit in units(facts)] == ["x.service"]
