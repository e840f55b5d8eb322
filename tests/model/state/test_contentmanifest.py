"""What is told of a tree that is not as it was."""

from __future__ import annotations

import stat

import pytest

from reconciler.model.state.contentmanifest import UNREADABLE, Difference, Item, Manifest, summary

DIRECTORY = Item(stat.S_IFDIR | 0o755, 0, 0)
FILE = Item(stat.S_IFREG | 0o644, 0, 0, 3, "aa")
LINK = Item(stat.S_IFLNK | 0o777, 0, 0, 0, "target")
TREE = {"": DIRECTORY, "usr": DIRECTORY, "usr/file": FILE, "usr/link": LINK}


def _told(now: dict[str, Item | None], was: dict[str, Item] = TREE) -> list[str]:
    found = {path: item for path, item in (was | now).items() if item}
    return [str(it) for it in Manifest(was).differences(found)]


@pytest.mark.parametrize(
    ("now", "told"),
    [
        ({"usr/file": FILE._replace(content="bb")}, "/usr/file has another content"),
        ({"usr/file": FILE._replace(size=4, content="")}, "/usr/file has another content"),
        ({"usr/file": FILE._replace(content=UNREADABLE)}, "/usr/file cannot be read"),
        ({"usr/file": FILE._replace(mode=stat.S_IFREG | 0o4755)}, "/usr/file has the mode 4755, not 0644"),
        ({"usr/file": FILE._replace(uid=1, gid=2)}, "/usr/file belongs to 1:2, not to 0:0"),
        ({"usr/file": FILE._replace(xattrs=(("user.a", "00"),))}, "/usr/file has other extended attributes"),
        ({"usr/file": LINK}, "/usr/file is a symbolic link, not a file"),
        ({"usr/file": None}, "/usr/file is gone"),
        ({"usr/link": LINK._replace(content="else")}, "/usr/link leads to else, not to target"),
        ({"usr/new": FILE}, "/usr/new was added"),
        ({"usr/a\nb": FILE}, "/usr/a\\nb was added"),
        ({"": DIRECTORY._replace(mode=stat.S_IFDIR | 0o700)}, "/ has the mode 0700, not 0755"),
    ],
)
def test_each_change_has_its_words(now: dict[str, Item | None], told: str) -> None:
    assert _told(now) == [told]


def test_a_file_whose_content_was_not_read_counts_as_it_was() -> None:
    assert _told({"usr/file": FILE._replace(content="")}) == []


def test_of_a_directory_that_came_or_went_not_all_is_told() -> None:
    gone: dict[str, Item | None] = {"usr": None, "usr/file": None, "usr/link": None}
    assert _told(gone) == ["/usr is gone"]
    came: dict[str, Item | None] = {"usr/new": DIRECTORY, "usr/new/er": DIRECTORY, "usr/new/er/file": FILE}
    assert _told(came) == ["/usr/new was added"]
    turned: dict[str, Item | None] = {"usr": LINK, "usr/file": None, "usr/link": None}
    assert _told(turned) == ["/usr is a symbolic link, not a directory", "/usr/file is gone", "/usr/link is gone"]


def test_an_image_file_has_no_path() -> None:
    image = Manifest({"": FILE})
    (found,) = image.differences({"": FILE._replace(content="bb")})
    assert (found.path, str(found)) == (None, "the image file has another content")
    assert (image.files, image.bytes) == (1, 3)
    assert (Manifest(TREE).files, Manifest(TREE).bytes) == (1, 3)


def test_the_first_few_make_a_sentence() -> None:
    found = [Difference(f"/{letter}", "is gone") for letter in "abcde"]
    assert summary(found[:1]) == "/a is gone"
    assert summary(found[:3]) == "/a is gone, /b is gone, /c is gone"
    assert summary(found) == "/a is gone, /b is gone, /c is gone and 2 more"
