"""What cloud-configs say to livelayer, and what they say to others."""

from __future__ import annotations

import re
import time
from contextlib import suppress
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from reconciler.errors import Invalid
from reconciler.host.config.yamlfile import parse_parts
from reconciler.model.config.cloudconfig import (
    PARTS,
    has_header,
    translate,
    without_templates,
)
from reconciler.model.config.desired import desired_state
from reconciler.model.config.merge import CloudParts, combine
from tests.luck import examples

DIGEST = f"sha256:{'a' * 64}"
PAGE = """\
#cloud-config
install:
  bundles:
  - rootfs_path: /var/lib/extensions/ipfs
    targets:
    - container://quay.io/example/ipfs-sysext:v0.15.0
"""


def _translated(*texts: str) -> CloudParts:
    return translate([parse_parts(text.encode(), f"/oem/{n}.yaml", PARTS) for n, text in enumerate(texts)])


def _tree(*texts: str) -> dict[str, Any]:
    return combine(_translated(*texts).fragments).tree


def _extensions(*texts: str) -> dict[str, Any]:
    found: dict[str, Any] = _tree(*texts)["extensions"]
    return found


def _bundle(*targets: str, root: str = "/var/lib/extensions/x", more: str = "") -> str:
    listed = ", ".join(f"'{target}'" for target in targets)
    return f"bundles:\n- {{rootfs_path: '{root}', targets: [{listed}]{more}}}\n"


def _listed(*entries: str, catalogs: str = "") -> str:
    told = f"extensions: {{catalogs: [{catalogs}]}}\n" if catalogs else ""
    return f"{told}install: {{extensions: [{', '.join(entries)}]}}\n"


def _mistakes(*texts: str) -> list[str]:
    return [mistake.message for mistake in _translated(*texts).mistakes]


def test_the_page_as_it_stands() -> None:
    source = "container://quay.io/example/ipfs-sysext:v0.15.0"
    assert _tree(PAGE) == {"extensions": {"ipfs": {"source": source, "rename": True}}}
    assert (_translated(PAGE).warnings, _translated(PAGE).notes) == ((), ())


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        (b"#cloud-config", True),
        (b"#cloud-config\r\nx: y", True),
        (b"#cloud-config \t\nx: y", True),
        (b"## template: jinja\n#kairos-config\n", True),
        (b"#\n" * 9 + b"#node-config\n", True),
        (b"#\n" * 10 + b"#cloud-config\n", False),
        (b" #cloud-config\n", False),
        (b"#cloud-config-archive\n", False),
        (b"#Cloud-Config\n", False),
        (b"# cloud-config\n", False),
        (b"", False),
        (b"x: '#cloud-config'\n", False),
    ],
)
def test_the_header_is_a_whole_line_among_the_first_ten(text: bytes, is_one: bool) -> None:  # noqa: FBT001
    assert has_header(text) is is_one


@pytest.mark.parametrize(
    ("target", "more", "source"),
    [
        ("container://quay.io/x:v1", "", "container://quay.io/x:v1"),
        ("DOCKER://quay.io/x:v1", "", "docker://quay.io/x:v1"),
        ("Container://quay.io/x", "", "container://quay.io/x"),
        (f"docker://quay.io/x:v1@{DIGEST}", "", f"docker://quay.io/x:v1@{DIGEST}"),
        ("container:///srv/x.tar", ", local_file: true", "docker-archive:/srv/x.tar"),
    ],
)
def test_a_target_is_a_source(target: str, more: str, source: str) -> None:
    assert _extensions(_bundle(target, more=more)) == {"x": {"source": source, "rename": True}}


@pytest.mark.parametrize(
    ("root", "name", "kind"),
    [
        ("/var/lib/extensions/x", "x", {}),
        ("/var/lib/extensions/x/", "x", {}),
        ("//var/lib//extensions/./x", "x", {}),
        ("/var/lib/confexts/site", "site", {"kind": "confext"}),
    ],
)
def test_the_place_is_the_name(root: str, name: str, kind: dict[str, str]) -> None:
    tree = {"source": "docker://r/x", "rename": True, **kind}
    assert _extensions(_bundle("docker://r/x", root=root)) == {name: tree}


@pytest.mark.parametrize("root", ["/", "/usr/local", "/srv/extensions-of-mine", "var/lib/x"])
def test_other_places_are_not_ours(root: str) -> None:
    told = _translated(_bundle("docker://r/x", "nonsense", root=root))
    assert combine(told.fragments).tree == {"extensions": {}}
    assert told.notes == (f"/oem/0.yaml:2:3: bundles.0: docker://r/x, nonsense for {root} is not livelayer's",)


@pytest.mark.parametrize(
    "root",
    [
        "/var/lib/extensions",
        "/var/lib/extensions/x/usr",
        "/run/extensions/x",
        "/usr/local/lib/extensions/x",
        "/usr/lib/confexts/x",
        "/usr/local/lib/extensions",
    ],
)
def test_places_of_systemd_that_livelayer_does_not_take_are_told(root: str) -> None:
    told = _translated(_bundle("docker://r/x", root=root))
    assert combine(told.fragments).tree == {"extensions": {}}
    assert told.notes == ()
    assert (
        f"docker://r/x for {root}: not taken; livelayer takes bundles for /var/lib/extensions/NAME"
        in told.warnings[0]
    )


@pytest.mark.parametrize("root", ["", "null", "''"])
def test_no_place_is_the_root(root: str) -> None:
    told = _translated(f"bundles: [{{rootfs_path: {root}, targets: ['docker://r/x']}}]")
    assert (told.mistakes, told.warnings) == ((), ())
    assert "docker://r/x for / is not livelayer's" in told.notes[0]


def test_a_bad_item_is_passed_over_alone() -> None:
    found = _translated(
        _bundle("docker://r/a", "nonsense")
        + "- {rootfs_path: /var/lib/extensions/y, targets: ['docker://r/y']}\n- docker://r/z\n"
        + _listed("git", "'git@'")
    )
    assert list(combine(found.fragments).tree["extensions"]) == ["y", "git"]
    assert found.damaged == (("extensions", "x"),)
    assert found.unknown == ("/oem/0.yaml",)
    assert len(found.mistakes) == 3


def test_bundles_that_run_or_install_something_are_not_ours() -> None:
    told = _translated(_bundle("run://r/x", "docker://r/y", "PACKAGE://z", "other://w"))
    assert combine(told.fragments).tree["extensions"]["x"]["source"] == "docker://r/y"
    assert [note.split(": ", 2)[2] for note in told.notes] == [
        "run://r/x is not livelayer's, which runs and installs nothing",
        "PACKAGE://z is not livelayer's, which runs and installs nothing",
        "other://w is not livelayer's, which runs and installs nothing",
    ]
    assert "x" not in _extensions(_bundle("run://r/x"))


def test_a_bundle_without_a_place_goes_to_the_root_and_is_not_ours() -> None:
    assert _extensions("install: {bundles: [{targets: ['container://r/x']}]}") == {}


def test_several_targets_for_one_place_are_applied_in_order() -> None:
    first = "install: {bundles: [{rootfs_path: /var/lib/extensions/x, targets: ['docker://r/a', 'docker://r/b']}]}\n"
    assert _extensions(first)["x"]["source"] == ["docker://r/a", "docker://r/b"]
    assert _extensions(first + _bundle("docker://r/c"))["x"]["source"] == [
        "docker://r/a",
        "docker://r/b",
        "docker://r/c",
    ]


def test_what_the_installed_file_repeats_counts_once() -> None:
    assert _extensions(PAGE, PAGE) == _extensions(PAGE)
    assert _extensions(_bundle("docker://r/a", "docker://r/b"), _bundle("docker://r/a"))["x"]["source"] == [
        "docker://r/b",
        "docker://r/a",
    ]


def test_names_that_begin_alike_are_different_ones() -> None:
    both = _bundle("docker://r/t", root="/var/lib/extensions/tailscale") + (
        "- {rootfs_path: /var/lib/extensions/tailscale-agent, targets: ['docker://r/a']}\n"
    )
    assert {name: it["source"] for name, it in _extensions(both).items()} == {
        "tailscale": "docker://r/t",
        "tailscale-agent": "docker://r/a",
    }


def test_lists_of_maps_are_joined_and_other_lists_united() -> None:
    other = _bundle("docker://r/b", root="/var/lib/extensions/y")
    assert list(_extensions(_bundle("docker://r/a"), other)) == ["x", "y"]
    both = _tree(
        _listed("git", "fwupd", catalogs="'https://a/r.json'"), _listed("git", catalogs="'https://b/r.json'")
    )
    assert list(both["extensions"]) == ["git", "fwupd"]
    assert both["settings"] == {"catalogs": ["https://a/r.json", "https://b/r.json"]}


@pytest.mark.parametrize("reset", ["install: null", "install: {bundles: null}", "install: {bundles: }"])
def test_null_resets(reset: str) -> None:
    assert _extensions(PAGE, reset) == {}
    assert list(_extensions(PAGE, reset, PAGE)) == ["ipfs"]


def test_what_is_of_another_kind_in_another_file_is_a_mistake() -> None:
    found = _translated(_bundle("docker://r/a"), "bundles: {}")
    assert "/oem/1.yaml:1:1: bundles: cannot be merged with what another" in found.mistakes[0].message
    assert found.broken == ("/oem/1.yaml",)
    assert list(combine(found.fragments).tree["extensions"]) == ["x"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (_bundle("quay.io/x:v1"), "bundles.0.targets.0: 'quay.io/x:v1' is no target"),
        (_bundle("docker://a://b"), "is no target"),
        (_bundle("://b"), "is no target"),
        (_bundle("docker://"), "is no target"),
        (_bundle("docker://r/x:{{ .Version }}"), "bundles.0.targets.0: has a Go template"),
        (_bundle("docker://r/x", root="/var/lib/extensions/{{ .Name }}"), "bundles.0.rootfs_path: has a Go template"),
        (_bundle("docker://srv/x.tar", more=", local_file: true"), "needs an absolute path"),
        (_bundle("docker://r/x", more=", local_file: 'yes'"), "bundles.0.local_file: must be true or false"),
        ("bundles: [{rootfs_path: /var/lib/extensions/x, targets: docker://r/x}]", "targets: must be a list"),
        ("bundles: [{rootfs_path: /var/lib/extensions/x, targets: [1]}]", "targets: must be a list"),
        ("bundles: [{rootfs_path: 1}]", "a bundle is a map with targets and rootfs_path"),
        ("bundles: [docker://r/x]", "a bundle is a map with targets and rootfs_path"),
        ("bundles: {}", "bundles: must be a list"),
        ("install: []", "install: must be a map"),
        ("install: {extensions: git}", "install.extensions: must be a list"),
        (_listed("''"), "an extension has a name"),
        (_listed("1"), "is neither text nor a map"),
        (_listed("{version: '1'}"), "is neither text nor a map"),
        (_listed("{name: git, version: 2.5}"), "is neither text nor a map"),
        (_listed("'git@'"), "'git@' names no version"),
        (_listed("'a b'"), "'a b' is no name of an extension"),
        (_listed("'ftp://h/x.raw'"), "is no name of an extension"),
        (_listed("'{{ .Name }}'"), "has a Go template"),
        (_listed("{name: git, version: '>=1 || <3'}"), "git: "),
        (_listed("{name: 'oci://r/x', version: '1'}"), "oci://r/x is an image, so it takes no version"),
        (_listed("'https://h/'"), "names no file"),
        (_listed("'https://h/-x.raw'"), "has no file name that could be an extension's"),
        (_listed("git@1", "git@2"), "there is another git, which differs: /oem/0.yaml:1:24"),
        (_bundle("docker://r/git", root="/var/lib/extensions/git") + _listed("git"), "there is another git"),
        (_listed("git", catalogs="1"), "a catalog is a URL"),
        (_listed("git", catalogs="'docker://x'"), "is no URL of a catalog"),
        ("extensions: [x]\n" + _listed("git"), "extensions: must be a map"),
        (
            _bundle("docker://r/x") + "- {rootfs_path: /var/lib/confexts/x, targets: ['docker://r/y']}\n",
            "x is both a sysext and a confext",
        ),
    ],
)
def test_what_kairos_would_refuse_is_a_mistake(text: str, told: str) -> None:
    (mistake,) = _mistakes(text)
    assert told in mistake
    assert re.match(r"/oem/0.yaml:\d+:\d+: ", mistake)


def test_all_mistakes_are_told() -> None:
    assert len(_mistakes(_bundle("x", "y", "://"), _listed("''"))) == 4


@pytest.mark.parametrize(
    ("entry", "name", "tree"),
    [
        ("hello", "hello", {"source": "catalog:hello"}),
        ("fwupd@2.1.7", "fwupd", {"source": "catalog:fwupd@2.1.7"}),
        ("vendor@stable", "vendor", {"source": "catalog:vendor@stable"}),
        ("{name: git}", "git", {"source": "catalog:git"}),
        ("{name: git, version: ''}", "git", {"source": "catalog:git"}),
        ("{name: git, version: '2.50'}", "git", {"source": "catalog:git@2.50"}),
        ("{name: git, version: '>= 2.50, < 3'}", "git", {"source": "catalog:git", "version": ">= 2.50, < 3"}),
        ("{name: git, version: '>= 2.50 < 3'}", "git", {"source": "catalog:git", "version": ">= 2.50, < 3"}),
        ("'git@^2.50'", "git", {"source": "catalog:git", "version": "^2.50"}),
        (f"oci://r.io/t.sysext.raw@{DIGEST}", "t", {"source": f"docker://r.io/t.sysext.raw@{DIGEST}"}),
        ("'oci:r.io/a/tools:v1'", "tools", {"source": "docker://r.io/a/tools:v1"}),
        ("OCI://localhost:5000/tools", "tools", {"source": "docker://localhost:5000/tools"}),
        ("'https://h/a/x%2B1.sysext.raw?t=1'", "x+1", {"source": "https://h/a/x%2B1.sysext.raw?t=1"}),
        ("https://h/x.raw.zst", "x", {"source": "https://h/x.raw.zst"}),
        ("https://h/site.confext.raw", "site", {"source": "https://h/site.confext.raw", "kind": "confext"}),
        ("'/run/a b/t.sysext.raw'", "t", {"source": "file:///run/a%20b/t.sysext.raw"}),
        ("file:///srv/t.raw", "t", {"source": "file:///srv/t.raw"}),
        ("file:/srv/t.raw", "t", {"source": "file:///srv/t.raw"}),
    ],
)
def test_a_listed_extension(entry: str, name: str, tree: dict[str, str]) -> None:
    assert _extensions(_listed(entry)) == {name: {**tree, "format": "auto"}}


def test_names_are_looked_up_where_kairos_does_unless_catalogs_are_named() -> None:
    assert _tree(_listed("git"))["settings"]["catalogs"] == [
        "https://kairos-io.github.io/hadron-layers/releases.json"
    ]
    named = _tree(_listed("git", catalogs="'https://a/r.json', 'https://a/r.json', 'file:///srv/r.json'"))
    assert named["settings"]["catalogs"] == ["https://a/r.json", "file:///srv/r.json"]
    assert "settings" not in _tree(_listed("oci://r/x", catalogs="'https://a/r.json'"))


def test_what_is_not_encrypted_is_not_taken() -> None:
    told = _translated(_listed("http://h/x.raw", "git", catalogs="'http://h/r.json', 'https://h/r.json'"))
    tree = combine(told.fragments).tree
    assert (list(tree["extensions"]), tree["settings"]["catalogs"]) == (["git"], ["https://h/r.json"])
    assert len(told.warnings) == 2
    assert "not taken: http://h/x.raw needs a digest" in told.warnings[0]


def test_a_bundle_with_an_impossible_name_is_not_taken() -> None:
    told = _translated(_bundle("docker://r/x", root="/var/lib/extensions/x.v"))
    assert told.warnings == ("/oem/0.yaml:2:4: bundles.0.rootfs_path: not taken: x.v is no name for an extension",)


def test_documents_under_livelayer_lie_over_bundles_and_over_each_other() -> None:
    lower = "livelayer:\n  apiVersion: livelayer/v1\n  extensions: {ipfs: {format: squashfs}, y: {source: 'docker://r/y'}}\n"
    upper = "livelayer: {settings: {prune: false}, extensions: {y: null}}\n"
    assert _tree(PAGE, lower, upper) == {
        "apiVersion": "livelayer/v1",
        "settings": {"prune": False},
        "extensions": {
            "ipfs": {
                "source": "container://quay.io/example/ipfs-sysext:v0.15.0",
                "rename": True,
                "format": "squashfs",
            }
        },
    }


def test_marks_lead_into_the_cloud_config() -> None:
    document, *_ = _translated("x: y\nlivelayer:\n  extensions:\n    a: {souce: x}\n").fragments[1:]
    assert str(document.place(("extensions", "a", "souce"))) == "/oem/0.yaml:4:9"
    assert str(_translated(PAGE).fragments[0].place(("extensions", "ipfs", "source"))) == "/oem/0.yaml:4:5"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("livelayer: x", "livelayer: must be a map"),
        ("livelayer: {settings: {cloud_config: [/x]}}", "a cloud-config cannot say where they are"),
    ],
)
def test_a_document_of_the_wrong_kind_is_a_mistake(text: str, words: str) -> None:
    found = _translated(text, PAGE)
    assert words in found.mistakes[0].message
    assert found.broken == ("/oem/0.yaml",)
    assert list(combine(found.fragments).tree["extensions"]) == ["ipfs"]


def test_what_is_said_of_a_long_value_is_short() -> None:
    told = _translated(_bundle(f"run://{'x' * 100_000}", f"docker://r/{'y' * 100}", root=f"/srv/{'z' * 100_000}"))
    assert all(len(it) <= 1000 for it in (*told.notes, *told.warnings))


def test_beginnings_of_templates_without_an_end_cost_no_more_than_other_text() -> None:
    for line in (
        "{{" * 100_000,
        "{{" * 100_000 + "\n}}",
        "{" * 200_001 + "}}",
        "{{ }} " * 50_000 + "x",
        "{{}} " * 50_000,
    ):
        began = time.process_time()
        without_templates(line)
        assert time.process_time() - began < 1


def test_templates_are_replaced_by_as_many_characters() -> None:
    text = 'a: {{ .X }}-b\n  {{ if .Y }}  \nc: "{{ printf "%s" .Z }}" {{\n}}\n'
    replaced = without_templates(text)
    assert [len(line) for line in replaced.splitlines()] == [13, 0, len('c: "{{ printf "%s" .Z }}" {{'), 2]
    assert "{{ .X" not in replaced
    assert replaced.endswith(" {{\n}}\n")


KEYS = ("bundles", "targets", "rootfs_path", "local_file", "extensions", "catalogs", "name", "version", "settings")
PLACES = (
    "/var/lib/extensions/x",
    "/var/lib/confexts/x",
    "/",
    "container://r/x",
    "DOCKER://r/y:v1",
    "run://x",
    "x://",
)
ENTRIES = ("git", "git@1", ">=1, <2", "oci://r/x.raw", "https://h/x.raw", "http://h/x", "/x.raw", "", "{{ .X }}")
WORDS = st.sampled_from([*KEYS, *PLACES, *ENTRIES])
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | WORDS | st.text(max_size=5),
    lambda below: st.lists(below, max_size=4) | st.dictionaries(WORDS, below, max_size=4),
    max_leaves=12,
)
BUNDLE = st.fixed_dictionaries(
    {"rootfs_path": WORDS | ANYTHING, "targets": st.lists(WORDS, max_size=3) | ANYTHING, "local_file": st.booleans()}
)
BUNDLES = st.lists(BUNDLE, max_size=3) | ANYTHING
INSTALL = st.fixed_dictionaries({}, optional={"bundles": BUNDLES, "extensions": st.lists(WORDS) | ANYTHING})
FILE = st.fixed_dictionaries(
    {}, optional={"install": INSTALL | ANYTHING, "bundles": BUNDLES, "extensions": ANYTHING, "livelayer": ANYTHING}
)


@given(files=st.lists(FILE, max_size=3))
@example(files=[{"livelayer": {"settings": 5}}])
@settings(max_examples=examples(80))
def test_whatever_it_holds_it_is_understood_or_refused(files: list[dict[str, Any]]) -> None:
    with suppress(Invalid):
        desired_state(combine(_translated(*(yaml.safe_dump(file) for file in files)).fragments))
