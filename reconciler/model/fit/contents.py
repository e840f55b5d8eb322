"""What decides whether an extension may be merged on a host, read from its content."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from reconciler.dataclass import dataclass
from reconciler.errors import Invalid
from reconciler.model.fit.release import LAX_SINCE, Host, misfit
from reconciler.model.images.imagepolicy import needs_device_mapper, refusal

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from reconciler.model.images.imageformat import ImageFormat
    from reconciler.model.images.imagepolicy import ImagePolicy
    from reconciler.model.kind import ExtensionId


_REBUILD: Final = "build the image FROM scratch with the extension's own files only"


# What images are kept in, by what lies at its top; the first that is there.
_KEPT_IN: Final = {
    "oci-layout": "it is a layout of images: write source: oci:PATH, or oci-archive:PATH if PATH is a tar archive",
    "repositories": "it holds images as docker save writes them: write source: docker-archive:PATH",
    "manifest.json": "if it holds an image: write source: dir:PATH, or docker-archive:PATH if PATH is a tar archive",
    "etc": f"if it is a configuration extension: kind: confext; else {_REBUILD}",
}


def _instead(misplaced: Collection[str]) -> str:
    return next((hint for name, hint in _KEPT_IN.items() if name in misplaced), _REBUILD)


@dataclass(frozen=True, slots=True)
class Contents:
    """What is inside an extension, as far as it decides whether it may be merged."""

    releases: Mapping[str, Mapping[str, str]]  # the extension-release files, by the name they are for
    misplaced: tuple[str, ...] = ()  # what its kind may not carry at the top, empty directories aside
    has_os_release: bool = False  # usr/lib/os-release, with which systemd refuses every extension
    units: tuple[str, ...] = ()  # names in its kind's directory of units: unit files and directories of drop-ins
    image: ImageFormat | None = None  # what the image file is; None: a directory
    kernels: tuple[str, ...] = ()  # releases of the kernels that it has modules for
    lax: tuple[str, ...] = ()  # the names of release files that are for an extension of any name
    links: tuple[str, ...] = ()  # those of what is misplaced that are hierarchies' names, but symbolic links

    def misfit(self, ident: ExtensionId, host: Host) -> Invalid | None:
        """Why this content must not be placed as `ident` on this host; None: it may."""
        of_image = image_error(ident, self.image, host) if self.image else None
        shape = self.shape_error(ident, frozenset(it.split("/")[1] for it in host.hierarchies_of(ident.kind)))
        return of_image or shape or self._release_error(ident, host)

    def shape_error(self, ident: ExtensionId, tops: frozenset[str] = frozenset()) -> Invalid | None:
        """What it has that makes it no extension of its kind; None: nothing. The `tops` are taken by a host, too."""
        if self.has_os_release:
            reason = "usr/lib/os-release, which would make systemd refuse every extension"
            return _invalid(ident, "content.os-release", f"the content holds {reason}", _REBUILD)
        if self.links:
            reason = f"the content's /{self.links[0]} is a symbolic link, and only a directory is merged"
            return _invalid(ident, "content.misplaced", reason, "put the files into a directory of that name")
        taken = tops - ident.kind.traits.tops  # its own tops are misplaced only where they are no directories
        if misplaced := [name for name in self.misplaced if name not in taken]:
            listed = ", ".join(f"/{name}" for name in misplaced[:3])
            return _invalid(
                ident, "content.misplaced", f"the content holds {listed}; {ident.kind.carries}", _instead(misplaced)
            )
        return None

    def release_of(self, name: str, systemd: int) -> Mapping[str, str] | None:
        """The release file that systemd takes for an extension of this name; None: no single one is for it."""
        if name in self.releases:
            return self.releases[name]
        return self.releases[self.lax[0]] if len(self.lax) == 1 and systemd >= LAX_SINCE else None

    def _release_error(self, ident: ExtensionId, host: Host) -> Invalid | None:
        release = self.release_of(ident.name, host.systemd)
        if release is None:
            return self._release_name_error(ident)
        if found := misfit(release, host, ident.kind):
            return _invalid(ident, "release.mismatch", f"does not fit this host: {found.reason}", found.hint)
        return None

    def _release_name_error(self, ident: ExtensionId) -> Invalid:
        name, kind = ident
        others = sorted(self.releases)
        if len(others) == 1:
            return _invalid(
                ident,
                "release.name",
                f"the content's release file is extension-release.{others[0]}, not extension-release.{name}",
                f"call the extension {others[0]}{'' if self.image else ', or set rename: true'}",
            )
        found = f"several release files ({', '.join(others)})" if others else "no release file"
        return _invalid(
            ident,
            "release.missing",
            f"the content has {found}, none for this name",
            f"add {kind.traits.releases}/extension-release.{name} to the image (at least ID=_any)",
        )


def image_error(ident: ExtensionId, image: ImageFormat, host: Host) -> Invalid | None:
    """Why systemd would not attach an image file on this host; it would fail the refresh of all extensions."""
    if host.systemd < image.least_systemd:
        reason = f"the image takes systemd {image.least_systemd}, and this host has {host.systemd}"
        return _invalid(ident, "image.systemd-too-old", reason, "use an image with sectors of 512 bytes")
    policy = host.image_policies.get(ident.kind)
    if policy and (error := _policy_error(ident, image, policy, host)):
        return error
    return loop_error(ident, host)


def loop_error(ident: ExtensionId, host: Host) -> Invalid | None:
    """Why no image file whatsoever could be attached on this host."""
    if host.has_loop_devices:
        return None
    reason = "this node has no loop devices, by which systemd attaches image files"
    return _invalid(ident, "host.no-loop-devices", reason, "load the module loop, or set format: directory")


def _policy_error(ident: ExtensionId, image: ImageFormat, policy: ImagePolicy, host: Host) -> Invalid | None:
    if reason := refusal(policy, image):
        return _invalid(ident, "image.policy", reason, "use another format:, or change the policy")
    if not host.has_device_mapper and needs_device_mapper(policy, image):
        reason = "the image policy lets systemd use the image's dm-verity data, and this kernel has no device-mapper"
        hint = "load the modules dm-mod and dm-verity, or use another format:"
        return _invalid(ident, "host.no-device-mapper", reason, hint)
    return None


def _invalid(ident: ExtensionId, code: str, reason: str, hint: str) -> Invalid:
    return Invalid(reason, hint, code=code, extension=ident.name)
