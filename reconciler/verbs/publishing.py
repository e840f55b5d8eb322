"""The verb that publishes extensions: push."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.errors import Invalid, parsed
from reconciler.paths import Paths
from reconciler.verbs.console import Verbs, add_verb, print_result
from reconciler.verbs.exitstatus import OK

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from reconciler.author.publish import PushRequest
    from reconciler.host.registry.skopeopush import Signing


def add(verbs: Verbs) -> None:
    parser = add_verb(verbs, "push", _push, "publish an extension as a container image or an artifact")
    parser.add_argument(
        "inputs",
        nargs="+",
        type=Path,
        metavar="FILE|DIR",
        help="an image file, a directory, or an OCI layout; several: one for each platform",
    )
    parser.add_argument("destination", metavar="DESTINATION", help="docker://HOST/NAME:TAG, oci:DIR[:TAG], ...")
    parser.add_argument("--artifact", action="store_true", help="an image file as it is, not inside a layer")
    parser.add_argument("--artifact-type", metavar="TYPE", help="the media type of the artifact")
    parser.add_argument(
        "--platform", action="append", default=[], metavar="OS/ARCH", help="what it is for; may be repeated"
    )
    parser.add_argument("--label", action="append", default=[], metavar="KEY=VALUE", help="of the container image")
    parser.add_argument("--annotation", action="append", default=[], metavar="KEY=VALUE", help="of the manifest")
    parser.add_argument("--compression", choices=("gzip", "zstd"), help="of the layer (gzip)")
    key = parser.add_mutually_exclusive_group()
    key.add_argument("--sign-by", metavar="FINGERPRINT", help="sign with this GPG key")
    key.add_argument("--sign-by-sigstore-private-key", type=Path, metavar="FILE", help="sign with this sigstore key")
    parser.add_argument("--sign-passphrase-file", type=Path, metavar="FILE", help="what the key is locked with")
    parser.add_argument("--force", action="store_true", help="push what no host could merge")
    parser.add_argument("--dry-run", action="store_true", help="make the image and print its digest; send nothing")


def _push(options: argparse.Namespace) -> int:
    from reconciler.author.publish import publish
    from reconciler.host.registry.skopeo import Skopeo
    from reconciler.report.authored import published_document

    request = _request(options)
    published = publish(
        options.inputs, request, Skopeo(Paths(options.root).auth_file, root=options.root), os.uname().machine
    )
    signed = request.signing is not None and not request.dry_run
    print_result(
        options,
        lambda: published_document(published, request.destination, pushed=not request.dry_run, signed=signed),
        [published.held.digest],
    )
    return OK


def _request(options: argparse.Namespace) -> PushRequest:
    from reconciler.author.publish import PushRequest
    from reconciler.model.content.destination import parse_destination
    from reconciler.model.content.ociread import parse_platform
    from reconciler.model.content.ociwrite import Compression

    return PushRequest(
        parsed(parse_destination, options.destination, "see livelayer(8)"),
        tuple(parsed(parse_platform, text, "see livelayer(8)", "--platform") for text in options.platform),
        _pairs("--label", options.label),
        _pairs("--annotation", options.annotation),
        Compression(options.compression) if options.compression else None,
        artifact=options.artifact,
        artifact_type=options.artifact_type,
        force=options.force,
        dry_run=options.dry_run,
        signing=_signing(options),
    )


def _signing(options: argparse.Namespace) -> Signing | None:
    from reconciler.host.registry.skopeopush import Signing

    if options.sign_by or options.sign_by_sigstore_private_key:
        return Signing(options.sign_by, options.sign_by_sigstore_private_key, options.sign_passphrase_file)
    if options.sign_passphrase_file:
        raise Invalid("--sign-passphrase-file without a key", "add --sign-by or --sign-by-sigstore-private-key")
    return None


def _pairs(option: str, given: Sequence[str]) -> dict[str, str]:
    pairs = {}
    for text in given:
        key, separator, value = text.partition("=")
        if not separator or not key or not text.isprintable():
            raise Invalid(f"{option} {text}: is no KEY=VALUE", "write it as org.opencontainers.image.licenses=MIT")
        pairs[key] = value
    return pairs
