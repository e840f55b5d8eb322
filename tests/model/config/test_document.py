"""What a configuration may hold, that each value of it is read once, and that every mistake is reported."""

from __future__ import annotations

from collections import Counter

import pytest

from reconciler.errors import InvalidConfiguration
from reconciler.model.config import document
from reconciler.model.config.desired import desired_state, for_host
from reconciler.model.config.healthchecks import Checks
from reconciler.model.config.merge import Fragment
from reconciler.model.content.limits import DEFAULT, Limits
from reconciler.model.content.power import Power
from reconciler.model.content.source import Source, parse_source
from reconciler.model.fit.release import Host

HOST = Host({"ID": "debian", "VERSION_ID": "12"}, "x86_64", 252)


def _mistakes(tree: dict[str, object]) -> list[tuple[str, str | None]]:
    with pytest.raises(InvalidConfiguration) as caught:
        desired_state(Fragment(tree))
    return [(mistake.message, mistake.hint) for mistake in caught.value.mistakes]


def test_checks_in_words() -> None:
    checks = Checks(units=("a.service", "b.socket"), command=("x", "check"), file="/run/x", http="http://localhost/")
    assert checks.words == "a.service, b.socket, x check, /run/x, http://localhost/"
    assert Checks(file="/x").words == "/x"


def test_checks_that_ask_for_nothing_are_none() -> None:
    tree = {"settings": {"checks": {"settle": "1s"}}, "extensions": {"a": {"source": "oci:/x", "checks": {}}}}
    desired = desired_state(Fragment(tree))
    assert (desired.settings.checks, desired.extensions[0].checks) == (None, None)


def test_a_source_is_read_once_and_again_for_a_host_where_it_has_placeholders(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read: Counter[str] = Counter()

    def counting(text: str) -> Source:
        read[text] += 1
        return parse_source(text)

    monkeypatch.setattr(document, "parse_source_or_directory", counting)
    tree = {
        "defaults": {"pull": "always"},
        "extensions": {"a": {"source": "oci:/a"}, "b": {"source": ["oci:/b", "oci:/{ID}"]}},
    }
    for_host(desired_state(Fragment(tree)), HOST)
    assert read == {"oci:/a": 1, "oci:/b": 1, "oci:/1": 1, "oci:/debian": 1}


def test_a_mistake_in_the_defaults_is_reported_once_and_there() -> None:
    tree = {"defaults": {"pull": "often"}, "extensions": {"a": {"source": "oci:/x"}, "b": {"source": "oci:/y"}}}
    (mistake,) = _mistakes(tree)
    assert mistake[0].startswith("defaults.pull: must be 'missing'")
    told = [message for message, _ in _mistakes({**tree, "extensions": {"a": {"min_age": "soon"}, "b": {}}})]
    assert [message.partition(":")[0] for message in told] == ["defaults.pull", "extensions.a.min_age"]


def test_what_keys_forbid_each_other_is_reported_of_every_extension() -> None:
    listed = {
        "a": {"source": "catalog:x", "version": ">1"},
        "b": {},
        "c": {"source": "http://x/c.raw", "version": ">1"},
        "d": {"source": ["oci:/x", "oci:/y"], "digest": f"sha256:{'a' * 64}", "version": ">1", "format": "raw"},
        "e": {"state": "absent"},
        "f": {"source": "docker://x/f"},
    }
    told = [message.partition(": ")[0] for message, _ in _mistakes({"extensions": listed})]
    keys = ["a.source", "b", "c.source", "c.version", "d.digest", "d.version", "d.format"]
    assert told == [f"extensions.{key}" for key in keys]


@pytest.mark.parametrize(
    ("tree", "hint"),
    [
        ({"extension": {}}, "did you mean 'extensions'?"),
        ({"settings": {"prunes": True}}, "did you mean 'prune'?"),
        ({"settings": {"limits": {"setgid": True}}}, "did you mean 'setuid'?"),
        ({"settings": {"preflight": {"label": "warn"}}}, "did you mean 'labels'?"),
        ({"settings": {"retention": {"generation": 3}}}, "did you mean 'generations'?"),
        ({"settings": {"checks": {"unit": []}}}, "did you mean 'units'?"),
        ({"defaults": {"unit": {}}}, "did you mean 'units'?"),
        ({"defaults": {"units": {"zzz": []}}}, "known here: start, restart, reload"),
        ({"extensions": {"units": {"pul": "never"}}}, "did you mean 'pull'?"),
        ({"extensions": {"checks": {"checks": {"comand": []}}}}, "did you mean 'command'?"),
    ],
)
def test_an_unknown_key_leads_to_those_that_are_known_there(tree: dict[str, object], hint: str) -> None:
    assert [it[1] for it in _mistakes(tree)] == [hint]


def test_the_strict_profile_refuses_every_kind_that_is_not_allowed_by_name() -> None:
    assert desired_state(Fragment({})).limits == DEFAULT
    strict = desired_state(Fragment({"settings": {"profile": "strict", "limits": {"dbus": True, "size": "1M"}}}))
    assert strict.limits == Limits(1 << 20, setuid=False, refused=frozenset(Power) - {Power.DBUS})
    assert strict.settings.preflight.host_files == "refuse"
    warned = desired_state(Fragment({"settings": {"profile": "strict", "preflight": {"host_files": "warn"}}}))
    assert warned.settings.preflight.host_files == "warn"


def test_every_power_has_a_key_that_allows_or_refuses_it() -> None:
    for power in Power:
        for is_allowed in (True, False):
            desired = desired_state(Fragment({"settings": {"limits": {str(power): is_allowed}}}))
            assert (power in desired.limits.refused) != is_allowed
