"""Every program that livelayer runs is known, so that an extension that takes its place is."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING, Final

from reconciler.host.merge.hostfiles import PROGRAMS

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE: Final = Path(__file__).parents[3] / "reconciler"
STARTING: Final = frozenset(
    {"run", "feed", "drain", "available", "path_of", "script", "script_of", "_run", "_apt", "_dnf", "unpack_into"}
)
CONSTANTS: Final = ("PROGRAM", "PROGRAMS", "FSCK")


def _named() -> Iterator[str]:
    """The literal names in calls that start programs, and in constants that are called after programs."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)) if name in STARTING:
                    yield from _texts(node.args[2:3] if name == "unpack_into" else node.args[: _most(name)])
                case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value) if name.endswith(CONSTANTS):
                    yield from _texts(value.elts if isinstance(value, ast.Tuple) else [value])
                case _:
                    pass


def _most(function: str) -> int | None:
    return None if function.startswith("script") else 1


def _texts(nodes: list[ast.expr]) -> Iterator[str]:
    for node in nodes:
        match node:
            case ast.Constant(value=str(text)) if text and " " not in text and text[0] not in "-/":
                yield text
            case _:
                pass


def test_all_programs_that_are_run_are_known() -> None:
    named = set(_named())
    assert named <= {*PROGRAMS}
    assert {"skopeo", "mount", "losetup", "systemd-dissect", "rpm2archive", "gpgv"} <= named
