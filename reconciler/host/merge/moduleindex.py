"""Makes the indexes of kernel modules of several extensions, before these are merged.

depmod(8) works on a trial overlay of the host's modules and those of the extensions, in a mount namespace that ends
with it. What it writes is the overlay's upper directory then: the content of an extension to lie above all others.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final

from reconciler.errors import Failed
from reconciler.host.base.command import check, run, script
from reconciler.host.base.walk import walk
from reconciler.host.images.inspect import identify
from reconciler.host.merge.kernelmodules import covering_overlays
from reconciler.host.node import selinux
from reconciler.host.store import entries as store
from reconciler.model.fit.kernelmodules import MODULES
from reconciler.model.images.imageformat import Top
from reconciler.model.kind import RELEASE_PREFIX, Kind
from reconciler.model.state.entry import Entry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from reconciler.model.plan.action import Generate, Layer
    from reconciler.paths import Paths

_TIMEOUT: Final = 600.0  # seconds; all modules of a distribution's kernel take some
_WORDS: Final = 1 << 16  # bytes
_TREE: Final = "-"  # in the place of a file system: a directory
_INSIDE: Final = {Top.ROOT: MODULES.replace("/", " "), Top.USR: MODULES.partition("/")[2].replace("/", " ")}
_PROGRAMS: Final = ("mount", "umount", "mkdir", "losetup", "cp", "ln", "depmod")
# depmod looks into lib/modules or, as some distributions build it, into usr/lib/modules. What the kernel has built
# in, and the order of modules, is the host's word, whatever extensions bring along.
_DEPMOD: Final = """
set -e
umask 022
stage=$1 kernel=$2; shift 2
while [ "$1" != -- ]; do umount --lazy "$1"; shift; done; shift
mount -t tmpfs -o mode=0755 tmpfs "$stage/trial"
cd "$stage/trial"
mkdir empty upper work
layers=empty count=0
add() {
    place=$1
    for part in $2 "$kernel"; do
        place=$place/$part
        [ -d "$place" ] && [ ! -L "$place" ] || return 0
    done
    count=$((count + 1))
    mkdir $count
    mount --bind "$place" $count
    layers=$count:$layers
}
attach() {
    device=$(losetup --find --show --read-only --offset "$3" --sizelimit "$4" "$2")
    [ "$1" = ext4 ] && options=ro,noload || options=ro
    status=0
    mkdir "$5"
    mount -t "$1" -o $options "$device" "$5" || status=$?
    losetup --detach "$device"
    return $status
}
add '' "$1"; shift
if [ $count = 1 ]; then
    for list in modules.order modules.builtin modules.builtin.modinfo; do
        [ ! -f 1/$list ] || cp 1/$list upper/
    done
fi
number=0
while [ $# != 0 ]; do
    if [ "$1" = - ]; then
        add "$2" "$5"
    else
        number=$((number + 1))
        attach "$1" "$2" "$3" "$4" image-$number
        add "$PWD/image-$number" "$5"
    fi
    shift 5
done
mkdir -p "base/usr/lib/modules/$kernel"
ln -s usr/lib base/lib
mount -t overlay -o "lowerdir=$layers,upperdir=upper,workdir=work" overlay "base/usr/lib/modules/$kernel"
depmod -b "$PWD/base" "$kernel"
cp -R upper/. "$stage/tree/usr/lib/modules/$kernel/"
"""


def make(paths: Paths, action: Generate) -> None:
    """Make an entry of the store of them; one that is there stays, unless it was changed."""
    if not action.changed and action.entry in store.read_contents(paths, [action.entry]):
        return
    with store.stage(paths) as stage:
        tree = stage / "tree"
        _fill(paths, tree, stage, action)
        selinux.label(tree, paths)
        store.commit(paths, tree, action.entry, replace=True)


def _fill(paths: Paths, tree: Path, stage: Path, action: Generate) -> None:
    store.new_tree(tree)
    index, releases = tree / MODULES / action.kernel, tree / Kind.SYSEXT.traits.releases
    for directory in (stage / "trial", index, releases):
        directory.mkdir(parents=True)
    (releases / f"{RELEASE_PREFIX}{action.ident.name}").write_text("ID=_any\n")
    layers = [argument for layer in action.layers for argument in _arguments(paths, layer)]
    arguments = (str(stage), action.kernel, *covering_overlays(), "--", _INSIDE[Top.ROOT], *layers)
    command = ("unshare", "--mount", "--propagation=private", *script(_DEPMOD, *_PROGRAMS), "depmod", *arguments)
    doing = f"making the indexes of kernel modules for {action.kernel}"
    check(run(*command, timeout=_TIMEOUT, most=_WORDS), doing)
    if not any(index.glob("modules.dep*")):
        raise Failed(f"{doing} failed: depmod has made no modules.dep", "try it: depmod --dry-run")
    for path, status in walk(os.fsencode(tree)):  # whatever the umask: everybody may ask modprobe
        os.chmod(path, 0o755 if stat.S_ISDIR(status.st_mode) else 0o644)  # noqa: PTH101 - bytes


def _arguments(paths: Paths, layer: Layer) -> Iterator[str]:
    """A layer for the script: its file system, its place, the file system's place in that, and where modules are."""
    content = layer.content
    place = paths.store / content.file_name if isinstance(content, Entry) else content
    if place.is_dir():
        yield from (_TREE, str(place.resolve()), "0", "0", _INSIDE[Top.ROOT])
        return
    volumes = {it.top: it for it in identify(place).volumes}
    top = Top.USR if Top.USR in volumes else Top.ROOT
    volume = volumes[top]
    yield from (str(volume.file_system), str(place.resolve()), str(volume.offset), str(volume.size), _INSIDE[top])
