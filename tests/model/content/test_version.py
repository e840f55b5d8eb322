"""Which tag of a repository a range of versions picks, as tables."""

from __future__ import annotations

from itertools import permutations
from random import Random
from typing import TYPE_CHECKING

import pytest

from reconciler.errors import Invalid
from reconciler.model.content.tag import read_file_version
from reconciler.model.content.version import parse_range

if TYPE_CHECKING:
    from collections.abc import Sequence

# The tags of one repository each.
PLAIN = ("0.0.3", "0.0.4", "0.2.3", "0.2.9", "0.3.0", "1.2.0", "1.2.3", "1.2.10", "1.3.0", "2.0.0", "latest", "main")
WITH_V = ("v1.28.4", "v1.29.0", "v1.29.9", "v1.29.10", "v1.30.0", "sha-1.29.11", "v1.29", "nightly")
PRE = ("1.29.0", "1.30.0-alpha.2", "1.30.0-rc1", "1.30.0-rc2", "1.30.1-rc1", "1.31.0-beta.1", "1.31.0-dev")
BUILDS = ("v1.29.3-k3s1", "v1.29.3-k3s2", "v1.29.3-k3s10", "v1.29.4-rc1-k3s1", "1.29.3-amd64", "v1.28.1", "v1.28.2-1")
DATES = ("24.04", "24.10", "20240101", "20240215", "1234567", "7-amd64")
SPELLINGS = ("v1.29.0", "1.29.0", "v1.29", "1.29", "1.29.00")


@pytest.mark.parametrize(
    ("tags", "text", "picked"),
    [
        (PLAIN, ">=1.2,<1.3", "1.2.10"),
        (PLAIN, " >= 1.2 , < 1.3 ", "1.2.10"),
        (PLAIN, "<1.3,>=1.2", "1.2.10"),
        (PLAIN, ">=v1.2,<V1.3", "1.2.10"),
        (PLAIN, ">1.2.3,<=1.2.10", "1.2.10"),
        (PLAIN, ">1.2.10,<1.3", None),
        (PLAIN, ">1.2,<1.2.4", "1.2.3"),
        (PLAIN, "<=1.2", "1.2.0"),
        (PLAIN, "<1.2.10", "1.2.3"),
        (PLAIN, "==1.2.3", "1.2.3"),
        (PLAIN, "=1.2.3", "1.2.3"),
        (PLAIN, "==1.2", "1.2.0"),
        (PLAIN, "==1.2.4", None),
        (PLAIN, ">=1.2,!=2.0,!=1.3.0", "1.2.10"),
        (PLAIN, "!=2.*", "1.3.0"),
        (PLAIN, "1.2", "1.2.10"),
        (PLAIN, "1", "1.3.0"),
        (PLAIN, "1.2.3", "1.2.3"),
        (PLAIN, "1.2.*", "1.2.10"),
        (PLAIN, "1.2.x", "1.2.10"),
        (PLAIN, "==1.2.*", "1.2.10"),
        (PLAIN, "1.*", "1.3.0"),
        (PLAIN, "*", "2.0.0"),
        (PLAIN, "~=1.2", "1.3.0"),
        (PLAIN, "~=1.2.3", "1.2.10"),
        (PLAIN, "~1", "1.3.0"),
        (PLAIN, "~1.2", "1.2.10"),
        (PLAIN, "~1.2.3", "1.2.10"),
        (PLAIN, "^1.2.3", "1.3.0"),
        (PLAIN, "^1", "1.3.0"),
        (PLAIN, "^0.2.3", "0.2.9"),
        (PLAIN, "^0.2", "0.2.9"),
        (PLAIN, "^0.0.3", "0.0.3"),
        (PLAIN, "^0.0", "0.0.4"),
        (PLAIN, "^0", "0.3.0"),
        (PLAIN, ">=2,<1", None),
        (WITH_V, ">=1.29,<1.30", "v1.29.10"),
        (WITH_V, "v1.29.*", "v1.29.10"),
        (WITH_V, "==1.29", "v1.29.0"),
        # Pre-releases
        (PRE, ">=1.29", "1.29.0"),
        (PRE, "*", "1.29.0"),
        (PRE, ">=1.29,<1.30", "1.29.0"),
        (PRE, ">=1.30.0-alpha", "1.30.0-rc2"),
        (PRE, ">=1.30-rc1", "1.30.0-rc2"),
        (PRE, ">1.30.0-rc2", None),
        (PRE, "<=1.30.0-rc1", "1.30.0-rc1"),
        (PRE, "<1.30.0-rc2", "1.29.0"),
        (PRE, ">=1.30.0-alpha,<1.30.0-rc2", "1.30.0-rc1"),
        (PRE, "1.30.0-rc1", "1.30.0-rc1"),
        (PRE, "==1.30.0-rc.1", "1.30.0-rc1"),
        (PRE, ">=1.29,!=1.30.0-rc2", "1.29.0"),
        (PRE, "^1.31.0-dev", "1.31.0-beta.1"),
        (PRE, "~=1.30.1-rc1", "1.30.1-rc1"),
        (PRE, ">=1.31.0-dev,<1.31.0-dev5", "1.31.0-dev"),
        # Suffixes
        (BUILDS, ">=1.28", "v1.28.1"),
        (BUILDS, ">=1.28,-k3s*", "v1.29.3-k3s10"),
        (BUILDS, "-k3s*", "v1.29.3-k3s10"),
        (BUILDS, "1.29.3,-k3s2", "v1.29.3-k3s2"),
        (BUILDS, "1.29.3,-k3s?", "v1.29.3-k3s2"),
        (BUILDS, ">=1.28,-K3S*", None),
        (BUILDS, ">1.29.3,-k3s*", None),
        (BUILDS, ">=1.29.4-rc1,-k3s*", "v1.29.4-rc1-k3s1"),
        (BUILDS, "1.28,-1", "v1.28.2-1"),
        (BUILDS, "1.28,-*", "v1.28.2-1"),
        (("1.2.3", "1.2.2-x"), "*,-*", "1.2.2-x"),
        (("1.2.3-Final", "1.2.4-final"), "-F*", "1.2.3-Final"),
        # Numbers without a dot
        (DATES, ">=24.04", "24.10"),
        (DATES, "*", "24.10"),
        (DATES, ">=20240101", "20240215"),
        (DATES, "24", "24.10"),
        (DATES, "7,-amd64", "7-amd64"),
        # One version in several spellings
        (SPELLINGS, "1.29", "1.29.00"),
        (SPELLINGS[:4], "1.29", "1.29.0"),
        (SPELLINGS[2:4], "1.29", "1.29"),
        (("v1.2.3", "1.2.3"), "*", "1.2.3"),
        (("1.2.3-rc1", "1.2.3-RC1", "1.2.3rc1"), "1.2.3-rc1", "1.2.3rc1"),
        ((), "*", None),
    ],
)
def test_picks(tags: Sequence[str], text: str, picked: str | None) -> None:
    wanted = parse_range(text)
    assert wanted.highest(tags) == picked
    assert wanted.highest(reversed(tags)) == picked


@pytest.mark.parametrize("tags", [SPELLINGS, ("1.2-rc1", "1.2-RC1", "v1.2rc1", "1.2.0-rc.1", "1.2-k3s1")])
def test_the_order_of_the_list_is_of_no_account(tags: Sequence[str]) -> None:
    for text in ("*", ">=1.2-rc1", "-k3s*"):
        assert len({parse_range(text).highest(order) for order in permutations(tags)}) == 1


def test_all_prereleases_on_demand() -> None:
    assert parse_range(">=1.29", prereleases=True).highest(PRE) == "1.31.0-beta.1"
    assert parse_range(">=1.29,<1.30", prereleases=True).highest(PRE) == "1.29.0"
    assert parse_range("1.30", prereleases=True).highest(PRE) == "1.30.1-rc1"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "comparisons with commas"),
        (" ", "comparisons with commas"),
        (">=1.29,", "comparisons with commas"),
        (">=1.29 <1.30", "commas between them"),
        ("1.2 - 1.3", "commas between them"),
        (">=1.29\n<1.30", "commas between them"),
        (">=1.29 || 2", "commas between them"),
        ("latest", "'latest' is no version"),
        (">=", "'' is no version"),
        ("1||2", "is no version"),
        ("1!2.3", "is no version"),
        ("=>1.29", "=> is no comparison; known are"),
        ("~>1.29", "~> is no comparison"),
        ("===1.29", "=== is no comparison"),
        ("~=1", "~= needs two numbers"),
        (">=1.29.*", r"a \* does not go with >="),
        ("^*", r"a \* does not go with \^"),
        ("!=*", r"a \* does not go with !="),
        ("1.30-rc1.*", "not behind a pre-release"),
        ("==1.29.3-k3s1", r"has the suffix -k3s1, which is a part of its own: ==1\.29\.3,-k3s1"),
        ("1.29.3+k3s1", "has the suffix -k3s1"),
        ("-", "is no suffix"),
        ("-a b", "is no suffix"),
        ("-[a-z]", "is no suffix"),
        ("1.29,-k3s1,-k3s2", "one suffix at most"),
    ],
)
def test_what_is_no_range_is_refused_with_the_reason(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_range(text)


@pytest.mark.parametrize(
    "text", ["v1.32.2+k3s1", "5+29.4.2-1~debian.13", "2:1.0-3", "1.0~rc1-2", "1.30.0-rc1+build.5", "7-1ubuntu2"]
)
def test_a_version_as_a_file_is_called_is_taken_once_its_hint_is_followed(text: str) -> None:
    version = read_file_version(text)
    assert version
    with pytest.raises(ValueError, match="which is a part of its own: ") as caught:
        parse_range(text)
    assert parse_range(str(caught.value).rpartition(": ")[2]).best([version]) == version


@pytest.mark.parametrize(
    ("tags", "text", "message", "hint"),
    [
        (("v1.28.4", "v1.27.0", "main"), ">=1.29, <1.30", "no tag of h/x fits >=1.29,<1.30; the highest is v1.28.4",
         "change version:"),
        (("1.28.4", "1.31.0-rc1", "1.32-arm64", "20240101"), "1.29", "the highest is 1.28.4", "change version:"),
        (("1.31.0-rc1",), "1.29", "the highest is 1.31.0-rc1", "change version:"),
        (("8.1", "9"), "7", "the highest is 9", "change version:"),
        (("latest", "sha-abc"), "1.29", "no tag of h/x is a version", "name a tag in source:"),
        ((), "1.29", "no tag of h/x is a version", "name a tag in source:"),
        (BUILDS, "1.29", "v1.29.4-rc1-k3s1 would, but has the suffix -k3s1", "to have it: 1.29,-k3s1"),
        (BUILDS, "1.29,-k3s*,!=1.29.3", "v1.29.4-rc1-k3s1 would, but is a pre-release", "name a pre-release"),
        (BUILDS, "1.28,-k3s*", "v1.28.2-1 would, but does not end in -k3s*", "change the suffix"),
        (("1.29.0-rc1", "20240101"), ">=1.29", "1.29.0-rc1", "change version:"),
        (("1.30.0-rc1", "20240101"), ">=1.29", "1.30.0-rc1 would, but is a pre-release", "such as >=1.30.0-rc1"),
        (("20240101", "latest"), ">=1.29", "20240101 would, but is one number without a dot", ">=20240101"),
    ],
)  # fmt: skip
def test_a_miss_is_explained(tags: Sequence[str], text: str, message: str, hint: str) -> None:
    wanted = parse_range(text)
    assert wanted.highest(tags) is None
    miss = wanted.miss("h/x", tags)
    assert isinstance(miss, Invalid)
    assert message in miss.message
    assert hint in (miss.hint or "")


def test_a_long_list() -> None:
    tags = [f"v1.{number % 40}.{number}" for number in range(20_000)] + ["x" * 10_000, "\x00", "1" * 5_000]
    Random(0).shuffle(tags)  # noqa: S311 - only to mix
    assert parse_range(">=1.29,<1.30").highest(tags) == "v1.29.19989"
