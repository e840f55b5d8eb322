"""Makes disk images (DDIs) of a directory with systemd-repart: data, dm-verity's hashes, and their signature."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from reconciler.errors import Failed, NotInstalled
from reconciler.host.base.command import available, path_of, run, script

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.model.kind import Kind

_PROGRAM: Final = "systemd-repart"
_SINCE: Final = 255
_TIMEOUT: Final = 3600.0  # seconds
_SEED: Final = "6c697665-6c61-4965-b261-6e6572646469"  # any; the same directory is to give the same file
_VERSION: Final = re.compile(rb"systemd (\d+)")
_HINT: Final = "build it where there is one (Debian 13, Fedora 40 and later), or choose another --format"
_PLAIN_UMASK: Final = 'umask 022; PATH=$hosts_path; exec "$@"'  # systemd-repart makes the image's root by it
# The file system is named, since the default is that of the machine.
_DATA: Final = """[Partition]
Type=root{suffix}
Format={file_system}
{copied}
Verity=data
VerityMatchKey=root
Minimize=best
"""
_HASHES: Final = """[Partition]
Type=root{suffix}-verity
Verity=hash
VerityMatchKey=root
Minimize=best
"""
_SIGNATURE: Final = """[Partition]
Type=root{suffix}-verity-sig
Verity=signature
VerityMatchKey=root
"""


class KeyPair(NamedTuple):
    """What a signature is made with: PEM files."""

    private_key: Path
    certificate: Path


class DiskImage(NamedTuple):
    """What a disk image is of."""

    kind: Kind
    architecture: str | None  # in systemd's words; None: this machine's
    keys: KeyPair | None  # what signs the root hash; None: nothing does


def write_ddi(target: Path, tree: Path, image: DiskImage, scratch: Path) -> None:
    """Make `target`, which must not exist, of a directory that nobody else changes; after an error it is garbage."""
    _require()
    keys = image.keys
    signing = (f"--private-key={keys.private_key}", f"--certificate={keys.certificate}") if keys else ()
    # Who is not root is root in a user namespace of his own, so that what is his is root's in the image.
    become_root = () if os.geteuid() == 0 else (path_of("unshare"), "--map-root-user")
    done = run(
        *(*script(_PLAIN_UMASK), "sh", *become_root, path_of(_PROGRAM)),
        *("--empty=create", "--size=auto", "--dry-run=no", "--offline=yes", f"--seed={_SEED}"),
        *(f"--definitions={_definitions(scratch, image)}", f"--copy-source={tree}", *signing, str(target)),
        timeout=_TIMEOUT,
        env={"SOURCE_DATE_EPOCH": "1", "TMPDIR": str(scratch)},
    )
    if done.status != 0:
        raise Failed(f"{_PROGRAM} failed: {done.complaint}", "look at the keys, and at the space there")


def _definitions(scratch: Path, image: DiskImage) -> Path:
    """As `--make-ddi=` has them, the signature only where there are keys."""
    directory = scratch / "definitions"
    directory.mkdir()
    copied = "\n".join(f"CopyFiles=/{top}/" for top in sorted(image.kind.traits.tops, reverse=True))
    suffix = f"-{image.architecture}" if image.architecture else ""
    files = {"10-root": _DATA, "20-root-verity": _HASHES} | ({"30-root-verity-sig": _SIGNATURE} if image.keys else {})
    for name, text in files.items():
        content = text.format(file_system=_file_system(), copied=copied, suffix=suffix)
        (directory / f"{name}.conf").write_text(content)
    return directory


def _file_system() -> str:
    """The one that systemd's own definitions have, or what there are tools for."""
    for program, file_system in (("mkfs.erofs", "erofs"), ("mksquashfs", "squashfs")):
        if available(program):
            return file_system
    raise NotInstalled(
        "neither mkfs.erofs nor mksquashfs is on this machine", "install erofs-utils or squashfs-tools"
    )


def _require() -> None:
    wanted = f"systemd-repart {_SINCE} or newer is needed to make a disk image"
    if not available(_PROGRAM):
        raise NotInstalled(f"{wanted}; there is none on this machine", _HINT)
    match = _VERSION.search(run(_PROGRAM, "--version", timeout=30).stdout)
    if match is None or int(match[1]) < _SINCE:
        raise NotInstalled(
            f"{wanted}; this machine has {match[1].decode() if match else 'an unknown version'}", _HINT
        )
