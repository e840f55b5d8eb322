"""The documentation keeps up: verbs and options, keys, modules and layers are there, and examples are valid."""

from __future__ import annotations

import argparse
import ast
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import yaml

from reconciler import cli
from reconciler.loop import config
from reconciler.model.config.document import json_schema
from reconciler.model.lint.rules import RULES, UNREADABLE

if TYPE_CHECKING:
    from collections.abc import Iterator

PROJECT = Path(__file__).parent.parent
PAGES = sorted(
    page for pattern in ("*.md", "docs/*.md", "config/**/*.md") for page in PROJECT.glob(pattern) if page.is_file()
)
CONFIGURATION_KEYS = frozenset({"apiVersion", "settings", "defaults", "extensions"})
_FENCE = re.compile(r"(?P<before>[^\n]*)\n+```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_DEVELOPMENT = re.compile(r"/work/|/root/\.pyenv|localhost:\d|127\.0\.0\.1")


class Block(NamedTuple):
    """A fenced block of a page, and the line of prose before it."""

    page: Path
    line: int
    before: str
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(PROJECT)}:{self.line}"


def _blocks() -> Iterator[Block]:
    for page in PAGES:
        text = page.read_text()
        for match in _FENCE.finditer(text):
            line = text.count("\n", 0, match.start("text")) + 1
            yield Block(page, line, match["before"], match["language"], match["text"])


def _examples() -> Iterator[tuple[Block, str]]:
    """Every configuration shown: as a block of its own, or as a file that a cloud-config writes."""
    for block in _blocks():
        if block.language != "yaml":
            continue
        document = yaml.safe_load(block.text)
        if next(iter(document)) in CONFIGURATION_KEYS:
            yield block, block.text
        for file in _files_written(document):
            yield block, file


CLOUD_CONFIGS = [block for block in _blocks() if block.text.startswith("#cloud-config")]


@pytest.mark.parametrize("block", CLOUD_CONFIGS, ids=map(str, CLOUD_CONFIGS))
def test_cloud_configs_are_valid(block: Block, tmp_path: Path) -> None:
    example = tmp_path / "example.yaml"
    example.write_text(block.text)
    assert config.compose((), [example]).warnings == ()


def _files_written(value: Any) -> Iterator[str]:  # noqa: ANN401 - YAML
    if isinstance(value, list):
        for item in value:
            yield from _files_written(item)
    elif isinstance(value, dict):
        if "/livelayer/" in str(value.get("path")) and isinstance(value.get("content"), str):
            yield value["content"]
        for item in value.values():
            yield from _files_written(item)


EXAMPLES = list(_examples())


@pytest.mark.parametrize(("block", "text"), EXAMPLES, ids=[str(block) for block, _ in EXAMPLES])
def test_examples_are_valid(block: Block, text: str, tmp_path: Path) -> None:
    example = tmp_path / "example.yaml"
    example.write_text(text)
    below = _what_a_dropin_may_lie_over(text, tmp_path) if "drop-in" in block.before.lower() else []
    config.compose([*below, example])


def _what_a_dropin_may_lie_over(text: str, directory: Path) -> list[Path]:
    """A main file that lists what the drop-in withdraws or modifies."""
    names = yaml.safe_load(text).get("extensions") or {}
    main = directory / "main.yaml"
    main.write_text(yaml.safe_dump({"extensions": {name: {"source": f"docker://x/{name}"} for name in names}}))
    return [main]


def test_there_are_examples() -> None:
    assert {block.page.name for block, _ in EXAMPLES} >= {"README.md", "livelayer.yaml.5.md", "kairos.md"}


def test_every_verb_and_option_is_in_the_manual() -> None:
    manual = (PROJECT / "docs/livelayer.8.md").read_text()
    parser = cli._parser()  # noqa: SLF001 - the command line has no other description
    missing = [words for words in _command_line(parser) if f"**{words}**" not in manual]
    assert missing == []


def _command_line(parser: argparse.ArgumentParser) -> set[str]:
    """The verbs and options of a parser and of those below it."""
    found: set[str] = set()
    for action in parser._actions:  # noqa: SLF001 - argparse tells its actions nowhere public
        found.update(action.option_strings)
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - nor the parsers of verbs
            for verb, below in action.choices.items():
                found |= {verb} | _command_line(below)
    return found


def test_every_key_is_in_the_manual() -> None:
    manual = (PROJECT / "docs/livelayer.yaml.5.md").read_text()
    missing = [
        key for key in _keys(json_schema()) if not re.search(rf"^\*\*(\w+\.)?{key}\*\*$", manual, re.MULTILINE)
    ]
    assert missing == []


def test_every_choice_is_in_the_manual() -> None:
    manual = (PROJECT / "docs/livelayer.yaml.5.md").read_text()
    missing = [choice for choice in _choices(json_schema()) if not re.search(rf"\*{re.escape(choice)}\*", manual)]
    assert missing == []


def _keys(value: Any) -> set[str]:  # noqa: ANN401 - JSON
    if isinstance(value, list):
        return {key for item in value for key in _keys(item)}
    if not isinstance(value, dict):
        return set()
    properties = value.get("properties", {})
    return set(properties) | {key for item in value.values() for key in _keys(item)}


def _choices(value: Any) -> set[str]:  # noqa: ANN401 - JSON
    if isinstance(value, list):
        return {choice for item in value for choice in _choices(item)}
    if not isinstance(value, dict):
        return set()
    own = {*value.get("enum", ()), *({value["const"]} if "const" in value else ())}
    return own | {choice for item in value.values() for choice in _choices(item)}


def test_the_schema_that_is_shipped_is_the_present_one() -> None:
    assert yaml.safe_load((PROJECT / "config/extensions.schema.json").read_text()) == json_schema()


def test_the_pictures_of_the_rooms_are_the_contracts() -> None:
    contracts = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    rooms = (PROJECT / "docs/architecture.md").read_text().partition("## Rooms")[2].partition("\n## ")[0]
    assert [picture.split("\n")[:-1] for picture in re.findall(r"```\n(.*?)```", rooms, re.DOTALL)] == layers


def test_every_room_says_what_it_is_for() -> None:
    """The sentence of its `__init__.py` is the one in the table."""
    package = PROJECT / "reconciler"
    rooms = (PROJECT / "docs/architecture.md").read_text().partition("## Rooms")[2].partition("\n## ")[0]
    described = dict(re.findall(r"^\| `([\w/]+)/` \| (.*) \|$", rooms, re.MULTILINE))
    sentences: dict[str, set[str | None]] = {}
    for init in package.rglob("*/__init__.py"):
        room = str(init.parent.relative_to(package)).removeprefix("host/").removeprefix("model/")
        sentences.setdefault(room, set()).add(ast.get_docstring(ast.parse(init.read_text())))
    parts = {"host", "model", "lint/rules"}  # a heading, or told with the room it is in
    for room in sentences.keys() - parts:
        assert f"{described.get(room, '')}.".casefold() in {str(it).casefold() for it in sentences[room]}, room


def test_every_rule_is_described_as_it_is() -> None:
    page = (PROJECT / UNREADABLE.documentation.partition("#")[0]).read_text()
    described = re.findall(r"^### (LL\d+)\n\n\*(\w+)\*: (.*)\.$", page, re.MULTILINE)
    assert described == [(rule.id, str(rule.severity), rule.title) for rule in (UNREADABLE, *RULES)]


def test_every_code_of_an_error_is_in_its_page_and_the_reverse() -> None:
    """A code is the value of `code=` or `default_code`, or a word with a dot of one of the page's families."""
    page = (PROJECT / "docs/livelayer-errors.7.md").read_text()
    described = re.findall(r"^\*\*([a-z.-]+)\*\*\n:   ", page, re.MULTILINE)
    assert len(set(described)) == len(described)
    families = "|".join({code.partition(".")[0] for code in described if "." in code})
    code = re.compile(rf"(?:{families})\.[a-z]+(?:-[a-z]+)*")
    given, words = set[str](), set[str]()
    for file in (PROJECT / "reconciler").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            match node:
                case ast.keyword(arg="code", value=ast.Constant(str(text))):
                    given.add(text)
                case ast.Assign([ast.Name("default_code")], ast.Constant(str(text))):
                    given.add(text)
                case ast.AnnAssign(ast.Name("default_code"), value=ast.Constant(str(text))):
                    given.add(text)
                case ast.Constant(str(text)) if code.fullmatch(text):
                    words.add(text)
    assert given - set(described) == set()
    assert set(described) == given | words - {"image.raw"}  # the name of a file


def test_every_promise_of_security_names_a_test() -> None:
    text = (PROJECT / "docs/security.md").read_text()
    promised = text.partition("## What is promised")[2].partition("\n## ")[0]
    for promise in re.split(r"^- ", promised, flags=re.MULTILINE)[1:]:
        named = re.findall(r"`(tests/[^`]+)`", promise)
        assert named, promise
        assert [it for it in named if not (PROJECT / it).exists()] == []


def test_every_unit_is_in_the_manual_and_the_readme() -> None:
    units = {path.name for path in (PROJECT / "systemd").iterdir() if path.suffix in {".service", ".path", ".timer"}}
    for page in ("docs/livelayer.8.md", "README.md"):
        text = (PROJECT / page).read_text()
        assert {unit for unit in units if unit not in text} == set()


def test_system_packages_are_listed_in_one_place() -> None:
    """What the pages tell apt to install comes from the list; make alone must be there before it."""
    readme = (PROJECT / "README.md").read_text()
    assert "system-packages.txt" in readme
    for block in _blocks():
        for command in re.findall(r"apt(?:-get)? install ((?:\\\n|[^\n&])*)", block.text):
            literal = re.sub(r"\$\(.*?\)|\\\n", " ", command).split()
            assert {word for word in literal if not word.startswith("-")} <= {"make"}, str(block)


def test_nothing_of_a_development_machine_is_in_the_pages() -> None:
    found = [str(page) for page in PAGES if _DEVELOPMENT.search(page.read_text())]
    assert found == []


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page}: {target}"
