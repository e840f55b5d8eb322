"""Directories of releases on a real server and on the node, with all that may be wrong with them."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import pytest

from reconciler.errors import Failed, Invalid, ReconcilerError, Unavailable
from reconciler.host.sources import web
from reconciler.host.sources.web import Patience
from reconciler.loop import reconcile
from reconciler.loop.session import Options
from reconciler.model.content.resolution import resolution_as_json, resolution_from_json
from reconciler.report import documents
from reconciler.report.explanation import explain, lines
from tests.commandline import run
from tests.rig.openpgp import KeyOwner
from tests.rig.webserver import Handler, WebServer, trusted_server
from tests.seed import configure, converge

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from reconciler.loop.reconcile import Result
    from reconciler.model.plan.target import Target
    from reconciler.paths import Paths
    from tests.rig.webserver import Fault

pytestmark = pytest.mark.commands  # a certificate is made by openssl

MATCH: Final = "kubernetes-@v-%a.raw"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WebServer]:
    """A server with TLS that this process trusts, and nobody's patience."""
    monkeypatch.setattr(web, "PATIENCE", Patience(attempts=1, stall=2, pause=0.01, longest=0.01))
    with trusted_server(tmp_path, monkeypatch) as running:
        (running.directory / "d").mkdir()
        yield running


def _digest(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


def _name(version: str, architecture: str = "x86-64") -> str:
    return f"kubernetes-{version}-{architecture}.raw"


def _publish(directory: Path, *versions: str, more: str = "") -> None:
    """Files whose content is their name, and their list."""
    listed = ""
    for version in versions:
        for architecture in ("x86-64", "arm64"):
            name = _name(version, architecture)
            (directory / name).write_text(name)
            listed += f"{_digest(name)}  {name}\n"
    (directory / "SHA256SUMS").write_text(listed + more)


def _want(paths: Paths, source: str, **keys: object) -> None:
    item = {"source": source, "match": MATCH, "format": "raw", "platform": "linux/amd64", "pull": "always", **keys}
    configure(paths, json.dumps({"extensions": {"kubernetes": item}}))


def _look(paths: Paths) -> Result:
    return reconcile.look(paths, Options())


def _target(paths: Paths, name: str = "kubernetes") -> Target:
    found = _look(paths).view.targets[name]
    if isinstance(found, ReconcilerError):
        raise found
    return found


def _asked(server: WebServer) -> list[str]:
    return [path for path, _ in server.requests]


def test_the_newest_that_fits_is_taken_from_an_unsigned_list_and_that_is_told(
    paths: Paths, server: WebServer
) -> None:
    _publish(server.directory / "d", "v1.31.1", "v1.31.10", "v1.31.9", "v1.32.2+k3s1", "v1.33.0-rc1")
    _want(paths, f"{server.url}/d/", version=">=1.31,<1.32", signed=False)
    result = _look(paths)
    (fetch, *_) = documents.plan_lines(result.view.plan, result.verdict)
    assert f"from {server.url}/d/kubernetes-v1.31.10-x86-64.raw (not in the store; v1.31.10, of 5 versions; " in fetch
    (warning,) = result.warnings
    assert (warning.code, warning.extension) == ("signature.unsigned", "kubernetes")
    assert "its server decides" in warning.message
    status = documents.status_document(reconcile.status(paths, Options()).node)
    assert [it["code"] for it in status["warnings"]] == ["signature.unsigned"]
    told = lines(explain(result.statuses[0], result.view, result.problems))
    assert "  version   v1.31.10, of 5 versions; v1.33.0-rc1 is not in >=1.31,<1.32" in told
    assert "  file      kubernetes-v1.31.10-x86-64.raw" in told
    assert _target(paths).entry.digest == f"sha256:{_digest(_name('v1.31.10'))}"
    assert result.statuses[0].version == "v1.31.10"


def test_what_a_url_needs_is_escaped_and_its_query_goes_along(paths: Paths, server: WebServer) -> None:
    _publish(server.directory / "d", "5+29.4.2-1~debian.13")
    _want(paths, f"{server.url.replace('//', '//user:secret@')}/d/?token=secret", signed=False)
    (fetch, *_) = documents.plan_lines(_look(paths).view.plan, "not in sync")
    file = "/d/kubernetes-5%2B29.4.2-1~debian.13-x86-64.raw"
    assert f"{file}?***" in fetch
    result = converge(paths)
    assert f"{file}?token=secret" in _asked(server)
    assert "/d/SHA256SUMS?token=secret" in _asked(server)
    told = [fetch, *documents.problem_lines((*result.problems, *result.warnings)), paths.status.read_text()]
    records = [it.read_text() for it in paths.state.rglob("*.json") if it != paths.last_good]
    assert "secret" not in "".join([*told, *records])


def test_the_list_is_fetched_once_for_all(paths: Paths, server: WebServer) -> None:
    _publish(server.directory / "d", "v1.31.1", "v1.32.1")
    items = {
        f"x{number}": {
            "source": f"{server.url}/d/",
            "match": MATCH,
            "version": f"1.{31 + number % 2}",
            "signed": False,
            "format": "raw",
            "platform": "linux/amd64",
        }
        for number in range(20)
    }
    configure(paths, json.dumps({"extensions": items}))
    targets = _look(paths).view.targets
    assert {it.resolution.tag for it in targets.values() if not isinstance(it, ReconcilerError)} == {
        "v1.31.1",
        "v1.32.1",
    }
    assert _asked(server) == ["/d/SHA256SUMS"]


@pytest.mark.xdist_group("keys")
def test_a_list_needs_a_signature_unless_it_is_waived_or_the_file_is_pinned(paths: Paths, server: WebServer) -> None:
    _publish(server.directory / "d", "v1.31.1", "v1.32.1")
    _want(paths, f"{server.url}/d/")
    with pytest.raises(Invalid, match="there is no keyring") as caught:
        _target(paths)
    assert "set signed: false" in (caught.value.hint or "")
    assert "digest:" not in (caught.value.hint or "")
    with KeyOwner("vendor") as vendor:
        keyring = vendor.export(paths.under("/etc/livelayer/keyring.gpg"))
        assert keyring.exists()
        with pytest.raises(Invalid, match=r"SHA256SUMS.gpg says which files there are: .*404") as caught:
            _target(paths)
        assert "set signed: false" in (caught.value.hint or "")
        vendor.sign(server.directory / "d/SHA256SUMS")
        assert _target(paths).resolution.tag == "v1.32.1"
        assert not _look(paths).warnings
    (server.directory / "d/SHA256SUMS.gpg").unlink()
    pin = f"sha256:{_digest(_name('v1.31.1'))}"
    for key in ({}, {"signed": False}):
        _want(paths, f"{server.url}/d/", digest=pin, **key)
        assert _target(paths).resolution.tag == "v1.31.1"
        assert not _look(paths).warnings
    _want(paths, f"{server.url}/d/", digest=f"sha256:{'0' * 64}")
    with pytest.raises(Invalid, match=r"none of the 2 files of .* has the digest") as caught:
        _target(paths)
    assert caught.value.code == "digest.mismatch"


def _out_of_order(handler: Handler) -> bool:
    handler.fail(503)
    return True


def _cut(handler: Handler) -> bool:
    handler.send(200, b"0" * 70, Content_Length="7000")
    handler.hang_up()
    return True


def _moved(handler: Handler) -> bool:
    handler.fail(302, Location="/elsewhere/SHA256SUMS")
    return True


def _publish_archives(directory: Path, *versions: str) -> None:
    listed = ""
    for version in versions:
        name, release = f"kubernetes-{version}-x86-64.tar", f"ID=_any\nVERSION={version}\n".encode()
        with tarfile.open(directory / name, "w") as archive:
            member = tarfile.TarInfo("usr/lib/extension-release.d/extension-release.kubernetes")
            member.size = len(release)
            archive.addfile(member, io.BytesIO(release))
        listed += f"{hashlib.sha256((directory / name).read_bytes()).hexdigest()}  {name}\n"
    (directory / "SHA256SUMS").write_text(listed)


def _placed(paths: Paths) -> str:
    release = paths.under("/var/lib/extensions/kubernetes/usr/lib/extension-release.d/extension-release.kubernetes")
    return release.read_text().partition("VERSION=")[2].strip()


@pytest.mark.parametrize("fault", [_out_of_order, _cut], ids=["503", "cut"])
def test_while_the_list_is_away_what_is_placed_stays(paths: Paths, server: WebServer, fault: Fault) -> None:
    _publish_archives(server.directory / "d", "v1.31.1")
    _want(paths, f"{server.url}/d/", match="kubernetes-@v-%a.tar", format="directory", signed=False)
    assert converge(paths).converged
    server.fail("/d/SHA256SUMS", fault)
    result = converge(paths)
    assert (result.converged, _placed(paths)) == (True, "v1.31.1")
    assert _target(paths).resolution.tag == "v1.31.1"


def test_versions_come_wait_and_go_back_as_tags_do(paths: Paths, server: WebServer) -> None:
    directory, source, match = server.directory / "d", f"{server.url}/d/", "kubernetes-@v-%a.tar"
    keys = {"match": match, "format": "directory", "signed": False}
    _publish_archives(directory, "v1.31.1")
    _want(paths, source, **keys)
    assert converge(paths).converged
    _publish_archives(directory, "v1.31.1", "v1.31.2")
    _want(paths, source, **keys, pull="missing")
    assert (converge(paths).converged, _placed(paths)) == (True, "v1.31.1")
    _want(paths, source, **keys, min_age="3d")
    assert (converge(paths).converged, _placed(paths)) == (True, "v1.31.1")
    _want(paths, source, **keys)
    assert (converge(paths).converged, _placed(paths)) == (True, "v1.31.2")
    server.requests.clear()
    assert reconcile.roll_back(paths, Options(), None).converged
    assert (_placed(paths), _asked(server)) == ("v1.31.1", [])
    (held,) = _look(paths).view.desired.extensions
    assert held.parts[0].source.text == f"{source}kubernetes-v1.31.1-x86-64.tar"
    configure(paths, json.dumps({"extensions": {}, "settings": {"allow_empty": True}}))
    assert converge(paths).converged
    pin = f"sha256:{hashlib.sha256((directory / 'kubernetes-v1.31.1-x86-64.tar').read_bytes()).hexdigest()}"
    _want(paths, source, match=match, format="directory", digest=pin)  # which takes no signature
    assert (converge(paths).converged, _placed(paths)) == (True, "v1.31.1")


def test_inspect_and_lint_look_into_the_file_that_would_be_taken(
    paths: Paths, server: WebServer, capsys: pytest.CaptureFixture[str]
) -> None:
    _publish_archives(server.directory / "d", "v1.31.1", "v1.32.0+k3s1", "v1.33.0")
    root = ["--root", str(paths.root)]
    asked = ["--match", "kubernetes-@v-%a.tar", "--platform", "linux/amd64", "--unsigned"]
    assert run(*root, "lint", *asked, f"{server.url}/d/") == 0
    assert run(*root, "inspect", *asked, "--range", "<1.33", f"{server.url}/d/") == 0
    shown = capsys.readouterr().out
    assert f"{server.url}/d/kubernetes-v1.32.0%2Bk3s1-x86-64.tar" in shown
    assert "VERSION=v1.32.0+k3s1" in shown
    for subject in ("docker://h/x", f"{server.url}/d"):
        assert run(*root, "inspect", *asked, subject) == 1
        assert "name https://HOST/DIR/ or file:///DIR/" in capsys.readouterr().err
    assert run(*root, "inspect", "--match", "x", f"{server.url}/d/") == 1
    assert "--match: 'x' has no @v" in capsys.readouterr().err


def test_another_os_takes_the_file_that_is_for_it(paths: Paths, server: WebServer, tmp_path: Path) -> None:
    _publish_archives(server.directory / "d", "1.0-41", "1.0-42")
    _want(paths, f"{server.url}/d/", match="kubernetes-@v-%w-%a.tar", format="directory", signed=False)
    other = tmp_path / "os-release"
    other.write_text("ID=fedora\nVERSION_ID=42\n")
    assert run("--root", paths.root, "apply", "--for-os-release", other) == 0
    assert [it for it in _asked(server) if it.endswith(".tar")] == ["/d/kubernetes-1.0-42-x86-64.tar"]
    assert run("--root", paths.root, "check", "--os-release", other) == 0
    server.requests.clear()
    release = paths.under("/etc/os-release")
    release.unlink(missing_ok=True)
    release.write_text(other.read_text())
    assert converge(paths, offline=True).converged
    assert (_asked(server), _placed(paths)) == ([], "1.0-42")


def test_a_list_that_moved_is_followed(paths: Paths, server: WebServer) -> None:
    (server.directory / "elsewhere").mkdir()
    _publish(server.directory / "elsewhere", "v1.31.1")
    server.fail("/d/SHA256SUMS", _moved)
    _want(paths, f"{server.url}/d/", signed=False)
    assert _target(paths).resolution.tag == "v1.31.1"


def test_a_directory_without_a_list_is_told(paths: Paths, server: WebServer) -> None:
    _want(paths, f"{server.url}/d/", signed=False)
    with pytest.raises(Invalid, match=r"SHA256SUMS says which files there are: .*404") as caught:
        _target(paths)
    assert caught.value.code == "web.not-found"


@pytest.mark.parametrize(
    "content", ["", "<!DOCTYPE html><title>Login", "404: Not Found", f"{'0' * 32}  {_name('v1')}"]
)
def test_something_else_in_the_place_of_a_list_is_told(paths: Paths, server: WebServer, content: str) -> None:
    """A login page of the network, or an error that the server calls a success."""
    (server.directory / "d/SHA256SUMS").write_text(content)
    _want(paths, f"{server.url}/d/", signed=False)
    with pytest.raises(Unavailable, match="SHA256SUMS: this is no list of checksums, but ") as caught:
        _target(paths)
    assert caught.value.code == "web.malformed"


def test_a_huge_list_is_refused(paths: Paths, server: WebServer) -> None:
    (server.directory / "d/SHA256SUMS").write_bytes(b"0" * (11 << 20))
    _want(paths, f"{server.url}/d/", signed=False)
    with pytest.raises(Invalid, match="more than 10M") as caught:
        _target(paths)
    assert caught.value.code == "limit.exceeded"


def test_a_list_that_is_no_good_any_more_is_not_used(paths: Paths, server: WebServer) -> None:
    _publish(server.directory / "d", "v1.31.1", more=f"{_digest('')}  BEST-BEFORE-2020-01-01\n")
    _want(paths, f"{server.url}/d/", signed=False)
    with pytest.raises(Unavailable, match="the list was good until 2020-01-01"):
        _target(paths)


@pytest.mark.parametrize(
    "line",
    [
        f"{'0' * 64}  ../kubernetes-v9.9-x86-64.raw",
        f"{'0' * 64}  sub/kubernetes-v9.9-x86-64.raw",
        f"\\{'0' * 64}  kubernetes-v9.9\\n-x86-64.raw",
        f"\\{'0' * 64}  kubernetes-v9\\\\9-x86-64.raw",
        f"{'0' * 63}  kubernetes-v9.9-x86-64.raw",
        f"{'0' * 64}  kubernetes-v9.9-x86-64.ra",
        f"{'0' * 64}  kubernetes-v9.9\x1b[31m-x86-64.raw",
        f"{'0' * 64}  kubernetes-v9.9?x=1-x86-64.raw",
        f"{'0' * 64}  kubernetes-v9.9%2F..-x86-64.raw",
    ],
)
def test_names_that_lead_elsewhere_are_passed_over(paths: Paths, server: WebServer, line: str) -> None:
    _publish(server.directory / "d", "v1.31.1", more=f"{line}\n")
    _want(paths, f"{server.url}/d/", signed=False)
    assert _target(paths).resolution.tag == "v1.31.1"


def test_a_file_that_is_not_what_the_list_says_is_refused(paths: Paths, server: WebServer) -> None:
    _publish(server.directory / "d", "v1.31.1")
    (server.directory / "d" / _name("v1.31.1")).write_text("another")
    _want(paths, f"{server.url}/d/", signed=False)
    result = converge(paths)
    assert [(it.extension, it.code) for it in result.problems] == [("kubernetes", "digest.mismatch")]


def test_thousands_of_versions_are_listed(paths: Paths, server: WebServer) -> None:
    names = [_name(f"v1.{minor}.{patch}") for minor in range(100) for patch in range(80)]
    (server.directory / "d/SHA256SUMS").write_text("".join(f"{_digest(it)}  {it}\n" for it in names))
    _want(paths, f"{server.url}/d/", signed=False, version="<1.50")
    assert _target(paths).resolution.tag == "v1.49.79"


def _placed_locally(paths: Paths) -> Path:
    directory = paths.under("/srv/releases")
    directory.mkdir(parents=True)
    return directory


@pytest.mark.parametrize("slash", ["/", ""])
def test_a_directory_of_the_node_needs_no_list(paths: Paths, slash: str) -> None:
    directory = _placed_locally(paths)
    _publish(directory, "v1.31.1", "v1.32.1")
    (directory / "SHA256SUMS").unlink()
    (directory / _name("v1.33.0")).mkdir()
    _want(paths, f"file:///srv/releases{slash}")
    target = _target(paths)
    assert (target.resolution.tag, target.entry.digest) == ("v1.32.1", f"sha256:{_digest(_name('v1.32.1'))}")
    (fetch, *_) = documents.plan_lines(_look(paths).view.plan, "not in sync")
    assert "from file:///srv/releases/kubernetes-v1.32.1-x86-64.raw" in fetch
    pin = f"sha256:{_digest(_name('v1.31.1'))}"
    _want(paths, "file:///srv/releases/", digest=pin)
    assert _target(paths).resolution.tag == "v1.31.1"


def test_what_a_list_of_the_node_says_counts(paths: Paths, caplog: pytest.LogCaptureFixture) -> None:
    directory = _placed_locally(paths)
    _publish(directory, "v1.31.1", "v1.32.1", more=f"{'0' * 64}  {_name('v1.99.0')}\n")  # and what is not there
    for unlisted in ("v1.40.0", "v1.41.0"):
        (directory / _name(unlisted)).write_text("on its way")
    _want(paths, "file:///srv/releases/")
    assert _target(paths).resolution.tag == "v1.32.1"
    told = f"file:///srv/releases: {_name('v1.41.0')} is not in the SHA256SUMS beside it, so it is passed over"
    assert caplog.messages == [told]
    (directory / _name("v1.32.1")).write_text("half")
    with pytest.raises(Invalid, match="is listed beside it") as caught:
        _target(paths)
    assert caught.value.code == "digest.mismatch"
    _publish(directory, "v1.31.1", more=f"{_digest('')}  BEST-BEFORE-2020-01-01\n")
    with pytest.raises(Unavailable, match="was good until"):
        _target(paths)


def test_a_directory_that_is_none_is_told(paths: Paths) -> None:
    _want(paths, "file:///srv/releases/")
    with pytest.raises(Failed, match="cannot be listed: No such file"):
        _target(paths)
    paths.under("/srv").mkdir(exist_ok=True)
    paths.under("/srv/releases").write_text("")
    with pytest.raises(Failed, match="cannot be listed: Not a directory"):
        _target(paths)


def _complaints(paths: Paths, item: Mapping[str, object]) -> str:
    configure(paths, json.dumps({"extensions": {"x": item}}))
    result = _look(paths)
    return " | ".join(f"{it.message} ({it.hint})" for it in result.problems)


@pytest.mark.parametrize(
    ("item", "complaint", "hint"),
    [
        ({"source": "docker://h/x", "match": "x-@v"}, "match: is for directories of releases", "https://HOST/DIR/"),
        ({"source": "catalog:x", "match": "x-@v"}, "match: is for directories of releases", "https://HOST/DIR/"),
        ({"source": "https://h/x", "match": "x-@v"}, "it names a directory, which ends with a slash", "put a /"),
        ({"source": "https://h/x/"}, "source: names a directory, not a file", "add match:"),
        ({"source": "https://h/x.raw", "version": "1"}, "version: takes match:", "add match:"),
        ({"source": "file:///x.raw", "version": "1"}, "version: takes match:", "add match:"),
        ({"source": "https://h/x/", "match": "x.raw"}, "has no @v", ""),
        ({"source": "https://h/x/", "match": []}, "1 to 16, not 0", ""),
        ({"source": "https://h/x/", "match": 7}, "must be a pattern or a list of patterns", ""),
        ({"source": ["https://h/x/", "file:///y"], "match": "x-@v"}, "cannot choose from several sources", "one"),
        ({"source": ["https://h/x/", "file:///y"]}, "cannot be one of several sources", "alone"),
        ({"source": "http://h/x/", "match": "x-@v"}, "http:// needs a digest", "https://"),
        (
            {"source": "https://h/x/", "match": "x-@v", "version": "1", "digest": f"sha256:{'0' * 64}"},
            "chooses a file, so the digest must go",
            "",
        ),
        ({"source": "docker://h/x", "signed": False}, "signed: false is for the SHA256SUMS of https://", "remove it"),
        ({"source": "file:///x/", "match": "x-@v", "signed": False}, "signed: false is for", "remove it"),
    ],
)
def test_wrong_combinations_are_told(paths: Paths, item: Mapping[str, object], complaint: str, hint: str) -> None:
    told = _complaints(paths, item)
    assert complaint in told
    assert hint in told


def test_fields_of_the_os_release_are_filled_in(paths: Paths, server: WebServer) -> None:
    host = _look(paths).view.observed.host
    version = host.os_release["VERSION_ID"]
    for name in (f"x-1.2-{version}.raw", "x-1.9-other.raw"):
        (server.directory / "d" / name).write_text(name)
    (server.directory / "d/SHA256SUMS").write_text(
        "".join(f"{_digest(it)}  {it}\n" for it in (f"x-1.2-{version}.raw", "x-1.9-other.raw"))
    )
    for match in ("x-@v-%w.raw", "x-@v-{VERSION_ID}.raw"):
        _want(paths, f"{server.url}/d/", match=match, signed=False)
        assert _target(paths).resolution.tag == "1.2"


def test_a_single_file_may_have_an_unsigned_list_beside_it(paths: Paths, server: WebServer) -> None:
    _publish(server.directory / "d", "v1.31.1")
    source = f"{server.url}/d/{_name('v1.31.1')}"
    configure(paths, json.dumps({"extensions": {"x": {"source": source, "format": "raw", "signed": False}}}))
    assert _target(paths, "x").entry.digest == f"sha256:{_digest(_name('v1.31.1'))}"
    assert [it.code for it in _look(paths).warnings] == ["signature.unsigned"]


def test_a_record_without_its_file_is_looked_up_again(paths: Paths) -> None:
    directory = _placed_locally(paths)
    _publish(directory, "v1.31.1")
    _want(paths, "file:///srv/releases/")
    found = _target(paths).resolution
    assert found.choice
    record = resolution_as_json(replace(found, choice=replace(found.choice, file="../x")))
    assert resolution_from_json(record) is None
    assert resolution_from_json(resolution_as_json(found)) == found
