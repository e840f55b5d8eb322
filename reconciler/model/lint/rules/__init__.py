"""The rules of `livelayer lint`, a module for each subject."""

from __future__ import annotations

from typing import Final

from reconciler.model.lint.rule import Rule, Severity
from reconciler.model.lint.rules import (
    afterwards,
    files,
    hierarchy,
    images,
    links,
    powers,
    programs,
    releases,
    units,
)

UNREADABLE: Final = Rule(
    "LL000",
    Severity.ERROR,
    "The extension cannot be read",
    "mend what the message names; nothing else can be looked at before",
    lambda _: (),
)
RULES: Final[tuple[Rule, ...]] = tuple(
    item
    for subject in (releases, hierarchy, files, units, programs, links, images, afterwards, powers)
    for item in vars(subject).values()
    if isinstance(item, Rule)
)
