"""The recipes of ops/docs run as they are written, where the tools they name are installed.

python3 -m venv recipes && recipes/bin/pip install polars pandas pyarrow 'ibis-framework[duckdb]' chdb mcp-server-motherduck
TICKWARDEN_RECIPES=recipes/bin/python pytest -n 0 tests/ops/docs/test_recipes.py
"""  # noqa: E501 - a command to paste

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.cli_process import running, sandbox, status, tickwarden_here, wait_for
from tests.harness.paths import OPS
from tests.harness.store_harness import memory_folder

PAGE = (OPS / "docs" / "recipes.md").read_text()
RECIPES = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S))
PYTHON = os.environ.get("TICKWARDEN_RECIPES", "")
TRIED = re.compile(r"^\*\*(?:Tried|Untested)\*\*.*?\b\d{1,2} [A-Z][a-z]+ 20\d\d\b", re.M | re.S)
PATIENCE_S = 120
# A client that runs these queries on the server that the arguments start.
CLIENT = """
import asyncio, json, sys
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

async def main(command, args, queries):
    async with stdio_client(StdioServerParameters(command=command, args=args)) as (read, write):
        async with ClientSession(read, write) as session:
            await session.initialize()
            for query in queries:
                said = await session.call_tool("execute_query", {"sql": query})
                print(json.dumps(said.content[0].text))

asyncio.run(main(*json.loads(sys.argv[1])))
"""

needs_tools = pytest.mark.skipif(not PYTHON, reason="TICKWARDEN_RECIPES does not name a Python that has the tools")


def block(recipe: str, language: str) -> str:
    found = re.search(rf"^```{language}\n(.*?)^```$", RECIPES[recipe], re.M | re.S)
    assert found, (recipe, language)
    return found[1]


@pytest.fixture(scope="module")
def world() -> Iterator[Path]:
    """A folder in which a service writes ticks.duckdb."""
    with memory_folder() as folder, sandbox(folder, rate=50.0) as config:
        (folder / "tickwarden.toml").write_text(config)
        with running("run", folder=folder):
            wait_for(
                "something merged",
                lambda: status(folder) and not tickwarden_here("merge", folder=folder).returncode,
            )
            wait_for("trades", lambda: all(one["stored"] for one in status(folder)["exchanges"].values()))
            yield folder


def ran(folder: Path, *words: str) -> str:
    done = subprocess.run([PYTHON, *words], cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_each_recipe_says_when_it_was_tried_or_that_it_was_not() -> None:
    recipes = [name for name in RECIPES if name != "Trying them again"]
    assert len(recipes) == 7
    assert [name for name in recipes if not TRIED.search(RECIPES[name])] == []


@needs_tools
@pytest.mark.parametrize("recipe", ["Polars", "pandas", "Ibis"])
def test_a_python_recipe_finds_every_exchange(recipe: str, world: Path) -> None:
    said = ran(world, "-c", block(recipe, "python"))
    assert all(name in said for name in status(world)["exchanges"])


@needs_tools
def test_clickhouse_reads_the_export(world: Path) -> None:
    assert tickwarden_here("export", "parquet/", folder=world).returncode == 0
    (query,) = re.findall(r'--query "(.*)"', block("ClickHouse", "text"), re.S)
    said = ran(world, "-c", f"import chdb; print(chdb.query({query!r}))")
    assert '"kraken","BTC/USD"' in said


@needs_tools
def test_an_assistant_reads_trades_and_nothing_else(world: Path) -> None:
    (server,) = json.loads(block("An assistant, over MCP", "json"))["mcpServers"].values()
    name, *rest = server["args"]
    command = str(Path(PYTHON).absolute().parent / name)
    args = [word.replace("/data/ticks.duckdb", str(world / "ticks.duckdb")) for word in rest]
    queries = ["SELECT count(*) FROM ticks", "CREATE TABLE mine (a INT)", "FROM read_csv('/etc/passwd')"]
    script = world / "client.py"
    script.write_text(CLIENT)
    count, created, read = ran(world, str(script), json.dumps([command, args, queries])).splitlines()
    assert int(re.findall(r"\d+", count)[-2 if "rowCount" in count else -1]) > 0
    assert "read-only" in created and "Permission Error" in read
    assert tickwarden_here("merge", folder=world).returncode == 0
