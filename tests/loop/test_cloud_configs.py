"""Cloud-configs as part of a node's configuration: where they are read, who may write them, what breaks nothing."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from reconciler.errors import Invalid
from reconciler.host.config.configfiles import fingerprint
from reconciler.host.records.seen import is_current
from reconciler.host.records.statedir import home
from reconciler.loop import config
from reconciler.loop.reconcile import converge, look, status
from reconciler.loop.session import Options
from tests.seed import configure, fill_store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from reconciler.loop.config import Loaded
    from reconciler.paths import Paths

IPFS = "container://quay.io/example/ipfs-sysext:v0.15.0"
BUNDLE = f"""\
#cloud-config
install:
  bundles:
  - rootfs_path: /var/lib/extensions/ipfs
    targets:
    - {IPFS}
"""


def _bundle(name: str, target: str) -> str:
    return f"#cloud-config\nbundles: [{{rootfs_path: /var/lib/extensions/{name}, targets: ['{target}']}}]\n"


@pytest.fixture
def kairos(paths: Paths) -> Paths:
    """A miniature node that is Kairos."""
    (paths.root / "etc/kairos-release").write_text('KAIROS_VERSION="v3.5.0"\n')
    return home(paths)


def _write(paths: Paths, name: str, text: str) -> Path:
    path = paths.root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def _told(loaded: Loaded) -> list[str]:
    assert loaded.mistakes == ()
    return [it.message for it in loaded.troubles]


def _sources(loaded: Loaded) -> dict[str, str]:
    assert (loaded.mistakes, loaded.troubles) == ((), ())
    return {item.name: item.text for item in loaded.desired.extensions}


def test_they_are_read_on_kairos_and_only_there(paths: Paths) -> None:
    _write(paths, "oem/90_custom.yaml", BUNDLE)
    assert not config.load(paths).desired.configured
    release = paths.root / "etc/os-release"
    release.write_text(f'{release.read_text()}KAIROS_NAME="kairos"\n')
    assert _sources(config.load(paths)) == {"ipfs": IPFS}
    (ipfs,) = config.load(paths).desired.extensions
    assert ipfs.rename


def test_a_setting_names_them_or_turns_them_off(kairos: Paths) -> None:
    _write(kairos, "oem/90_custom.yaml", BUNDLE)
    _write(kairos, "srv/a.yaml", _bundle("x", "docker://r/x"))
    configure(kairos, "settings: {cloud_config: []}")
    assert _sources(config.load(kairos)) == {}
    configure(kairos, "settings: {cloud_config: [/srv, /missing]}")
    assert _sources(config.load(kairos)) == {"x": "docker://r/x"}
    configure(kairos, "settings: {cloud_config: [/oem/90_custom.yaml]}")
    assert _sources(config.load(kairos)) == {"ipfs": IPFS}
    configure(kairos, "settings: {cloud_config: [oem]}")
    assert "is no absolute path" in config.load(kairos).mistakes[0].message
    configure(kairos, "settings: {cloud_config: /oem}")
    assert "settings.cloud_config: must be a list" in config.load(kairos).mistakes[0].message


def test_the_later_place_and_the_later_name_win_whatever_their_depth(kairos: Paths) -> None:
    order = [
        "run/initramfs/live/z.yaml",
        "etc/kairos/z.yaml",
        "usr/local/cloud-config/z.yaml",
        "oem/10/z.yaml",
        "oem/10.yaml",
        "oem/20/a/a.yml",
        "oem/20/b.yaml",
        "oem/9.yml",
    ]
    for name in order:
        _write(kairos, name, f"#cloud-config\nlivelayer: {{extensions: {{x: {{source: 'docker://r/{name}'}}}}}}\n")
        assert _sources(config.load(kairos)) == {"x": f"docker://r/{name}"}


def test_other_files_say_nothing_and_those_that_look_alike_are_told(kairos: Paths) -> None:
    for name in ("90.json", "90.yaml.bak", "90.YAML", "script.sh"):
        _write(kairos, f"oem/{name}", BUNDLE)
    _write(kairos, "oem/a.yaml", BUNDLE.removeprefix("#cloud-config\n"))
    _write(kairos, "oem/b.yaml", f"#cloud-config\n{'#' * (2 << 20)}\n{BUNDLE}")
    os.mkfifo(kairos.root / "oem/c.yaml")
    (kairos.root / "oem/d.yaml").symlink_to("missing")
    loaded = config.load(kairos)
    assert _sources(loaded) == {}
    assert not loaded.desired.configured
    assert [warning.rpartition("/")[2] for warning in loaded.warnings] == [
        "a.yaml: passed over, as it has no line #cloud-config among the first ten",
        "b.yaml: passed over, as it is larger than 2 MiB",
        "c.yaml: passed over, as it is no regular file",
        "missing: passed over, as there is no such file",
    ]


def test_our_own_file_and_dropins_win(kairos: Paths) -> None:
    _write(kairos, "oem/90_custom.yaml", BUNDLE)
    _write(kairos, "oem/91.yaml", _bundle("x", "docker://r/x"))
    configure(kairos, "extensions: {ipfs: {source: 'docker://r/own'}}")
    assert _sources(config.load(kairos)) == {"ipfs": "docker://r/own", "x": "docker://r/x"}
    _write(kairos, "etc/livelayer/extensions.d/10.yaml", "extensions: {x: null}")
    assert _sources(config.load(kairos)) == {"ipfs": "docker://r/own"}


def test_templates_elsewhere_break_nothing(kairos: Paths) -> None:
    _write(
        kairos,
        "oem/90_custom.yaml",
        BUNDLE
        + """\
hostname: kairos-{{ trunc 4 .Random }}
quoted: "{{ trunc 4 .Random }}"
unquoted: {{ trunc 4 .MachineID }}
stages:
  initramfs:
  - name: {{ printf "%s: %s" .A .B }}-x
{{ if eq .Arch "arm64" }}
    commands: [echo {{ .Arch }}]
{{ end }}
""",
    )
    assert _sources(config.load(kairos)) == {"ipfs": IPFS}


def test_a_template_in_what_we_read_is_a_mistake_with_its_place(kairos: Paths) -> None:
    _write(kairos, "oem/90.yaml", BUNDLE.replace("v0.15.0", "{{ .Version }}"))
    (told,) = _told(config.load(kairos))
    assert "oem/90.yaml:6:7: install.bundles.0.targets.0: has a Go template" in told
    _write(kairos, "oem/90.yaml", BUNDLE.replace(IPFS, "{{ .Target }}"))
    (told,) = _told(config.load(kairos))
    assert "oem/90.yaml:6:7: install.bundles.0.targets.0: has a Go template" in told


def test_a_broken_file_that_does_not_concern_us_stops_nothing(kairos: Paths) -> None:
    _write(kairos, "oem/10_junk.yaml", "#cloud-config\nusers: [")
    _write(kairos, "oem/20_list.yaml", "#cloud-config\n- a\n")
    os.chown(_write(kairos, "oem/30_others.yaml", "#cloud-config\nusers: []\n# no extensions\n"), 1234, 1234)
    _write(kairos, "oem/40_all.yaml", "#cloud-config\nhostname: x\n").chmod(0o666)
    _write(kairos, "oem/90_custom.yaml", BUNDLE)
    loaded = config.load(kairos)
    assert _sources(loaded) == {"ipfs": IPFS}
    assert (loaded.warnings, loaded.notes, loaded.unknown) == ((), (), ())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("#cloud-config\nbundles: [", "no valid YAML"),
        ("#cloud-config\nbundles: []\nbundles: []\n", "3:1: duplicate key 'bundles'"),
        ("#cloud-config\ninstall:\n  bundles:\n  - {targets: [], targets: []}\n", "4:19: duplicate key 'targets'"),
        ("#cloud-config\nlivelayer: {extensions: {x: {souce: y}}}\n", "extensions.x.souce: unknown key"),
        ("#cloud-config\nlivelayer: {extensions: {x: {}}}\n", "extensions.x: has no source"),
        ("#cloud-config\nbundles: [{1: 2}]\n", "the key 1 is not text"),
        ("#cloud-config\nbundles: &x [*x]\n", "too many or too deeply nested"),
        ("#cloud-config\nbundles: !!python/object:os.system x\n", "no valid YAML"),
        ("#cloud-config\nbundles: \x01\n", "no valid YAML"),
        ("#cloud-config\n<<: 1\nbundles: []\n", "no valid YAML"),
        ("#cloud-config\n<<: &x {<<: *x}\nbundles: []\n", "2:1: too many or too deeply"),
        (f"#cloud-config\nbundles: {'[' * 100_000}", "is nested too deeply"),
        (f"#cloud-config\nother: {'{a: ' * 100_000}\nbundles: []", "is nested too deeply"),
        (f"#cloud-config\nother:\n{'- ' * 100_000}\nbundles: []", "is nested too deeply"),
    ],
)
def test_a_broken_file_is_passed_over_alone(kairos: Paths, text: str, words: str) -> None:
    file = _write(kairos, "oem/90_custom.yaml", text)
    other = _write(kairos, "oem/95.yaml", _bundle("y", "docker://r/y"))
    (told,) = _told(loaded := config.load(kairos))
    assert words in told
    assert "oem/90_custom.yaml" in told
    assert [item.name for item in loaded.desired.extensions] == ["y"]
    file.write_text(BUNDLE)
    config.remember(kairos, config.load(kairos))
    other.write_text(_bundle("y", "docker://r/y:new") + "livelayer: {settings: {prune: false}}\n")
    file.write_text(text)
    loaded = config.load(kairos)
    assert words in _told(loaded)[0]
    if "livelayer:" not in text:  # of a file that is wrong as a whole, all that it said before counts
        assert {item.name: item.text for item in loaded.desired.extensions} == {"ipfs": IPFS, "y": "docker://r/y:new"}
    assert not loaded.desired.settings.prune


def test_what_a_broken_file_said_stays_whatever_it_was(kairos: Paths) -> None:
    _write(kairos, "oem/10.yaml", "#cloud-config\nlivelayer: {extensions: {x: {source: 'docker://r/x:1'}}}\n")
    file = _write(
        kairos,
        "oem/20.yaml",
        "#cloud-config\nlivelayer: {settings: {limits: {setuid: false}}, extensions: {x: {source: 'docker://r/x:2'}}}\n",
    )
    config.remember(kairos, good := config.load(kairos))
    for text in ("#cloud-config\nlivelayer: [", "#cloud-config\nlivelayer: x\n"):
        file.write_text(text)
        loaded = config.load(kairos)
        assert loaded.troubles
        assert (loaded.desired, loaded.unknown) == (good.desired, ())
        config.remember(kairos, loaded)  # another time is as good
    file.write_text("#cloud-config\nlivelayer: {settings: {limits: {setuid: what}}, extensions: {x: {souce: y}}}\n")
    loaded = config.load(kairos)
    assert len(loaded.troubles) == 2
    assert loaded.desired == good.desired
    file.unlink()
    os.mkfifo(file)
    assert config.load(kairos).desired == good.desired
    file.unlink()
    assert [item.text for item in config.load(kairos).desired.extensions] == ["docker://r/x:1"]


def test_a_bad_item_leaves_its_extension_as_it_was_and_all_others_count(kairos: Paths) -> None:
    file = _write(kairos, "oem/90.yaml", BUNDLE)
    config.remember(kairos, good := config.load(kairos))
    more = "bundles: [{rootfs_path: /var/lib/extensions/y, targets: ['docker://r/y']}]\n"
    file.write_text(
        f"{BUNDLE}    - nonsense\n{more}livelayer: {{extensions: {{a: {{}}, b: {{source: 'docker://r/b'}}}}}}\n"
    )
    loaded = config.load(kairos)
    assert len(_told(loaded)) == 2
    assert [item.name for item in loaded.desired.extensions] == ["b", "ipfs", "y"]
    assert loaded.desired.extensions[1] == good.desired.extensions[0]
    assert loaded.unknown == ()


def test_nothing_is_pruned_while_nobody_knows_what_a_file_lists(kairos: Paths) -> None:
    file = _write(kairos, "oem/90_custom.yaml", BUNDLE)
    _fill_for_bundle(kairos)
    assert converge(kairos, Options(), "test").in_sync
    _write(kairos, "oem/10.yaml", "#cloud-config\nlivelayer: {settings: {allow_empty: true}}\n")
    file.write_text("#cloud-config\nbundles: [5]\n")
    broken = converge(kairos, Options(), "test")
    assert [it.code for it in broken.problems] == ["config.invalid", "prune.unknown"]
    assert broken.view.plan.actions == ()
    assert converge(kairos, Options(confirm_prune=True), "test").outcomes
    assert list((kairos.root / "var/lib/extensions").iterdir()) == []


def test_what_bombs_elsewhere_costs_nothing(kairos: Paths) -> None:
    levels = [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, 10)]
    merges = [f"m{n}: &m{n} {{<<: [{', '.join([f'*m{n - 1}'] * 10)}]}}" for n in range(1, 10)]
    bombs = "\n".join(["l0: &l0 [x]", *levels, "m0: &m0 {a: b}", *merges])
    _write(kairos, "oem/90_custom.yaml", f"{BUNDLE}{bombs}\n")
    assert _sources(config.load(kairos)) == {"ipfs": IPFS}
    _write(kairos, "oem/90_custom.yaml", f"{BUNDLE}{bombs}\nlivelayer: *m9\n")
    assert "look for merge keys" in (config.load(kairos).troubles[0].hint or "")


def test_anchors_and_further_documents(kairos: Paths) -> None:
    text = "#cloud-config\nx-common: &b {rootfs_path: /var/lib/extensions/x}\n"
    text += "bundles: [{<<: *b, targets: ['docker://r/x']}]\n---\nbundles: 1\n"
    _write(kairos, "oem/90.yaml", text)
    assert _sources(config.load(kairos)) == {"x": "docker://r/x"}


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda file: file.chmod(0o664), "90_custom.yaml: others than root can write it (mode 0664)"),
        (lambda file: os.chown(file, 1234, 0), "90_custom.yaml: belongs to user 1234"),
        (lambda file: file.parent.chmod(0o777), "below: others than root can write it (mode 0777)"),
        (lambda file: file.parent.parent.chmod(0o777), "oem: others than root can write it (mode 0777)"),
    ],
)
def test_files_that_others_can_write_are_passed_over(
    kairos: Paths, spoil: Callable[[Path], None], words: str
) -> None:
    file = _write(kairos, "oem/below/90_custom.yaml", BUNDLE)
    _write(kairos, "srv/1.yaml", _bundle("y", "docker://r/y"))
    configure(kairos, "settings: {cloud_config: [/srv, /oem]}")
    config.remember(kairos, config.load(kairos))
    file.write_text(BUNDLE.replace("ipfs", "evil"))
    spoil(file)
    loaded = config.load(kairos)
    (told,) = _told(loaded)
    assert words in told
    assert loaded.troubles[0].code == "config.not-roots"
    assert [item.name for item in loaded.desired.extensions] == ["ipfs", "y"]


def test_a_link_out_of_the_place_is_judged_where_it_leads(kairos: Paths) -> None:
    outside = _write(kairos, "home/user/90.yaml", BUNDLE)
    outside.parent.chmod(0o777)
    (kairos.root / "oem").mkdir()
    (kairos.root / "oem/90.yaml").symlink_to("/home/user/90.yaml")
    assert "home/user: others than root can write it" in _told(config.load(kairos))[0]


def test_a_link_below_another_root_leads_nowhere_else(kairos: Paths, tmp_path: Path) -> None:
    outside = tmp_path / "outside.yaml"
    outside.write_text(_bundle("x", "docker://r/outside"))
    _write(kairos, f"{str(outside).lstrip('/')}", _bundle("x", "docker://r/inside"))
    (kairos.root / "oem").mkdir()
    (kairos.root / "oem/90.yaml").symlink_to(outside)
    assert _sources(config.load(kairos)) == {"x": "docker://r/inside"}


def test_modes_of_a_file_that_is_none_of_them_do_not_matter(kairos: Paths) -> None:
    _write(kairos, "oem/notes.yaml", "x: y\n").chmod(0o666)
    _write(kairos, "oem/90_custom.yaml", BUNDLE)
    assert _sources(config.load(kairos)) == {"ipfs": IPFS}


def _fill_for_bundle(kairos: Paths) -> None:
    """Content as a bundle has it: with the release file for its own name."""
    entry = fill_store(kairos, IPFS.replace("container", "docker"), "ipfs", "a")
    (kairos.store / entry.file_name).rename(kairos.store / f"{'a' * 64}+ipfs.directory")


def test_the_node_converges_to_a_bundle_and_lets_it_go_again(kairos: Paths) -> None:
    file = _write(kairos, "oem/90_custom.yaml", BUNDLE)
    _fill_for_bundle(kairos)
    assert converge(kairos, Options(), "test").in_sync
    assert [path.name for path in (kairos.root / "var/lib/extensions").iterdir()] == ["ipfs"]
    assert status(kairos, Options()).statuses[0].source == IPFS

    file.write_text("#cloud-config\nbundles: [")
    broken = converge(kairos, Options(), "test")
    assert not broken.in_sync
    assert broken.view.plan.actions == ()

    file.write_text("#cloud-config\n")
    assert "nothing is removed" in converge(kairos, Options(), "test").problems[0].sentence
    file.write_text("#cloud-config\nlivelayer: {settings: {allow_empty: true}}\n")
    assert converge(kairos, Options(), "test").in_sync
    assert list((kairos.root / "var/lib/extensions").iterdir()) == []


def test_what_is_not_ours_is_noted(kairos: Paths) -> None:
    _write(kairos, "oem/90_custom.yaml", "#cloud-config\ninstall: {bundles: [{targets: ['run://quay.io/x']}]}\n")
    result = look(kairos, Options())
    assert (result.warnings, result.in_sync) == ((), True)
    assert "run://quay.io/x for / is not livelayer's" in result.notes[0]


def test_every_change_is_noticed(kairos: Paths) -> None:
    clouds = config.load(kairos).clouds
    found = [clouds]
    file = kairos.root / "oem/below/90_custom.yml"
    for change in (
        lambda: _write(kairos, "oem/below/90_custom.yml", BUNDLE),
        lambda: file.write_text(f"{BUNDLE}\n"),
        lambda: file.rename(file.with_name("91_custom.yml")),
        lambda: file.with_name("91_custom.yml").unlink(),
    ):
        change()
        assert not found[-1].are_unchanged
        found.append(config.load(kairos).clouds)
        assert found[-1].are_unchanged
    _write(kairos, "oem/below/notes", "x")
    assert found[-1].are_unchanged


def test_the_last_run_is_current_until_something_changes(kairos: Paths) -> None:
    named = _write(kairos, "srv/one.yaml", "#cloud-config\n")
    assert not is_current(kairos, fingerprint(kairos), None)
    converge(kairos, Options(), "test")
    assert is_current(kairos, fingerprint(kairos), None)
    assert not is_current(kairos, fingerprint(kairos), [named])
    file = _write(kairos, "oem/90.yaml", "#cloud-config\n")
    assert not is_current(kairos, fingerprint(kairos), None)
    converge(kairos, Options(), "test")
    assert is_current(kairos, fingerprint(kairos), None)
    file.write_text("#cloud-config\nbundles: [")
    converge(kairos, Options(), "test")
    assert is_current(kairos, fingerprint(kairos), None)
    file.write_text("#cloud-config\n")
    assert not is_current(kairos, fingerprint(kairos), None)


def test_a_change_while_a_run_works_makes_it_look_again(kairos: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    file = _write(kairos, "oem/90.yaml", _bundle("one", "docker://r/one"))
    real, loads = config.load, []

    def load(*arguments: Any, **named: Any) -> Loaded:  # noqa: ANN401 - as the real one
        loaded = real(*arguments, **named)
        loads.append(list(_sources(loaded)))
        file.write_text(_bundle("two", "docker://r/two"))
        return loaded

    monkeypatch.setattr(config, "load", load)
    converge(kairos, Options(offline=True), "test")
    assert loads[:2] == [["one"], ["two"]]


def test_named_cloud_configs_take_the_place_of_the_nodes_own(kairos: Paths) -> None:
    _write(kairos, "oem/90_custom.yaml", BUNDLE)
    one, two = (_write(kairos, f"srv/{n}", _bundle(n, f"docker://r/{n}")) for n in ("one", "two"))
    configure(kairos, "settings: {cloud_config: []}\nextensions: {own: {source: 'docker://r/own'}}")
    assert list(_sources(config.load(kairos, cloud_configs=[one, two]))) == ["one", "own", "two"]
    one.write_text("bundles: []")
    assert "has no line #cloud-config" in config.load(kairos, cloud_configs=[one]).mistakes[0].message
    missing = config.load(kairos, cloud_configs=[kairos.root / "missing"]).mistakes[0]
    assert "missing: passed over, as there is no such file" in missing.message
    two.chmod(0o666)
    assert "others than root" in config.load(kairos, cloud_configs=[two]).mistakes[0].message
    with pytest.raises(Invalid, match="has no line"):
        config.compose((), [one])
    assert [item.name for item in config.compose((), [two]).desired.extensions] == ["two"]


def test_a_run_with_named_cloud_configs_is_not_the_last_good_one(kairos: Paths) -> None:
    named = _write(kairos, "srv/one", _bundle("one", "docker://r/one"))
    converge(kairos, Options(cloud_configs=(named,), offline=True), "test")
    assert not kairos.last_good.exists()


def test_what_is_remembered_is_the_whole(kairos: Paths) -> None:
    _write(kairos, "oem/90_custom.yaml", BUNDLE)
    configure(kairos, "extensions: {own: {source: 'docker://r/own'}}")
    config.remember(kairos, config.load(kairos))
    assert set(json.loads(kairos.last_good.read_text())["extensions"]) == {"ipfs", "own"}


def test_an_import_says_the_same(tmp_path: Path) -> None:
    file, imported = tmp_path / "90_custom.yaml", tmp_path / "extensions.yaml"
    file.write_text(BUNDLE + "  extensions: [hello, 'fwupd@2.1.7', {name: git, version: '>= 2.50, < 3'}]\n")
    first = config.compose((), [file])
    imported.write_text(yaml.safe_dump(first.tree))
    assert config.compose([imported]).desired == first.desired


@pytest.mark.parametrize("text", ["{}", "#cloud-config\nhostname: x\n", "nothing\n"])
def test_what_came_into_others_hands_keeps_its_say_whatever_it_says_now(paths: Paths, text: str) -> None:
    (paths.root / "etc/kairos-release").write_text('KAIROS_VERSION="v3.5.0"\n')
    node = home(paths)
    configure(node, "settings: {allow_empty: true}\nextensions: {}")
    file = node.root / "oem/90.yaml"
    file.parent.mkdir(exist_ok=True)
    bundle = "{rootfs_path: /var/lib/extensions/ipfs, targets: ['container://quay.io/example/ipfs:v1']}"
    good = f"#cloud-config\nbundles: [{bundle}]\n"
    file.write_text(good)
    config.remember(node, config.load(node))
    file.write_text(text.format(good.replace("v1", "v6")) if text == "{}" else text)
    os.chown(file, 1000, 1000)
    loaded = config.load(node)
    assert [it.name for it in loaded.desired.extensions] == ["ipfs"]
    assert [it.code for it in loaded.troubles] == ["config.not-roots"]
