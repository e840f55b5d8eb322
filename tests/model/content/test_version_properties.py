"""Properties of ranges on any list of tags, with packaging's own specifiers as the oracle."""

from __future__ import annotations

from contextlib import suppress
from random import Random  # noqa: TC003 - hypothesis reads annotations

from hypothesis import given
from hypothesis import strategies as st
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from reconciler.model.content.tag import read_tag
from reconciler.model.content.version import parse_range

NUMBER = st.integers(0, 3).map(str)
RELEASE = st.lists(NUMBER, min_size=2, max_size=4).map(".".join)
PRERELEASE = st.sampled_from(["", "", "-rc1", "-alpha.2", "b3", "-dev"])
VERSION = st.builds("".join, st.tuples(RELEASE, PRERELEASE))
TAG = (
    st.builds("".join, st.tuples(st.sampled_from(["", "v"]), VERSION, st.sampled_from(["", "", "-k3s1", "-1"])))
    | NUMBER
    | st.text(max_size=8)
)
TAGS = st.lists(TAG, max_size=12)
COMPARISON = st.one_of(
    st.builds(
        "".join, st.tuples(st.sampled_from([">=", ">", "<=", "<", "==", "!=", "~=", "~", "^", "=", ""]), VERSION)
    ),
    st.builds("{}{}.*".format, st.sampled_from(["", "==", "!="]), RELEASE),
)
RANGE = st.builds(
    ",".join, st.builds(list.__add__, st.lists(COMPARISON, min_size=1, max_size=3), st.sampled_from([[], ["-k3s*"]]))
)
PEP440 = st.one_of(
    st.builds("".join, st.tuples(st.sampled_from([">=", ">", "<=", "<", "==", "!=", "~="]), VERSION)),
    st.builds("{}{}.*".format, st.sampled_from(["==", "!="]), RELEASE),
)


@given(RANGE, TAGS, st.booleans())
def test_the_pick_fits_and_no_tag_that_fits_is_higher(text: str, tags: list[str], prereleases: bool) -> None:  # noqa: FBT001 - drawn
    wanted = parse_range(text, prereleases=prereleases)
    alone = [tag for text in tags if wanted.highest([text]) and (tag := read_tag(text))]
    assert wanted.highest(tags) == max(alone, key=lambda tag: tag.order).text if alone else not wanted.highest(tags)


@given(RANGE, TAGS, st.randoms(use_true_random=False))
def test_the_order_of_the_list_is_of_no_account(text: str, tags: list[str], random: Random) -> None:
    shuffled = sorted(tags * 2, key=lambda _: random.random())
    assert parse_range(text).highest(shuffled) == parse_range(text).highest(tags)


@given(st.lists(PEP440, min_size=1, max_size=3), VERSION)
def test_comparisons_mean_what_they_mean_in_python(comparisons: list[str], version: str) -> None:
    specifiers = SpecifierSet(",".join(comparisons))
    picked = parse_range(",".join(comparisons), prereleases=True).highest([version])
    assert (picked is not None) == specifiers.contains(Version(version), prereleases=True)


@given(st.lists(PEP440, min_size=1, max_size=3), VERSION)
def test_nobody_gets_a_prerelease_unasked(comparisons: list[str], version: str) -> None:
    picked = parse_range(",".join(comparisons)).highest([version])
    asked = [item for item in comparisons if Version(item.lstrip("<>=!~").removesuffix(".*")).is_prerelease]
    assert picked is None or asked or not Version(version).is_prerelease


@given(RANGE, TAGS)
def test_a_miss_is_always_explained(text: str, tags: list[str]) -> None:
    wanted = parse_range(text)
    if wanted.highest(tags) is None:
        assert wanted.miss("NAME", tags).message.startswith("no tag of NAME ")


@given(st.text() | st.text(alphabet="0123456789.,<>=!~^*-vxrc "))
def test_any_text_is_a_range_or_refused_with_a_sentence(text: str) -> None:
    with suppress(ValueError):
        parse_range(text).highest(["1.2.3"])
