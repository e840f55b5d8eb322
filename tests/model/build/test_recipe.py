"""Release files and drop-ins of extensions that are built."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from reconciler.errors import Invalid
from reconciler.model.build.recipe import (
    Needs,
    Recipe,
    release_of,
    target_platform,
    upholds,
)
from reconciler.model.fit.assignments import read_assignments
from reconciler.model.kind import ExtensionId, Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

X = Recipe(ExtensionId("x"))
DEBIAN = {"ID": "debian", "VERSION_ID": "12", "NAME": "Debian"}
STATIC = Needs(("x86-64",))
DYNAMIC = Needs(("x86-64",), "/usr/bin/x needs libc.so.6 of the host")
NOTHING: Mapping[str, str] = {}


@pytest.mark.parametrize(
    ("recipe", "needs", "basis", "expected"),
    [
        (X, Needs(), NOTHING, {"ID": "_any"}),
        (X, STATIC, NOTHING, {"ID": "_any", "ARCHITECTURE": "x86-64"}),
        (X, DYNAMIC, NOTHING, {"ID": "debian", "VERSION_ID": "12", "ARCHITECTURE": "x86-64"}),
        (X, DYNAMIC, {"ID": "_any"}, {"ID": "_any", "ARCHITECTURE": "x86-64"}),
        (X, STATIC, {"ID": "_any", "ARCHITECTURE": "x86-64", "SYSEXT_IMAGE_ID": "i"}, None),
        (
            replace(X, id="fedora", version_id="41"),
            DYNAMIC,
            NOTHING,
            {"ID": "fedora", "VERSION_ID": "41", "ARCHITECTURE": "x86-64"},
        ),
        (replace(X, id="_any"), Needs(), DEBIAN, {"ID": "_any", "VERSION_ID": "12", "NAME": "Debian"}),
        (replace(X, level="1.0"), Needs(), NOTHING, {"ID": "debian", "SYSEXT_LEVEL": "1.0"}),
        (replace(X, version_id="13"), Needs(), NOTHING, {"ID": "debian", "VERSION_ID": "13"}),
        (replace(X, architecture="_any"), STATIC, NOTHING, {"ID": "_any", "ARCHITECTURE": "_any"}),
        (replace(X, scope=("system", "initrd")), Needs(), NOTHING, {"ID": "_any", "SYSEXT_SCOPE": "system initrd"}),
        (X, Needs(has_units=True), NOTHING, {"ID": "_any", "EXTENSION_RELOAD_MANAGER": "1"}),
        (replace(X, reload_manager=False), Needs(has_units=True), NOTHING, {"ID": "_any"}),
        (replace(X, reload_manager=False), Needs(), {"ID": "_any", "EXTENSION_RELOAD_MANAGER": "1"}, {"ID": "_any"}),
        (replace(X, reload_manager=True), Needs(), NOTHING, {"ID": "_any", "EXTENSION_RELOAD_MANAGER": "1"}),
        (
            replace(X, restart=("a.service", "b.socket")),
            Needs(),
            NOTHING,
            {"ID": "_any", "EXTENSION_RESTART_UNITS": "a.service b.socket"},
        ),
        (X, Needs(("x86", "x86-64")), NOTHING, {"ID": "_any", "ARCHITECTURE": "x86-64"}),
    ],
)
def test_fields(recipe: Recipe, needs: Needs, basis: dict[str, str], expected: dict[str, str] | None) -> None:
    assert release_of(recipe, needs, basis, lambda: DEBIAN).fields == (basis if expected is None else expected)


def test_a_configuration_extension_has_words_of_its_own() -> None:
    recipe = Recipe(ExtensionId("x", Kind.CONFEXT), level="2", scope=("portable",))
    fields = release_of(recipe, Needs(), {}, lambda: DEBIAN).fields
    assert fields == {"ID": "debian", "CONFEXT_LEVEL": "2", "CONFEXT_SCOPE": "portable"}
    assert recipe.release_path == "etc/extension-release.d/extension-release.x"


def test_the_reason_is_told() -> None:
    assert release_of(X, DYNAMIC, {}, lambda: DEBIAN).reason == "/usr/bin/x needs libc.so.6 of the host"
    assert release_of(X, STATIC, {}, lambda: DEBIAN).reason == "nothing in it takes a certain system"


def test_a_rolling_system_has_no_version() -> None:
    assert release_of(X, DYNAMIC, {}, lambda: {"ID": "arch"}).fields == {"ID": "arch", "ARCHITECTURE": "x86-64"}


def test_programs_for_several_architectures() -> None:
    with pytest.raises(Invalid, match="several architectures: arm64, x86-64"):
        release_of(X, Needs(("arm64", "x86-64")), {}, lambda: DEBIAN)


def test_programs_for_another_architecture() -> None:
    with pytest.raises(Invalid, match="the programs are for x86-64, and the extension is to be for arm64"):
        release_of(replace(X, architecture="arm64"), STATIC, {}, lambda: DEBIAN)


def test_the_text_is_read_as_it_was_meant() -> None:
    basis = {"ID": "_any", "PRETTY_NAME": 'a "b" $c `d` \\e', "EMPTY": ""}
    release = release_of(replace(X, scope=("system", "portable")), Needs(), basis, lambda: DEBIAN)
    assert read_assignments(release.text) == release.fields
    assert release.text.startswith('ID=_any\nSYSEXT_SCOPE="system portable"\n')


@pytest.mark.parametrize("name", ["", "-x", "a b", "x.raw", "x.v", "../x", "a" * 65, "x\n"])
def test_names_that_none_can_have(name: str) -> None:
    with pytest.raises(Invalid, match="no name of an extension"):
        Recipe(ExtensionId(name)).check()


@pytest.mark.parametrize(
    "recipe",
    [
        replace(X, id="a b"),
        replace(X, version_id="1\nID=_any"),
        replace(X, level="$(x)"),
        replace(X, restart=("x",)),
        replace(X, enable=("../x.service",)),
        replace(X, scope=("host",)),
    ],
)
def test_words_that_systemd_would_not_understand(recipe: Recipe) -> None:
    with pytest.raises(Invalid):
        recipe.check()


@pytest.mark.parametrize(
    ("architecture", "platform"),
    [
        ("x86-64", "linux/amd64"),
        ("arm64", "linux/arm64"),
        ("x86", "linux/386"),
        ("_any", "linux/arm64"),
        (None, "linux/arm64"),
    ],
)
def test_images_for_an_architecture(architecture: str | None, platform: str) -> None:
    assert str(target_platform(architecture, "aarch64")) == platform


def test_units_that_start_with_the_system() -> None:
    recipe = replace(X, enable=("a.service", "b@1.service"))
    files = upholds(recipe, ["a.service", "b@.service"])
    directory = "usr/lib/systemd/system/multi-user.target.d"
    assert files == {
        f"{directory}/10-x-a.service.conf": "[Unit]\nUpholds=a.service\n",
        f"{directory}/10-x-b@1.service.conf": "[Unit]\nUpholds=b@1.service\n",
    }
    assert set(upholds(replace(recipe, ident=ExtensionId("x", Kind.CONFEXT)), ["a.service", "b@.service"])) == {
        "etc/systemd/system/multi-user.target.d/10-x-a.service.conf",
        "etc/systemd/system/multi-user.target.d/10-x-b@1.service.conf",
    }


def test_a_unit_that_is_not_there() -> None:
    with pytest.raises(Invalid, match=r"the content has no b\.service") as raised:
        upholds(replace(X, enable=("b.service",)), ["a.service"])
    assert raised.value.hint == "its units: a.service"
