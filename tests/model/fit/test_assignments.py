"""Files of assignments as systemd reads them. What decides is held to the real one by the table of distributions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.fit.assignments import read_assignments


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("A=1\nB=2", {"A": "1", "B": "2"}),
        ("A=1\r\nB=2\r\n", {"A": "1", "B": "2"}),
        ("A=1\nA=2\n", {"A": "2"}),
        ("A=1\nA=\n", {"A": ""}),
        ("  A = b c \t\n", {"A": "b c"}),
        ("A=b # c", {"A": "b # c"}),
        ("# A=1\n;A=2\n #A=3", {}),
        ("A=1\n# \\\nB=2", {"A": "1", "B": "2"}),
        ("A='b\\n'", {"A": "b\\n"}),
        ("A='b\nC=1'\nD=2", {"A": "b\nC=1", "D": "2"}),
        ('A="b\\"c\\\\d\\$e\\`f\\ng"', {"A": 'b"c\\d$e`f\\ng'}),
        ('A="b\\\nc"', {"A": "bc"}),
        ("A=b\\\nc", {"A": "bc"}),
        ("A=b\\ ", {"A": "b "}),
        ("A=b\\ \\  ", {"A": "b  "}),
        ("A=\\'b", {"A": "'b"}),
        ("A=b'c d'", {"A": "b'c d'"}),
        ("A='b' 'c'\"d\"e", {"A": "bcde"}),
        ('A="b', {"A": "b"}),
        ("A='b", {"A": "b"}),
        ('A="b\\', {"A": "b"}),
        ("A=b\\", {"A": "b"}),
        ("rubbish\nA=1", {"A": "1"}),
        ("=x\nA=1", {"A": "1"}),
        ("='\nA=1\n'", {"A": "1"}),
        ("==x", {"=": "x"}),
        ("export A=1", {"export A": "1"}),
        ("A=1\nB=\ufffd", {}),
        ("A=1\n# \ufffd", {"A": "1"}),
        ("A=1\n# \0", {}),
    ],
)
def test_read_assignments(text: str, expected: dict[str, str]) -> None:
    assert read_assignments(text) == expected


@given(st.text(alphabet="aK=='\"\\ \t\n\r#;$", max_size=40), st.sampled_from(["a", "B_1"]))
def test_what_is_quoted_comes_back_whatever_surrounds_it(value: str, key: str) -> None:
    """Between lines that are none and others that follow, in both ways of quoting."""
    escaped = "".join(f"\\{character}" if character in '\\"$`' else character for character in value)
    assert read_assignments(f'x\n{key}="{escaped}"\nafter=1') == {key: value, "after": "1"}
    single = value.replace("'", "")
    assert read_assignments(f"# '\n{key}='{single}'\nafter=1") == {key: single, "after": "1"}
