"""The page as one self-contained document, with a policy that lets the browser load and send nothing else."""

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from msgspec import Struct

_FOLDER = Path(__file__).parent
_STYLES = ("vendor/uPlot.min.css", "page.css")
_LIBRARY = "vendor/uPlot.iife.min.js"
_SCRIPTS = ("text.js", "charts.js", "lanes.js", "tables.js", "page.js")


class Page(Struct, frozen=True):
    """An HTML document and its Content-Security-Policy."""

    html: bytes
    policy: str


@cache
def page() -> Page:
    """Put together at its first use. Style and script are named in the policy by their hashes."""
    style = _joined(_STYLES)
    script = f"{_joined([_LIBRARY])}\n(() => {{\n'use strict';\n{_joined(_SCRIPTS)}\n}})();\n"
    assert "</style" not in style and "</script" not in script
    html = _joined(["page.html"]).replace("/*STYLE*/", style).replace("/*SCRIPT*/", script)
    policy = "; ".join(
        (
            "default-src 'none'",
            f"style-src '{_hash(style)}'",
            f"script-src '{_hash(script)}'",
            "connect-src 'self'",
            "img-src data:",  # the icon
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )
    return Page(html.encode(), policy)


def _joined(names: Sequence[str]) -> str:
    return "\n".join((_FOLDER / name).read_text("utf-8") for name in names)


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
