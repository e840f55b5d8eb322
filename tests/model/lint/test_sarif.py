"""SARIF logs: what SARIF 2.1.0 demands of the parts that are used (sections 3.13 to 3.28)."""

from __future__ import annotations

from typing import Any, Final

import jsonschema

from reconciler.model.lint.rule import Finding, lint
from reconciler.model.lint.rules import RULES, UNREADABLE
from reconciler.model.lint.sarif import sarif_log
from tests.model.lint.extensions import extension, file, program

ALL: Final = (UNREADABLE, *RULES)
TEXT: Final = {
    "type": "object",
    "required": ["text"],
    "additionalProperties": False,
    "properties": {"text": {"type": "string", "minLength": 1}},
}
LEVEL: Final = {"enum": ["none", "note", "warning", "error"]}
SCHEMA: Final = {
    "type": "object",
    "required": ["version", "runs"],
    "additionalProperties": False,
    "properties": {
        "$schema": {"type": "string", "format": "uri"},
        "version": {"const": "2.1.0"},
        "runs": {"type": "array", "items": {"$ref": "#/$defs/run"}},
    },
    "$defs": {
        "run": {
            "type": "object",
            "required": ["tool", "results"],
            "additionalProperties": False,
            "properties": {
                "tool": {
                    "type": "object",
                    "required": ["driver"],
                    "properties": {"driver": {"$ref": "#/$defs/driver"}},
                },
                "columnKind": {"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
                "results": {"type": "array", "items": {"$ref": "#/$defs/result"}},
            },
        },
        "driver": {
            "type": "object",
            "required": ["name"],
            "additionalProperties": False,
            "properties": {
                "name": {"type": "string"},
                "version": {"type": "string"},
                "rules": {"type": "array", "uniqueItems": True, "items": {"$ref": "#/$defs/rule"}},
            },
        },
        "rule": {
            "type": "object",
            "required": ["id"],
            "additionalProperties": False,
            "properties": {
                "id": {"type": "string"},
                "shortDescription": TEXT,
                "help": TEXT,
                "defaultConfiguration": {"type": "object", "properties": {"level": LEVEL}},
            },
        },
        "result": {
            "type": "object",
            "required": ["message", "ruleId", "locations"],
            "additionalProperties": False,
            "properties": {
                "ruleId": {"type": "string"},
                "ruleIndex": {"type": "integer", "minimum": 0},
                "level": LEVEL,
                "message": TEXT,
                "locations": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/location"}},
            },
        },
        "location": {
            "type": "object",
            "required": ["physicalLocation"],
            "additionalProperties": False,
            "properties": {
                "physicalLocation": {
                    "type": "object",
                    "required": ["artifactLocation"],
                    "properties": {
                        "artifactLocation": {
                            "type": "object",
                            "required": ["uri"],
                            "properties": {"uri": {"type": "string", "pattern": "^[A-Za-z0-9%/:@._~+-]+$"}},
                        }
                    },
                },
                "logicalLocations": {"type": "array", "items": {"required": ["fullyQualifiedName", "kind"]}},
            },
        },
    },
}
WRONG: Final = extension({"usr/share/a b\N{SNOWMAN}": file(mode=0o666), "usr/bin/x": program(0o4755)}, release=None)


def _log(subject: str, *, is_directory: bool) -> dict[str, Any]:
    directories = frozenset({subject} if is_directory else ())
    findings = {subject: lint(WRONG, RULES), "none": [Finding(UNREADABLE, "there is no such file")], "good": []}
    log = sarif_log(findings, ALL, "0.1.0", directories)
    jsonschema.validate(log, SCHEMA)
    return log


def test_a_log_of_everything() -> None:
    (run,) = _log("dir/", is_directory=True)["runs"]
    driver = run["tool"]["driver"]
    assert [rule["id"] for rule in driver["rules"]] == [rule.id for rule in ALL]
    assert {result["ruleId"] for result in run["results"]} >= {"LL000", "LL001", "LL203", "LL201"}
    for result in run["results"]:
        assert driver["rules"][result["ruleIndex"]]["id"] == result["ruleId"]


def _uris(log: dict[str, Any]) -> dict[str, str]:
    results = log["runs"][0]["results"]
    return {it["ruleId"]: it["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for it in results}


def test_places() -> None:
    """In a directory, the file itself; of an image, the image."""
    assert _uris(_log("dir/", is_directory=True))["LL203"] == "dir/usr/share/a%20b%E2%98%83"
    assert _uris(_log("\udcff.raw", is_directory=False))["LL203"] == "%FF.raw"
    assert _uris(_log("x y.raw", is_directory=False))["LL203"] == "x%20y.raw"
    log = _log("docker://registry.example/x:v1", is_directory=False)
    assert _uris(log)["LL203"] == "docker://registry.example/x:v1"
    (result,) = [it for it in log["runs"][0]["results"] if it["ruleId"] == "LL203"]
    assert result["level"] == "error"
    assert result["locations"][0]["logicalLocations"][0]["fullyQualifiedName"] == "usr/share/a b\N{SNOWMAN}"
    assert result["message"]["text"].startswith("usr/share/a b\N{SNOWMAN}: everybody may write it")
