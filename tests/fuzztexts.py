"""Fuzz targets for every parser of what servers, registries and files say: valid texts, spoilt at random.

Whatever the input, a parser raises what its callers expect, with one short line for people, and soon; never anything
else. In the tests each is tried briefly; at length by hand:

    python -m tests.fuzz --target manifests --minutes 10
"""

from __future__ import annotations

import contextlib
import json
import struct
import tempfile
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hypothesis import strategies as st

from reconciler.errors import ReconcilerError
from reconciler.host.images.programs import read_elf
from reconciler.host.sources import web
from reconciler.host.sources.download import Partial
from reconciler.loop import config
from reconciler.model.content.catalog import Selector, parse_catalog
from reconciler.model.content.filepattern import in_placeholders, parse_pattern
from reconciler.model.content.limits import parse_size
from reconciler.model.content.ociread import (
    Index,
    Manifest,
    parse_manifest,
    parse_platform,
    platform_in,
    platform_of,
    with_diff_ids,
)
from reconciler.model.content.offers import offers_in_files
from reconciler.model.content.releases import releases_in
from reconciler.model.content.retryafter import retry_after
from reconciler.model.content.sha256sums import best_before, file_name, parse_checksums
from reconciler.model.content.skopeofailure import understand, understand_stall
from reconciler.model.content.source import parse_source
from reconciler.model.content.version import parse_range
from reconciler.model.facts.powers import abilities
from reconciler.model.facts.unitfiles import parse_unit
from reconciler.model.fit.assignments import read_assignments
from reconciler.model.fit.release import Host, misfit
from reconciler.model.images.diskimage import architecture_of, identify
from reconciler.model.images.veritysignature import parse_signature
from reconciler.model.kind import Kind
from tests.rig.diskimages import Part, disk

if TYPE_CHECKING:
    from collections.abc import Callable

_SECONDS: Final = 5.0  # of a processor, for one text
_LONGEST: Final = 4100  # characters of a message
_REPEATED: Final = 20_000
_HEX: Final = "57bf1c3441c3ee172ab36516e4da3249d832919b9309c722e733d56ab578f170"
_DIGEST: Final = f"sha256:{_HEX}"
_EMPTY: Final = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

_CONFIGURATION: Final = b"""apiVersion: livelayer/v1
settings:
  prune: true
  prune_limit: 50%
  limits: {size: 1G, ratio: 200}
  transfers: {timeout: 1h, min_rate: 10K}
  catalogs: [https://h/releases.json]
  keyring: /etc/keys.gpg
defaults: &d {pull: always}
extensions:
  a: {<<: *d, source: "docker://h/x:v1", min_age: 3d, version: ">=1.2,<2"}
  b: {source: [oci:/x:t, "file:///y"], checks: {http: "http://127.0.0.1/", settle: 5s}}
  c: {source: "https://h/{VERSION_ID}.raw?t=1", digest: "sha256:57bf", format: raw, kernel: ">=6.1"}
  d: null
"""
_CLOUD: Final = b"""#cloud-config
install:
  bundles:
  - targets: ["container://h/x:v1"]
    rootfs_path: /var/lib/extensions/x
  extensions: [fwupd@2.1.7, "oci://h/y:v1", {name: z, version: ">=1 <2"}]
extensions: {catalogs: ["https://h/c.json"]}
stages: {boot: [{name: "{{ .Name }}", commands: ["{{ if .X }}a{{ end }}"]}]}
livelayer: {extensions: {own: {source: "docker://h/z"}}}
"""
_CATALOG: Final = json.dumps(
    {
        "layers": [
            {
                "name": "x",
                "latest": "2.1.7",
                "tags": [
                    {"tag": "2.1.7", "sysext": {"amd64": {"oci": f"h/x@{_DIGEST}"}}},
                    {"tag": "v2.0.0-rc1", "sysext": {"amd64": {"oci": f"h/x@{_DIGEST}"}}},
                ],
            }
        ]
    }
).encode()
_MANIFEST: Final = {
    "schemaVersion": 2,
    "mediaType": "application/vnd.oci.image.manifest.v1+json",
    "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": _DIGEST, "size": 5},
    "layers": [
        {
            "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
            "digest": _DIGEST,
            "size": 7,
            "annotations": {"org.opencontainers.image.title": "x.raw"},
        }
    ],
}
_INDEX: Final = {
    "manifests": [
        {"digest": _DIGEST, "size": 3, "platform": {"os": "linux", "architecture": "arm64", "variant": "v8"}},
        {"digest": _DIGEST, "platform": {"os": "linux", "architecture": "amd64"}},
    ]
}
_CONFIG: Final = {"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": [_DIGEST]}}
_SUMS: Final = f"""{_HEX} *x.raw
{_HEX}  ./other.raw
\\{_HEX}  a\\nb.raw
SHA256 (bsd.raw) = {_HEX}
{_HEX}  livelayer-v1.31.1+k3s1-x86-64.raw
{_HEX} *livelayer-5+29.4.2-1~debian.13-amd64.raw
{_EMPTY}  BEST-BEFORE-2027-01-31
""".encode()
_ANSWER: Final = b"""HTTP/1.1 301 Moved
Location: https://h/y

HTTP/1.1 206 Partial Content
Content-Range: bytes 5-99/100
Content-Length: 95
ETag: "x"
Last-Modified: Wed, 21 Oct 2015 07:28:00 GMT
Retry-After: 120
Content-Encoding: identity

"""
_SKOPEO: Final = rb"""time="2026-01-01T00:00:00Z" level=debug msg="Detected 'Retry-After' header \"120\""
time="2026-01-01T00:00:00Z" level=fatal msg="initializing source docker://h/x:v1: (Mirrors also failed: [m/x:v1:
reading manifest v1 in m/x: denied]): h/x:v1: Get \"https://h/v2/\": dial tcp 192.0.2.1:443: connection refused"
""".replace(b"m/x:v1:\n", b"m/x:v1: ")
_RELEASE: Final = b"""ID=debian
VERSION_ID="12"
SYSEXT_LEVEL='1.0'
ARCHITECTURE=x86-64
SYSEXT_SCOPE="system portable"
ID_LIKE="a \\"b\\" \\$c"
# comment
"""
_UNIT: Final = b"""[Unit]
Description=x
Wants=a.service b.service
[Service]
ExecStart=/usr/bin/x \\
  --long
User=nobody
DynamicUser=yes
[Install]
WantedBy=multi-user.target
"""
_SIGNATURE: Final = json.dumps({"rootHash": _HEX, "signature": "MIIB", "certificateFingerprint": _HEX}).encode()
_TOKENS: Final = tuple(
    token.encode()
    for token in (
        *("", "\0", "\n", "\r\n", " ", "\t", '"', "'", "\\", "/", ":", "@", "=", ",", "-", "{", "}", "[", "]"),
        *(
            "{{",
            "}}",
            "null",
            "true",
            "0",
            "-1",
            "1e999",
            "9" * 25,
            "9" * 5000,
            "0x" + "f" * 5000,
            "\u202e",
            "\x1b[31m",
        ),
        *("!!int ", "!!timestamp ", "!!binary ", "!!float ", "&a ", "*a ", "<<: ", "2024-13-01", "2024-99-99", ".."),
        *("*", "^", "~", ">=", "<", "1.2.3-rc1", "v1", "sha256:", _DIGEST, "HTTP/1.1 ", "HTTP/1.x: ", 'msg=\\"'),
        *(
            "docker://",
            "https://[",
            "file://%00",
            "%",
            "%zz",
            ";",
            "&&",
            "$(x)",
            "`",
            "BEST-BEFORE-",
            "->",
            "\x1b[31m",
        ),
    )
)
_EDITS: Final = ("flip", "cut", "drop", "move", "token", "token", "number", "repeat", "bytes")


@dataclass(frozen=True, slots=True)
class Target:
    """A parser, valid texts for it, and what it may raise."""

    parse: Callable[[bytes], object]
    seeds: tuple[bytes, ...]
    may_raise: tuple[type[Exception], ...] = (ReconcilerError,)

    @property
    def texts(self) -> st.SearchStrategy[bytes]:
        """Of JSON, half of them with odd values in the place of good ones: few edits of its text leave it JSON."""
        if self.seeds[0][:1] == b"{":
            return st.one_of(_spoilt(self.seeds), _odd_json(self.seeds))
        return _spoilt(self.seeds)

    def check(self, text: bytes) -> str | None:
        """Parse; return what it complains of, or None.

        Raises:
            AssertionError: it took long, or the message is not for people.
            Exception: whatever it may not raise.
        """
        began, complaint = time.process_time(), None
        try:
            self.parse(text)
        except self.may_raise as error:
            complaint = error
        taken = time.process_time() - began
        assert taken < _SECONDS, f"{taken:.0f} s"
        if isinstance(complaint, ReconcilerError):
            assert complaint.code != "unexpected", complaint
            assert len(complaint.message) < _LONGEST
            assert complaint.message.isprintable()
        return None if complaint is None else str(complaint)


@st.composite
def _spoilt(draw: st.DrawFn, seeds: tuple[bytes, ...]) -> bytes:
    text = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(0, 4))):
        text = _edited(draw, text)
    return text


_ODD: Final[tuple[Any, ...]] = (
    *(
        None,
        True,
        False,
        0,
        -1,
        1.5,
        1 << 70,
        10**400,
        float("inf"),
        "",
        "x",
        "x" * 9000,
        "\0",
        "../x",
        _DIGEST,
        "\ud800",
    ),
    *([], {}, [[]], [{}], {"": None}, [None] * 2000, {"digest": 5}, {"os": []}, ["x"] * 2000),
)


@st.composite
def _odd_json(draw: st.DrawFn, seeds: tuple[bytes, ...]) -> bytes:
    document = json.loads(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(1, 3))):
        document = _with_odd_value(draw, document)
    return json.dumps(document).encode()


def _with_odd_value(draw: st.DrawFn, document: Any) -> Any:  # noqa: ANN401 - JSON
    """With one value, at some depth, replaced, left out, or doubled."""
    if not isinstance(document, dict | list) or not document or draw(st.integers(0, 5)) == 0:
        return draw(st.sampled_from(_ODD))
    if isinstance(document, list):
        place = draw(st.integers(0, len(document) - 1))
        return [
            *document[:place],
            _with_odd_value(draw, document[place]),
            *document[place + draw(st.integers(0, 1)) :],
        ]
    key = draw(st.sampled_from(sorted(document)))
    if draw(st.integers(0, 4)) == 0:
        return {name: value for name, value in document.items() if name != key}
    return {**document, key: _with_odd_value(draw, document[key])}


def _edited(draw: st.DrawFn, text: bytes) -> bytes:
    """With one change: something flipped, cut, dropped, moved, put in, or repeated very often."""
    start = draw(st.one_of(st.integers(0, len(text)), st.integers(0, min(len(text), 2048))))
    end = min(len(text), start + draw(st.integers(0, 40)))
    before, piece, after = text[:start], text[start:end], text[end:]
    match draw(st.sampled_from(_EDITS)):
        case "flip":
            piece = bytes(byte ^ (1 << draw(st.integers(0, 7))) for byte in piece)
        case "cut":
            piece, after = b"", b""
        case "drop":
            piece = b""
        case "move":
            to = draw(st.integers(0, len(text)))
            before, after = text[:to], text[to:]
        case "token":
            piece = draw(st.sampled_from(_TOKENS))
        case "number":
            piece = str(draw(st.integers())).encode()
        case "repeat":
            piece = draw(st.sampled_from([piece, *_TOKENS])) or b"x"
            piece *= max(1, _REPEATED // len(piece))
        case _:
            piece = draw(st.binary(max_size=20))
    return before + piece + after


@cache
def _place() -> Path:
    return Path(tempfile.mkdtemp(prefix="fuzz-"))


def _configuration(text: bytes) -> None:
    file = _place() / "extensions.yaml"
    file.write_bytes(text)
    config.compose([file])


def _cloud_config(text: bytes) -> None:
    file = _place() / "cloud.yaml"
    file.write_bytes(text)
    config.compose([], [file])


def _catalog(text: bytes) -> None:
    catalog = parse_catalog(text)
    for version in (None, "2.1.7", ">=1,<3", text[:50].decode("latin-1")):
        with contextlib.suppress(ReconcilerError):
            catalog.find(Selector("x", version, None, "amd64"))


def _checksums(text: bytes) -> None:
    listed = parse_checksums(text.decode(errors="replace"))
    best_before(listed)
    platform = platform_of("x86_64")
    releases_in(listed, [parse_pattern("livelayer-@v-%a.raw"), parse_pattern("@d@@@v+@l.raw")], platform)
    offers_in_files(listed, "https://h/", platform)
    file_name(f"https://h/{text[:200].decode('latin-1')}")


def _manifest(text: bytes) -> None:
    found = parse_manifest(text)
    if isinstance(found, Index):
        found.choose(platform_of("x86_64"))
    else:
        assert found.size >= 0


def _image_config(text: bytes) -> None:
    platform_in(text)
    found = parse_manifest(json.dumps(_MANIFEST).encode())
    assert isinstance(found, Manifest)
    with_diff_ids(found, text)


def _tags(text: bytes) -> None:
    tags = text.decode(errors="replace").split("\n")
    for span in (parse_range(">=1.2,<3"), parse_range("*"), parse_range("1.30.0-rc1")):
        if span.highest(tags) is None:
            str(span.miss("docker://h/x", tags))


def _answer(text: bytes) -> None:
    """As libcurl tells it; of what libcurl itself refuses there is none."""
    with tempfile.TemporaryDirectory() as directory:
        part = Partial(Path(directory, "x.part"), "https://h/x", 1 << 20, lambda _done, _total: None)
        with part:
            answer = web.Answer("https://h/x", 60.0, part.write, part._begin, is_range=True)  # noqa: SLF001 - the callback
            for line in text.splitlines():
                answer.on_header(line[:1000])
            try:
                answer.on_content(b"content")
            except web._Raised as raised:  # noqa: SLF001 - what a callback raises
                if not isinstance(raised.error, web._Enough):  # noqa: SLF001
                    raise raised.error from None


def _retry_after(text: bytes) -> None:
    seconds = retry_after(text.decode("latin-1"))
    assert seconds is None or 0 <= seconds <= 86400


def _skopeo(text: bytes) -> None:
    stderr = text.decode(errors="replace")
    for source in ("docker://h/x:v1", "oci:/x"):
        assert len(str(understand(stderr, source))) < _LONGEST
    understand_stall(stderr, "docker://h/x:v1", 60)


def _release(text: bytes) -> None:
    fields = read_assignments(text.decode(errors="replace"))
    host = Host({"ID": "debian", "VERSION_ID": "12"}, "x86_64", 252)
    for kind in Kind:
        misfit(fields, host, kind)


def _unit(text: bytes) -> None:
    content = text.decode(errors="replace")
    parse_unit(content)
    places = ("usr/lib/systemd/system/x.service", "usr/lib/sysusers.d/x.conf", "usr/lib/udev/rules.d/x.rules")
    abilities([*places, "usr/lib/modprobe.d/x.conf"], lambda _path: content)


def _words(text: bytes) -> None:
    """Values that a user or a catalog writes."""
    word = text.decode(errors="replace")
    for parse in (parse_source, parse_range, parse_platform, parse_size, parse_pattern):
        with contextlib.suppress(ValueError):
            parse(in_placeholders(word))


class _Image:
    """Bytes as an image."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.size = len(content)

    def read(self, offset: int, length: int) -> bytes:
        return self._content[offset : offset + length]


def _gpt(text: bytes) -> None:
    image = _Image(text)
    architecture_of(image)
    identify(image, "x86-64")


def _elf(text: bytes) -> None:
    read_elf(lambda offset, length: text[offset : offset + length], len(text))


@cache
def _elf_seed() -> bytes:
    return next(it.read_bytes() for it in map(Path, ("/usr/bin/true", "/bin/true")) if it.exists())


@cache
def targets() -> dict[str, Target]:
    def dumped(document: Any) -> bytes:  # noqa: ANN401 - JSON
        return json.dumps(document).encode()

    # Of squashfs 4.0, with blocks of 128 KiB, and as long as it says.
    superblock = struct.pack("<4sIIIIHHHHHHQQ", b"hsqs", 1, 0, 1 << 17, 0, 1, 17, 0, 1, 4, 0, 0, 4096)
    root = Part("4f68bce3-e8cd-4db1-96e7-fbcaf984b709", superblock.ljust(4096, b"\xff"))
    return {
        "configuration": Target(_configuration, (_CONFIGURATION,)),
        "cloud-config": Target(_cloud_config, (_CLOUD,)),
        "catalogs": Target(_catalog, (_CATALOG,)),
        "sha256sums": Target(_checksums, (_SUMS,)),
        "manifests": Target(_manifest, (dumped(_MANIFEST), dumped(_INDEX))),
        "image-configs": Target(_image_config, (dumped(_CONFIG),)),
        "tags": Target(_tags, (b"v1.30.0-rc1-k3s1\n1.29\n1.2.3-alpine\nlatest\nv2.0.0b3\n1.2.3_4",)),
        "words": Target(
            _words,
            (
                b"docker://h:5000/x:v1@" + _DIGEST.encode(),
                b">=1.29,<1.30,-k3s*",
                b"linux/arm/v7",
                b"16G",
                b"x-@v-%w-%a.raw",
            ),
        ),
        "http": Target(_answer, (_ANSWER,)),
        "retry-after": Target(
            _retry_after, (b"120", b"Wed, 21 Oct 2015 07:28:00 GMT", b"Wed, 21 Oct 2065 07:28:00 -0000")
        ),
        "skopeo": Target(_skopeo, (_SKOPEO,)),
        "release-files": Target(_release, (_RELEASE,)),
        "unit-files": Target(_unit, (_UNIT,)),
        "signatures": Target(parse_signature, (_SIGNATURE,), (ReconcilerError, ValueError)),
        "gpt": Target(_gpt, (disk([root]), disk([root], sector=4096))),
        "elf": Target(_elf, (_elf_seed(),)),
    }
