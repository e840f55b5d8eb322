"""SHA256SUMS beside a file on the web, and the signature that gives it weight: the convention of sysupdate.d(5)."""

from __future__ import annotations

import base64
import binascii
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from reconciler.errors import Failed, Invalid, Unavailable
from reconciler.host.base.bounded import read_bounded
from reconciler.host.base.command import Finished, run
from reconciler.host.base.onhost import on_host
from reconciler.host.base.ownership import refuse_foreign_hands
from reconciler.host.base.way import MACHINE
from reconciler.host.sources.web import PATIENCE, Patience, read_small
from reconciler.model.content.sha256sums import beside, best_before, file_name, parse_checksums
from reconciler.model.content.source import secrets_of, shown_url, without_secrets

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from reconciler.host.sources.signedlists import SignedLists

_LIST: Final = "SHA256SUMS"
_SIGNATURE: Final = "SHA256SUMS.gpg"
_LIST_MAX: Final = 10 << 20
_SIGNATURE_MAX: Final = 1 << 20
_TIMEOUT: Final = 60.0  # seconds
_UNSIGNED: Final = "set signed: false if nobody signs it and the server is to be believed"
_ARMOR: Final = b"-----BEGIN PGP PUBLIC KEY BLOCK-----"
_STATUS: Final = "[GNUPG:] "
_NEW_KEY: Final = "put the publisher's present key into settings.keyring"
_HINTS: Final = {
    "BADSIG": "somebody has changed the list, or it is just being published: try later, else tell the publisher",
    "EXPSIG": "ask the publisher for a list that is signed anew",
    "NODATA": "ask the publisher for the signature: SHA256SUMS.gpg or SHA256SUMS.asc",
}
# gpgv's status lines (doc/DETAILS of GnuPG) about a signature that must not count, and what a person is told.
_FAULTS: Final = {
    "BADSIG": "the signature is not of this list",
    "EXPKEYSIG": "the key that signed it has expired",
    "REVKEYSIG": "the key that signed it was revoked",
    "EXPSIG": "the signature has expired",
    "NO_PUBKEY": "the key that signed it is in none of the keyrings",
    "NODATA": "the signature file holds no signature",
    "ERRSIG": "the signature cannot be checked",
}


def list_beside(url: str) -> str:
    """Where the list is that says what a file is to be."""
    return beside(url, _LIST)


def digest_in(listed: Mapping[str, str], url: str) -> str:
    """What the list in the same directory of the server gives for a file."""
    if digest := listed.get(file_name(url)):
        return digest
    raise Invalid(
        f"{shown_url(list_beside(url))} does not list {file_name(url)}",
        "check the name in source:",
        code="source.not-found",
    )


def read_signed(
    url: str,
    keyrings: Sequence[Path],
    lists: SignedLists,
    patience: Patience = PATIENCE,
    root: Path = MACHINE,
) -> Mapping[str, str]:
    """The digests, by names, that a signed SHA256SUMS in a directory of the server gives, or in that of a file."""
    keys = on_host(lambda: [(path, _content(path, root)) for path in keyrings if path.is_file()], keyrings)
    if not keys:
        looked = ", ".join(str(path) for path in keyrings)
        raise Invalid(
            f"{shown_url(url)}: without a digest it needs a signed {_LIST}, and there is no keyring to check it with",
            f"{_otherwise(url)}put the publisher's key into one of {looked}, or {_UNSIGNED}",
            code="signature.no-key",
        )
    content = _beside(url, _LIST, _LIST_MAX, patience)
    listed = _parsed(content, shown_url(beside(url, _LIST)), secrets_of(url))
    signature = _beside(url, _SIGNATURE, _SIGNATURE_MAX, patience)
    signed = _verify(content, signature, keys, shown_url(beside(url, _LIST)))
    _refuse_stale(shown_url(beside(url, _LIST)), best_before(listed))
    lists.accept(beside(url, _LIST), signed)
    return listed


def read_unsigned(url: str, patience: Patience = PATIENCE) -> Mapping[str, str]:
    """The same without a signature: whoever answers for the server decides."""
    listed = _parsed(_beside(url, _LIST, _LIST_MAX, patience), shown_url(beside(url, _LIST)), secrets_of(url))
    _refuse_stale(shown_url(beside(url, _LIST)), best_before(listed))
    return listed


def read_local(directory: Path) -> Mapping[str, str]:
    """The digests that a directory of this node lists; it needs no list, and a list no signature."""
    file = directory / _LIST
    try:
        content = read_bounded(file, _LIST_MAX)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise Failed.of(error, f"{file}: cannot be read", "look at its mode and disk") from error
    listed = _parsed(content, str(file))
    _refuse_stale(str(file), best_before(listed))
    return listed


def _parsed(content: bytes, shown: str, secrets: Iterable[str] = ()) -> Mapping[str, str]:
    """Some server has something else in the list's place: a login page, or an error that it calls a success."""
    if listed := parse_checksums(content.decode(errors="replace")):
        return listed
    first = ascii(without_secrets(secrets, content[:400].decode(errors="replace"))[:40]) if content else "empty"
    hint = "see what is there; the lines of a list are SHA-256 digests, two spaces, and the names of files"
    raise Unavailable(f"{shown}: this is no list of checksums, but {first}", hint, code="web.malformed")


def _refuse_stale(shown: str, until: datetime | None) -> None:
    if until and until < datetime.now(UTC):
        told = f"{shown}: the list was good until {until:%Y-%m-%d}"
        hint = "ask the publisher for a new one, or check this node's clock: timedatectl"
        raise Unavailable(told, hint, code="signature.stale")


def _beside(url: str, name: str, limit: int, patience: Patience) -> bytes:
    try:
        return read_small(beside(url, name), limit, patience)
    except Invalid as error:
        decides = f"{name} says which files there are" if _is_directory(url) else f"{name} beside the file decides"
        there = "name one file of it with digest:, or " if _is_directory(url) else _otherwise(url)
        hint = f"{there}have the publisher put a signed {_LIST} there"
        hint += f", or {_UNSIGNED}" if name == _SIGNATURE else ""
        without = "" if _is_directory(url) else "without a digest, "
        raise Invalid(f"{without}{decides}: {error.message}", hint, code=error.code) from error


def _is_directory(url: str) -> bool:
    return urlsplit(url).path.endswith("/")


def _otherwise(url: str) -> str:
    return "" if _is_directory(url) else "add digest: sha256:..., or "


def _verify(content: bytes, signature: bytes, keys: Sequence[tuple[Path, bytes]], shown: str) -> float:
    """When it was signed."""
    with tempfile.TemporaryDirectory(prefix="livelayer-") as scratch:
        files = {name: Path(scratch, name) for name in (_LIST, _SIGNATURE)}
        files[_LIST].write_bytes(content)
        files[_SIGNATURE].write_bytes(signature)
        options = [f"--keyring={_binary(path, key, Path(scratch))}" for path, key in keys]
        options.append("--weak-digest=SHA1")  # forgeries are affordable
        finished = run("gpgv", "--status-fd=1", *options, str(files[_SIGNATURE]), str(files[_LIST]), timeout=_TIMEOUT)
    return _judge(finished, shown)


def _judge(finished: Finished, shown: str) -> float:
    lines = finished.stdout.decode(errors="replace").splitlines()
    words = [line.removeprefix(_STATUS).split() for line in lines if line.startswith(_STATUS)]
    status = {line[0]: line[1:] for line in words if line}
    if {"GOODSIG", "VALIDSIG"} <= status.keys() and "BADSIG" not in status:
        # By one key at least; gpgv fails if there is a second signature by a key that nobody has.
        return max(map(_time_of, (it for it in words if it[:1] == ["VALIDSIG"])))
    for word, meaning in _FAULTS.items():
        if word in status:
            key = f" ({status[word][0]})" if word != "NODATA" and status[word] else ""
            raise Invalid(f"{shown}: {meaning}{key}", _HINTS.get(word, _NEW_KEY), code="signature.refused")
    raise Invalid(
        f"{shown}: the signature is not good: {finished.complaint}", "look at it with: gpgv", code="signature.refused"
    )


def _time_of(valid: Sequence[str]) -> float:
    """When a signature was made: the third field of gpgv's line about it."""
    return float(valid[3]) if len(valid) > 3 and valid[3].isdecimal() else 0.0  # noqa: PLR2004


def _content(keyring: Path, root: Path) -> bytes:
    """Who can change a keyring decides whose word counts."""
    refuse_foreign_hands(keyring, root)
    return keyring.read_bytes()


def _binary(keyring: Path, content: bytes, scratch: Path) -> Path:
    """A copy of a keyring as gpgv takes it: not armored."""
    if _ARMOR in content:
        content = b"".join(_dearmored(block, keyring) for block in content.split(_ARMOR)[1:])
    target = scratch / f"{len(list(scratch.iterdir()))}.gpg"
    target.write_bytes(content)
    return target


def _dearmored(block: bytes, keyring: Path) -> bytes:
    """The data of an armored block (RFC 9580, 6.2): behind the headers' empty line, before the checksum."""
    lines = [line.strip() for line in block.partition(b"-----END")[0].splitlines()]
    data = lines[lines.index(b"", 1) if b"" in lines[1:] else 0 :]
    try:
        return base64.b64decode(b"".join(line for line in data if not line.startswith(b"=")), validate=True)
    except binascii.Error as error:
        raise Failed(
            f"{keyring}: is no armored keyring: {error}",
            "write it anew with: gpg --armor --export",
            code="signature.no-key",
        ) from error
