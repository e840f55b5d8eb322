"""Finding, reading, merging and refusing configuration files."""

from __future__ import annotations

import json
import os
import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import jsonschema
import pytest
import yaml

from reconciler.errors import Invalid
from reconciler.host.config.configfiles import fingerprint
from reconciler.loop import config
from reconciler.model.config.document import Document, json_schema

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.paths import Paths

PROJECT = Path(__file__).parents[2]
ONE = "extensions: {one: {source: 'docker://registry/one:v1'}}\n"
TWO = "extensions: {two: {source: 'docker://registry/two:v1'}}\n"


def _write(paths: Paths, name: str, text: str) -> Path:
    path = paths.root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def _names(paths: Paths) -> list[str]:
    loaded = config.load(paths)
    assert loaded.mistakes == ()
    return [item.name for item in loaded.desired.extensions]


def _mistake(paths: Paths, text: str) -> Invalid:
    _write(paths, "etc/livelayer/extensions.yaml", text)
    (mistake,) = config.load(paths).mistakes
    return mistake


def test_no_file_is_no_configuration(paths: Paths) -> None:
    assert not config.load(paths).desired.configured


@pytest.mark.parametrize("lower", ["run", "usr/lib"])
def test_the_first_main_file_is_the_one(paths: Paths, lower: str) -> None:
    _write(paths, f"{lower}/livelayer/extensions.yaml", ONE)
    assert _names(paths) == ["one"]
    _write(paths, "etc/livelayer/extensions.yaml", TWO)
    assert _names(paths) == ["two"]


def test_dropins_apply_in_the_order_of_their_names_whatever_their_directory(paths: Paths) -> None:
    _write(paths, "etc/livelayer/extensions.yaml", ONE)
    _write(paths, "usr/lib/livelayer/extensions.d/50.yaml", "extensions: {one: {source: 'docker://x/late'}}")
    _write(paths, "etc/livelayer/extensions.d/10.yaml", "extensions: {one: {source: 'docker://x/early'}}")
    assert [item.text for item in config.load(paths).desired.extensions] == ["docker://x/late"]


def test_a_dropin_replaces_one_of_the_same_name_in_a_lower_directory(paths: Paths) -> None:
    _write(paths, "usr/lib/livelayer/extensions.d/10.yaml", ONE)
    _write(paths, "run/livelayer/extensions.d/10.yaml", TWO)
    assert _names(paths) == ["two"]


@pytest.mark.parametrize("mask", ["empty", "null"])
def test_an_empty_file_or_a_link_to_dev_null_masks(paths: Paths, mask: str) -> None:
    _write(paths, "usr/lib/livelayer/extensions.d/10.yaml", ONE)
    _write(paths, "usr/lib/livelayer/extensions.d/20.yaml", TWO)
    masking = paths.root / "etc/livelayer/extensions.d/10.yaml"
    masking.touch() if mask == "empty" else masking.symlink_to("/dev/null")
    assert _names(paths) == ["two"]


def test_null_withdraws(paths: Paths) -> None:
    _write(paths, "etc/livelayer/extensions.yaml", ONE)
    _write(paths, "etc/livelayer/extensions.d/10.yaml", TWO)
    _write(paths, "etc/livelayer/extensions.d/20.yaml", "extensions: {one: null}")
    assert _names(paths) == ["two"]


def test_a_dropin_may_say_part_of_an_extension(paths: Paths) -> None:
    _write(paths, "etc/livelayer/extensions.yaml", ONE)
    _write(paths, "etc/livelayer/extensions.d/10.yaml", "extensions: {one: {state: fetched}}")
    (one,) = config.load(paths).desired.extensions
    assert not one.merged
    assert one.text == "docker://registry/one:v1"


def test_defaults_lie_below_every_extension(paths: Paths) -> None:
    text = "defaults: {pull: always, units: {restart: [a.service]}}\n"
    text += "extensions: {a: {source: 'docker://x/a'}, b: {source: 'docker://x/b', pull: never}}"
    _write(paths, "etc/livelayer/extensions.yaml", text)
    a, b = config.load(paths).desired.extensions
    assert (a.pull, b.pull) == ("always", "never")
    assert a.start == b.start == ("a.service",)


def test_several_sources_cannot_be_pinned_as_one(paths: Paths) -> None:
    pin = f"sha256:{'a' * 64}"
    text = f"extensions:\n  a:\n    source: ['docker://x/a', 'docker://x/b']\n    digest: {pin}\n"
    assert "4:5: extensions.a.digest: cannot pin several sources" in _mistake(paths, text).message
    _write(paths, "etc/livelayer/extensions.yaml", f"extensions: {{a: {{source: ['docker://x/a@{pin}']}}}}")
    (one,) = config.load(paths).desired.extensions
    assert (one.pin, len(one.parts)) == (pin, 1)


def test_a_list_of_sources_replaces_what_is_below(paths: Paths) -> None:
    _write(paths, "etc/livelayer/extensions.yaml", ONE)
    _write(paths, "etc/livelayer/extensions.d/10.yaml", "extensions: {one: {source: ['docker://x/1', 'oci:/x/2']}}")
    (one,) = config.load(paths).desired.extensions
    assert one.text == "docker://x/1, oci:/x/2"
    assert [part.text for part in one.parts] == ["docker://x/1", "oci:/x/2"]


def test_files_that_are_no_dropins_are_told(paths: Paths) -> None:
    _write(paths, "etc/livelayer/extensions.d/10.yml", ONE)
    _write(paths, "etc/livelayer/extensions.d/.hidden.yaml", TWO)
    loaded = config.load(paths)
    assert loaded.desired.extensions == ()
    assert "10.yml: ignored" in loaded.warnings[0]


@pytest.mark.parametrize(
    ("text", "place", "words", "hint"),
    [
        ("extensions:\n  a:\n    souce: docker://x/a\n", "3:5", "extensions.a.souce: unknown key", "'source'"),
        ("setings: {}\n", "1:1", "setings: unknown key", "'settings'"),
        ("settings: {prune: 'yes'}\n", "1:12", "settings.prune: must be true or false, not the text", ""),
        ("settings:\n  prune: 1\n", "2:3", "not the number 1", ""),
        ("extensions:\n  a: {state: there}\n", "2:7", "must be 'merged', 'fetched' or 'absent'", ""),
        ("extensions:\n  a: {}\n", "2:3", "has no source", "add source:"),
        ("extensions:\n  a: text\n", "2:3", "must be a map, not the text 'text'", "write a: {source: "),
        ("extensions: [a, b]\n", "1:1", "must be a map, not a list", "write extensions: {a: {source: "),
        ("extensions: a\n", "1:1", "must be a map, not the text 'a'", "write extensions: {NAME: {source: "),
        ("extensions: {a: docker://x/a}\n", "1:14", "must be a map", "write a: {source: 'docker://x/a'}"),
        ("extensions: {a: [docker://x/a]}\n", "1:14", "must be a map", "write a: {source: ['docker://x/a']}"),
        ("extensions: {a: {units: b.service}}\n", "1:18", "must be a map", "write units: {start: [b.service]}"),
        ("settings: {checks: x}\n", "1:12", "must be a map", "write checks: {units: [x]}"),
        ("settings: {checks: 3}\n", "1:12", "must be a map", "known here: units, command, file"),
        ("extensions: {a: {version: 1.30}}\n", "1:18", "must be a text", "without zeros at its end"),
        ("extensions: {a: {min_age: 3}}\n", "1:18", "must be a text", "such as 3s or 3d"),
        (
            "extensions: {a: {units: {start: a.service b.service}}}\n",
            "1:26",
            "a list",
            "write [a.service, b.service]",
        ),
        ("extensions: {a: {units: [a.service]}}\n", "1:18", "must be a map", "write units: {start: [a.service]}"),
        ("extensions: [{name: a}]\n", "1:1", "must be a map", "write extensions: {NAME: {source: "),
        (
            "extensions: ['docker://x/a']\n",
            "1:1",
            "must be a map",
            "write extensions: {NAME: {source: 'docker://x/a'}}",
        ),
        ("settings: {prune_limit: 1.5}\n", "1:12", "settings.prune_limit: must be a number or a text, not the", ""),
        ("extensions:\n  a: {source: 'docker://x/A'}\n", "2:7", "names of repositories are in lower case", ""),
        ("extensions:\n  a: {source: quay.io/x}\n", "2:7", "names no transport; write docker:// before it", ""),
        ("extensions:\n  a: {source: 'http://x/a.raw'}\n", "2:7", "http:// needs a digest", "add digest:"),
        ("extensions:\n  a: {source: ['docker://x/a', 'http://x/a.tar']}\n", "2:7", "http:// needs a digest", ""),
        ("extensions:\n  a: {source: ['docker://x/a', 'x/a']}\n", "2:7", "'x/a' names no transport", ""),
        (
            "extensions:\n  a: {source: ['docker://x/a', 1]}\n",
            "2:32",
            "must be a text, not the number 1",
            "in quotes: '1'",
        ),
        ("extensions:\n  a: {source: []}\n", "2:7", "a list of sources has 1 to 64, not 0", ""),
        ("extensions:\n  a: {source: {x: y}}\n", "2:7", "must be a source or a list of sources", ""),
        ("extensions:\n  a: {source: ['oci:/x', 'oci:/y'], format: raw}\n", "2:37", "raw takes one image file", ""),
        ("extensions:\n  a: {source: ['docker://x', 'docker://y'], version: '>1'}\n", "2:45", "several sources", ""),
        ("extensions:\n  a: {source: 'docker://x/a', kind: portable}\n", "2:31", "must be 'sysext' or 'confext'", ""),
        ("extensions:\n  a: {source: 'docker://x/a', format: ext4}\n", "2:31", "must be 'directory', 'squashfs'", ""),
        ("extensions:\n  a: {source: 'docker://x/a', checks: {unit: [x]}}\n", "2:40", "unknown key", "'units'"),
        ("extensions:\n  a: {source: 'docker://x/a', checks: {http: 'http://x/'}}\n", "2:40", "no URL on", ""),
        ("extensions:\n  a: {source: 'docker://x/a', checks: {file: x}}\n", "2:40", "file", ""),
        ("extensions:\n  a: {source: 'docker://x/a', checks: {settle: 5}}\n", "2:40", "settle", ""),
        ("settings: {prune_limit: 101%}\n", "1:12", "is no limit; it looks like 3, or 50%", ""),
        ("settings: {prune_limit: -1}\n", "1:12", "is no limit", ""),
        ("settings: {retention: {generations: 0}}\n", "1:24", "must be 1 or more, not the number 0", ""),
        ("settings: {retention: {age: soon}}\n", "1:24", "is no duration", ""),
        ("extensions:\n  a: {source: 'docker://x/a', version: '>'}\n", "2:31", "version", ""),
        ("extensions:\n  a: {source: 'docker://x/a:v1', version: '>1'}\n", "2:34", "so the tag must go", ""),
        ("extensions:\n  a: {source: 'oci:/x', version: '>1'}\n", "2:25", "only a registry has tags", ""),
        ("extensions:\n  a: {source: 'docker://x/a', min_age: soon}\n", "2:31", "is no duration", ""),
        ("settings: {limits: {size: much}}\n", "1:21", "is no size", ""),
        ("settings: {limits: {sizes: 1}}\n", "1:21", "unknown key", "did you mean 'size'"),
        ("settings: {transfers: {timeout: 7h}}\n", "1:24", "is not between 1m and 6h", ""),
        ("settings: {transfers: {timeout: 30s}}\n", "1:24", "is not between 1m and 6h", ""),
        ("settings: {transfers: {min_rate: 0}}\n", "1:24", "is no size", ""),
        ("settings: {keyring: keys.gpg}\n", "1:12", "is no absolute path", "begins with /"),
        ("extensions:\n  a: {source: 'docker://x/a', digest: abc}\n", "2:31", "'abc' is no digest", "64 hexadecimal"),
        ("extensions:\n  a: {source: 'docker://x/a', platform: arm}\n", "2:31", "'arm' is no platform", ""),
        ("extensions:\n  'a b': {source: 'docker://x/a'}\n", "2:3", "is no extension name", "letters, digits"),
        ("extensions:\n  a.raw: {source: 'docker://x/a'}\n", "2:3", "must not end in .raw", ""),
        ("extensions:\n  a: {source: 'docker://x/a', units: {restart: a}}\n", "2:39", "must be a list", "write [a]"),
        (
            "extensions:\n  a: {source: 'docker://x/a', units: {restart: [a]}}\n",
            "2:49",
            "'a' is no unit's",
            "NAME.service",
        ),
        ("extensions:\n  a: {source: 'docker://x/a', units: {start: [x@.timer]}}\n", "2:47", "x@NAME.timer", ""),
        ("defaults: {sorce: x}\n", "1:12", "defaults.sorce: unknown key", "'source'"),
        ("apiVersion: livelayer/v2\n", "1:1", "must be 'livelayer/v1'", ""),
        ("extensions:\n  a: {}\n  a: {}\n", "3:3", "duplicate key 'a', first in line 2", "keep one"),
        ("extensions:\n  on: {}\n", "2:3", "the key on is not text", 'quote it: "on":'),
        ("extensions:\n  1.5: {}\n", "2:3", "the key 1.5 is not text", 'quote it: "1.5":'),
        ("extensions:\n\ta: {}\n", "2:1", "no valid YAML", "indent this line with spaces"),
        ("a: [\n", "2:1", "no valid YAML", ""),
        ("- a\n", "1:1", "the file must be a map", ""),
        ("a: 1\n---\nb: 2\n", "2:1", "no valid YAML", ""),
        ("a: !!python/object:os.system x\n", "1:4", "no valid YAML", ""),
        ("settings:\n  prune: !!bool maybe\n", "2:10", "'maybe' is no bool", "quote"),
        ("settings:\n  prune_limit: !!int x\n", "2:16", "'x' is no int", "quote"),
        ("settings:\n  prune_limit: " + "9" * 5000 + "\n", "2:16", "is no int", "quote"),
        ("extensions:\n  a: {source: 2026-13-45}\n", "2:15", "'2026-13-45' is no timestamp", "quote"),
        ("extensions:\n  !!float x: {}\n", "2:3", "'x' is no float", "quote"),
        ("!!int ''\n", "1:1", "'' is no int", "quote"),
        ("settings:\n  prune: !!timestamp x\n", "2:10", "'x' is no timestamp", "quote"),
        ("settings:\n  prune: 0x" + "f" * 5000 + "\n", "2:10", "is too large a number", "quote"),
        ("settings:\n  prune_limit: -99999999999999999999\n", "2:16", "is too large a number", "quote"),
        ("\ufeffa: 1\nexté: {a: \x01}\n", "2:11", "no valid YAML", ""),
        ("x: &x [*x]\n", "1:4", "too many or too deeply nested", "aliases"),
    ],
)
def test_mistakes_are_told_with_place_and_way_out(paths: Paths, text: str, place: str, words: str, hint: str) -> None:
    mistake = _mistake(paths, text)
    assert f"etc/livelayer/extensions.yaml:{place}: " in mistake.message
    assert words in mistake.message
    assert hint in (mistake.hint or "")


def test_an_alias_bomb_is_cheap_and_refused(paths: Paths) -> None:
    levels = [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, 10)]
    assert "too many" in _mistake(paths, "\n".join(["l0: &l0 [x]", *levels])).message


@pytest.mark.parametrize("text", ["a: " + "[" * 100_000, "- " * 100_000, "{a: " * 100_000])
def test_what_is_nested_without_end_is_refused(paths: Paths, text: str) -> None:
    assert re.search(r"extensions.yaml:1:\d+: is nested too deeply", _mistake(paths, text).message)


@pytest.mark.parametrize(("byte", "column"), [(b"\xff", 15), (b"\xc3", 16), (b"\0", 15)])
def test_what_is_no_character_has_its_place(paths: Paths, byte: bytes, column: int) -> None:
    _write(paths, "etc/livelayer/extensions.yaml", "")
    file = paths.under("/etc/livelayer/extensions.yaml")
    file.write_bytes("extensions:\n  é: {source: ".encode() + byte + b"\n")
    assert f"extensions.yaml:2:{column}: no valid YAML" in config.load(paths).mistakes[0].message


def test_a_byte_order_mark_is_no_content(paths: Paths) -> None:
    file = _write(paths, "etc/livelayer/extensions.yaml", f"\ufeff{ONE}")
    assert _names(paths) == ["one"]
    file.write_bytes(b"\xef\xbb\xbf# \xff\n" + ONE.encode())
    (mistake,) = config.load(paths).mistakes
    assert "no valid YAML" in mistake.message


def test_all_mistakes_are_told(paths: Paths) -> None:
    _write(paths, "etc/livelayer/extensions.yaml", "extensions:\n  a: {sorce: x}\n  b: {souce: x}\n")
    assert len(config.load(paths).mistakes) == 2


def test_a_mistake_in_a_dropin_names_the_dropin(paths: Paths) -> None:
    _write(paths, "etc/livelayer/extensions.yaml", ONE)
    _write(paths, "etc/livelayer/extensions.d/10.yaml", "extensions:\n  one:\n    pull: sometimes\n")
    (mistake,) = config.load(paths).mistakes
    assert "extensions.d/10.yaml:3:5: extensions.one.pull: must be" in mistake.message


def test_a_broken_file_keeps_the_last_good_state(paths: Paths) -> None:
    main = _write(paths, "etc/livelayer/extensions.yaml", ONE)
    config.remember(paths, config.load(paths))
    main.write_text("extensions: [")
    loaded = config.load(paths)
    assert [item.name for item in loaded.desired.extensions] == ["one"]
    assert loaded.mistakes
    config.remember(paths, loaded)
    assert [item.name for item in config.load(paths).desired.extensions] == ["one"]


def test_a_broken_file_without_a_last_good_state_is_no_configuration(paths: Paths) -> None:
    _write(paths, "etc/livelayer/extensions.yaml", "extensions: [")
    paths.last_good.write_text("{damaged")
    assert not config.load(paths).desired.configured


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda file: file.chmod(0o664), "others than root can write it (mode 0664)"),
        (lambda file: file.chmod(0o646), "others than root can write it (mode 0646)"),
        (lambda file: os.chown(file, 1234, 0), "belongs to user 1234"),
        (lambda file: file.parent.chmod(0o777), "others than root can write it (mode 0777)"),
    ],
)
def test_files_that_others_can_write_are_refused(paths: Paths, spoil: object, words: str) -> None:
    assert callable(spoil)
    spoil(_write(paths, "etc/livelayer/extensions.yaml", ONE))
    (mistake,) = config.load(paths).mistakes
    assert words in mistake.message
    assert mistake.hint


def test_an_unreadable_file_is_refused(paths: Paths) -> None:
    (paths.root / "etc/livelayer/extensions.yaml").mkdir()
    (mistake,) = config.load(paths).mistakes
    assert "cannot be read: Is a directory" in mistake.message


def _bind(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))


@pytest.mark.parametrize("name", ["extensions.yaml", "extensions.d/10.yaml"])
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (os.mkfifo, "not a regular file"),
        (lambda path: path.symlink_to(path.name), "too many symlinks"),
        (lambda path: path.symlink_to("x" * 300), "File name too long"),
        (_bind, "No such device or address"),
    ],
)
def test_what_is_no_file_is_not_waited_for_and_keeps_the_last_good_state(
    paths: Paths, name: str, make: Callable[[Path], object], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = _write(paths, f"etc/livelayer/{name}", ONE)
    config.remember(paths, config.load(paths))
    file.unlink()
    monkeypatch.chdir(file.parent)  # a socket's path is short
    make(Path(file.name) if "device" in words else file)
    loaded = config.load(paths)
    assert words in loaded.mistakes[0].message
    assert [item.name for item in loaded.desired.extensions] == ["one"]


def test_devices_and_what_the_kernel_makes_up_are_no_configuration(paths: Paths) -> None:
    for target in (
        "/proc/kmsg",
        "/proc/version",
        "/proc/self/cmdline",
        "/sys/devices/system/cpu/online",
    ):
        (mistake,) = config.load(paths, Path(target)).mistakes
        assert f"{target}: cannot be read: its content is made up by the kernel" in mistake.message
    assert "/dev/zero" in config.load(paths, Path("/dev/zero")).mistakes[0].message
    assert config.load(paths, Path("/dev/null")).mistakes == ()


def test_a_directory_of_dropins_that_leads_nowhere_keeps_the_last_good_state(paths: Paths) -> None:
    _write(paths, "etc/livelayer/extensions.yaml", ONE)
    config.remember(paths, config.load(paths))
    dropins = paths.dropin_dirs[0]
    dropins.rmdir()
    dropins.symlink_to(dropins.name)
    loaded = config.load(paths)
    assert "too many symlinks on the way to etc/livelayer/extensions.d" in loaded.mistakes[0].message
    assert [item.name for item in loaded.desired.extensions] == ["one"]
    assert fingerprint(paths) == ()


@pytest.mark.parametrize("error", [ZeroDivisionError("why"), OSError("why"), RecursionError("why")])
def test_whatever_reading_raises_is_a_mistake_with_the_place_of_the_value_that_led_there(
    paths: Paths, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    main = _write(paths, "etc/livelayer/extensions.yaml", ONE)
    config.remember(paths, config.load(paths))
    validate = Document.model_validate

    def fail(tree: dict[str, dict[str, object]]) -> Document:
        if "bad" in tree.get("extensions", {}):
            raise error
        return validate(tree)

    monkeypatch.setattr(Document, "model_validate", fail)
    main.write_text(ONE.replace("}}", "},\n  bad: {state: fetched}}"))
    loaded = config.load(paths)
    assert f"{main}:2:3: extensions.bad: unexpected {type(error).__name__}: why" in loaded.mistakes[0].message
    assert [item.name for item in loaded.desired.extensions] == ["one"]


def test_a_last_good_state_that_nobody_understands_is_none(paths: Paths) -> None:
    _write(paths, "etc/livelayer/extensions.yaml", "extensions: [")
    for damaged in ('{"extensions": 5}', '{"extensions": {"a": {"source": 1e999}}}', "[" * 100_000, '"x"'):
        paths.last_good.write_text(damaged)
        assert not config.load(paths).desired.configured


def test_the_fingerprint_changes_with_every_kind_of_change(paths: Paths) -> None:
    seen = {fingerprint(paths)}
    main = _write(paths, "etc/livelayer/extensions.yaml", ONE)
    seen.add(fingerprint(paths))
    main.write_text(TWO + "\n")
    seen.add(fingerprint(paths))
    dropin = _write(paths, "etc/livelayer/extensions.d/10.yaml", ONE)
    seen.add(fingerprint(paths))
    dropin.chmod(0o600)
    seen.add(fingerprint(paths))
    dropin.unlink()
    seen.add(fingerprint(paths))
    assert fingerprint(paths) in seen
    assert len(seen) == 5


def test_explicit_files_are_checked_as_one_configuration_whoever_owns_them(tmp_path: Path) -> None:
    main, dropin = tmp_path / "a.yaml", tmp_path / "b.yaml"
    main.write_text(ONE)
    dropin.write_text("extensions: {one: {pull: never}}")
    main.chmod(0o666)
    assert [item.pull for item in config.compose([main, dropin]).desired.extensions] == ["never"]
    with pytest.raises(Invalid, match="has no source"):
        config.compose([dropin])


def test_the_schema_file_is_current() -> None:
    assert json.loads((PROJECT / "config/extensions.schema.json").read_text()) == json_schema(), "run: make schema"


def test_the_shipped_default_is_valid_and_points_editors_to_the_schema(tmp_path: Path) -> None:
    text = (PROJECT / "config/extensions.yaml").read_text()
    assert text.startswith("# yaml-language-server: $schema=")
    jsonschema.validate(yaml.safe_load(text), json_schema())
    assert config.compose([PROJECT / "config/extensions.yaml"]).desired.extensions == ()
    shown = tmp_path / "shown.yaml"
    shown.write_text(_uncommented(text))
    jsonschema.validate(yaml.safe_load(shown.read_text()), json_schema())
    assert [item.name for item in config.compose([shown]).desired.extensions] == ["ipfs", "kubernetes"]


def _uncommented(text: str) -> str:
    """The default with its examples in force."""
    lines = [
        line
        for line in text.splitlines()
        if not line.startswith("# ") or line.startswith(("# settings", "# defaults", "#  "))
    ]
    opened = [line.removeprefix("# ") if line.startswith("# ") else line.removeprefix("#") for line in lines]
    return "\n".join(opened).replace("extensions: {}", "extensions:").replace("sha256:...", "sha256:" + "0" * 64)


def test_the_schema_knows_withdrawal_and_partial_dropins() -> None:
    jsonschema.validate({"extensions": {"a": None, "b": {"state": "fetched"}}}, json_schema())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"extensions": {"a": {"souce": "x"}}}, json_schema())
