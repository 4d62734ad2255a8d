"""What the service prepares while it starts."""

from pathlib import Path
from typing import Any

import pytest

from actors.pipeline import Pipeline
from actors.settings import ExchangeSettings
from ops.config.config import load_config
from ops.service import service
from ops.service.api import ServiceApp
from ops.service.reload import apply_changes
from supervisor import MisconfiguredError


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
