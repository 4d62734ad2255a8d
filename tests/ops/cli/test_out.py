"""Commands that write a file name the path that was given if they cannot, and what to do about it."""

import errno
import os
import resource
import shlex
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import duckdb
import pytest

from ops.export.target import ExportError, workshop
from ops.export.write_errors import export_errors
from ops.terminal.exit_codes import USAGE
from tests.harness.cli_process import COMMAND, environment, tickwarden_here
from tests.harness.lake_values import small_lake
from tests.harness.recording_samples import settings, store
from tests.harness.store_harness import memory_folder
from tests.harness.tick_streams import tick, write

WRITING = (
    "query 'FROM ticks' --out {}",
    "query 'FROM ticks' --format parquet --out {}",
    "report --out {}",
    "export {}",
    "export --format parquet {}",
    "export --format tardis {}",
)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """With a recording of two trades. No test writes there."""
    with memory_folder() as made:
        with store(settings(made)) as filled:
            write(filled, [[tick(), tick(at_us=5_000_000, trade_id="2")]])
        (made / "plain").touch()
        yield made


def check_too_large(folder: Path, limit: int, *words: str) -> None:
    """The command is to write `new` there, and no file may be larger than the limit, in bytes."""
    done = subprocess.run(
        [*COMMAND, *words],
        cwd=folder,
        env=environment(folder),
        preexec_fn=partial(resource.setrlimit, resource.RLIMIT_FSIZE, (limit, limit)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1 and not (folder / "new").exists()
    assert done.stderr.startswith(f"{folder / 'new'} cannot be written: File too large; name a path")


@pytest.mark.parametrize("line", WRITING)
@pytest.mark.parametrize("target", ["plain/new", "/proc/new"])  # nobody, root neither, may write there
def test_a_path_that_cannot_be_written_is_named_as_it_was_given(line: str, target: str, folder: Path) -> None:
    done = tickwarden_here(*shlex.split(line.format(target)), folder=folder)
    assert done.returncode == 1
    assert (
        f"{folder / target} cannot be written" in done.stderr and "name a path where you may write" in done.stderr
    )
    assert "partial" not in done.stderr and "[Errno" not in done.stderr


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_no_path_where_one_may_not_write(number: int, tmp_path: Path) -> None:
    text, target = os.strerror(number), tmp_path / "new"
    with pytest.raises(ExportError) as of_system, workshop(target) as work:
        raise OSError(number, text, str(work / "part"))
    with pytest.raises(ExportError) as of_duckdb, export_errors(target, tmp_path / "work"):
        raise duckdb.IOException(f'IO Error: Could not write file "{tmp_path}/work/a": {text}')
    said = f"{target} cannot be written: {text}; free some space, or name a path on another disk"
    assert str(of_system.value) == str(of_duckdb.value) == said


@pytest.mark.parametrize("line", WRITING)
def test_a_missing_folder_is_created(line: str, folder: Path, tmp_path: Path) -> None:
    done = tickwarden_here(*shlex.split(line.format(tmp_path / "a" / "b" / "new")), folder=folder)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "a" / "b" / "new").exists()


@pytest.mark.parametrize("line", [*WRITING, "init {} --exchange okx", "demo --dir {}", "gaps --file {}"])
def test_an_address_is_no_path_of_this_machine(line: str, folder: Path) -> None:
    before = sorted(folder.iterdir())
    done = tickwarden_here(*shlex.split(line.format("s3://bucket/new")), folder=folder)
    assert done.returncode == USAGE and sorted(folder.iterdir()) == before
    assert "s3://bucket/new: expected a path of this machine, without s3://" in done.stderr


@pytest.mark.parametrize(
    "line",
    [
        "query 'FROM ticks' --format csv --out {}",
        "query 'FROM ticks' --out {}",
        "report --out {}",
        "init {} --exchange okx",
        "export {}",
        "export --format parquet {}",
        "export --format tardis {}",
        "query 'FROM ticks' --format parquet --out {}",
    ],
)
def test_a_target_that_does_not_fit_is_named_too(line: str, folder: Path) -> None:
    """The system's error of a write names no file; the limit stands for a full disk, which needs root."""
    check_too_large(folder, 10, *shlex.split(line.format("new")))


def test_rows_of_a_lake_and_a_configuration_likewise(tmp_path: Path) -> None:
    small_lake(str(tmp_path / "lake"))
    for words in (("lake", "query", "SELECT 1", "--uri", "lake", "--out"), ("init", "--exchange", "okx")):
        store = ("--file", str(tmp_path / "t.duckdb")) if words[0] == "init" else ()
        done = tickwarden_here(*words, "/proc/new", *store, folder=tmp_path)
        assert done.returncode == 1 and "/proc/new cannot be written" in done.stderr, done.stderr


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_rows_of_a_lake_that_do_not_fit_name_the_target(form: str, tmp_path: Path) -> None:
    """Few of a lake's small tables fit below a limit of the size of a file, so the rows are large."""
    small_lake(str(tmp_path / "lake"))
    sql = "SELECT md5(CAST(value AS VARCHAR)) AS text FROM generate_series(1, 100000)"
    check_too_large(tmp_path, 100_000, "lake", "query", sql, "--uri", "lake", "--format", form, "--out", "new")


def test_a_query_that_cannot_read_does_not_blame_its_target(folder: Path, tmp_path: Path) -> None:
    words = ("query", "FROM 'missing.parquet'", "--format", "parquet", "--out", str(tmp_path / "new"))
    done = tickwarden_here(*words, folder=folder)
    assert done.returncode == 1 and "missing.parquet" in done.stderr and "cannot be written" not in done.stderr


def test_a_folder_is_not_replaced_by_a_report(folder: Path) -> None:
    done = tickwarden_here("report", "--out", ".", "--overwrite", folder=folder)
    assert done.returncode == 1 and "is a folder; name a file" in done.stderr


def test_an_error_meanwhile_names_the_target_unless_it_is_of_something_else(tmp_path: Path) -> None:
    target = tmp_path / "copy.duckdb"
    with pytest.raises(ExportError, match=r"copy\.duckdb cannot be written"), workshop(target) as work:
        (work / "missing" / "file").touch()
    with pytest.raises(FileNotFoundError, match="elsewhere"), workshop(target):
        (tmp_path / "elsewhere" / "file").touch()
    with pytest.raises(BrokenPipeError), workshop(target):
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")
