"""Placeholders: what each stands for, what is refused, and what a hostile os-release cannot do."""

from __future__ import annotations

import pytest

from reconciler.errors import InvalidConfiguration
from reconciler.model.config.desired import DesiredState, Wanted, desired_state, for_host
from reconciler.model.config.merge import Fragment
from reconciler.model.config.placeholders import read_template
from reconciler.model.fit.release import Host

FIELDS = {"ID": "debian", "VERSION_ID": "12", "VERSION_CODENAME": "bookworm", "KAIROS_FLAVOR": "debian-slim"}
DEBIAN = Host(FIELDS, "x86_64", 252)


def _desired(**extension: object) -> DesiredState:
    return desired_state(Fragment({"extensions": {"a": extension}}))


def _on(host: Host, **extension: object) -> Wanted:
    (wanted,) = for_host(_desired(**extension), host).extensions
    return wanted


def _unresolved(host: Host, **extension: object) -> str:
    wanted = _on(host, **extension)
    assert wanted.unresolved
    return wanted.unresolved.message


@pytest.mark.parametrize(
    ("source", "argument"),
    [
        ("docker://registry/{ID}/x:{VERSION_ID}", "docker://registry/debian/x:12"),
        ("docker://registry/x:{VERSION_CODENAME}-{ARCH}", "docker://registry/x:bookworm-amd64"),
        ("docker://registry/x:{ARCHITECTURE}", "docker://registry/x:x86-64"),
        ("docker://registry/x:{MACHINE}", "docker://registry/x:x86_64"),
        ("docker://registry/x:{KAIROS_FLAVOR}", "docker://registry/x:debian-slim"),
        ("oci:/srv/{ID}:{VERSION_ID}", "oci:/srv/debian:12"),
        ("oci:/srv/{{ID}}", "oci:/srv/{ID}"),
        ("oci:/srv/{{{ID}}}", "oci:/srv/{debian}"),
    ],
)
def test_a_host_fills_them_in(source: str, argument: str) -> None:
    wanted = _on(DEBIAN, source=source)
    assert wanted.unresolved is None
    assert wanted.parts[0].source.argument() == argument
    assert wanted.text == argument


def test_urls_paths_and_ranges_are_filled_in_too() -> None:
    assert _on(DEBIAN, source="https://host/{VERSION_ID}/x.raw").parts[0].source.reference == "https://host/12/x.raw"
    assert _on(DEBIAN, source="file:///srv/{ID}.tar").parts[0].source.reference == "/srv/debian.tar"
    wanted = _on(DEBIAN, source="docker://registry/x", version=">=1.29,-{ID}{VERSION_ID}")
    assert wanted.parts[0].version
    assert wanted.parts[0].version.highest(["1.30.0-debian11", "1.29.1-debian12", "1.31.0"]) == "1.29.1-debian12"
    wanted = _on(DEBIAN, source="docker://registry/x", version="{VERSION_ID}.*")
    assert wanted.parts[0].version
    assert wanted.parts[0].version.highest(["11.9.0", "12.5.0", "13.0.0"]) == "12.5.0"


def test_each_host_has_its_own_and_what_has_none_stays() -> None:
    desired = _desired(source="docker://registry/x:{VERSION_ID}")
    trixie = Host({"ID": "debian", "VERSION_ID": "13"}, "aarch64", 257)
    found = [for_host(desired, host).extensions[0].parts[0].source.tag for host in (DEBIAN, trixie)]
    assert found == ["12", "13"]
    assert _on(trixie, source="docker://registry/x:{ARCH}").parts[0].source.tag == "arm64"
    plain = _desired(source="docker://registry/x:v1")
    assert for_host(plain, DEBIAN) is plain


def test_a_host_without_the_field_is_that_extensions_problem() -> None:
    assert "no VARIANT_ID" in _unresolved(DEBIAN, source="docker://registry/x:{VARIANT_ID}")
    assert "no VERSION_ID" in _unresolved(Host({}, "x86_64", 252), source="oci:/srv/{VERSION_ID}")
    assert _on(Host({}, "x86_64", 252), source="docker://registry/x:{ID}").parts[0].source.tag == "linux"


@pytest.mark.parametrize(
    "value", ["..", ".", "../../etc", "12/x", "12@sha256:0", "1 2", "12\n", "-v", "x:y", "{ID}", "?a", "a" * 129]
)
def test_a_value_that_is_no_word_gets_into_no_source(value: str) -> None:
    host = Host({"ID": "debian", "VERSION_ID": value}, "x86_64", 252)
    told = _unresolved(host, source="file:///srv/{VERSION_ID}/x.tar")
    assert "no plain word" in told
    assert told.isprintable()


def test_what_a_value_makes_of_a_source_is_read_as_if_it_had_been_written() -> None:
    host = Host({"ID": "debian", "VERSION_ID": "12+deb"}, "x86_64", 252)
    assert "is no image reference" in _unresolved(host, source="docker://registry/x:{VERSION_ID}")
    assert "is no version" in _unresolved(DEBIAN, source="docker://registry/x", version=">={VERSION_CODENAME}")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("docker://registry/x:{VERSIONID}", "did you mean {VERSION_ID}?"),
        ("docker://registry/x:{version_id}", "did you mean {VERSION_ID}?"),
        ("docker://registry/x:{SOMETHING}", "known are ID, VERSION_ID"),
        ("docker://registry/x:{VERSION_ID", "a brace itself is written {{"),
        ("docker://registry/x:VERSION_ID}", "a brace itself is written }}"),
        ("docker://registry/x:{}", "a brace itself is written {{"),
        ("docker://registry/x:{{VERSION_ID}}", "is no image reference"),
        ("{ID}://registry/x", "unknown scheme"),
    ],
)
def test_mistakes_are_found_whatever_the_host_is(text: str, words: str) -> None:
    with pytest.raises(InvalidConfiguration) as caught:
        _desired(source=text)
    assert words in caught.value.message


def test_the_rules_about_sources_hold_for_placeholders() -> None:
    with pytest.raises(InvalidConfiguration, match="chooses a tag"):
        _desired(source="docker://registry/x:{VERSION_ID}", version=">=1")
    with pytest.raises(InvalidConfiguration, match="needs a digest"):
        _desired(source="http://host/{ID}.tar")
    with pytest.raises(InvalidConfiguration, match="is no version"):
        _desired(source="docker://registry/x", version=">=x{ID}")


def test_each_of_several_sources_is_filled_in() -> None:
    wanted = _on(DEBIAN, source=["docker://registry/base:v1", "oci:/srv/{ID}:{VERSION_ID}"])
    assert [part.source.argument() for part in wanted.parts] == ["docker://registry/base:v1", "oci:/srv/debian:12"]
    assert wanted.text == "docker://registry/base:v1, oci:/srv/debian:12"
    assert "no VARIANT_ID" in _unresolved(DEBIAN, source=["oci:/srv/x", "oci:/srv/{VARIANT_ID}"])


def test_a_password_is_not_shown() -> None:
    (wanted,) = _desired(source="https://user:secret@host/{ID}.tar").extensions
    assert wanted.text == "https://***@host/{ID}.tar"
    assert _on(DEBIAN, source="https://user:secret@host/{ID}.tar").text == "https://***@host/debian.tar"


def test_a_text_is_read_with_a_one_for_each_placeholder() -> None:
    plain, template = read_template(str.upper, "docker://registry/x:v1"), read_template(str.upper, "x:{ID}")
    assert (plain.value, plain.is_open) == ("DOCKER://REGISTRY/X:V1", False)
    assert (template.value, template.is_open) == ("X:1", True)
    assert template.on(DEBIAN).value == "X:DEBIAN"
    assert plain.on(DEBIAN) is plain
