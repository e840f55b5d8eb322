"""Miniature nodes whose store has content already, so that runs need no skopeo."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from reconciler.host.records.prefetched import read_prefetched, write_prefetched
from reconciler.loop import reconcile
from reconciler.loop.session import Options
from reconciler.model.content.ociread import platform_of
from reconciler.model.state.entry import Entry

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.loop.reconcile import Result
    from reconciler.paths import Paths


def entry(letter: str) -> Entry:
    """An entry of the store with an easy digest."""
    return Entry(f"sha256:{letter * 64}")


def configure(paths: Paths, text: str) -> Path:
    """Write the main file."""
    main = paths.main_files[0]
    main.write_text(text)
    return main


def converge(paths: Paths, **options: object) -> Result:
    """One run, with those of `Options` that differ."""
    return reconcile.converge(paths, Options(**options), "test")  # type: ignore[arg-type]  # a test names the right ones


def fill_store(paths: Paths, source: str, name: str, letter: str, release: str = "ID=_any\n") -> Entry:
    """Content for an extension, as if it had been fetched from a `docker://` source, for a later boot."""
    release_file = paths.store / entry(letter).file_name / f"usr/lib/extension-release.d/extension-release.{name}"
    release_file.parent.mkdir(parents=True, exist_ok=True)
    release_file.write_text(release)
    records = json.loads(paths.resolutions.read_text()) if paths.resolutions.exists() else {}
    records[f"{source} {platform_of(os.uname().machine)}"] = [
        entry(letter).digest,
        entry(letter).digest,
        "layers",
        None,
        None,
    ]
    paths.resolutions.write_text(json.dumps(records))
    write_prefetched(paths, read_prefetched(paths) | {entry(letter)})
    return entry(letter)
