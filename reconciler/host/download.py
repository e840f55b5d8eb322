"""Files from the web: resumed where they broke off, hashed while they come, kept only if they are the right ones."""

from __future__ import annotations

import errno
import hashlib
import http
import os
import re
import shutil
from typing import IO, TYPE_CHECKING, Final, Self

from reconciler.errors import Failed, Invalid, Unavailable
from reconciler.host import termination
from reconciler.host.durable import read_json, sync_directory, write_json
from reconciler.host.web import PATIENCE, Patience, open_url, pause, understanding
from reconciler.model.limits import size_text
from reconciler.model.source import shown_url

if TYPE_CHECKING:
    from http.client import HTTPResponse
    from pathlib import Path

    from reconciler.host.transfer import Meter

_PIECE: Final = 1 << 20
_CONTENT_RANGE: Final = re.compile(r"bytes (?P<first>\d+)-\d+/(?P<total>\d+|\*)")
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
            _fill(part, url, size_limit, progress, patience)
            part.become(target, digest, url)
    except OSError as error:
        full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        hint = "make space there" if full else "look at the file system and its disk"
        raise Failed(f"{directory}: a download cannot be stored: {error.strerror}", hint) from error
    return target


class Partial:
    """A file that is not complete yet, with the hash of what is there, and the record that lets it go on."""

    def __init__(self, path: Path, url: str) -> None:
        self._path = path
        self._record = path.with_name(f"{path.name}.json")
        self._url = hashlib.sha256(url.encode()).hexdigest()  # it may have a password
        self._file: IO[bytes] = path.open("a+b")
        self._hash = hashlib.sha256()
        self.size = 0
        self.validator = self._known_validator()

    def __enter__(self) -> Self:
        if self.validator is None:
            self.restart()
        self._file.seek(0)
        while piece := self._file.read(_PIECE):
            termination.check()
            self._take(piece)
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def restart(self) -> None:
        """Begin anew: what is there is of another version, or cannot be continued."""
        self._file.truncate(0)
        self._hash, self.size, self.validator = hashlib.sha256(), 0, None

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
        found = f"sha256:{self._hash.hexdigest()}"
        self._record.unlink(missing_ok=True)
        if found != digest:
            self._path.unlink()
            raise Invalid(
                f"{shown_url(url)} has the digest {found}, not {digest}",
                "correct digest:, or ask the publisher which file is the right one",
            )
        self._file.flush()
        os.fsync(self._file.fileno())
        self._path.rename(target)
        sync_directory(target.parent)

    def free_space(self) -> int:
        """Bytes that the file system still takes."""
        return shutil.disk_usage(self._path.parent).free

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


def _fill(part: Partial, url: str, size_limit: int, progress: Meter, patience: Patience) -> None:
    """Ask until all is there; an attempt that brought something does not count."""
    attempt = 0
    while True:
        before = part.size
        try:
            with understanding(url):
                _continue(part, url, size_limit, progress, patience)
        except Unavailable as error:
            attempt = 0 if part.size > before else attempt + 1
            if attempt == patience.attempts:
                raise
            pause(attempt, error, patience)
        else:
            return


def _continue(part: Partial, url: str, size_limit: int, progress: Meter, patience: Patience) -> None:
    headers = {"Range": f"bytes={part.size}-", "If-Range": part.validator} if part.size and part.validator else {}
    with open_url(url, headers, patience) as answer:
        if not headers or not _continues(answer, part.size):
            part.restart()
        total = _total(answer, part.size)
        _check_size(url, total, part.size, size_limit, part)
        part.expect(_validator(answer))
        while piece := answer.read1(_PIECE):
            termination.check()
            part.write(piece)
            progress(part.size, total)
            _check_size(url, part.size, part.size, size_limit, part)
    if total is not None and part.size < total:
        raise Unavailable(f"{shown_url(url)}: the connection ended after {part.size} of {total} bytes", _LATER)


def _continues(answer: HTTPResponse, size: int) -> bool:
    match = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
    return answer.status == http.HTTPStatus.PARTIAL_CONTENT and match is not None and int(match["first"]) == size


def _total(answer: HTTPResponse, size: int) -> int | None:
    length = answer.headers.get("Content-Length", "")
    return size + int(length) if length.isdigit() else None


def _check_size(url: str, total: int | None, size: int, limit: int, part: Partial) -> None:
    if total is None:
        return
    if total > limit:
        part.restart()
        hint = "raise settings.limits.size if it is to be trusted"
        raise Invalid(f"{shown_url(url)} has more than {size_text(limit)}", hint)
    if total > size and total - size > (free := part.free_space()):
        raise Failed(
            f"{shown_url(url)} needs {size_text(total - size)}, and {size_text(free)} are free", "make space"
        )


def _validator(answer: HTTPResponse) -> str | None:
    """What makes sure that a later answer continues the same version (RFC 9110, 13.1.5): no weak tags."""
    tag = answer.headers.get("ETag", "")
    return tag if tag.startswith('"') else answer.headers.get("Last-Modified")


def _is_intact(path: Path, digest: str) -> bool:
    try:
        with path.open("rb") as file:
            return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}" == digest
    except FileNotFoundError:
        return False
