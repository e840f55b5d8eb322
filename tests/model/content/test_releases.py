"""Which file of a directory of releases is taken."""

from __future__ import annotations

import random
import time

import pytest

from reconciler.errors import Invalid
from reconciler.model.content.filepattern import parse_pattern
from reconciler.model.content.ociread import Platform
from reconciler.model.content.releases import Choice, choose, none_fits, releases_in
from reconciler.model.content.version import parse_range

AMD64 = Platform("linux", "amd64")


def _chosen(names: list[str], span: str = "*", *patterns: str, prereleases: bool = False) -> Choice:
    read = [parse_pattern(it) for it in patterns or ("x-@v-%a.raw",)]
    return choose(releases_in(names, read, AMD64), parse_range(span, prereleases=prereleases), "https://h/d/")


def _files(*versions: str) -> list[str]:
    return [f"x-{it}-x86-64.raw" for it in versions]


@pytest.mark.parametrize(
    ("versions", "span", "taken"),
    [
        (("v1.31.1", "v1.31.10", "v1.31.9", "v1.32.0"), ">=1.31,<1.32", "v1.31.10"),
        (("v1.31.1", "v1.32.0"), "*", "v1.32.0"),
        (("v1.32.2+k3s1", "v1.32.2+k3s2", "v1.32.1+k3s9"), "*", "v1.32.2+k3s2"),
        (("v1.32.2+k3s1", "v1.32.2+k3s2", "v1.32.2+rke2r1"), "1.32,-k3s*", "v1.32.2+k3s2"),
        (("v1.32.0", "v1.33.0-rc1", "v1.33.0-rc1+k3s1", "v1.33.0~beta2"), "*", "v1.32.0"),
        (("v1.32.0", "v1.33.0-rc.1", "v1.33.0-rc.2"), ">=1.33.0-rc.1", "v1.33.0-rc.2"),
        (("257", "258~rc1", "257.4"), "*", "257.4"),
        (("257", "258~devel"), ">=257", "257"),
        (("20250115121314", "20250601000000"), "*", "20250601000000"),
        (("5+28.0.1-1~debian.13", "5+29.4.2-1~debian.13", "5+29.4.10-1~debian.13"), "*", "5+29.4.10-1~debian.13"),
        (("5+29.4.2-1~debian.13", "5+29.4.2-2~debian.13"), "29.4", "5+29.4.2-2~debian.13"),
        (("5+1.0-1", "28.0.1-1"), "*", "5+1.0-1"),
        (("5+1.0-1", "28.0.1-1"), ">=28", "28.0.1-1"),
        (("5+1.0-1", "6+0.1-1"), ">=5:2", "6+0.1-1"),
        (("5+1.0-1", "6+0.1-1"), "<6:0", "5+1.0-1"),
        (("5+1.0-1", "6+0.1-1"), "5+1.0", "5+1.0-1"),
        (("5+1.0-1", "6+0.1-1"), "!=6:0.1", "5+1.0-1"),
        (("2:9.1.0-1", "2:9.0.9"), "*", "2:9.1.0-1"),
        (("9.8p1", "9.9p2", "latest", "new-1.0"), "*", "9.9p2"),
    ],
)
def test_the_newest_that_fits_is_taken(versions: tuple[str, ...], span: str, taken: str) -> None:
    names = _files(*versions)
    random.shuffle(names)
    chosen = _chosen(names, span)
    assert (chosen.file, chosen.version) == (f"x-{taken}-x86-64.raw", taken)


def test_release_candidates_are_taken_when_asked_for() -> None:
    names = _files("1.32.0", "1.33.0~rc2", "1.33.0-rc1")
    assert _chosen(names, prereleases=True).version == "1.33.0~rc2"
    told = _chosen(names)
    assert (told.version, told.count, told.newer, told.why_not) == ("1.32.0", 3, "1.33.0~rc2", "is a pre-release")
    assert told.words == "1.32.0, of 3 versions; 1.33.0~rc2 is a pre-release"
    assert _chosen(names, "<1.33").words == "1.32.0, of 3 versions; 1.33.0~rc2 is not in <1.33"
    assert _chosen(_files("1.0")).words == "1.0, of 1 version"


def test_of_one_version_the_first_pattern_counts_then_systemds_spelling() -> None:
    names = ["x-1.2-amd64.raw", "x-1.2-x86-64.raw", "x-1.2-x86_64.raw", "x-1.2-x86-64.raw.xz"]
    patterns = ["x-@v-%a.raw.xz", "x-@v-%a.raw"]
    assert _chosen(names, "*", *patterns).file == "x-1.2-x86-64.raw.xz"
    assert _chosen(names, "*", *reversed(patterns)).file == "x-1.2-x86-64.raw"
    assert _chosen([*names, "x-1.3-amd64.raw"], "*", *patterns).file == "x-1.3-amd64.raw"


def test_a_file_that_two_patterns_read_differently_is_refused() -> None:
    with pytest.raises(Invalid, match=r"its version is 1.2 by x-@v-f42.raw and 1.2-f42 by x-@v.raw") as caught:
        _chosen(["x-1.2-f42.raw"], "*", "x-@v.raw", "x-@v-f42.raw")
    assert caught.value.code == "source.pattern"


@pytest.mark.parametrize("name", ["x-1.2-x86-64.raw", "x-1.2-arm64.raw", "x-1.2_amd64.raw"])
def test_an_architecture_that_a_pattern_forgets_is_missed(name: str) -> None:
    with pytest.raises(Invalid, match="the version ends with an architecture") as caught:
        _chosen([name], "*", "x-@v.raw")
    assert caught.value.hint == "write %a in match: where the architecture stands"


def test_where_nothing_fits_it_is_said_what_there_is() -> None:
    patterns = [parse_pattern("x-@v-%a.raw"), parse_pattern("x-@v-%a.tar")]
    told = none_fits(["x-1.2-arm64.raw", "x-2-riscv64.tar", "y-1.2-x86-64.raw"], patterns, AMD64, "https://h/d/")
    assert told.message == (
        "none of the 3 files of https://h/d/ is called x-@v-%a.raw or x-@v-%a.tar for linux/amd64; "
        "there are such for arm64, riscv64"
    )
    assert told.code == "platform.mismatch"
    told = none_fits(["y-1.2-x86-64.raw"], patterns, AMD64, "https://h/d/")
    assert (told.code, told.hint) == (
        "source.no-version",
        "compare match: with the names there: livelayer catalog list https://h/d/",
    )
    with pytest.raises(Invalid, match=r"no version in https://h/d/ fits >=2; the highest is 1.2"):
        _chosen(_files("1.2"), ">=2")
    with pytest.raises(Invalid, match=r"no version in https://h/d/ fits \*; 1.2-rc1 would, but is a pre-release"):
        _chosen(_files("1.2-rc1"))


def test_thousands_of_versions_are_no_trouble() -> None:
    names = [
        f"x-v{a}.{b}.{c}+k3s1-{arch}.raw"
        for a in range(4)
        for b in range(25)
        for c in range(50)
        for arch in ("x86-64", "arm64")
    ]
    began = time.process_time()
    assert _chosen([*names, *(f"{'9' * 200}-{it}" for it in range(2000))], "<2").version == "v1.24.49+k3s1"
    assert time.process_time() - began < 5
