"""The signature partition of a disk image (Discoverable Partitions Specification, "Verity Signature Partitions")."""

from __future__ import annotations

import base64
import binascii
import json

from reconciler.dataclass import dataclass


@dataclass(frozen=True, slots=True)
class VeritySignature:
    """Who signed which root hash; whether the signature is good, only the certificate of its owner tells."""

    root_hash: str
    fingerprint: str  # SHA-256 of the certificate
    size: int  # bytes of the PKCS#7 signature


def parse_signature(content: bytes) -> VeritySignature | None:
    """Read what a signature partition holds, JSON padded with zeros; None: it holds no signature."""
    try:
        document = json.loads(content.rstrip(b"\0"))
        signature = base64.b64decode(document["signature"], validate=True)
        found = VeritySignature(document["rootHash"], document["certificateFingerprint"], len(signature))
        for digest in (found.root_hash, found.fingerprint):
            bytes.fromhex(digest)
    except (ValueError, KeyError, TypeError, RecursionError, binascii.Error):
        return None
    return found if signature else None
