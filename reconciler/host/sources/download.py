"""Files from the web: resumed where they broke off, hashed while they come, kept only if they are the right ones."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import http
import logging
import os
import re
import shutil
import urllib.error
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Final, Self

from reconciler.errors import Failed, Invalid, Unavailable
from reconciler.host.base import termination
from reconciler.host.base.digest import file_digest
from reconciler.host.base.durable import read_json, sync_directory, write_json
from reconciler.host.sources.web import PATIENCE, Attempts, Patience, open_url, pieces, understanding
from reconciler.model.content.limits import size_text
from reconciler.model.content.source import shown_url

if TYPE_CHECKING:
    from collections.abc import Callable
    from http.client import HTTPResponse
    from pathlib import Path

    from reconciler.host.registry.transfer import Meter

log = logging.getLogger(__name__)

_PIECE: Final = 1 << 20
_CONTENT_RANGE: Final = re.compile(r"bytes (?P<first>\d+)-\d+/(?P<total>\d+|\*)")
_FULL: Final = {errno.ENOSPC, errno.EDQUOT}
_LATER: Final = "a later run goes on from there"


def download(  # noqa: PLR0913 - what to fetch, where to, and within which bounds
    url: str, digest: str, directory: Path, *, size_limit: int, progress: Meter, patience: Patience = PATIENCE
) -> Path:
    """Bring a file into `directory`, under the hexadecimal digits of its digest. One that is there is kept.

    What arrived stays there (`.part`) if this fails, for a later run.

    Raises:
        Invalid: there is no such file, it is another one, or too large; the server may not be asked, or believed.
        Unavailable: the server did not answer properly, however often it was asked.
        Failed: the disk could not take it.
    """
    target = directory / digest.removeprefix("sha256:")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if _is_intact(target, digest):
            return target
        with Partial(target.with_name(f"{target.name}.part"), url) as part:
            if not _is_intact(target, digest):  # which another thread may have done meanwhile
                target.unlink(missing_ok=True)
                _complete(part, url, digest, lambda: _fill(part, url, size_limit, progress, patience))
                part.become(target, digest, url)
    except OSError as error:
        full = error.errno in _FULL
        hint = "make space there" if full else "look at the file system and its disk"
        raise Failed.of(error, f"{directory}: a download cannot be stored", hint) from error
    return target


class Partial:
    """A file that is not complete yet, with the hash of what is there, and the record that lets it go on."""

    def __init__(self, path: Path, url: str) -> None:
        self._path = path
        self._record = path.with_name(f"{path.name}.json")
        self._url = hashlib.sha256(url.encode()).hexdigest()  # it may have a password
        self._file = _open_alone(path)
        self._hash = hashlib.sha256()
        self.size = 0
        self.is_joined = False  # whether it has bytes that another connection brought
        self.validator = self._known_validator()

    def __enter__(self) -> Self:
        try:
            if self.validator is None:
                self.restart()
            self._file.seek(0)
            while piece := self._file.read(_PIECE):
                termination.check()
                self._take(piece)
        except BaseException:
            self._file.close()  # its lock would let others wait forever
            raise
        self.is_joined = self.size > 0
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        """Nothing of use is not kept, and neither is what fills the disk."""
        try:
            if self._is_here() and (not self.size or (isinstance(error, OSError) and error.errno in _FULL)):
                self._path.unlink()
                self._record.unlink(missing_ok=True)
        finally:
            self._close()

    @property
    def digest(self) -> str:
        """Of what is there."""
        return f"sha256:{self._hash.hexdigest()}"

    def restart(self) -> None:
        """Begin anew: what is there is of another version, or cannot be continued."""
        self._file.truncate(0)
        self._hash, self.size, self.validator, self.is_joined = hashlib.sha256(), 0, None, False

    def expect(self, validator: str | None) -> None:
        """Note by what the server will know this version of the file again."""
        self.validator = validator
        write_json(self._record, {"url": self._url, "validator": validator}, durable=False)

    def write(self, piece: bytes) -> None:
        """Take in what arrived."""
        self._file.write(piece)
        self._take(piece)

    def become(self, target: Path, digest: str, url: str) -> None:
        """Turn into the finished file, or vanish.

        Raises:
            Invalid: it is another file than the one that was asked for.
        """
        found = self.digest
        self._record.unlink(missing_ok=True)
        if found != digest:
            self._path.unlink()
            raise Invalid(
                f"{shown_url(url)} has the digest {found}, not {digest}",
                "correct digest:, or ask the publisher which file is the right one",
                code="digest.mismatch",
            )
        self._file.flush()
        os.fsync(self._file.fileno())
        self._path.rename(target)
        sync_directory(target.parent)

    def free_space(self) -> int:
        """Bytes that the file system still takes."""
        return shutil.disk_usage(self._path.parent).free

    def _close(self) -> None:
        """Close it; on a full disk that fails once, with what was still to be written."""
        with suppress(OSError):
            self._file.close()
        self._file.close()

    def _is_here(self) -> bool:
        return _is_at(self._file, self._path)

    def _take(self, piece: bytes) -> None:
        self._hash.update(piece)
        self.size += len(piece)

    def _known_validator(self) -> str | None:
        record = read_json(self._record)
        match record:
            case {"url": self._url, "validator": str(validator)}:
                return validator
            case _:
                return None


def _open_alone(path: Path) -> IO[bytes]:
    """Open a file after everybody else has closed it; one that was renamed or removed meanwhile is opened anew."""
    while True:
        termination.check()
        file = path.open("a+b")
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            if _is_at(file, path):
                return file
        except BaseException:
            file.close()
            raise
        file.close()


def _is_at(file: IO[bytes], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.lstat())
    except FileNotFoundError:
        return False


def _complete(part: Partial, url: str, digest: str, fill: Callable[[], None]) -> None:
    """Fetch what is missing, if anything is: a run may have been killed just before it gave the file its name.

    Bytes of several connections may not belong together, or be lost since; then all of them are fetched once more.
    """
    if part.digest != digest:
        fill()
    if part.digest != digest and part.is_joined:
        log.info(
            "%s: what arrived in several parts is not what it ought to be; fetching it once more", shown_url(url)
        )
        part.restart()
        fill()


def _fill(part: Partial, url: str, size_limit: int, progress: Meter, patience: Patience) -> None:
    """Ask until all is there; an attempt that brought something does not count."""
    attempts = Attempts(patience)
    while True:
        before = part.size
        try:
            with understanding(url):
                _continue(part, url, size_limit, progress, patience)
        except Unavailable as error:
            attempts.failed(error, is_further=part.size > before)
        else:
            return


def _continue(part: Partial, url: str, size_limit: int, progress: Meter, patience: Patience) -> None:
    headers = {"Range": f"bytes={part.size}-", "If-Range": part.validator} if part.size and part.validator else {}
    with _open(url, headers, patience, part) as answer:
        if not headers or not _continues(answer, part.size):
            part.restart()
        part.is_joined = part.size > 0
        total = _total(answer, part.size)
        _check_size(url, total, part.size, size_limit, part)
        part.expect(_validator(answer))
        for piece in pieces(answer, _PIECE):
            part.write(piece)
            progress(part.size, total)
            _check_size(url, part.size, part.size, size_limit, part)
    if total is not None and part.size < total:
        raise Unavailable(
            f"{shown_url(url)}: the connection ended after {part.size} of {total} bytes",
            _LATER,
            code="web.broken-off",
        )


def _open(url: str, headers: dict[str, str], patience: Patience, part: Partial) -> HTTPResponse:
    """Ask; a part that is no beginning of the file is given up, or it would be asked for in vain each time."""
    try:
        return open_url(url, headers, patience)
    except urllib.error.HTTPError as error:
        if headers and error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            part.restart()
        raise


def _continues(answer: HTTPResponse, size: int) -> bool:
    match = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
    return answer.status == http.HTTPStatus.PARTIAL_CONTENT and match is not None and int(match["first"]) == size


def _total(answer: HTTPResponse, size: int) -> int | None:
    length = answer.headers.get("Content-Length", "")
    return size + int(length) if length.isdecimal() else None


def _check_size(url: str, total: int | None, size: int, limit: int, part: Partial) -> None:
    if total is None:
        return
    if total > limit:
        part.restart()
        hint = "raise settings.limits.size if it is to be trusted"
        raise Invalid(f"{shown_url(url)} has more than {size_text(limit)}", hint, code="limit.exceeded")
    if total > size and total - size > (free := part.free_space()):
        raise Failed(
            f"{shown_url(url)} needs {size_text(total - size)}, and {size_text(free)} are free",
            "make space",
            code="disk.full",
        )


def _validator(answer: HTTPResponse) -> str | None:
    """What makes sure that a later answer continues the same version (RFC 9110, 13.1.5): no weak tags."""
    tag = answer.headers.get("ETag", "")
    return tag if tag.startswith('"') else answer.headers.get("Last-Modified")


def _is_intact(path: Path, digest: str) -> bool:
    try:
        return file_digest(path) == digest
    except FileNotFoundError:
        return False
