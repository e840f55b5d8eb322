"""What a unit's environment says of the hierarchies that it merges."""

from __future__ import annotations

import pytest

from reconciler.model.fit.hierarchies import assigned, default_hierarchies, parse_hierarchies, variable_of
from reconciler.model.kind import Kind

VARIABLE = variable_of(Kind.SYSEXT)


@pytest.mark.parametrize(
    ("text", "hierarchies"),
    [
        ("/usr/bin:/srv/", ("/usr/bin", "/srv")),
        ("/usr", ("/usr",)),
        ("", None),
        (None, None),
        ("usr:/opt", None),
        ("/usr//bin", None),
        ("/", None),
    ],
)
def test_what_systemd_takes(text: str | None, hierarchies: tuple[str, ...] | None) -> None:
    assert parse_hierarchies(text) == hierarchies


@pytest.mark.parametrize(
    ("unit", "value"),
    [
        ('[Service]\nEnvironment="SYSTEMD_SYSEXT_HIERARCHIES=/usr/bin:/srv"\n', "/usr/bin:/srv"),
        ("Environment=A=b SYSTEMD_SYSEXT_HIERARCHIES=/srv 'C=d'", "/srv"),
        ("Environment=A=b \\\n  SYSTEMD_SYSEXT_HIERARCHIES=/srv", "/srv"),
        (" Environment = 'SYSTEMD_SYSEXT_HIERARCHIES=/srv'", "/srv"),
        ("Environment=SYSTEMD_SYSEXT_HIERARCHIES=/a\nEnvironment=SYSTEMD_SYSEXT_HIERARCHIES=/b", "/b"),
        ("Environment=SYSTEMD_SYSEXT_HIERARCHIES=/a\nEnvironment=", None),
        ("Environment=X_SYSTEMD_SYSEXT_HIERARCHIES=/a", "/before"),
        ("#Environment=SYSTEMD_SYSEXT_HIERARCHIES=/a", "/before"),
        ("PassEnvironment=SYSTEMD_SYSEXT_HIERARCHIES=/a", "/before"),
    ],
)
def test_the_last_assignment_counts(unit: str, value: str | None) -> None:
    assert assigned(unit, VARIABLE, "/before") == value


def test_systemds_own() -> None:
    assert [default_hierarchies(kind) for kind in Kind] == [("/usr", "/opt"), ("/etc",)]
