"""Which exit status each verb has, and what it means; the help of the verbs is made of this."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

OK: Final = 0
ERROR: Final = 1  # also wrong usage, which argparse would make 2
NOT_IN_SYNC: Final = 2
INTERRUPTED: Final = 130

# Verbs that are not here leave with 0, or with 1 after an error.
MEANINGS: Final[Mapping[str, Mapping[int, str]]] = {
    "plan": {OK: "in sync", NOT_IN_SYNC: "changes", ERROR: "error"},
    "apply": {OK: "in sync afterwards", ERROR: "not"},
    "status --check": {OK: "in sync", NOT_IN_SYNC: "not", ERROR: "error"},
    "explain": {ERROR: "if there is none of the name"},
    "rollback": {OK: "in sync afterwards", ERROR: "not"},
    "provides": {ERROR: "if nothing has the path"},
    "verify": {OK: "nothing", NOT_IN_SYNC: "something", ERROR: "error"},
    "check": {OK: "all", NOT_IN_SYNC: "not all", ERROR: "error"},
    "validate": {OK: "valid", ERROR: "not"},
    "catalog": {OK: "something", ERROR: "nothing, or not all could be asked"},
    "lint": {OK: "no errors", ERROR: "errors"},
}

FORECAST: Final = {True: OK, False: NOT_IN_SYNC, None: ERROR}  # whether all fit; None: it cannot be told


def words(verb: str) -> str:
    known = MEANINGS.get(verb)
    return "; exit " + ", ".join(f"{status} {meaning}" for status, meaning in known.items()) if known else ""
