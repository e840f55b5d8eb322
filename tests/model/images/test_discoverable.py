"""The table of partition types, held against systemd's."""

from __future__ import annotations

import subprocess
import uuid

import pytest

from reconciler.model.fit.release import Host
from reconciler.model.images import discoverable
from reconciler.model.images.discoverable import architecture_of_type, role


def test_roles_depend_on_the_architecture() -> None:
    x86_64 = "4f68bce3-e8cd-4db1-96e7-fbcaf984b709"
    assert role(x86_64, "x86-64") == "root"
    assert role(x86_64, "arm64") is None
    assert architecture_of_type(x86_64) == "x86-64"
    assert architecture_of_type("933ac7e1-2eb4-4f13-b844-0e14e2aef915") is None
    assert role("933ac7e1-2eb4-4f13-b844-0e14e2aef915", "arm64") == "home"
    assert role("00000000-0000-0000-0000-000000000001", "arm64") is None


@pytest.mark.commands
def test_the_table_is_systemds() -> None:
    shown = subprocess.run(["systemd-id128", "show"], capture_output=True, text=True, check=True).stdout
    types = {name: str(uuid.UUID(number)) for name, number, *_ in map(str.split, shown.splitlines()[1:])}
    checked = 0
    for name, number in types.items():
        for top in ("root", "usr"):
            for suffix in ("", "-verity", "-verity-sig"):
                architecture = name.removeprefix(f"{top}-").removesuffix(suffix)
                if name == f"{top}-{architecture}{suffix}" and not architecture.endswith(("verity", "sig")):
                    found = role(number, architecture)
                    assert found in {None, f"{top}{suffix}"}
                    checked += found is not None
    assert checked > 6 * 8


@pytest.mark.parametrize("machine", ["x86_64", "aarch64", "armv7l", "riscv64", "s390x", "ppc64le", "loongarch64"])
def test_machines_that_livelayer_knows_have_types(machine: str) -> None:
    architecture = Host({}, machine, 257).architecture
    types = [number for number, found in discoverable._ROLE_OF.items() if found[1] == architecture]  # noqa: SLF001
    assert {role(number, architecture) for number in types} >= {"root", "usr", "root-verity", "usr-verity-sig"}
