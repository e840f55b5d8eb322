"""The verb that makes an extension: build."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from reconciler.errors import Invalid, parsed
from reconciler.paths import Paths
from reconciler.verbs.console import Verbs, add_verb, print_result, say
from reconciler.verbs.exitstatus import OK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.author.build import Request
    from reconciler.host.images.write.repart import KeyPair
    from reconciler.model.build.recipe import Recipe

_OUTPUTS: Final = ("directory", "squashfs", "erofs", "ext4", "ddi", "oci")
_ANY: Final = "name one of them, or _any for an extension that fits all"


def add(verbs: Verbs) -> None:
    parser = add_verb(verbs, "build", _build, "make an extension of files, packages, programs or images")
    parser.add_argument("name", metavar="NAME", help="how the extension is called")
    _add_sources(parser.add_argument_group("what it is made of, in this order, later over earlier"))
    _add_result(parser.add_argument_group("what is written"))
    _add_release(parser.add_argument_group("its release file; what is not given, the content decides"))


def _add_sources(group: argparse._ArgumentGroup) -> None:
    of = {"dest": "parts", "default": (), "action": _Part, "nargs": "+"}
    group.add_argument("--from", metavar="SOURCE", help="directories, tar archives, container images", **of)  # type: ignore[arg-type]
    packages = "Debian packages: files, directories of them, or names for apt"
    group.add_argument("--debs", metavar="PACKAGE", help=packages, **of)  # type: ignore[arg-type]
    packages = "RPM packages: files, directories of them, or names for dnf"
    group.add_argument("--rpms", metavar="PACKAGE", help=packages, **of)  # type: ignore[arg-type]
    group.add_argument("--binary", metavar="PROGRAM", help="programs, best static ones, for /usr/bin", **of)  # type: ignore[arg-type]
    group.add_argument("--base", metavar="SOURCE", help="the system they were made on: only what differs is taken")
    group.add_argument("--no-depends", action="store_true", help="take no packages but those that are named")


def _add_result(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--kind", choices=("sysext", "confext"), default="sysext", help="of extension (%(default)s)")
    group.add_argument("--format", choices=_OUTPUTS, default="squashfs", help="of the result (%(default)s)")
    group.add_argument("-o", "--output", type=Path, metavar="PATH", help="where to write it (NAME.raw, or as fits)")
    group.add_argument("--force", action="store_true", help="replace what is there")
    group.add_argument("--strict", action="store_true", help="fail where something would be left out")
    group.add_argument("--compression", choices=("gzip", "zstd"), help="of an image's layer (gzip)")
    group.add_argument("--private-key", type=Path, metavar="FILE", help="sign a disk image with this key")
    group.add_argument("--certificate", type=Path, metavar="FILE", help="the key's certificate")


def _add_release(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--id", help="ID: the system it fits, or _any")
    group.add_argument("--version-id", metavar="VERSION", help="VERSION_ID: the version of that system")
    group.add_argument("--sysext-level", "--confext-level", metavar="LEVEL", help="SYSEXT_LEVEL or CONFEXT_LEVEL")
    group.add_argument("--arch", help="ARCHITECTURE; also which one of an image for several is taken")
    group.add_argument("--scope", nargs="+", default=(), help="where it may be used: system, initrd, portable")
    reload = "EXTENSION_RELOAD_MANAGER: whether the manager reads units again"
    group.add_argument("--reload-manager", action=argparse.BooleanOptionalAction, help=reload)
    group.add_argument(
        "--restart-unit", action="append", default=[], metavar="UNIT", help="EXTENSION_RESTART_UNITS: one of them"
    )
    group.add_argument(
        "--enable-unit", action="append", default=[], metavar="UNIT", help="start this unit of it with the system"
    )


class _Part(argparse.Action):
    """Several options share one list, in the order in which they are given."""

    def __call__(
        self,
        _parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        _option: str | None = None,
    ) -> None:
        given = (self.option_strings[0], tuple(values or ()))
        setattr(namespace, self.dest, (*getattr(namespace, self.dest), given))


def _build(options: argparse.Namespace) -> int:
    from reconciler.author.build import build
    from reconciler.report import authored

    built = build(_request(options), Paths(options.root))
    if not (options.json or options.quiet):
        say(*authored.built_notes(built, everything=options.verbose > 0))
    print_result(options, lambda: authored.built_document(built), [authored.built_line(built)])
    return OK


def _request(options: argparse.Namespace) -> Request:
    from reconciler.author.build import Request
    from reconciler.author.ingredients import Option, Origin
    from reconciler.model.build.output import Output
    from reconciler.model.content.ociwrite import Compression

    output = Output(options.format)
    if options.compression and output is not Output.OCI:
        raise Invalid(f"--compression: {output} has none to choose", "choose --format oci")
    return Request(
        _recipe(options),
        tuple(Option(Origin(origin), words) for origin, words in options.parts),
        output,
        (options.output or Path(output.file_name(options.name))).absolute(),
        options.base,
        _keys(options),
        Compression(options.compression) if options.compression else None,
        options.strict,
        not options.no_depends,
        options.force,
    )


def _recipe(options: argparse.Namespace) -> Recipe:
    from reconciler.model.build.recipe import Recipe
    from reconciler.model.fit.release import parse_architecture
    from reconciler.model.kind import ExtensionId, Kind

    return Recipe(
        ExtensionId(options.name, Kind(options.kind)),
        options.id,
        options.version_id,
        options.sysext_level,
        options.arch if options.arch in {None, "_any"} else parsed(parse_architecture, options.arch, _ANY, "--arch"),
        tuple(options.scope),
        options.reload_manager,
        tuple(options.restart_unit),
        tuple(options.enable_unit),
    )


def _keys(options: argparse.Namespace) -> KeyPair | None:
    from reconciler.host.images.write.repart import KeyPair

    if not options.private_key and not options.certificate:
        return None
    if not options.private_key or not options.certificate:
        raise Invalid("--private-key and --certificate belong together", "give both, or none")
    for file in (options.private_key, options.certificate):
        if not file.is_file():
            raise Invalid(f"{file}: there is no such file", "make a pair with: openssl req -x509 -newkey rsa:4096")
    return KeyPair(options.private_key.absolute(), options.certificate.absolute())
