"""skopeo(1): look at and copy container images, from wherever its users can.

Mirrors (registries.conf), signature policy (policy.json), credentials (auth.json) and proxies are skopeo's own and
work as its users expect.
"""

from __future__ import annotations

import json
import os
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from reconciler.dataclass import dataclass
from reconciler.errors import Invalid, Unavailable
from reconciler.host.base.bounded import read_bounded
from reconciler.host.base.command import Finished, run
from reconciler.host.base.ownership import refuse_foreign_hands
from reconciler.host.base.way import MACHINE
from reconciler.host.registry.archivenames import with_names
from reconciler.host.registry.attempts import LOOK_UP, persevere
from reconciler.host.registry.blobcache import drop_if_damaged
from reconciler.host.registry.plainfiles import refuse_special_files
from reconciler.host.registry.stall import StallWatch
from reconciler.model.content.limits import TRANSFERS, size_text
from reconciler.model.content.ociread import digest_of
from reconciler.model.content.ociwrite import REF_NAME
from reconciler.model.content.skopeofailure import (
    NOT_A_REGISTRY,
    crash,
    understand,
    understand_death,
    understand_stall,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.model.content.ociread import Platform

_INSPECT_TIMEOUT: Final = 120.0  # seconds
_TAG: Final = "image"
_ANSWER_MAX: Final = 16 << 20  # bytes of a manifest, for which registries take 4 MiB, or a list of tags
_TO_ASK: Final = 384 << 20  # bytes of memory, of which skopeo takes 100 MiB whatever it does
_TO_COPY: Final = 1 << 30


@dataclass(frozen=True, slots=True)
class Skopeo:
    """How skopeo is to be called on this node."""

    auth_file: Path | None = None  # livelayer's own credentials; None: where skopeo looks itself
    stall: float = 60.0  # seconds to wait for a registry's answer, or its next byte
    rate: int = TRANSFERS.min_rate  # bytes in a second, without which a transfer stalls
    timeout: float = TRANSFERS.timeout  # seconds for all of a transfer
    root: Path = MACHINE  # of the node that the file is on

    def raw_manifest(self, argument: str) -> bytes:
        """The manifest or index a source leads to, byte for byte as its digest covers it."""
        options = ("--raw", *self.credentials("--authfile"), argument)
        content = self._ask(argument, "inspect", *options)
        _check_layout(argument, content)
        _check_answer(argument, content)
        return content

    def list_tags(self, repository: str) -> tuple[str, ...]:
        """The tags of a registry's repository, `docker://HOST/NAME`, in no particular order."""
        if not repository.startswith("docker://"):
            raise Invalid(f"{repository}: only a registry has a list of tags", "name the version in source:")
        options = self.credentials("--authfile")
        return _tags(self._ask(repository, "list-tags", *options, repository), repository)

    def copy(self, argument: str, platform: Platform, layout: Path, blobs: Path) -> None:
        """Copy one platform's image into a new OCI layout; what `blobs` has already is not fetched again."""
        self._run(
            argument,
            *_override(platform),
            "copy",
            "--quiet",
            # They are checked against the policy at the source; an OCI layout has no place to keep them.
            "--remove-signatures",
            f"--dest-shared-blob-dir={blobs}",
            *self.credentials("--src-authfile"),
            argument,
            f"oci:{layout}:{_TAG}",
            timeout=self.timeout,
            memory=_TO_COPY,
            layout=layout,
        )

    def fetch_layers(self, argument: str, digests: Iterable[str], scratch: Path) -> list[Path]:
        """Fetch layers that `copy` leaves out, into `scratch`; their files are called as their digests are.

        Those are layers that are said to lie elsewhere (`urls`). skopeo calls this way deprecated, and has no other.
        """
        directory = Path(tempfile.mkdtemp(dir=scratch))
        options = self.credentials("--authfile")
        words = ("layers", *options, argument, *digests)
        self._run(argument, *words, timeout=self.timeout, memory=_TO_COPY, layout=directory, directory=directory)
        return [path for path in directory.glob("layers-*/*") if path.is_file()]

    def _ask(self, source: str, *arguments: str) -> bytes:
        """What it prints, which is to be bounded: a server may say as much as it likes."""
        run_once = partial(self._run, source, *arguments, timeout=_INSPECT_TIMEOUT, memory=_TO_ASK)
        finished = persevere(run_once, LOOK_UP) if source.startswith("docker://") else run_once()
        if not finished.complete:
            told = f"{source}: what answers there says more than {size_text(_ANSWER_MAX)}"
            raise Invalid(told, "look at what answers there", code="limit.exceeded")
        return finished.stdout

    def _run(
        self,
        source: str,
        *arguments: str,
        timeout: float,
        memory: int,
        layout: Path | None = None,
        directory: Path | None = None,
    ) -> Finished:
        """Run it to a good end. Only when it debugs does it tell for how long a registry wants to be left alone."""
        is_remote = source.startswith("docker://")
        if not is_remote:
            refuse_special_files(source)
        watch = StallWatch(self.stall, layout, self.rate) if is_remote else None
        try:
            finished = run(
                *("skopeo", "--debug", *arguments),
                timeout=timeout,
                env={"GOMEMLIMIT": str(memory // 2)},  # from where on it tidies up more often
                most=_ANSWER_MAX,
                watch=watch,
                memory=memory,
                directory=directory,
            )
        except Unavailable as error:
            raise Unavailable(f"{source}: {error.message}", error.hint, code=error.code) from error
        if finished.status == 0:
            return finished
        if watch and watch.is_reached:
            raise understand_stall(finished.stderr, source, self.stall)
        if finished.status < 0 or crash(finished.stderr):
            drop_if_damaged(finished.stderr)
            raise understand_death(-finished.status, finished.stderr, source, memory)
        failure = understand(finished.stderr, source)
        raise failure if is_remote else with_names(failure, source)

    def credentials(self, option: str) -> tuple[str, ...]:
        """An administrator's REGISTRY_AUTH_FILE goes before livelayer's file, which others than root cannot read."""
        if self.auth_file is None or "REGISTRY_AUTH_FILE" in os.environ or not os.access(self.auth_file, os.R_OK):
            return ()
        refuse_foreign_hands(self.auth_file, self.root)
        return (f"{option}={self.auth_file}",)


def _tags(answer: bytes, repository: str) -> tuple[str, ...]:
    """A repository of which all images were deleted may have null for its tags."""
    try:
        listed = json.loads(answer)
    except ValueError:
        listed = None
    match listed:
        case {"Tags": None}:
            return ()
        case {"Tags": [*tags]} if all(isinstance(tag, str) for tag in tags):
            return tuple(tags)
        case _:
            raise Unavailable(
                f"{repository}: skopeo lists no tags",
                f"run it by hand: skopeo list-tags {repository}",
                code="registry.failed",
            )


def _check_answer(argument: str, content: bytes) -> None:
    """Take from a registry only a manifest, and by a digest only that: skopeo looks at it when it copies."""
    if not argument.startswith("docker://"):
        return
    _, named, digest = argument.partition("@sha256:")
    found = digest_of(content)
    if named and found != f"sha256:{digest}":
        told = f"{argument}: the registry's answer has another digest, {found}"
        raise Unavailable(
            told,
            "a later run tries again; if this repeats, look for a proxy that changes it",
            code="registry.not-a-registry",
        )
    try:
        json.loads(content)
    except ValueError as error:
        told = f"{argument}: what answers there sends no manifest, or half of one"
        raise Unavailable(told, NOT_A_REGISTRY, code="registry.not-a-registry") from error
    except RecursionError:
        return  # it is judged where it is parsed


def _check_layout(argument: str, content: bytes) -> None:
    """Compare a manifest in an OCI layout with the digest in the layout's index, which skopeo does not do."""
    transport, _, reference = argument.partition(":")
    if transport != "oci":
        return
    directory, _, tag = reference.partition(":")
    expected = _manifests_in(Path(directory, "index.json"), tag)
    found = digest_of(content)
    if expected and found not in expected:
        raise Invalid(
            f"{argument}: the manifest's content has the digest {found}, the layout's index says {expected[0]}",
            "copy the image into the layout again",
            code="digest.mismatch",
        )


def _manifests_in(index: Path, tag: str) -> list[str]:
    """The digests that a layout's index has under a tag; without a tag, all."""
    try:
        entries = json.loads(read_bounded(index, _ANSWER_MAX))["manifests"]
        return [it["digest"] for it in entries if not tag or (it.get("annotations") or {}).get(REF_NAME) == tag]
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RecursionError,
    ):  # not as skopeo has just read it
        return []


def _override(platform: Platform) -> tuple[str, ...]:
    variant = (f"--override-variant={platform.variant}",) if platform.variant else ()
    return (f"--override-os={platform.os}", f"--override-arch={platform.architecture}", *variant)
