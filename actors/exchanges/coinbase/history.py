"""Coinbase Advanced Trade's old trades: those of Coinbase Exchange, whose order books and ids these are."""

from collections.abc import Mapping

from actors.exchanges.coinbaseexchange import history as exchange
from actors.exchanges.contract.history import Page, Query


def parse(body: bytes, headers: Mapping[str, str], query: Query) -> Page:
    return exchange.parse(body, headers, query, "coinbase")
