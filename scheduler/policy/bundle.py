"""A policy as one body of bytes: how it is kept with its digest, and sent from one program to another."""

import tomllib
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import orjson

from scheduler.canonical import canonical
from scheduler.policy.rules import FORMAT, Policy
from scheduler.policy.source import MAX_FILE_BYTES, Node

_FILES: Final = "files"
_OLD_FORMAT: Final = 1
_NAME: Final = "policy"


def pack(files: Mapping[str, str]) -> bytes:
    """The files of a policy, by name, as canonical JSON; refuses what `Policy.load` refuses."""
    try:
        body = canonical({_FILES: dict(files)})
    except ValueError as exc:
        Node(None, _NAME, 1).refuse(f"cannot be kept: {exc}")
    open_policy(body)
    return body


def unpack(body: bytes) -> dict[str, str]:
    """The files of a policy that was kept, by name; one of the former format is one file in today's."""
    if len(body) > MAX_FILE_BYTES:
        Node(None, _NAME, 1).refuse(f"larger than {MAX_FILE_BYTES} bytes")
    if not body.startswith(b"{"):
        return {"policy.yaml": _translate(body)}
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        Node(None, _NAME, 1).refuse(f"not the files of a policy: {exc}")
    files = found.get(_FILES)
    if not isinstance(files, dict) or not all(isinstance(text, str) for text in files.values()):
        Node(None, _NAME, 1).refuse("not the files of a policy")
    return files


@lru_cache(maxsize=8)
def open_policy(body: bytes) -> Policy:
    """Compile a kept policy; once for all posts that it judges."""
    return Policy.load(unpack(body))


def _translate(body: bytes) -> str:
    """A policy of format 1, one TOML file of blocked and required terms, in today's words (JSON is YAML)."""
    try:
        content = tomllib.loads(body.decode())
        lists: dict[str, Any] = {}
        rules = [
            _translate_rule(rule, f"rule_{i}", lists) for i, rule in enumerate(content["rules"])
        ]
        version = str(content["version"])
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        Node(None, _NAME, 1).refuse(f"neither of this format nor of format {_OLD_FORMAT}: {exc}")
    return orjson.dumps(
        {"format": FORMAT, "version": version, "lists": lists, "rules": rules},
        option=orjson.OPT_INDENT_2,
    ).decode()


def _translate_rule(rule: Mapping[str, Any], name: str, lists: dict[str, Any]) -> dict[str, Any]:
    scopes = rule.get("languages", ["any"])
    lists[name] = {
        key: dict.fromkeys(scopes, rule[key])
        for key in ("terms", "patterns", "exceptions")
        if rule.get(key)
    }
    has: dict[str, Any] = {"text": {"has": [f"${name}"]}}
    is_required = rule["kind"] == "required_term"
    when = {"not": {"text": {"has": [f"${name}"], "in": ["body"]}}} if is_required else has
    if "classes" in rule:
        when = {"class": list(rule["classes"]), **when}
    return {
        "id": rule["id"],
        "title": rule["message"],
        "effect": rule["effect"],
        "when": when,
        "message": rule["message"],
        **({"fix": rule["fix"]} if rule.get("fix") else {}),
    }
