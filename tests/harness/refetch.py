"""One market of a real exchange: frames of its connections, and a range of it fetched from its history."""

import json
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import trio

from actors.backfill.fetcher import Fetcher, FetchResult
from actors.backfill.rest_client import Answer
from actors.exchanges.contract.history import TradeRange
from actors.exchanges.contract.rest import RestRequest
from actors.exchanges.registry import EXCHANGES
from actors.feed.decoder import Decoder
from actors.model.symbols import parse_symbol
from actors.model.ticks import Block
from tests.harness.continuity_rows import BTC, one
from tests.harness.exchange_values import history_of

MS = 1_000_000
LAG_NS = 5 * MS  # between a trade and its frame


class Refetch:
    """`page` is what the history answers to a request, as JSON. `stored` counts rows by id, time and source."""

    def __init__(self, exchange: str, symbol: str, channel: str, page: Callable[[RestRequest], Any]) -> None:
        self._exchange, self._symbol, self._channel, self._page = exchange, symbol, channel, page
        feed = EXCHANGES[exchange].feed
        parsed = parse_symbol(symbol)
        self.market, self._promise = feed.market(parsed, channel), feed.ids[parsed.kind]
        natives = {self.market.native: self.market}
        self._decoder = Decoder(exchange, feed, {self.market.native: symbol}, feed.decoder_for(natives))
        self.continuity = one(self._promise)
        self.stored: Counter[tuple[str | None, int, str]] = Counter()

    def live(self, frame: bytes, made_ns: int, *, session: int) -> None:
        """A frame that one connection delivers."""
        block = Block(self._exchange)
        outcome = self._decoder.read([frame], made_ns + LAG_NS, block)
        assert not outcome.rejects
        self._admit(block, session)

    async def fetch(self, from_ns: int, to_ns: int) -> FetchResult:
        """The range from the history."""
        fetcher = Fetcher(
            self._exchange,
            history_of(self._exchange),
            self._channel,
            self,  # type: ignore[arg-type] # it answers as a RestClient does
            reject=_no_reject,
            settle_s=0.0,
            promises={self._symbol: self._promise},
        )
        return await fetcher.fetch(self.market, TradeRange(from_ns=from_ns, to_ns=to_ns), self._store)

    async def get(self, request: RestRequest, read: Callable[[Answer], Any]) -> Any:
        await trio.lowlevel.checkpoint()
        return read(Answer(json.dumps(self._page(request)).encode(), {}, time.time_ns()))

    async def _store(self, block: Block) -> None:
        self._admit(block, 0)

    def _admit(self, block: Block, session: int) -> None:
        block.symbol[:] = [BTC] * len(block)  # continuity's only market
        self.continuity.deduplicator.admit(block, 0, None, 0.0, session=session)
        rows = zip(block.trade_id, block.exchange_ns, block.source, strict=True)
        self.stored.update((trade_id, made_ns or 0, source) for trade_id, made_ns, source in rows)


def _no_reject(reject: object) -> None:
    raise AssertionError(f"rejected: {reject}")
