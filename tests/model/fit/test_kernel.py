"""Kernel constraints, with the releases that distributions give their kernels."""

from __future__ import annotations

import pytest

from reconciler.model.fit.kernel import kernel_version, misfit, parse_constraint


@pytest.mark.parametrize(
    ("constraint", "release", "fits"),
    [
        (">=6.1", "6.1.0-25-amd64", True),
        (">=6.1", "6.12.38+deb13-amd64", True),
        (">=6.1", "5.15.0-91-generic", False),
        (">=6.10", "6.9.7", False),
        (">=6.1,<6.12", "6.12.0", False),
        (">=6.1,<6.12", "6.12.0-rc3", False),
        (">=6.8", "6.8.0-rc3+", False),
        (">=6.8.0-rc1", "6.8.0-rc3+", True),
        ("6.1", "6.1.99-talos", True),
        ("!=6.6.*", "6.6.54", False),
        (">=5.14", "5.14.0-427.13.1.el9_4.x86_64", True),
        (">=6", "6.1.0", True),
        ("^6", "7.0.1-arch1-1", False),
        (">=5.14.1", "5.14.0-427.13.1.el9_4.x86_64", False),
        (">=6", "unknown", False),
        (">=6", "", True),  # not known: another root
    ],
)
def test_a_kernel_fits_or_not(constraint: str, release: str, *, fits: bool) -> None:
    error = misfit(parse_constraint(constraint), release)
    assert (error is None) == fits
    if error:
        assert error.message == f"takes a kernel {constraint}, and this host has {release}"


@pytest.mark.parametrize(
    ("text", "words"), [("6.1,-amd64", "only the numbers"), (">=six", "no version"), ("", "range")]
)
def test_what_is_no_constraint_is_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_constraint(text)


def test_the_version_of_a_release() -> None:
    assert str(kernel_version("6.8.0-rc3+")) == "6.8.0rc3"
    assert str(kernel_version("6.1.0-25-amd64")) == "6.1.0"
    assert kernel_version("unknown") is None
