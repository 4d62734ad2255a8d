"""Binance COIN-M futures over REST: aggregated trades by id or time; of single ones the newest only."""

from collections.abc import Mapping

from actors.exchanges.binance import history as spot
from actors.exchanges.contract.history import Page, Query
from actors.exchanges.contract.rest import RestRequest

# https://developers.binance.com/docs/derivatives/coin-margined-futures/market-data/rest-api/
# Compressed-Aggregate-Trades-List and .../Recent-Trades-List, read 2026-11-26 via stored copies.
# historicalTrades wants an API key.
PATHS = spot.Paths(
    name="binancecoinm",
    trades="/dapi/v1/trades",
    trades_weight=5.0,
    trades_by_id=False,
    aggregates="/dapi/v1/aggTrades",
    aggregates_weight=20.0,
    reach_ns=spot.FUTURES_REACH_NS,
)


def request(query: Query) -> RestRequest:
    return spot.request(query, PATHS)


def parse(body: bytes, headers: Mapping[str, str], query: Query) -> Page:
    return spot.parse(body, headers, query, PATHS)
