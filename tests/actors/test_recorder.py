"""actors.recorder: what an exchange is configured with, and its own values where nothing is."""

import dataclasses

import pytest

from actors.exchanges.registry import EXCHANGES
from actors.recorder import feed_settings
from actors.settings import ExchangeSettings


@pytest.mark.parametrize("name", EXCHANGES)
def test_what_is_not_configured_is_the_dialects_own(name: str) -> None:
    dialect = EXCHANGES[name].feed
    plain = feed_settings(ExchangeSettings(name="mine", dialect=name, symbols=()), dialect)
    own = (plain.channel, plain.silence_s, plain.lifetime_s)
    assert own == (dialect.channels[0], dialect.silence_s, dialect.lifetime_s)


def test_what_is_configured_goes_before_the_dialects_own() -> None:
    dialect = EXCHANGES["binance"].feed
    configured = ExchangeSettings(
        name="mine",
        dialect="binance",
        symbols=("BTC/USDT",),
        ws_url="ws://127.0.0.1:1",
        rest_url="http://127.0.0.1:2",
        silence_s=7.0,
        lifetime_s=200.0,
        redundancy=2,
        channel="aggTrade",
    )
    resolved = dataclasses.asdict(feed_settings(configured, dialect))
    given = dataclasses.asdict(configured)
    assert dialect.channels[0] != "aggTrade"
    assert resolved == {name: given[name] for name in resolved}
