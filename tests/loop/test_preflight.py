"""What keeps extensions from being placed, on miniature nodes."""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
from collections import namedtuple
from typing import TYPE_CHECKING

import pytest

from reconciler.host.images.inspect import inspect_image
from reconciler.host.merge import links
from reconciler.host.store import entries as store
from reconciler.host.store import manifests, pathlists, seals
from reconciler.loop import preflight
from reconciler.loop.reconcile import converge, look
from reconciler.loop.session import Options
from reconciler.model.content.format import Format
from reconciler.model.fit.permissions import Permissions
from reconciler.model.kind import ExtensionId, Kind
from reconciler.model.plan.action import Place
from reconciler.model.plan.collisions import FileList
from reconciler.model.state.entry import Entry
from reconciler.query import providers
from tests.rig.diskimages import extension_tree, squashfs
from tests.rig.images import Member, command, write_image
from tests.rig.selinux import give_policy
from tests.seed import configure, entry, fill_store

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.paths import Paths

Usage = namedtuple("Usage", "total used free")  # noqa: PYI024 - as shutil has it
ONE = "docker://registry/one:v1"


def _crowd(paths: Paths) -> None:
    """As many extensions of others as an overlay takes."""
    for number in range(94):
        (paths.links(Kind.SYSEXT) / f"ext{number:04}").mkdir()


@pytest.mark.parametrize("reaction", ["refuse", "warn"])
def test_one_extension_too_many_is_kept_out_or_told(paths: Paths, reaction: str) -> None:
    _crowd(paths)
    fill_store(paths, ONE, "one", "a")
    configure(paths, f"settings: {{preflight: {{layers: {reaction}}}}}\nextensions: {{one: {{source: '{ONE}'}}}}")
    seen = look(paths, Options())
    told = [item.sentence for item in (seen.problems if reaction == "refuse" else seen.warnings)]
    assert [words for words in told if words.startswith("one: with it, 95 extensions would be merged")] == told != []
    assert converge(paths, Options(), "test").in_sync == (reaction == "warn")
    assert bool(links.read_links(paths, 252).links) == (reaction == "warn")


def _file(paths: Paths, letter: str, name: str) -> None:
    path = paths.store / entry(letter).file_name / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


@pytest.mark.parametrize("reaction", ["refuse", "warn"])
def test_files_of_two_extensions_collide(paths: Paths, caplog: pytest.LogCaptureFixture, reaction: str) -> None:
    for name, letter in (("one", "a"), ("two", "b")):
        fill_store(paths, f"docker://registry/{name}:v1", name, letter)
        _file(paths, letter, "usr/bin/tool")
    settings = f"settings: {{preflight: {{collisions: {reaction}}}}}\n"
    sources = "one: {source: 'docker://registry/one:v1'}"
    configure(paths, f"{settings}extensions: {{{sources}}}")
    assert converge(paths, Options(), "test").in_sync
    configure(paths, f"{settings}extensions: {{{sources}, two: {{source: 'docker://registry/two:v1'}}}}")
    sentence = "two: hides /usr/bin/tool of one"
    seen = look(paths, Options())
    assert (sentence in [it.sentence for it in seen.warnings]) == (reaction == "warn")
    result = converge(paths, Options(), "test")
    assert result.in_sync == (reaction == "warn")
    warned = [it.message for it in caplog.records if it.levelname == "WARNING"]
    assert (sentence in warned) == (reaction == "warn")
    placed = {ident.name for ident in links.read_links(paths, 252).links}
    assert placed == ({"one", "two"} if reaction == "warn" else {"one"})
    if reaction == "warn":
        explained = [
            preflight.present(paths, links.read_links(paths, 252).links, ExtensionId(name)) for name in ("one", "two")
        ]
        assert [[(it.upper, it.lower) for it in found] for found in explained] == [[("two", "one")]] * 2
    if reaction == "refuse":
        assert [item.sentence for item in result.problems] == [sentence]
        assert f"two: {result.statuses[1].reason}" == sentence


def test_another_roots_own_files_are_compared(paths: Paths) -> None:
    fill_store(paths, ONE, "one", "a")
    _file(paths, "a", "usr/bin/tool")
    (paths.root / "usr/bin").mkdir(parents=True)
    (paths.root / "usr/bin/tool").touch()
    configure(paths, f"settings: {{preflight: {{host_files: refuse}}}}\nextensions: {{one: {{source: '{ONE}'}}}}")
    (problem,) = converge(paths, Options(), "test").problems
    assert (problem.code, problem.sentence) == ("preflight.host-file", "one: hides /usr/bin/tool of this host")
    assert not links.read_links(paths, 252).links


def test_paths_of_a_directory_are_in_its_manifest_alone(paths: Paths) -> None:
    fill_store(paths, ONE, "one", "a")
    first = pathlists.file_list(paths, entry("a"), remember=True)
    assert first
    assert first.files == {"usr/lib/extension-release.d/extension-release.one"}
    assert first.directories.keys() == {"usr", "usr/lib", "usr/lib/extension-release.d"}
    assert not paths.file_lists.exists()
    paths.manifests.mkdir(parents=True)
    manifests.make(paths, entry("a"))
    _file(paths, "a", "usr/added-by-hand")
    assert pathlists.file_list(paths, entry("a"), remember=True) == first
    seals.path_of(paths, entry("a")).write_bytes(b"damaged")
    changed = pathlists.file_list(paths, entry("a"), remember=True)
    assert changed
    assert changed.files - first.files == {"usr/added-by-hand"}
    assert pathlists.file_list(paths, entry("b"), remember=True) is None


def test_a_list_that_an_earlier_version_kept_of_a_directory_says_nothing(paths: Paths) -> None:
    fill_store(paths, ONE, "one", "a")
    paths.file_lists.mkdir(parents=True)
    (paths.file_lists / f"{entry('a').file_name}.json").write_text('[["usr/x"], ["usr"]]')
    found = pathlists.file_list(paths, entry("a"), remember=True)
    assert found
    assert "usr/x" not in found
    configure(paths, f"extensions: {{one: {{source: '{ONE}'}}}}")
    assert converge(paths, Options(), "test").in_sync
    assert not providers.find(paths, "/usr/x").is_provided


@pytest.mark.commands
def test_paths_of_an_image_file_are_remembered_and_a_damaged_list_is_made_again(paths: Paths, tmp_path: Path) -> None:
    image = Entry(entry("a").digest, format=Format.RAW)
    file = squashfs(extension_tree(tmp_path / "one", "one"), tmp_path / "image")
    with store.stage(paths) as stage:
        contents = inspect_image(file, Kind.SYSEXT, stage)
        store.commit(paths, file.rename(stage / "image"), image, contents)
    record = paths.file_lists / f"{image.file_name}.json"
    first = pathlists.file_list(paths, image, remember=False)
    assert first
    assert "usr/bin/one" in first.files
    assert not record.exists()
    assert pathlists.file_list(paths, image, remember=True) == first
    record.write_text('{"files": ["usr/x", "usr/y"], "directories": {"usr": [493, 0, 0]}, "links": {"usr/y": "x"}}')
    remembered = pathlists.file_list(paths, image, remember=True)
    assert remembered
    assert remembered == FileList(frozenset({"usr/x", "usr/y"}), {"usr": Permissions()}, {"usr/y": "x"})
    for text in (
        '{"files": [1], "directories": {}, "links": {}}',
        '{"files": [], "directories": {"usr": 1}, "links": {}}',
        '{"files": [], "directories": {}, "links": {"usr/x": 1}}',
        '{"files": [], "directories": {}}',
        '[["usr/x"], ["usr"]]',
    ):
        record.write_text(text)
        assert pathlists.file_list(paths, image, remember=True) == first


def test_who_has_a_path_below_another_root(paths: Paths) -> None:
    fill_store(paths, ONE, "one", "a")
    _file(paths, "a", "usr/bin/tool")
    byhand = paths.links(Kind.SYSEXT) / "byhand/usr/bin"
    byhand.mkdir(parents=True)
    (byhand / "tool").touch()
    (paths.links(Kind.SYSEXT) / "image.raw").touch()
    configure(paths, f"extensions: {{one: {{source: '{ONE}'}}}}")
    converge(paths, Options(), "test")
    found = providers.find(paths, "/usr/bin/../bin/tool")
    assert [(it.name, it.is_managed, it.is_seen) for it in found.extensions] == [
        ("one", True, False),
        ("byhand", False, False),
    ]
    assert (found.on_host, found.unknown) == (False, ("image",))
    assert providers.find(paths, "/etc/os-release").on_host
    assert not providers.find(paths, "/srv/none").is_provided


@pytest.mark.commands
@pytest.mark.parametrize("reaction", ["refuse", "warn"])
def test_more_than_the_disk_has_room_for_is_refused_or_told(
    paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reaction: str
) -> None:
    """All of it together, in the plan already."""
    for name in ("one", "two"):
        content = hashlib.shake_256(name.encode()).digest(100_000)
        write_image(tmp_path / "layout", name, (*command(name, name), Member("usr/share/data", content)))
    listed = "".join(f"  {name}: {{source: 'oci:{tmp_path}/layout:{name}'}}\n" for name in ("one", "two"))
    configure(paths, f"settings: {{preflight: {{space: {reaction}}}}}\nextensions:\n{listed}")
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(300_000, 150_000, 150_000))
    seen = look(paths, Options())
    told = [item.sentence for item in (seen.problems if reaction == "refuse" else seen.warnings)]
    assert [words.split(" needs more")[0] for words in told] == [f"two: oci:{tmp_path}/layout:two:"]
    result = converge(paths, Options(), "test")
    assert result.in_sync == (reaction == "warn")
    placed = {ident.name for ident in links.read_links(paths, 252).links}
    assert placed == ({"one", "two"} if reaction == "warn" else {"one"})
    assert [item.extension for item in result.problems] == ([] if reaction == "warn" else ["two"])


def _labelled(tree: Path) -> None:
    for path in (tree, *tree.rglob("*")):
        os.setxattr(path, "security.selinux", b"system_u:object_r:usr_t:s0\0", follow_symlinks=False)


@pytest.mark.parametrize("reaction", ["refuse", "warn"])
def test_files_without_labels_where_selinux_is_enforcing(paths: Paths, reaction: str) -> None:
    """Fetched before SELinux was turned on, or relabelled with the rest of /var. No kernel enforces anything here."""
    for name, letter in (("bare", "a"), ("good", "b"), ("spread", "c")):
        fill_store(paths, f"docker://registry/{name}:v1", name, letter)
    os.setxattr(paths.store, "security.selinux", b"system_u:object_r:var_lib_t:s0\0")
    _labelled(paths.store / entry("b").file_name)
    for path in (paths.store / entry("c").file_name).rglob("*"):
        os.setxattr(path, "security.selinux", b"system_u:object_r:var_lib_t:s0\0")
    listed = "".join(f"  {name}: {{source: 'docker://registry/{name}:v1'}}\n" for name in ("bare", "good", "spread"))
    configure(paths, f"settings: {{preflight: {{labels: {reaction}}}}}\nextensions:\n{listed}")
    assert look(paths, Options()).warnings == ()
    assert not look(paths, Options()).problems
    give_policy(paths.root, "enforcing")
    words = [f"{name}: /usr has no SELinux label of its own, and SELinux is enforcing" for name in ("bare", "spread")]
    seen = look(paths, Options())
    told = [item.sentence for item in (seen.problems if reaction == "refuse" else seen.warnings)]
    assert told == words
    (paths.root / "etc/selinux/config").write_text("SELINUX=permissive\n")
    assert look(paths, Options()).warnings == ()
    assert converge(paths, Options(), "test").in_sync


@pytest.mark.commands
def test_an_image_without_labels_where_selinux_is_enforcing(paths: Paths, tmp_path: Path) -> None:
    """One image file of each sort, made by others."""
    for name in ("bare", "good"):
        tree = extension_tree(tmp_path / name, name)
        if name == "good":
            _labelled(tree)
        squashfs(tree, paths.root / f"{name}.raw")
    listed = "".join(f"  {name}: {{source: 'file:///{name}.raw', format: raw}}\n" for name in ("bare", "good"))
    give_policy(paths.root, "enforcing")
    configure(paths, f"settings: {{preflight: {{labels: refuse}}}}\nextensions:\n{listed}")
    result = converge(paths, Options(), "test")
    assert [item.sentence for item in result.problems] == [
        "bare: no file in the image has an SELinux label, and SELinux is enforcing"
    ]
    assert {ident.name for ident in links.read_links(paths, 252).links} == {"good"}


def test_another_roots_hierarchies_are_its_units(paths: Paths) -> None:
    """With /srv among them it takes what lies there, and what lies outside of all is told."""
    drop_in = paths.root / "etc/systemd/system/systemd-sysext.service.d/x.conf"
    drop_in.parent.mkdir(parents=True)
    setting = "[Service]\nEnvironment=SYSTEMD_SYSEXT_HIERARCHIES={}\n"
    drop_in.write_text(setting.format("/usr/lib:/srv"))
    fill_store(paths, ONE, "one", "a")
    for name in ("srv/data", "usr/bin/one"):
        _file(paths, "a", name)
    configure(paths, f"extensions: {{one: {{source: '{ONE}'}}}}")
    (problem,) = converge(paths, Options(), "test").problems
    assert (problem.code, problem.extension) == ("overlay.outside", "one")
    assert problem.message == "/usr/bin/one is not seen: extensions are merged onto /usr/lib, /srv only"
    drop_in.write_text(setting.format("/usr/lib:/usr/bin:/srv"))
    assert look(paths, Options()).in_sync
    drop_in.unlink()
    assert [it.code for it in look(paths, Options(offline=True)).problems] == ["content.misplaced"]


@pytest.mark.parametrize(
    ("path", "code", "setting"),
    [
        ("usr/lib/livelayer/extensions.d/zz.yaml", "limit.livelayer", "livelayer: true"),
        ("usr/share/containers/policy.json", "limit.livelayer", "livelayer: true"),
        ("usr/lib/systemd/system-generators/x", "limit.power", "generators: true"),
    ],
)
def test_what_an_extension_must_not_be_able_to_do_keeps_it_out(
    paths: Paths, path: str, code: str, setting: str
) -> None:
    fill_store(paths, ONE, "one", "a")
    _file(paths, "a", path)
    wanted = f"extensions: {{one: {{source: '{ONE}'}}}}"
    limits = "settings: {limits: {generators: false}}\n"
    configure(paths, limits + wanted)
    (problem,) = converge(paths, Options(), "test").problems
    assert (problem.code, problem.extension) == (code, "one")
    assert f"/{path}" in problem.message
    assert setting in (problem.hint or "")
    assert not links.read_links(paths, 252).links
    configure(paths, f"settings: {{limits: {{{setting}}}}}\n{wanted}")
    assert converge(paths, Options(offline=True), "test").in_sync


@pytest.mark.parametrize("text", ["u x 0\n", "u x -\n"])
@pytest.mark.commands
def test_what_is_in_a_file_of_an_image_decides(paths: Paths, tmp_path: Path, text: str) -> None:
    tree = extension_tree(tmp_path / "tree", "one")
    (tree / "usr/lib/sysusers.d").mkdir(parents=True)
    (tree / "usr/lib/sysusers.d/x.conf").write_text(text)
    image = squashfs(tree, tmp_path / "one.raw")
    limits = "{limits: {sysusers: false}}"
    configure(paths, f"settings: {limits}\nextensions: {{one: {{source: 'file://{image}', format: raw}}}}")
    # Another root's file:// is below it; the image is given as the node has it.
    within = paths.root / str(image).lstrip("/")
    within.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(image, within)
    problems = converge(paths, Options(), "test").problems
    assert [it.code for it in problems] == (["limit.power"] if "0" in text else [])


@pytest.mark.parametrize("form", ["directory", "squashfs", "raw", "file"])
@pytest.mark.commands
def test_a_link_to_a_directory_hides_from_the_rules_in_no_format(paths: Paths, tmp_path: Path, form: str) -> None:
    tree = extension_tree(tmp_path / "tree", "one")
    (tree / "usr/share/evil/system-generators").mkdir(parents=True)
    (tree / "usr/share/evil/system-generators/x").write_text("")
    (tree / "usr/local/lib").mkdir(parents=True)
    (tree / "usr/local/lib/systemd").symlink_to("../../share/evil")
    within = paths.root / "srv"
    within.mkdir()
    if form == "raw":
        squashfs(tree, within / "one.raw")
        source = "source: 'file:///srv/one.raw', format: raw"
    elif form == "file":
        shutil.copytree(tree, within / "one", symlinks=True)
        source = "source: 'file:///srv/one', format: directory"
    else:
        with tarfile.open(within / "one.tar", "w") as archive:
            archive.add(tree, ".")
        source = f"source: 'file:///srv/one.tar', format: {form}"
    configure(paths, f"settings: {{limits: {{generators: false}}}}\nextensions: {{one: {{{source}}}}}")
    (problem,) = converge(paths, Options(), "test").problems
    assert problem.code == "limit.power"
    assert "/usr/local/lib/systemd/system-generators/x" in problem.message


def test_what_a_new_version_can_do_more_is_told(paths: Paths) -> None:
    configure(paths, f"extensions: {{one: {{source: '{ONE}'}}}}")
    fill_store(paths, ONE, "one", "a")
    _file(paths, "a", "usr/lib/tmpfiles.d/a.conf")
    assert converge(paths, Options(), "test").in_sync
    fill_store(paths, ONE, "one", "b")
    for name in ("tmpfiles.d/b.conf", "sysctl.d/x.conf"):
        _file(paths, "b", f"usr/lib/{name}")
    (warning,) = look(paths, Options()).warnings
    assert warning.code == "preflight.power"
    assert "can do more than the version before: it changes settings of the kernel" in warning.message


def test_what_is_in_an_extension_has_to_be_known(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of that which is placed only where collisions count."""
    for name, letter in (("one", "a"), ("two", "b")):
        fill_store(paths, f"docker://registry/{name}:v1", name, letter)
    one, two = (f"{name}: {{source: 'docker://registry/{name}:v1'}}" for name in ("one", "two"))
    configure(paths, f"extensions: {{{one}}}")
    assert converge(paths, Options(), "test").in_sync
    readable, unknown = pathlists.file_list, set[Entry]()

    def unreadable(at: Paths, wanted: Entry, *, remember: bool) -> FileList | None:
        return None if wanted in unknown else readable(at, wanted, remember=remember)

    monkeypatch.setattr(pathlists, "file_list", unreadable)
    configure(paths, f"settings: {{preflight: {{collisions: refuse}}}}\nextensions: {{{one}, {two}}}")
    for letter, words in (("a", "whether it collides with one is not known"), ("b", "what is in it is not known")):
        unknown = {entry(letter)}
        (problem,) = look(paths, Options()).problems
        assert (problem.code, problem.extension) == ("preflight.unknown", "two")
        assert words in problem.message
    configure(paths, f"extensions: {{{one}, {two}}}")
    assert [it.extension for it in look(paths, Options()).problems] == ["two"]
    unknown = {entry("a")}
    assert converge(paths, Options(), "test").in_sync


def test_what_a_new_extension_can_do_to_the_host_is_told_once(paths: Paths, caplog: pytest.LogCaptureFixture) -> None:
    fill_store(paths, ONE, "one", "a")
    for name in ("usr/lib/tmpfiles.d/a.conf", "usr/lib/tmpfiles.d/b.conf", "usr/lib/udev/rules.d/quiet.rules"):
        _file(paths, "a", name)
    configure(paths, f"extensions: {{one: {{source: '{ONE}'}}}}")
    words = (
        "one: is new, and makes, changes or removes files anywhere, as root: /usr/lib/tmpfiles.d/a.conf and 1 more"
    )
    assert [it.sentence for it in look(paths, Options()).warnings] == [words]
    assert converge(paths, Options(), "test").in_sync
    assert words in [it.message for it in caplog.records]
    fill_store(paths, ONE, "one", "b")
    _file(paths, "b", "usr/lib/tmpfiles.d/a.conf")
    update = look(paths, Options())
    assert isinstance(update.view.plan.actions[0], Place)
    assert update.warnings == ()


def test_the_strict_profile_refuses_what_is_not_allowed_by_name(paths: Paths) -> None:
    fill_store(paths, ONE, "one", "a")
    _file(paths, "a", "usr/lib/tmpfiles.d/a.conf")
    wanted = f"extensions: {{one: {{source: '{ONE}'}}}}"
    configure(paths, f"settings: {{profile: strict}}\n{wanted}")
    (problem,) = converge(paths, Options(), "test").problems
    assert (problem.code, "settings.limits.tmpfiles: true" in (problem.hint or "")) == ("limit.power", True)
    configure(paths, f"settings: {{profile: strict, limits: {{tmpfiles: true}}}}\n{wanted}")
    assert converge(paths, Options(offline=True), "test").in_sync
