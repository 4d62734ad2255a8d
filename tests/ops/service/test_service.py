"""What the service prepares while it starts."""

from pathlib import Path
from typing import Any

import pytest

from actors.settings import ExchangeSettings
from ops.service import service
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
