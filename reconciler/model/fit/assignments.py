"""Files of assignments (os-release(5), extension-release files), read character for character as systemd reads them.

The syntax is systemd's own, not a shell's: there are no comments after a value, what is quoted may go on over several
lines, a backslash keeps the quoting rules of where it stands, and an unclosed quote goes to the end of the file.
Source of the rules: `parse_env_file_internal()`. (Before 254 a comment that ends in a backslash took the next line
with it; that is not imitated.)
"""

from __future__ import annotations

import re
from typing import Final

_BLANKS: Final = " \t"
_LINE: Final = re.compile(
    r"""[ \t\n\r]*(?:
        [#;][^\n\r]*
        | (?P<key>[^\n\r=]+|=[^\n\r=]*)=
          (?P<quoted>(?:[ \t]|'[^']*(?:'|\Z)|"(?:\\.|[^"\\])*(?:"|\\?\Z))*)
          (?P<plain>(?:\\.|[^\n\r\\])*\\?)
        | [^\n\r]*
    )""",
    re.VERBOSE | re.DOTALL,
)
_QUOTED: Final = re.compile(r"""'(?P<single>[^']*)'?|"(?P<double>(?:\\.|[^"\\])*)"?|[ \t]""", re.DOTALL)
_IN_DOUBLE: Final = re.compile(r"\\(?:([\"\\`$])|\n)")
_ESCAPED: Final = re.compile(r"\\(.|\Z)", re.DOTALL)
_UNREADABLE: Final = {"\0", "\ufffd"}  # what systemd takes for no text at all; the second is what is no UTF-8


def read_assignments(text: str) -> dict[str, str]:
    """The assignments of a file that was decoded with `errors="replace"`; the last one to a name counts.

    None at all if one is no text: systemd does not read such a file either.
    """
    found: dict[str, str] = {}
    for match in _LINE.finditer(text):
        if match["key"]:
            found[match["key"].rstrip(_BLANKS)] = _quoted(match["quoted"]) + _plain(match["plain"])
    whole = "".join(f"{key}{value}" for key, value in found.items())
    return {} if "\0" in text or _UNREADABLE & set(whole) else found


def _quoted(text: str) -> str:
    """Quoted parts, one after the other; blanks between them do not count."""
    return "".join(
        match["single"] if match["single"] is not None else _IN_DOUBLE.sub(r"\1", match["double"] or "")
        for match in _QUOTED.finditer(text)
    )


def _plain(text: str) -> str:
    """What is not quoted, without the blanks at its end; of an escaped line break nothing is left."""
    *before, last = _ESCAPED.split(text)
    return "".join(part for part in before if part not in {"\n", "\r"}) + last.rstrip(_BLANKS)
