"""The dashboard's document: self-contained, allowed to load nothing else, with the library as it was published."""

import base64
import hashlib
import re
from pathlib import Path

from ops.monitoring.dashboard.page import page
from tests.harness.paths import ROOT

FOLDER = ROOT / "ops" / "monitoring" / "dashboard"


def test_the_policy_allows_this_style_and_this_script_and_nothing_else() -> None:
    document = page()
    policy = dict(part.split(" ", 1) for part in document.policy.split("; "))
    for directive, tag in (("style-src", "style"), ("script-src", "script")):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", document.html.decode(), re.S)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert policy.pop(directive) == f"'sha256-{digest}'"
    assert policy.pop("connect-src") == "'self'" and policy.pop("img-src") == "data:"
    assert policy.keys() == {"default-src", "base-uri", "form-action", "frame-ancestors"}
    assert set(policy.values()) == {"'none'"}


def test_the_document_names_no_other_file_and_no_other_address() -> None:
    html = page().html.decode()
    assert "/*STYLE*/" not in html and "/*SCRIPT*/" not in html
    addresses = set(re.findall(r"https?://[\w./-]+", html))
    assert addresses == {
        "https://github.com/leeoniya/uPlot",
        "http://www.w3.org/2000/svg",
    }  # a comment, a namespace
    assert set(re.findall(r"""(?:src|href)=["']([^"']+)""", html)) <= {"data:,", "#main", "#s-starting"}
    assert "@import" not in html and "url(" not in html


def test_the_page_needs_no_inline_handlers_and_writes_no_markup() -> None:
    own = "".join(path.read_text() for path in (*FOLDER.glob("*.js"), FOLDER / "page.html"))
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\son\w+=|eval\(|style=", own)


def test_the_vendored_library_is_as_published() -> None:
    readme = (FOLDER / "vendor" / "README.md").read_text()
    listed = dict(re.findall(r"^\| (\S+) \| \S+ \| ([0-9a-f]{64}) \|$", readme, re.M))
    files = {path.name: path for path in (FOLDER / "vendor").iterdir() if path.name != "README.md"}
    assert listed.keys() == files.keys() and len(files) == 3
    for name, path in files.items():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == listed[name], name


def test_every_file_of_the_page_is_part_of_an_installation() -> None:
    patterns = re.findall(r'^"\*" = \[(.*)\]$', Path(ROOT / "pyproject.toml").read_text(), re.M)
    (listed,) = ({pattern.strip(' "') for pattern in found.split(",")} for found in patterns)
    for path in FOLDER.rglob("*"):
        if path.is_file() and path.suffix not in (".py", ".pyc"):
            relative = path.relative_to(FOLDER)
            assert any(
                relative.match(pattern) and len(relative.parts) == pattern.count("/") + 1 for pattern in listed
            )
