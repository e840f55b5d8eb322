"""Release matching as a table; tests/system merges the same rows with the real systemd-sysext."""

from __future__ import annotations

import pytest

from reconciler.model.fit.assignments import read_assignments
from reconciler.model.fit.release import Host, misfit, parse_architecture
from tests.model.fit.release_table import DEBIAN, FITS, MISFITS, Row


@pytest.mark.parametrize("row", FITS, ids=lambda row: row.title)
def test_fits(row: Row) -> None:
    assert misfit(row.release, row.host) is None


@pytest.mark.parametrize("row", MISFITS, ids=lambda row: row.title)
def test_does_not_fit_and_says_why(row: Row) -> None:
    found = misfit(row.release, row.host)
    assert found is not None
    assert row.because in found.reason


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ID=debian\n", {"ID": "debian"}),
        ("ID=\"debian\"\nVERSION_ID='12'", {"ID": "debian", "VERSION_ID": "12"}),
        ("# ID=no\n\n ID=_any ", {"ID": "_any"}),
        ("garbage\n=x\nID=", {"ID": ""}),
        ("ID=_any\nNAME=caf\ufffd", {}),
        ('SYSEXT_SCOPE="initrd system"', {"SYSEXT_SCOPE": "initrd system"}),
    ],
)
def test_read_assignments(text: str, expected: dict[str, str]) -> None:
    assert read_assignments(text) == expected


@pytest.mark.parametrize(
    ("machine", "architecture"), [("x86_64", "x86-64"), ("aarch64", "arm64"), ("riscv64", "riscv64"), ("vax", "vax")]
)
def test_architectures_are_called_as_systemd_calls_them(machine: str, architecture: str) -> None:
    assert Host(DEBIAN, machine, 252).architecture == architecture


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x86-64", "x86-64"),
        ("x86_64", "x86-64"),
        ("amd64", "x86-64"),
        ("aarch64", "arm64"),
        ("386", "x86"),
        ("armhf", "arm"),
        ("ppc64le", "ppc64-le"),
        ("riscv64", "riscv64"),
    ],
)
def test_an_architecture_is_understood_in_anybodys_words(text: str, expected: str) -> None:
    assert parse_architecture(text) == expected


@pytest.mark.parametrize("text", ["pdp11", "", "_any", "X86-64"])
def test_what_is_no_architecture(text: str) -> None:
    with pytest.raises(ValueError, match="is no architecture; known are arm, "):
        parse_architecture(text)


@pytest.mark.parametrize(
    ("scope", "reason"),
    [
        ("initrd", None),
        ("initrd system", None),
        ("system", "SYSEXT_SCOPE=system does not contain initrd"),
        (None, "the release file has no SYSEXT_SCOPE, so it is for no initrd"),
    ],
)
def test_an_initrd_takes_what_is_for_it(scope: str | None, reason: str | None) -> None:
    """Tried with systemd 252 and 257 (SYSTEMD_IN_INITRD) and 262 (with /etc/initrd-release)."""
    release = {"ID": "_any"} | ({"SYSEXT_SCOPE": scope} if scope else {})
    found = misfit(release, Host(DEBIAN, "x86_64", 257, scope="initrd"))
    assert (found and found.reason) == reason
