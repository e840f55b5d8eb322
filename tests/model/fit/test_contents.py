"""Why content must not be placed, and what is told to do about it."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import pytest

from reconciler.model.fit.contents import Contents
from reconciler.model.fit.release import Host
from reconciler.model.images.imageformat import FileSystem, ImageFormat, Volume
from reconciler.model.kind import ExtensionId

HOST: Final = Host({"ID": "debian", "VERSION_ID": "12"}, "x86_64", 252)
IMAGE: Final = ImageFormat((Volume(FileSystem.SQUASHFS, 0, 1),))
ANY: Final = {"ID": "_any"}
OTHER: Final = Contents({"other": ANY})
LAX: Final = Contents({"other": ANY}, lax=("other",))


@pytest.mark.parametrize(
    ("contents", "reason", "hint"),
    [
        (OTHER, "is extension-release.other, not", "call the extension other, or set rename: true"),
        (replace(OTHER, image=IMAGE), "is extension-release.other, not", "call the extension other"),
        (replace(LAX, releases={"other": {"ID": "fedora"}}), "ID=fedora, this host has ID=debian", "this OS version"),
        (Contents({"a": ANY, "b": ANY}, lax=("a", "b")), "several release files (a, b)", "add usr/lib"),
        (Contents({"x": {**ANY, "ARCHITECTURE": "arm64"}}), "this machine is x86-64", "an image built for x86-64;"),
        (Contents({"x": {**ANY, "SYSEXT_SCOPE": "initrd"}}), "does not contain system", "add system to SYSEXT_SCOPE"),
        (Contents({"x": {}}), "has no ID", "add ID=_any"),
        (Contents({}, misplaced=("usr",), links=("usr",)), "/usr is a symbolic link", "into a directory"),
        (
            Contents({}, misplaced=("usr",)),
            "holds /usr; a system extension carries /usr and /opt only",
            "FROM scratch",
        ),
        (Contents({}, misplaced=("blobs", "index.json", "oci-layout")), "holds /blobs", "source: oci:PATH"),
        (Contents({}, misplaced=("manifest.json", "repositories")), "holds /manifest.json", "docker-archive:PATH"),
        (Contents({}, misplaced=("manifest.json", "version")), "holds /manifest.json", "dir:PATH"),
        (Contents({}, misplaced=("etc",)), "holds /etc", "kind: confext"),
    ],
)
def test_a_misfit_and_what_to_do(contents: Contents, reason: str, hint: str) -> None:
    error = contents.misfit(ExtensionId("x"), HOST)
    assert error
    assert reason in error.message
    assert error.hint
    assert hint in error.hint
    assert ("rename" in error.hint) == (contents is OTHER)


def test_a_release_file_for_any_name_is_taken_from_250_on() -> None:
    assert LAX.misfit(ExtensionId("x"), HOST) is None
    assert LAX.misfit(ExtensionId("x"), replace(HOST, systemd=249))
    assert replace(LAX, releases={"other": ANY, "x": ANY}).misfit(ExtensionId("x"), HOST) is None
