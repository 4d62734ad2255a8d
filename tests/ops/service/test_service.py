"""What the service prepares while it starts."""

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
import trio

from actors.model.errors import DatabaseLocked
from actors.pipeline import Pipeline
from actors.settings import ExchangeSettings
from actors.sink.sink import Merged
from actors.store.store import Store
from ops.config.config import load_config
from ops.control.app import Refused
from ops.service import api, service
from ops.service.api import ServiceApp
from ops.service.reload import apply_changes
from supervisor import MisconfiguredError
from tests.harness.exchange_server import (
    PATIENCE_S,
    Client,
    Server,
    pipeline_of,
    recording,
    serving,
    table,
    until,
)


async def test_the_authorities_are_read_once_for_each_file_that_a_tls_connection_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path | None] = []

    def client_context(ca_file: Path | None) -> None:
        read.append(ca_file)
        if ca_file is not None:
            raise MisconfiguredError("it cannot be used")

    def exchange(name: str, **values: Any) -> ExchangeSettings:
        return ExchangeSettings(**{"name": name, "dialect": "okx", "symbols": ("BTC/USDT",), **values})

    monkeypatch.setattr(service, "client_context", client_context)
    own = tmp_path / "ca.pem"
    plain = exchange("plain", ws_url="ws://127.0.0.1:1", ca_file=tmp_path / "unused.pem")
    await service.read_authorities([plain])
    assert read == []
    local = exchange("local", ws_url="wss://127.0.0.1:1", ca_file=own)
    await service.read_authorities([plain, exchange("okx"), exchange("again"), local])
    assert sorted(read, key=str) == [own, None]


async def test_a_changed_lake_needs_a_restart_and_the_configuration_in_force_shows_no_credentials(
    tmp_path: Path,
) -> None:
    text = (
        '[lake]\nuri = "s3://b/{}"\nrecorder = "r"\ncredentials = "keys"\n[exchanges.okx]\nsymbols = ["BTC/USDT"]\n'
    )
    file = tmp_path / "c.toml"
    (tmp_path / "keys").write_text("AWS_SECRET_ACCESS_KEY=abc123\n")
    file.write_text(text.format("one"))
    config = load_config(file)
    app = ServiceApp(Pipeline(config.pipeline()), config)
    shown = app.config()["lake"]
    assert isinstance(shown, dict) and (shown["uri"], shown["credentials"]) == ("s3://b/one", "***")
    file.write_text(text.format("two"))
    done = await apply_changes(app._pipeline, config, load_config(file))
    assert done["needs_restart"] == ["lake"] and not any((done["added"], done["removed"], done["replaced"]))


async def test_a_reload_changes_the_level_of_the_log_only_where_it_differs_and_never_its_format(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command may have chosen another level, as --quiet does."""
    levels: list[str] = []
    monkeypatch.setattr(api, "set_level", levels.append)
    file = tmp_path / "c.toml"
    text = '[log]\nlevel = "{}"\nformat = "{}"\n[exchanges.okx]\nsymbols = ["BTC/USDT"]\n'
    file.write_text(text.format("info", "console"))
    config = load_config(file)
    app = ServiceApp(pipeline := Pipeline(config.pipeline()), config)
    pipeline.state = "running"
    for level, form, needs, changed in (
        ("info", "console", [], []),
        ("info", "json", ["log.format"], []),
        ("debug", "json", ["log.format"], ["debug"]),
        ("debug", "console", [], ["debug"]),
    ):
        file.write_text(text.format(level, form))
        assert (await app.reload())["needs_restart"] == needs and levels == changed
        assert app.config()["log"] == {"level": level, "format": "console"}


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (lambda: OSError(errno.EIO, os.strerror(errno.EIO)), Refused, "cannot merge into .*: .*Input/output error"),
        (lambda: duckdb.IOException("IO Error: it failed"), Refused, "cannot merge into .*: IO Error: it failed"),
        (lambda: DatabaseLocked("ticks.duckdb", 77), Refused, "process 77 has ticks.duckdb open"),
        (lambda: ValueError("a bug of ours"), ValueError, "a bug of ours"),
    ],
)
async def test_a_command_to_merge_ends_with_the_error_of_the_merge_that_began_after_it(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Callable[[], Exception],
    kind: type[Exception],
    words: str,
) -> None:
    merge, fails, entered, may_fail = Store.merge, True, threading.Event(), threading.Event()

    def failing(store: Store, *rows_max: int) -> Merged:
        if not fails:
            return merge(store, *rows_max)
        entered.set()
        may_fail.wait(PATIENCE_S)
        raise error()

    server, asked = Server(Client.gone), trio.Event()
    async with serving(server):
        pipeline = pipeline_of(tmp_path, table("okx", "okx", ["BTC/USDT"], server.url))
        app, merge_soon = (
            ServiceApp(pipeline, load_config(tmp_path / "tickwarden.toml")),
            pipeline.merger.merge_soon,
        )

        def noted() -> None:
            merge_soon()
            asked.set()

        async with recording(pipeline):
            monkeypatch.setattr(Store, "merge", failing)
            with trio.fail_after(PATIENCE_S):
                may_fail.set()
                with pytest.raises(kind, match=words):
                    await app.merge()
                may_fail.clear()
                entered.clear()
                merge_soon()
                await until(entered.is_set)
                monkeypatch.setattr(pipeline.merger, "merge_soon", noted)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(app.merge)
                    await asked.wait()
                    fails = False
                    may_fail.set()
