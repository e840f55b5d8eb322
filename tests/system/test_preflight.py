"""What extensions would hide, beside a real host and in a real overlay."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.rig.images import extension

if TYPE_CHECKING:
    from tests.system.bench import Bench

pytestmark = [pytest.mark.system, pytest.mark.commands]


def test_what_hides_the_hosts_is_told_or_kept_out(bench: Bench) -> None:
    tops = (Path("/usr/lib"), Path("/usr/share/perl"), Path("/usr/share/doc"))
    link = next(path for top in tops for path in top.iterdir() if path.is_symlink() and path.is_dir())
    sources = {
        "good": bench.push("good", extension("good", {"usr/bin/good": "", "usr/bin/tool": "echo good"}), name="good"),
        "hides": bench.push("hides", extension("hides", {"usr/bin/env": ""}), name="hides"),
        "over": bench.push("over", extension("over", {f"{str(link)[1:]}/x": ""}), name="over"),
        "zoo": bench.push("zoo", extension("zoo", {"usr/bin/tool": "echo zoo"}), name="zoo"),
    }
    listed = "".join(f"  {name}: {{source: '{source}'}}\n" for name, source in sources.items())
    bench.configure(f"settings: {{preflight: {{host_files: refuse}}}}\nextensions:\n{listed}")
    told = bench.livelayer("apply", status=1).stderr
    assert "hides: hides /usr/bin/env of this host" in told
    assert f"over: {link} is a directory in it and a symbolic link on this host" in told
    assert "zoo: hides /usr/bin/tool of good" in told
    assert bench.merged() == ["good", "zoo"]
    assert "this host" in bench.status()["hides"]["reason"]
    assert os.readlink(link)
    found = json.loads(bench.livelayer("provides", "/bin/tool", "--json").stdout)
    assert found["path"] == "/usr/bin/tool"
    assert [(it["name"], it["seen"]) for it in found["extensions"]] == [("zoo", True), ("good", False)]
    assert found["host"] is False
    assert "hidden by zoo: /usr/bin/tool" in bench.livelayer("explain", "good").stdout
    (explained,) = json.loads(bench.livelayer("explain", "zoo", "--json").stdout)["extensions"]
    assert explained["hides"] == [{"extension": "good", "paths": ["/usr/bin/tool"]}]
    assert bench.livelayer("provides", "/usr/bin/env").stdout == "this host: is seen\n"
    assert bench.livelayer("provides", "/usr/bin/none", status=1).stdout == "nothing has /usr/bin/none\n"
    assert bench.livelayer("provides", "/usr/bin/tool").stdout == "zoo: is seen\ngood: hidden by zoo\n"
