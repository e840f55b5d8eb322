"""What an extension can do to a host beyond having files there, told by where its files lie and what is in some.

What a program that reads such files makes of them is not followed; where what is in a file decides, and it cannot be
read, the worst is assumed.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple

from reconciler.errors import Invalid
from reconciler.model.content.power import Power
from reconciler.model.facts.linkedpaths import leads_out, seen_at
from reconciler.model.facts.needs import RESTARTED, declared
from reconciler.model.facts.powerplaces import matters
from reconciler.model.facts.powerrules import (
    DEPENDENCY,
    DROP_IN,
    ITSELF,
    MARK,
    NESTED,
    RULES,
    UNIT_FILE,
    UNKNOWN,
    UNKNOWN_NESTED,
    Rule,
)
from reconciler.model.facts.unitfiles import parse_unit
from reconciler.model.kind import RELEASE_PREFIX, template_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from reconciler.model.fit.contents import Contents
    from reconciler.model.kind import Kind

_STARTING: Final = ("Wants", "Upholds")
# What may lie in a directory of which a rule means something, or in one above it.
_TAILS: Final = (
    *(
        "x",
        "x.conf",
        "x.raw",
        "x.d/x",
        "livelayer.service",
        "livelayer.service.d/x",
        "extensions.d/x",
        "system/livelayer.service",
        "system-generators/x",
        "rules.d/x",
    ),
    *("system-services/x", "dispatcher.d/x", "x.pth", "dist-packages/x.pth", "completions/x", "1/x.ko"),
    *(
        "systemd/system-generators/x",
        "udev/rules.d/x",
        "polkit-1/x",
        "lib/systemd/system-generators/x",
        "share/polkit-1/x",
    ),
    *("local/lib/systemd/system-generators/x", "lib/livelayer/x", "livelayer/x"),
)


class Ability(NamedTuple):
    """What an extension can do, by what lies at a path of its."""

    power: Power
    path: str  # without a leading slash
    words: str  # what follows "it"


def abilities(
    paths: Iterable[str], read: Callable[[str], str | None], links: Mapping[str, str] | None = None
) -> list[Ability]:
    """What the files at these paths can do, in their order; `read` gives what is in one, or None.

    `links` has the targets of those that are symbolic links: what is found through them counts as what it is there.
    """
    targets = links or {}
    own = list(merged(paths, targets).items())
    nested = nested_in(own)
    every = [*own, *nested]
    order = sorted(path for path, _ in every) if targets else []
    able = (
        Ability(rule.power, path, rule.words)
        for path, file in sorted(it for it in every if it[1] in targets or _mark().search(it[0]))
        for rule in _rules_for(path, file, targets, order, read)
    )
    # A unit that comes with a nested extension alone excuses no changes of the host's namesake.
    return list(dict.fromkeys((*able, *_drop_ins(own, own, read), *_drop_ins(nested, every, read))))


def nested_in(seen: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """What is merged from extensions within this one, at places where systemd looks for some: paths and files.

    Once these are merged, so are those within them.
    """
    found: list[tuple[str, str]] = []
    while seen := list(_within(seen)):
        found += seen
    return found


def _within(seen: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    for path, file in seen:
        if ("/extensions/" in path or "/confexts/" in path) and (match := re.fullmatch(NESTED, path, re.DOTALL)):
            yield match["inside"], file


def merged(paths: Iterable[str], links: Mapping[str, str]) -> dict[str, str]:
    """The paths, with those that links make where that may give a power, and the file or link at each."""
    return seen_at(paths, links, matters)


def foreign(found: Iterable[Ability], name: str, *, is_own: bool) -> list[Ability]:
    """Without that an extension is livelayer itself, where that is meant.

    It is meant of the extension that it runs from, and of one that the configuration calls `livelayer`.
    """
    is_meant = is_own or name == "livelayer"
    return [it for it in found if not (is_meant and is_itself(it))]


def is_itself(ability: Ability) -> bool:
    """Whether it is a file of livelayer's own."""
    return ability.power is Power.LIVELAYER and re.fullmatch(ITSELF, ability.path, re.DOTALL) is not None


def refusal(found: Iterable[Ability], refused: Collection[Power]) -> Invalid | None:
    """Why what can do so must not be placed, in words of the first of it; None: nothing is refused."""
    meant = [it for it in found if it.power in refused]
    if not meant:
        return None
    first = meant[0]
    return Invalid(
        f"it {told(meant)[0]}; this node does not allow that",
        f"leave it out; if it is to be trusted with that: settings.limits.{first.power}: true",
        code="limit.livelayer" if first.power is Power.LIVELAYER else "limit.power",
    )


def restarts(
    contents: Contents, kind: Kind, paths: Iterable[str], links: Mapping[str, str] | None = None
) -> list[Ability]:
    """What its release files ask of units that an extension with these files does not bring."""
    own = set(unit_names(merged(paths, links or {})))
    named = {unit: name for name, it in contents.releases.items() for key in RESTARTED for unit in declared(it, key)}
    return [
        Ability(
            Power.UNITS,
            f"{kind.traits.releases}/{RELEASE_PREFIX}{name}",
            f"has {unit} restarted, which it does not bring",
        )
        for unit, name in named.items()
        if not _brought(unit, own)
    ]


def told(found: Iterable[Ability]) -> list[str]:
    """What can be done, for people: each thing once, with one of the files that can."""
    paths: dict[str, list[str]] = {}
    for it in found:
        paths.setdefault(it.words, []).append(it.path)
    return [f"{words}: /{first}{_more(others)}" for words, (first, *others) in paths.items()]


def _more(others: Collection[str]) -> str:
    return f" and {len(others)} more" if others else ""


def unit_names(paths: Iterable[str]) -> dict[str, str]:
    """The names of the system's unit files among these, and where each is."""
    matches = ((path, re.fullmatch(UNIT_FILE, path)) for path in paths if "/systemd/" in path)
    return {match[2]: path for path, match in matches if match and match[1] == "system" and "." in match[2]}


@cache
def _mark() -> re.Pattern[str]:
    return re.compile(MARK)


@cache
def _any() -> re.Pattern[str]:
    """One pattern for all, since an extension may have a million paths."""
    return re.compile("|".join(f"(?:{rule.pattern})" for rule in RULES), re.DOTALL)  # names may have line breaks


@cache
def _compiled() -> tuple[tuple[Rule, re.Pattern[str]], ...]:
    return tuple((rule, re.compile(rule.pattern, re.DOTALL)) for rule in RULES)


def _rules_for(
    path: str, file: str, links: Mapping[str, str], order: Sequence[str], read: Callable[[str], str | None]
) -> Iterator[Rule]:
    """The rules that mean what is found at a path: a file, or a link of which nobody knows where it leads."""
    if _any().fullmatch(path):
        for rule, pattern in _compiled():
            if pattern.fullmatch(path) and (rule.is_meant is None or _is_meant(rule.is_meant, read(file))):
                yield rule
        return
    if not matters(path) or (file in links and not leads_out(file, links, order)):
        return
    rules = list(_rules_below(path, is_link=file in links))
    yield from rules or ([UNKNOWN] if file in links else [])


def _rules_below(path: str, *, is_link: bool) -> Iterator[Rule]:
    """The rules for what lies in a directory, where something else stands: what is found there is not known.

    A file with a dot in its name is taken for no directory; a link may be called as it likes.
    """
    name = path.rpartition("/")[2]
    if "." in name and not name.endswith(".d") and not is_link:
        return
    if is_link and re.fullmatch(NESTED, f"{path}/etc/x", re.DOTALL):
        yield UNKNOWN_NESTED
    for rule, pattern in _compiled():
        if any(pattern.fullmatch(f"{path}/{tail}") for tail in _TAILS):
            yield rule


def _is_meant(judge: Callable[[str], bool], text: str | None) -> bool:
    return text is None or "\0" in text or judge(text)


def _drop_ins(
    seen: Iterable[tuple[str, str]], brought: Iterable[tuple[str, str]], read: Callable[[str], str | None]
) -> Iterator[Ability]:
    """What changes units that it does not bring itself; by targets it may have its own units started."""
    own = set(unit_names(path for path, _ in brought))
    for path, file in sorted(it for it in seen if "/systemd/" in it[0]):
        if (match := re.fullmatch(DROP_IN, path, re.DOTALL)) and not _brought(match[1], own):
            if not match[1].endswith(".target") or not _starts_own(read(file), own):
                yield Ability(Power.UNITS, path, f"changes {match[1]}, which it does not bring")
        elif (match := re.fullmatch(DEPENDENCY, path, re.DOTALL)) and not _brought(match[2], own):
            yield Ability(Power.UNITS, path, f"has {match[1]} start {match[2]}, which it does not bring")
        elif match and not match[1].endswith(".target") and not _brought(match[1], own):
            yield Ability(Power.UNITS, path, f"changes {match[1]}, which it does not bring")


def _starts_own(text: str | None, own: set[str]) -> bool:
    """Whether a drop-in does nothing but have units of the extension started."""
    if text is None or "\0" in text:
        return False
    found = parse_unit(text)
    wanted = (unit for key in _STARTING for unit in found.get(key, ()))
    return found.keys() <= {*_STARTING, "After", "Before"} and all(_brought(unit, own) for unit in wanted)


def _brought(unit: str, own: set[str]) -> bool:
    return unit in own or template_of(unit) in own
