"""Patterns for names of files: what they read, and what is none."""

from __future__ import annotations

import pytest

from reconciler.model.content.filepattern import Fit, architecture_in, in_placeholders, parse_pattern
from reconciler.model.content.ociread import Platform, platform_of

AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")


@pytest.mark.parametrize(
    ("pattern", "name", "version"),
    [
        ("kubernetes-@v-%a.raw", "kubernetes-v1.31.1-x86-64.raw", "v1.31.1"),
        ("kubernetes-@v-%a.raw", "kubernetes-v1.31.1-rc.1-x86-64.raw", "v1.31.1-rc.1"),
        ("kubernetes-v1.31.@v-%a.raw", "kubernetes-v1.31.7-x86-64.raw", "7"),
        ("k3s-@v-%a.raw", "k3s-v1.32.2+k3s1-x86-64.raw", "v1.32.2+k3s1"),
        ("docker-ce-@v-%a.raw", "docker-ce-5+29.4.2-1~debian.13-x86-64.raw", "5+29.4.2-1~debian.13"),
        ("x_@v_@u.raw", "x_1.2_0d5a0e8a-2f2b-4f6e-9a77-6a1d8b1c2d3e.raw", "1.2"),
        ("x_@v+@l-@d.raw.xz", "x_1.2+3-0.raw.xz", "1.2"),
        ("x_@v.@h.raw", f"x_1.2.{'0' * 64}.raw", "1.2"),
        ("100%%_@v@@.raw", "100%_7@.raw", "7"),
        ("x.@v[1]*.raw", "x.7[1]*.raw", "7"),
        ("@v", "1.2", "1.2"),
        ("x-@v.raw", "x-1.2.raw.xz", None),
        ("x-@v.raw", "y-1.2.raw", None),
        ("x-@v.raw", "x-.raw", None),
        ("x-@v.raw", "x-1/2.raw", None),
        ("x-@v.raw", "x-1\n2.raw", None),
        ("x-@v.raw", "x-1 2.raw", None),
        ("x-@v.raw", f"x-{'1' * 255}.raw", None),
        ("x-@v-%a.raw", "x-1.2-arm64.raw", None),
        ("x-@v-%a.raw", "x-1.2-x86.raw", None),
    ],
)
def test_a_pattern_reads_a_version_from_a_name(pattern: str, name: str, version: str | None) -> None:
    fit = parse_pattern(pattern).fit(name, AMD64)
    assert (fit.version if fit else None) == version


@pytest.mark.parametrize(
    ("machine", "spelling", "rank"),
    [
        ("x86_64", "x86-64", 0),
        ("x86_64", "x86_64", 1),
        ("x86_64", "amd64", 2),
        ("aarch64", "arm64", 0),
        ("aarch64", "aarch64", 1),
        ("armv7l", "armhf", 1),
        ("ppc64le", "ppc64-le", 0),
        ("loongarch64", "loongarch64", 0),
        ("riscv64", "riscv64", 0),
        ("s390x", "s390x", 0),
        ("m68k", "m68k", 0),
    ],
)
def test_architectures_are_known_by_all_their_names(machine: str, spelling: str, rank: int) -> None:
    assert parse_pattern("x-@v-%a.raw").fit(f"x-1.2-{spelling}.raw", platform_of(machine)) == Fit("1.2", rank)
    if machine != "aarch64":
        assert parse_pattern("x-@v-%a.raw").fit(f"x-1.2-{spelling}.raw", ARM64) is None


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("kubernetes.raw", "has no @v"),
        ("", "has no @v"),
        ("@@v.raw", "has no @v"),
        ("dir/x-@v.raw", "without a directory"),
        ("x-@v\n", "control characters"),
        ("x-@v-@v", "has @v twice"),
        ("x-@v-%a-%a", "has %a twice"),
        ("x-@v@d.raw", "nothing says where one @ ends"),
        ("x-@v-@x.raw", "@x means nothing here; known are @a, @d"),
        ("x-@v-%q.raw", "%q means nothing here; known are %A, %B, %M, %W, %a, %o, %w; %% is the sign itself"),
        ("x-@v-@", "@ means nothing here"),
    ],
)
def test_what_is_no_pattern_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse_pattern(text)


def test_systemds_specifiers_are_placeholders() -> None:
    assert in_placeholders("x-@v-%w-%a-%o%%w%A.raw") == "x-@v-{VERSION_ID}-%a-{ID}%%w{IMAGE_VERSION}.raw"


@pytest.mark.parametrize("name", ["1.2-x86-64", "1.2_arm64", "1.2-rc1-amd64", "1-x86"])
def test_an_architecture_in_a_version_is_found(name: str) -> None:
    assert architecture_in(name)
    assert architecture_in(f"{name}1") is None
