"""Removes secrets from output: logs, and the configuration in force."""

import math
import re
from collections.abc import Mapping

HIDDEN = "***"

# A part of a key's name that makes its value a secret.
_SECRET_KEY = re.compile(
    r"secret|passw|passphrase|token|api_?key|private_?key|credential|authorization|cookie|signature", re.IGNORECASE
)
# user:password@ of a URL, and a bare user@, which is a token as often as a name.
_USERINFO = re.compile(r"(?<=://)[^/?#\s@\"']+@")
# A secret parameter in a URL, a form, a header or a repr.
_PARAMETER = re.compile(
    r"(?i)((?:token|secret|passw(?:or)?d|passphrase|api_?key|signature)[\"']?\s*[=:]\s*[\"']?)[^&\s\"',;}]+"
)
_HEADER = re.compile(r"(?i)\b((?:authorization|cookie)[\"']?\s*[=:]\s*[\"']?(?:(?:bearer|basic)\s+)?)[^\s\"',;}]+")
_DEPTH_MAX = 8  # of nested values; deeper ones are cut off, not searched


def redact_text(text: str) -> str:
    """The text without passwords in URLs, secret parameters and authorization headers."""
    for pattern, instead in ((_USERINFO, HIDDEN + "@"), (_HEADER, r"\1" + HIDDEN), (_PARAMETER, r"\1" + HIDDEN)):
        text = pattern.sub(instead, text)
    return text


def redact(value: object, key: str = "", depth: int = 0) -> object:
    """The value without secrets, in nested mappings and lists too; `key` is its name."""
    if key and _SECRET_KEY.search(key) and value not in (None, "", False):
        return HIDDEN
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # JSON cannot express it
    if value is None or isinstance(value, bool | int | float):
        return value
    if depth >= _DEPTH_MAX:
        return "..."
    if isinstance(value, Mapping):
        return {str(name): redact(inner, str(name), depth + 1) for name, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [redact(inner, "", depth + 1) for inner in value]
    return redact_text(str(value))
