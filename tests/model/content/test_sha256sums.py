"""Lists of checksums as tools write them, and names in URLs."""

from __future__ import annotations

import pytest

from reconciler.errors import Invalid
from reconciler.model.content.sha256sums import beside, file_name, parse_checksums

HEX = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("line", "name"),
    [
        (f"{HEX}  x.raw", "x.raw"),
        (f"{HEX} *x.raw", "x.raw"),
        (f"{HEX} x.raw", "x.raw"),
        (f"{HEX.upper()}  x.raw", "x.raw"),
        (f"{HEX}  x.raw\r", "x.raw"),
        (f"{HEX}  ./x.raw", "x.raw"),
        (f"{HEX}  a file  with blanks", "a file  with blanks"),
        (f"\\{HEX}  back\\\\slash\\nand break", "back\\slash\nand break"),
        (f"SHA256 (x.raw) = {HEX}", "x.raw"),
        (f"SHA256 (x (1).raw) = {HEX.upper()}", "x (1).raw"),
    ],
)
def test_a_line_names_a_file_and_its_digest(line: str, name: str) -> None:
    assert parse_checksums(f"# comment\n\n{line}\n") == {name: f"sha256:{HEX}"}


@pytest.mark.parametrize(
    "line",
    [
        "",
        HEX,
        f"{HEX[:-1]}  x.raw",
        f"{HEX}0  x.raw",
        f"{HEX}  ../x.raw",
        f"{HEX}  /etc/passwd",
        f"{HEX}  dir/x.raw",
        f"{HEX}  ..",
        f"SHA512 (x.raw) = {HEX}",
        f"\\{HEX}  a\\n/b",
        "-----BEGIN PGP SIGNED MESSAGE-----",
    ],
)
def test_what_is_no_checksum_of_a_plain_file_is_left_out(line: str) -> None:
    assert parse_checksums(line) == {}


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://host/a/x.raw", "x.raw"),
        ("https://host/a/x.raw?token=a/b#part", "x.raw"),
        ("https://host/a%20b.raw", "a b.raw"),
        ("https://host/dir;v=1/x.raw", "x.raw"),
    ],
)
def test_the_name_is_the_last_part_of_the_path(url: str, name: str) -> None:
    assert file_name(url) == name


@pytest.mark.parametrize(
    "url", ["https://host/", "https://host/a/..", "https://host/a%2Fb", "https://host/%00", "https://host"]
)
def test_what_is_no_file_name_is_refused(url: str) -> None:
    with pytest.raises(Invalid, match="is no file name"):
        file_name(url)


def test_a_file_beside_another() -> None:
    assert beside("https://u:p@host:1/a/b%20c/x.raw?q=1#f", "SHA256SUMS") == "https://u:p@host:1/a/b%20c/SHA256SUMS"
    assert beside("https://host/x.raw", "SHA256SUMS") == "https://host/SHA256SUMS"
