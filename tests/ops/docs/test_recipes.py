"""The recipes of ops/docs run as they are written, where the tools they name are installed.

python3 -m venv recipes && recipes/bin/pip install polars deltalake pandas pyarrow 'ibis-framework[duckdb]' chdb mcp-server-motherduck
TICKWARDEN_RECIPES=recipes/bin/python pytest -n 0 tests/ops/docs/test_recipes.py
"""  # noqa: E501 - a command to paste

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from deltalake import DeltaTable

from tests.harness.cli_process import running, sandbox, status, tickwarden_here, wait_for
from tests.harness.lake_values import small_lake
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
    assert len(recipes) == 12
    assert [name for name in recipes if not TRIED.search(RECIPES[name])] == []


@needs_tools
@pytest.mark.parametrize("recipe", ["Polars", "pandas", "Ibis"])
def test_a_python_recipe_finds_every_exchange(recipe: str, world: Path) -> None:
    said = ran(world, "-c", block(recipe, "python"))
    assert all(name in said for name in status(world)["exchanges"])


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a lake of three recorders in it, as the pages name it."""
    folder = tmp_path_factory.mktemp("recipes")
    small_lake(str(folder / "lake"))
    return folder


def test_the_plain_sql_returns_the_tape_and_the_rows_that_count(lake: Path) -> None:
    identified, composite, counted = re.findall(
        r"^```sql\n(.*?)^```$", RECIPES["The lake in plain SQL"], re.M | re.S
    )
    with duckdb.connect() as con:
        for name in ("ticks", "gap_states"):
            con.register("rows", DeltaTable(str(lake / "lake" / name)).scan())
            con.execute(f"CREATE TABLE {name} AS FROM rows")
        assert sorted(int(row[7]) for row in con.execute(identified).fetchall()) == [*range(1, 101)]
        assert [float(row[5]) for row in con.execute(f"{composite} ORDER BY volume").fetchall()] == [
            0.5,
            0.5,
            0.5,
            0.75,
        ]
        assert len(con.execute(counted).fetchall()) == 3
        con.execute("UPDATE gap_states SET batch = 4 WHERE recorder = 'tokyo'")
        assert len(con.execute(counted).fetchall()) == 2


def test_tables_need_no_feature_that_other_engines_lack(lake: Path) -> None:
    for folder in (lake / "lake").iterdir():
        protocol = DeltaTable(str(folder)).protocol()
        assert (protocol.min_reader_version, protocol.min_writer_version) == (1, 2), folder


@needs_tools
@pytest.mark.parametrize("recipe", ["The lake in polars", "The lake in DuckDB"])
def test_a_python_recipe_reads_the_lake(recipe: str, lake: Path) -> None:
    said = ran(lake, "-c", block(recipe, "python"))
    assert "60001.25" in said if recipe.endswith("polars") else "[('london', 90), ('tokyo', 90)]" in said


@needs_tools
def test_clickhouse_reads_the_lake(lake: Path) -> None:
    (query,) = re.findall(r'--query "(.*)"', block("The lake in ClickHouse", "text"), re.S)
    query = query.replace("'lake/ticks'", f"'{lake / 'lake' / 'ticks'}'")
    said = ran(lake, "-c", f"import chdb; print(chdb.query({query!r}))")
    assert [line.split(",")[-1] for line in said.split("\n") if line][-2:] == ["59", "41"]


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
