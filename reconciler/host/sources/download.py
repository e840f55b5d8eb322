"""Files from the web: resumed where they broke off, hashed while they come, kept only if they are the right ones."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import logging
import os
import re
import shutil
from contextlib import suppress
from http import HTTPStatus
from typing import IO, TYPE_CHECKING, Final, Self

from reconciler.errors import Failed, Invalid
from reconciler.host.base import termination
from reconciler.host.base.digest import file_digest
from reconciler.host.base.durable import read_json, sync_directory, write_json
from reconciler.host.sources.web import PATIENCE, Answer, Patience, ask, of_status, persist
from reconciler.model.content.limits import size_text
from reconciler.model.content.source import shown_url

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.host.registry.transfer import Meter

log = logging.getLogger(__name__)

_PIECE: Final = 1 << 20
_DIGITS: Final = 19  # of a number from outside; more than any limit has
_CONTENT_RANGE: Final = re.compile(rf"bytes (?P<first>[0-9]{{1,{_DIGITS}}})-")
_FULL: Final = {errno.ENOSPC, errno.EDQUOT}


def download(  # noqa: PLR0913 - what to fetch, where to, and within which bounds
    url: str, digest: str, directory: Path, *, size_limit: int, progress: Meter, patience: Patience = PATIENCE
) -> Path:
    """Bring a file into `directory`, under the hexadecimal digits of its digest. One that is there is kept.

    What arrived stays there (`.part`) if this fails, for a later run.
    """
    target = directory / digest.removeprefix("sha256:")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if _is_intact(target, digest):
            return target
        with Partial(target.with_name(f"{target.name}.part"), url, size_limit, progress) as part:
            if not _is_intact(target, digest):  # which another thread may have done meanwhile
                target.unlink(missing_ok=True)
                _complete(part, digest, patience)
                part.become(target, digest)
    except OSError as error:
        full = error.errno in _FULL
        hint = "make space there" if full else "look at the file system and its disk"
        raise Failed.of(error, f"{directory}: a download cannot be stored", hint) from error
    return target


def _complete(part: Partial, digest: str, patience: Patience) -> None:
    """Fetch what is missing, if anything is: a run may have been killed just before it gave the file its name.

    Bytes of several connections may not belong together, or be lost since; then all of them are fetched once more.
    """
    if part.digest != digest:
        persist(part.fetch, patience, lambda: part.size)
    if part.digest != digest and part.is_joined:
        log.info("%s: what arrived in several parts is not what it ought to be; fetching it once more", part.url)
        part.restart()
        persist(part.fetch, patience, lambda: part.size)


class Partial:
    """A file that is not complete yet, with the hash of what is there, and the record that lets it go on."""

    def __init__(self, path: Path, url: str, limit: int, meter: Meter) -> None:
        self.url = shown_url(url)
        self._url, self._limit, self._meter = url, limit, meter
        self._key = hashlib.sha256(url.encode()).hexdigest()  # of the URL, which may have a password
        self._path, self._record = path, path.with_name(f"{path.name}.json")
        self._hash, self.size = hashlib.sha256(), 0
        self._total: int | None = None
        self._validator = ""
        self.is_joined = False  # whether it has bytes that another connection brought
        self._file = _open_alone(path)

    def __enter__(self) -> Self:
        try:
            match read_json(self._record):
                case {"url": self._key, "validator": str(validator)}:
                    self._validator = validator if validator.isascii() else ""
                case _:
                    self.restart()
            self._file.seek(0)
            while piece := self._file.read(_PIECE):
                termination.check()
                self._note(piece)
        except BaseException:
            self._file.close()  # its lock would let others wait forever
            raise
        self.is_joined = self.size > 0
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        """Nothing of use is not kept, and neither is what fills the disk."""
        with suppress(OSError):  # a full disk refuses what was still to be written
            self._file.flush()
        try:
            is_full = isinstance(error, OSError) and error.errno in _FULL
            if _is_at(self._file, self._path) and (not self.size or is_full):
                self._path.unlink()
                self._record.unlink(missing_ok=True)
        finally:
            with suppress(OSError):
                self._file.close()

    @property
    def digest(self) -> str:
        """Of what is there."""
        return f"sha256:{self._hash.hexdigest()}"

    def restart(self) -> None:
        """Begin anew: what is there is of another version, or cannot be continued."""
        self._file.truncate(0)
        self._hash, self.size, self._validator, self.is_joined = hashlib.sha256(), 0, "", False

    def fetch(self, patience: Patience) -> None:
        """Ask for what is missing."""
        headers = (
            {"Range": f"bytes={self.size}-", "If-Range": self._validator} if self.size and self._validator else {}
        )
        answer = ask(self._url, headers, patience, self.write, self._begin)
        if answer.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:  # it is no beginning of the file
            self.restart()
            self.fetch(patience)

    def write(self, piece: bytes) -> None:
        """Take in what arrived."""
        self._file.write(piece)
        self._note(piece)
        self._meter(self.size, self._total)
        self._refuse_more_than_limit(self.size)

    def become(self, target: Path, digest: str) -> None:
        """Turn into the finished file, or vanish.

        Raises:
            Invalid: it is another file than the one that was asked for.
        """
        self._record.unlink(missing_ok=True)
        if self.digest != digest:
            self._path.unlink()
            hint = "correct digest:, or ask the publisher which file is the right one"
            raise Invalid(f"{self.url} has the digest {self.digest}, not {digest}", hint, code="digest.mismatch")
        self._file.flush()
        os.fsync(self._file.fileno())
        self._path.rename(target)
        sync_directory(target.parent)

    def free_space(self) -> int:
        """Bytes that the file system still takes."""
        return shutil.disk_usage(self._path.parent).free

    def _begin(self, answer: Answer) -> None:
        """Note by what the server will know this version of the file again (RFC 9110, 13.1.5): no weak tags."""
        if not self._is_continued_by(answer):
            self.restart()
            if answer.status == HTTPStatus.PARTIAL_CONTENT:  # of another place
                raise of_status(answer)
        self.is_joined = self.size > 0
        length = answer.headers.get("content-length", "")
        missing = int(length[:_DIGITS]) if length.isascii() and length.isdecimal() else None
        self._total = None if missing is None else self.size + missing
        self._refuse_more_than_limit(self._total or 0)
        if missing and missing > (free := self.free_space()):
            told = f"{self.url} needs {size_text(missing)}, and {size_text(free)} are free"
            raise Failed(told, "make space", code="disk.full")
        tag = answer.headers.get("etag", "")
        validator = tag if tag.startswith('"') else answer.headers.get("last-modified", "")
        self._validator = validator if validator.isascii() and validator.isprintable() else ""
        write_json(self._record, {"url": self._key, "validator": self._validator or None}, durable=False)

    def _is_continued_by(self, answer: Answer) -> bool:
        match = _CONTENT_RANGE.match(answer.headers.get("content-range", ""))
        return answer.status == HTTPStatus.PARTIAL_CONTENT and match is not None and int(match["first"]) == self.size

    def _refuse_more_than_limit(self, size: int) -> None:
        if size > self._limit:
            self.restart()
            hint = "raise settings.limits.size if it is to be trusted"
            raise Invalid(f"{self.url} has more than {size_text(self._limit)}", hint, code="limit.exceeded")

    def _note(self, piece: bytes) -> None:
        self._hash.update(piece)
        self.size += len(piece)


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


def _is_intact(path: Path, digest: str) -> bool:
    try:
        return file_digest(path) == digest
    except FileNotFoundError:
        return False
