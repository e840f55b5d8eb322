"""Layers that are not what their manifest or their configuration says."""

from __future__ import annotations

import gzip
from typing import Final

from tests.host.hostile.cases import Case, Packed, blobs, named
from tests.host.tars import digest, file, tar

_ONE: Final = tar(file("a", b"1"))
_OTHER: Final = tar(file("a", b"2"))
_LIE: Final = digest(b"something else")


def _refused(words: str, *layers: Packed) -> Case:
    return Case("", blobs(*layers), refused=words)


CASES: Final = named(
    {
        "of a blob": _refused(f"the blob's content has the digest {digest(_ONE)}", Packed(_ONE, digest=_LIE)),
        "of an empty blob": _refused(f"the blob's content has the digest {digest(b'')}", Packed(b"", digest=_LIE)),
        "of a blob with one bit flipped": _refused(
            "the blob's content has the digest", Packed(_ONE[:-1] + b"\1", digest=digest(_ONE))
        ),
        "of a blob that would lead out": _refused(
            "the blob's content has the digest", Packed(tar(file("../outside/x")), digest=_LIE)
        ),
        "of a blob that is no archive": _refused("the blob's content has", Packed(b"x" * 5000, digest=_LIE)),
        "of a compressed blob, given that of its content": _refused(
            "the blob's content has the digest", Packed(gzip.compress(_ONE, mtime=0), digest=digest(_ONE))
        ),
        "of the second layer": _refused("the blob's content has", Packed(_ONE), Packed(_OTHER, digest=_LIE)),
        "of the content": _refused(f"unpacks to {digest(_ONE)}", Packed(_ONE, diff_id=_LIE)),
        "of the content, given that of the blob": _refused(
            f"unpacks to {digest(_ONE)}",
            Packed(gzip.compress(_ONE, mtime=0), diff_id=digest(gzip.compress(_ONE, mtime=0))),
        ),
        "of the content, of two layers in the wrong order": _refused(
            f"unpacks to {digest(_ONE)}", Packed(_ONE, diff_id=digest(_OTHER)), Packed(_OTHER, diff_id=digest(_ONE))
        ),
        "of the content without what follows its end": _refused(
            "unpacks to", Packed(_ONE + b"more", diff_id=digest(_ONE))
        ),
        "of the content without its padding": _refused("unpacks to", Packed(_ONE, diff_id=digest(_ONE[:1024]))),
        "of a compressed blob that was compressed anew": _refused(
            "the blob's content has",
            Packed(gzip.compress(_ONE, 9, mtime=1), digest=digest(gzip.compress(_ONE, 9, mtime=0))),
        ),
        "size too small": _refused(
            f"the blob has {len(_ONE)} bytes, the image's manifest says 100", Packed(_ONE, size=100)
        ),
        "size too large": _refused("the image's manifest says 99999", Packed(_ONE, size=99_999)),
        "size of zero": _refused("the image's manifest says 0", Packed(_ONE, size=0)),
        "size of 8 EiB": _refused("manifest says 9223372036854775807", Packed(_ONE, size=(1 << 63) - 1)),
        "size of the content": _refused(
            "the image's manifest says", Packed(gzip.compress(_ONE, mtime=0), size=len(_ONE))
        ),
        "size and digest": _refused("the image's manifest says 1", Packed(_ONE, size=1, digest=_LIE)),
    }
)
