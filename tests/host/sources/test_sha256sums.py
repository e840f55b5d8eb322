"""SHA256SUMS from a real server, signed by real keys."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING

import pytest

from reconciler.errors import Failed, Invalid, Unavailable
from reconciler.host.sources.sha256sums import digest_in, read_signed
from reconciler.host.sources.signedlists import SignedLists
from reconciler.host.sources.web import Patience
from tests.rig.openpgp import KeyOwner
from tests.rig.webserver import WebServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.commands, pytest.mark.xdist_group("keys")]

HASTE = Patience(attempts=1, stall=5)
EMPTY = hashlib.sha256().hexdigest()
HEX = hashlib.sha256(b"content").hexdigest()


@pytest.fixture(scope="module")
def vendor() -> Iterator[KeyOwner]:
    """Who signs."""
    with KeyOwner("vendor") as owner:
        yield owner


@pytest.fixture
def server(tmp_path: Path, vendor: KeyOwner) -> Iterator[WebServer]:
    """A server with a signed list."""
    www = tmp_path / "www"
    www.mkdir()
    (www / "SHA256SUMS").write_text(f"{HEX} *x.raw\n{'0' * 64}  other.raw\n")
    vendor.sign(www / "SHA256SUMS")
    with WebServer(www) as running:
        yield running


def _resolve(server: WebServer, *keyrings: Path, name: str = "x.raw") -> str:
    lists = SignedLists(server.directory.with_name("record.json"))
    found = read_signed(f"{server.url}/{name}", keyrings, lists, HASTE)
    lists.remember()
    return digest_in(found, f"{server.url}/{name}")


@pytest.mark.parametrize(
    ("marker", "is_good"),
    [
        (f"{EMPTY}  BEST-BEFORE-2999-12-31", True),
        (f"{EMPTY}  BEST-BEFORE-2020-01-01", False),
        (f"{EMPTY} *BEST-BEFORE-2999-12-31\n{EMPTY} *BEST-BEFORE-2020-01-01", False),
        (f"{HEX}  BEST-BEFORE-2020-01-01", False),  # systemd-sysupdate minds no digest either
        (f"{EMPTY}  BEST-BEFORE-soon", True),
        (f"{EMPTY}  BEST-BEFORE-2020-13-45", True),
    ],
)
def test_a_list_counts_until_its_best_before_date(
    server: WebServer, vendor: KeyOwner, tmp_path: Path, marker: str, *, is_good: bool
) -> None:
    file, keyring = server.directory / "SHA256SUMS", vendor.export(tmp_path / "keys")
    file.write_text(f"{file.read_text()}{marker}\n")
    vendor.sign(file)
    if is_good:
        assert _resolve(server, keyring) == f"sha256:{HEX}"
    else:
        with pytest.raises(Unavailable, match="SHA256SUMS: the list was good until 2020-01-01") as caught:
            _resolve(server, keyring)
        assert caught.value.code == "signature.stale"


def test_a_list_that_is_older_than_the_last_one_is_refused(
    server: WebServer, vendor: KeyOwner, tmp_path: Path
) -> None:
    file, keyring, record = (
        server.directory / "SHA256SUMS",
        vendor.export(tmp_path / "keys"),
        tmp_path / "record.json",
    )
    old, old_signature = file.read_text(), file.with_name("SHA256SUMS.gpg").read_bytes()
    time.sleep(1.1)  # signatures know whole seconds
    file.write_text(f"{'1' * 64}  x.raw\n")
    vendor.sign(file)
    for _ in range(2):  # the same again is as good
        assert _resolve(server, keyring) == f"sha256:{'1' * 64}"
    file.write_text(old)
    file.with_name("SHA256SUMS.gpg").write_bytes(old_signature)
    with pytest.raises(Unavailable, match="is older than the last one, of 20") as caught:
        _resolve(server, keyring)
    assert caught.value.code == "signature.stale"
    assert f"remove {record}" in (caught.value.hint or "")
    record.unlink()  # as the hint says
    assert _resolve(server, keyring) == f"sha256:{HEX}"
    record.write_text("[1")
    assert _resolve(server, keyring) == f"sha256:{HEX}"


def test_a_signer_whose_clock_was_fast_does_not_keep_later_lists_out(tmp_path: Path) -> None:
    lists = SignedLists(tmp_path / "record.json")
    lists.accept("https://h/SHA256SUMS", time.time() + 1e9)
    lists.remember()
    SignedLists(tmp_path / "record.json").accept("https://h/SHA256SUMS", time.time() + 1)


@pytest.mark.parametrize("options", [(), ("--armor",)], ids=["binary", "armored"])
def test_a_signed_list_gives_the_digest(
    server: WebServer, vendor: KeyOwner, tmp_path: Path, options: tuple[str, ...]
) -> None:
    keyring = vendor.export(tmp_path / "keys", *options)
    assert _resolve(server, tmp_path / "missing", keyring, name="x.raw?token=1") == f"sha256:{HEX}"
    vendor.sign(server.directory / "SHA256SUMS", "--armor")
    assert _resolve(server, keyring) == f"sha256:{HEX}"


def test_several_keyrings_and_several_keys_in_one_count(server: WebServer, vendor: KeyOwner, tmp_path: Path) -> None:
    with KeyOwner("other") as other:
        one, two = other.export(tmp_path / "one", "--armor"), vendor.export(tmp_path / "two", "--armor")
    assert _resolve(server, one, two) == f"sha256:{HEX}"
    (tmp_path / "both").write_bytes(one.read_bytes() + two.read_bytes())
    assert _resolve(server, tmp_path / "both") == f"sha256:{HEX}"


def test_without_any_keyring_it_is_said_where_they_would_be(server: WebServer, tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="there is no keyring") as caught:
        _resolve(server, tmp_path / "here", tmp_path / "there")
    assert str(tmp_path / "there") in (caught.value.hint or "")
    assert server.requests == []


def test_the_signature_of_somebody_else_is_refused(server: WebServer, tmp_path: Path) -> None:
    with KeyOwner("other") as other:
        keyring = other.export(tmp_path / "keys")
    with pytest.raises(Invalid, match=r"in none of the keyrings \([0-9A-F]{16}"):
        _resolve(server, keyring)


def _signatures(server: WebServer, *of: KeyOwner) -> bytes:
    return b"".join(owner.sign(server.directory / "SHA256SUMS").read_bytes() for owner in of)


def test_one_of_several_signatures_is_enough_unless_one_is_bad(
    server: WebServer, vendor: KeyOwner, tmp_path: Path
) -> None:
    keyring = vendor.export(tmp_path / "keys")
    old = _signatures(server, vendor)
    with KeyOwner("other") as other:
        both = _signatures(server, other, vendor)
        (server.directory / "SHA256SUMS.gpg").write_bytes(both)
        assert _resolve(server, keyring) == f"sha256:{HEX}"
    with (server.directory / "SHA256SUMS").open("a") as file:
        file.write(f"{'1' * 64}  evil.raw\n")
    (server.directory / "SHA256SUMS.gpg").write_bytes(_signatures(server, vendor) + old)
    with pytest.raises(Invalid, match="the signature is not of this list"):
        _resolve(server, keyring)


def test_weak_hashes_do_not_count(server: WebServer, vendor: KeyOwner, tmp_path: Path) -> None:
    vendor.sign(server.directory / "SHA256SUMS", "--digest-algo=SHA1", "--allow-weak-digest-algos")
    with pytest.raises(Invalid, match="cannot be checked"):
        _resolve(server, vendor.export(tmp_path / "keys"))


def test_a_changed_list_is_refused(server: WebServer, vendor: KeyOwner, tmp_path: Path) -> None:
    with (server.directory / "SHA256SUMS").open("a") as file:
        file.write(f"{'1' * 64}  evil.raw\n")
    with pytest.raises(Invalid, match="the signature is not of this list"):
        _resolve(server, vendor.export(tmp_path / "keys"))


def test_an_expired_key_is_refused(server: WebServer, tmp_path: Path) -> None:
    with KeyOwner("old", long_ago=True) as old:
        keyring = old.export(tmp_path / "keys")
        old.sign(server.directory / "SHA256SUMS")
    with pytest.raises(Invalid, match="has expired"):
        _resolve(server, keyring)


@pytest.mark.parametrize("name", ["SHA256SUMS", "SHA256SUMS.gpg"])
def test_a_missing_list_or_signature_is_told(server: WebServer, vendor: KeyOwner, tmp_path: Path, name: str) -> None:
    (server.directory / name).unlink()
    with pytest.raises(Invalid, match=f"{name} beside the file decides: .* there is no such file"):
        _resolve(server, vendor.export(tmp_path / "keys"))


def test_a_file_that_is_not_listed_is_told(server: WebServer, vendor: KeyOwner, tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=r"does not list new\.raw"):
        _resolve(server, vendor.export(tmp_path / "keys"), name="new.raw")


@pytest.mark.parametrize("content", [b"", b"no signature", bytes(100)])
def test_what_is_no_signature_is_refused(server: WebServer, vendor: KeyOwner, tmp_path: Path, content: bytes) -> None:
    (server.directory / "SHA256SUMS.gpg").write_bytes(content)
    with pytest.raises(Invalid, match=r"no signature|not good|cannot be checked"):
        _resolve(server, vendor.export(tmp_path / "keys"))


def test_a_damaged_keyring_is_told(server: WebServer, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(
        "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n!!!\n-----END PGP PUBLIC KEY BLOCK-----\n"
    )
    with pytest.raises(Failed, match="is no armored keyring"):
        _resolve(server, tmp_path / "keys")
