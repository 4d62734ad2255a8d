"""The layers: imports point ops -> actors -> supervisor, and nothing that records imports a loopback."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import supervisor
from tests.harness.paths import ROOT

EXCHANGES = ROOT / "actors" / "exchanges"
LAYERS = ("supervisor", "actors", "ops")  # each may import those before it
# How many rooms (folders and files at its top) a layer has, on how many import levels, how many arrows in between.
ROOMS_MAX = {"actors": (12, 7, 40), "ops": (12, 4, 40)}
DEPTH_MAX = 7  # import levels of the files of one folder
DEEPER = {
    "actors/store": 10,
    "ops/sandbox": 8,
}  # folders that are still deeper; to be made shallower, and never deeper
PARTS = ("body", "orelse", "handlers", "finalbody", "cases")  # of a statement, where other statements stand
TOP = {"pyproject.toml", "README.md", "supervisor", "actors", "tests", "ops"}


Import = ast.Import | ast.ImportFrom


@cache
def import_statements(path: Path) -> tuple[tuple[Import, bool], ...]:
    """Each import of a file, wherever in it, and whether it is there for types only."""
    return tuple(_import_statements(ast.parse(path.read_text("utf-8")), for_types=False))


def _import_statements(parent: ast.AST, *, for_types: bool) -> Iterator[tuple[Import, bool]]:
    for part in PARTS:
        for node in getattr(parent, part, ()):
            if isinstance(node, Import):
                yield node, for_types
            else:
                yield from _import_statements(node, for_types=for_types or _is_for_types(node))


def _is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


@cache
def imported(path: Path) -> tuple[str, ...]:
    """The modules that a file imports, wherever in it; the names it takes from them count as modules too."""
    return tuple(_imported(path))


def _imported(path: Path) -> Iterator[str]:
    for node, _ in import_statements(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        else:
            assert node.level == 0, f"{path}: relative imports hide the layer"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imports(path: Path) -> set[str]:
    """The packages that a module imports."""
    return {name.partition(".")[0] for name in imported(path)}


@cache
def modules(layer: str) -> list[Path]:
    return sorted((ROOT / layer).rglob("*.py"))


@pytest.mark.parametrize("layer", LAYERS)
def test_imports_point_only_to_the_layers_below(layer: str) -> None:
    above = {*LAYERS[LAYERS.index(layer) + 1 :], "tests"}
    wrong = {str(path): bad for path in modules(layer) if (bad := above & imports(path))}
    assert len(modules(layer)) > 5 and wrong == {}


def test_the_supervisor_needs_only_trio_and_the_standard_library() -> None:
    allowed = {"trio", "supervisor"} | set(sys.stdlib_module_names)
    assert {name for path in modules("supervisor") for name in imports(path)} <= allowed


def test_what_the_supervisor_exports_is_imported_from_the_package_itself() -> None:
    deep = re.compile(rf"supervisor\.\w+\.({'|'.join(supervisor.__all__)})$")
    users = [path for layer in ("actors", "ops") for path in modules(layer)]
    wrong = {str(path): bad for path in users if (bad := [name for name in imported(path) if deep.match(name)])}
    assert wrong == {}
    exported = {"Supervisor", "ChildSpec", "Context", "Mailbox", "Backoff", "TransientError"}
    assert exported <= {name.removeprefix("supervisor.") for path in users for name in imported(path)}


def test_the_actors_know_nothing_of_the_command_line_and_the_control_socket() -> None:
    theirs = {"click", "rich", "structlog", "prometheus_client", "tomllib", "argparse"}
    assert not theirs & {name for path in modules("actors") for name in imports(path)}


def test_optional_settings_are_read_only_where_the_parts_are_built() -> None:
    users = {path.name for path in modules("actors") if "actors.settings.ExchangeSettings" in imported(path)}
    assert users == {"recorder.py", "pipeline.py"}


@pytest.mark.parametrize("layer", ["actors", "ops"])
def test_no_circle_joins_the_rooms_of_a_layer(layer: str) -> None:
    """A room is a folder or a module at the layer's top; one with what it needs can be read without the others."""
    needs: dict[str, set[str]] = {}
    for path in modules(layer):
        room = path.relative_to(ROOT / layer).parts[0].removesuffix(".py")
        named = {name.split(".")[1] for name in imported(path) if name.startswith(f"{layer}.")}
        needs.setdefault(room, set()).update(named - {room})
    assert len(needs) > 8
    while free := [room for room, below in needs.items() if not below & needs.keys()]:
        for room in free:
            del needs[room]
    assert needs == {}, "each of these needs one above it"


@cache
def module_imports(layer: str) -> dict[str, set[str]]:
    """The modules of the layer that each of them imports to run, a package where no module of it is meant."""
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in modules(layer)}
    paths = {name.removesuffix(".__init__"): path for name, path in names.items() if name != f"{layer}.__init__"}
    found: dict[str, set[str]] = {}
    for name, path in paths.items():
        used: set[str] = set()
        found[name] = used
        for node, for_types in import_statements(path):
            if for_types:
                continue
            if isinstance(node, ast.Import):
                used.update(alias.name for alias in node.names)
            elif node.module:
                meant = (f"{node.module}.{alias.name}" for alias in node.names)
                used.update(one if one in paths else node.module for one in meant)
        used &= paths.keys() - {name}
    return found


def levels(arrows: dict[str, set[str]]) -> int:
    """How many import levels these are; raises RecursionError for a circle."""
    known: dict[str, int] = {}

    def level(name: str) -> int:
        if name not in known:
            known[name] = 1 + max(map(level, arrows[name]), default=0)
        return known[name]

    return max(map(level, arrows), default=0)


@pytest.mark.parametrize("layer", sorted(ROOMS_MAX))
def test_the_rooms_of_a_layer_are_few_and_on_few_levels(layer: str) -> None:
    arrows: dict[str, set[str]] = {}
    for name, used in module_imports(layer).items():
        room = name.split(".")[1]
        arrows.setdefault(room, set()).update({one.split(".")[1] for one in used} - {room})
    found = (len(arrows), levels(arrows), sum(map(len, arrows.values())))
    assert all(number <= most for number, most in zip(found, ROOMS_MAX[layer], strict=True)), (found, arrows)


@pytest.mark.parametrize("layer", sorted(ROOMS_MAX))
def test_the_files_of_a_folder_are_on_few_levels(layer: str) -> None:
    folders: dict[str, dict[str, set[str]]] = {}
    for name, used in module_imports(layer).items():
        is_package = (ROOT / Path(*name.split("."))).is_dir()
        folder = name if is_package else name.rpartition(".")[0]
        folders.setdefault(folder.replace(".", "/"), {})[name] = used
    depths = {
        folder: levels({one: used & files.keys() for one, used in files.items()})
        for folder, files in folders.items()
    }
    assert len(depths) > 5
    assert {folder: depth for folder, depth in depths.items() if depth > DEEPER.get(folder, DEPTH_MAX)} == {}


def test_a_loopback_knows_nothing_of_the_code_that_it_is_a_witness_for() -> None:
    loopbacks = [path for path in EXCHANGES.glob("*/loopback*.py") if path.parent.name != "contract"]
    for path in loopbacks:
        own = f"actors.exchanges.{path.parent.name}"
        others = [name for name in imported(path) if name != own and not name.startswith(f"{own}.loopback_")]
        wrong = [name for name in others if name.startswith(f"{own}.") or name.endswith((".feed", ".history"))]
        assert wrong == [], path
    assert len(loopbacks) >= 5


def test_nothing_that_records_imports_a_loopback() -> None:
    fake = re.compile(r"actors\.exchanges\.(loopbacks|(?!contract)\w+\.loopback)\b")
    users = {path for layer in LAYERS for path in modules(layer) if any(map(fake.match, imported(path)))}
    users -= {EXCHANGES / "loopbacks.py"}
    assert {path.relative_to(ROOT).parts[:2] for path in users} == {("ops", "sandbox")}


def test_nothing_else_lies_at_the_top_of_the_tree() -> None:
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.splitlines()
    if not listed:
        pytest.skip("not a git checkout")
    assert {name for name in (line.partition("/")[0] for line in listed) if not name.startswith(".")} == TOP


def test_no_test_module_imports_another() -> None:
    """What several tests need stands in tests/harness, so that each test module can be read and moved alone."""
    wrong = {
        str(path.relative_to(ROOT)): module
        for path in (ROOT / "tests").rglob("*.py")
        for module in re.findall(r"^\s*from\s+([\w.]+)\s+import\b", path.read_text("utf-8"), re.MULTILINE)
        if module.rpartition(".")[2].startswith("test_")
    }
    assert wrong == {}
