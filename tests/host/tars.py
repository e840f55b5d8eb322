"""Tar archives and blobs to unpack, as data; what is on disk afterwards, as data."""

from __future__ import annotations

import base64
import bz2
import gzip
import hashlib
import io
import lzma
import os
import stat
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import zstandard

from reconciler.model.content.ociread import Layer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

FORMATS: Final = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}


@dataclass(frozen=True, slots=True)
class Entry:
    """One member to write."""

    name: str
    type: bytes = tarfile.REGTYPE
    content: bytes = b""
    link: str = ""
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime: int = 1
    pax: dict[str, str] = field(default_factory=dict)


def file(name: str, content: bytes = b"", **more: object) -> Entry:
    return Entry(name, content=content, **more)  # type: ignore[arg-type]


def directory(name: str, **more: object) -> Entry:
    return Entry(name, tarfile.DIRTYPE, **{"mode": 0o755, **more})  # type: ignore[arg-type]


def symlink(name: str, target: str, **more: object) -> Entry:
    return Entry(name, tarfile.SYMTYPE, link=target, **more)  # type: ignore[arg-type]


def hard_link(name: str, target: str) -> Entry:
    return Entry(name, tarfile.LNKTYPE, link=target)


def tar(*entries: Entry, form: str = "pax") -> bytes:
    """An archive, ended and padded as GNU tar does."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=FORMATS[form], errors="surrogateescape") as archive:
        for entry in entries:
            info = tarfile.TarInfo(entry.name)
            info.type, info.linkname, info.mode = entry.type, entry.link, entry.mode
            info.uid, info.gid, info.mtime = entry.uid, entry.gid, entry.mtime
            info.size, info.pax_headers = len(entry.content), dict(entry.pax)
            archive.addfile(info, io.BytesIO(entry.content))
    return buffer.getvalue()


def header(name: bytes, flag: bytes = b"0", *, magic: bytes = b"ustar\x0000", **fields: bytes) -> bytes:
    """A header block by hand, for what tarfile would not write; its checksum is right."""
    places = {"mode": (100, 8), "uid": (108, 8), "gid": (116, 8), "size": (124, 12), "mtime": (136, 12)}
    places |= {"link": (157, 100), "prefix": (345, 155), "segments": (386, 96), "more": (482, 1), "real": (483, 12)}
    block = bytearray(512)
    block[: len(name)] = name
    block[156:157] = flag
    block[257 : 257 + len(magic)] = magic
    for key, value in fields.items():
        start, length = places[key]
        block[start : start + length] = value.ljust(length, b"\0")
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def record(key: bytes, value: bytes) -> bytes:
    """A pax record, ready for a pax header's content."""
    rest = b" " + key + b"=" + value + b"\n"
    length = len(rest) + 1
    while length != len(str(length)) + len(rest):  # it counts its own digits
        length += 1
    return str(length).encode() + rest


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def extended(*records: tuple[bytes, bytes], flag: bytes = b"x") -> bytes:
    """A pax header with these records."""
    data = b"".join(record(key, value) for key, value in records)
    return header(b"pax", flag, size=b"%o" % len(data)) + padded(data)


END: Final = bytes(1024)
SOME: Final = tar(
    directory("d", mtime=3),
    file("d/a", b"text " * 3000),
    file("b", hashlib.shake_128(b"what does not compress").digest(5000)),
    symlink("s", "d"),
)


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


COMPRESSIONS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "plain": bytes,
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "zstd": _zstd,
    "xz": lzma.compress,
    "bzip2": bz2.compress,
}


@dataclass(frozen=True, slots=True)
class Stack:
    """Layers and their blobs in a directory."""

    layers: tuple[Layer, ...]
    blobs: Path

    def blob_of(self, name: str) -> Path:
        return self.blobs / name


def stack(blobs: Path, *archives: bytes, compression: str = "plain") -> Stack:
    """Write archives as blobs whose digests are right."""
    blobs.mkdir(exist_ok=True)
    layers = []
    for archive in archives:
        blob = COMPRESSIONS[compression](archive)
        layers.append(Layer(digest(blob), len(blob), "application/x-tar", digest(archive)))
        (blobs / digest(blob)).write_bytes(blob)
    return Stack(tuple(layers), blobs)


def blob(blobs: Path, content: bytes, diff_id: str | None = None) -> Stack:
    """Write bytes as they are as a blob whose digest is right."""
    blobs.mkdir(exist_ok=True)
    (blobs / digest(content)).write_bytes(content)
    return Stack((Layer(digest(content), len(content), "", diff_id),), blobs)


@dataclass(frozen=True, slots=True)
class Found:
    """What is on disk at a path."""

    kind: str
    data: bytes = b""  # a file's content or a link's target
    mode: int = 0
    uid: int = 0
    gid: int = 0
    mtime_ns: int = 0
    xattrs: tuple[tuple[str, bytes], ...] = ()


def found(path: Path) -> Found:
    status = path.lstat()
    names = sorted(os.listxattr(path, follow_symlinks=False))
    xattrs = tuple((name, os.getxattr(path, name, follow_symlinks=False)) for name in names)
    rest = (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, status.st_mtime_ns, xattrs)
    if stat.S_ISLNK(status.st_mode):
        return Found("symlink", os.readlink(os.fsencode(path)), *rest)
    if stat.S_ISDIR(status.st_mode):
        return Found("directory", b"", *rest)
    return Found("file", path.read_bytes(), *rest)


def tree(root: Path) -> dict[str, Found]:
    """Everything below a directory."""
    paths = (Path(here) / name for here, subdirectories, files in os.walk(root) for name in subdirectories + files)
    return {str(path.relative_to(root)): found(path) for path in paths}


def contents(root: Path) -> dict[str, str]:
    """The same in short: `/` for a directory, `-> target` for a link, a file's text."""
    signs = {"directory": "/", "symlink": "-> ", "file": ""}
    return {path: signs[item.kind] + item.data.decode(errors="replace") for path, item in tree(root).items()}


def links(root: Path, names: Iterable[str]) -> set[frozenset[str]]:
    """Which of these names are one file."""
    groups: dict[int, set[str]] = {}
    for name in names:
        groups.setdefault((root / name).lstat().st_ino, set()).add(name)
    return {frozenset(group) for group in groups.values()}


def holes() -> bytes:
    """The file that the archives below have in them: 1 MiB with 30 pieces of data."""
    content = bytearray(1 << 20)
    for number in range(30):
        start = number * 16384 + 4096 * (number % 3)
        content[start : start + 100] = bytes([65 + number]) * 100
    return bytes(content)


def sparse(version: str) -> bytes:
    """What GNU tar 1.34 wrote of `holes`, owner root, time 1."""
    return lzma.decompress(base64.b85decode(_SPARSE[version]))


_SPARSE: Final = {
    "gnu": (
        "{Wp48S^xk5{}S0j0stWa8~^|S5YJf5;6?ud5?uf^8_CU~x;1@93ExdVEnN=BB49~|F-%CReDFMWMMr2DSZn1)-d`PM4-P+R!HgI+mMe7^iFB"
        "x8{>)CAHIb~357s;e4M=TvpOWFsv%Ki48V$^BYC1e@+?*(U{yTwUL<Zw5WEqEnOSK^v$s{;0YSX~HwpxQP;nQ@snHH7se{B)!@;}pZGuAleA"
        "HFVM3a_v@l&W66$yBw^2E$;3`(}h?L_?>_$@^4l*-8?7u(h?T`g}TeqF4o7f0R*s5O1OhV)FI&KBb-l_rafx-*D?vP07S{a4;}XLCu+f#sad"
        "eA5X<O%wv*2w9Mpf(or-jXN98fxheGFWHe`veV5je@Y>cBTzAR{n>H_G0000000E`~fQ$hE&=9?9r~nH50ssI2003E9"
    ),
    "0.0": (
        "{Wp48S^xk5{}S0j0stWa8~^|S5YJf5;7k7jm0bWl05eb+Xo-UX+~RITiybX2Nm7UU-wYIO-(|ztx2spc`zU|3qK`DiS56rt>yS37tM$v`PKM"
        "_q)kNQRFGA=c6r!bWKDs2-9MzuZcFyMbfnCTmhZRj@Kp;9=IMEv#5FRo@W%A;#K`(PUsAPZJ#6_lS0BywVVu-^O!2Ab0sOOq|LJ#Shl7~bU9"
        "{384f+hPNgUK)LlTW+8#xGA6k|B*%4bW&ozjEea2v($v;vxb@`k%)|nli=XJ~Jsat?C?lF2i~L;4WbVS8|{(2v9ZZ7h=<SqyK8ndAcTCx9L!"
        "rfSKMrsb(_uMcm5i4yvh{Pj^$8vPCAbm=`kaAX^u~qnH>g$X#F9IZ!Lt*11`sWM;U{Fgc5_kM2r0O7S@gI-O44UN-AG^$BTNxwxr2+mwQ<o3"
        "31%7nfo9!yLDCP+&+Gi27K`rD1w4mp?06iT<V`r;w?lTR%QUrn`OfJ3@zCP2nHGvX6K49MbhOtxoL!ZCA~F6hC?c{xva(+jM=?FfN2@@BYa@"
        "en<r10000000F53fS3UQ8Gxj{r~nH50ssI2003E9"
    ),
    "0.1": (
        "{Wp48S^xk5{}S0j0stWa8~^|S5YJf5;6?udl3f5i05eb+Xo-UX+~RII)|o?H)vb;l6b`#GKvp+0i2q(;OcD(vzGE;6Fovi1%A#DR9DfzMmeu"
        "i5IBRlj{%??WR!N`#H*Boj0+wZrfdP#!`w{ZO*3&5_bSJsOw4g+I&b3Sg6cmWCU<7d$c|diUg1AYm0Zk;%0UWmBk6E%=ZNu&?RHrAGnlq;pL"
        "~7(0m((ti(etcRD&!X<MknbaaDPge>3?)3?<)-_%uUw`b($hx9{V1Z_ZGOYu8lO0I58Q$GFjaj@7nr<!If$M4d$H(PUhK5(6%gX-l1m?7ZA{"
        "2IXvSFxye0DqXU$gd~f)8<<lerjr#8+3i1zLv?58@`+Zb(-D>{bzzvXAqhV9h0jB{dH05wpc|^?_l-@tu-0xH`hexW&S8*p7DUNz3pxoZFg|"
        "wCer>haTfy%kFIWi>QECkxq6K^_TnR22WciQ9N{0{|Z%2=+tSGG5BP6EnPfzeZEVt0!`=u7VnV?ceSbypn_*B^?0sx3Mf)-?zgquX_ttwQ^F"
        "0000000E{0fQ$hEU^(4ar~nH50ssI2003E9"
    ),
    "1.0": (
        "{Wp48S^xk5{}S0j0stWa8~^|S5YJf5;79)fn_U1r05eb+Xo-UX+~RH^_K`^Q=#Cd)@t?6Gq#w{4Ck!Ax5SO`7YgGw*t^Gh#ms9DEIMQbDqbw"
        "|fiieOIkwH~<h8Rd^#UbWnS1$(eVlwJ8faJo4v`52WZM88S;An9kJ=i>aieXykjLi%ICwkq=b<xQ%jq9NHO@_nEcCmOH6;3m}8QX+s95#&G!"
        "Q@<LuRAL^6g}{826a`qk90z=@kwmlNE&i!d@rhP1jhBHhpD8SBI)|a5GM>00Rn@xPkue@-d-E1ri1_ccaPOBv2-l8<bS47_|G<8-gS-loOuN"
        "pVe&X-Mu747Nz|twA)?>d&&QFp;Nl8<lw{d6M<7Gf0)xOFQf@de;RqZd45lo@!ACa|b9pHrOyIuw^{n`07LvEYV9puG6DY821tfRTGu2AZt6"
        "{x%<rYNa1Ngyi0%yZKZ&?6hSbE|~#n?*ZRL!#o7GO=x9`+taX`Wz*>f;K_tX>hV1)x-ET1?zg(@!CG|BRLr=!5=Gt(9x00F^#{f>qP}n;{|="
        "3Es8$!v|)l0000000FN9fRF(IyfW@(r~nH50ssI2003E9"
    ),
}
