"""The real parts that fill gaps of one market, around a history that a test makes up."""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, NoReturn, cast

from actors.backfill.delivery import Delivery
from actors.backfill.fetch_job import BackfillLimits
from actors.backfill.fetcher import Fetcher, FetchResult, Store
from actors.backfill.gap_filler import GapFiller
from actors.backfill.repairs import Repairs
from actors.backfill.stall_probe import StallProbes
from actors.backfill.stored_trades import Consult, StoredTrades
from actors.backfill.worker import BackfillWorker
from actors.continuity.continuity import Continuity
from actors.continuity.tracker_state import TrackerState
from actors.exchanges.contract.feed import Market
from actors.exchanges.contract.history import TradeRange
from actors.exchanges.registry import EXCHANGES
from actors.feed.connection_pool import DEFAULT_POOL_LIMITS, ConnectionPool
from actors.feed.gap_reporter import GapReporter
from actors.model.chunk import Chunk
from actors.model.errors import DatabaseLocked
from actors.model.symbols import parse_symbol
from actors.recorder import feed_settings
from actors.settings import ExchangeSettings
from actors.telemetry.ledger import Account
from supervisor import Mailbox
from tests.harness.exchange_values import dialect_of, history_of

ROWS = 100_000  # that the intake takes


class MadeUpHistory:
    """Stands for a Fetcher; subclasses say what a range holds."""

    rest = nullcontext()

    async def fetch(self, market: Market, wanted: TradeRange, store: Store, budget: object) -> FetchResult:
        raise NotImplementedError


async def nothing(*_: object) -> None:
    """Nothing to flush."""


async def locked(*_: object) -> Sequence[TrackerState]:
    raise DatabaseLocked


async def nothing_stored(question: object) -> Sequence[object]:
    return ()


class BackfillParts:
    """One exchange, x, with one market. What is stored goes to `intake`."""

    def __init__(
        self, continuity: Continuity, symbol: str, dialect: str = "okx", consult: Consult = nothing_stored
    ) -> None:
        settings = ExchangeSettings(name="x", dialect=dialect, symbols=(symbol,))
        spec, history, limits = dialect_of(dialect), history_of(dialect), BackfillLimits()
        self._markets = {symbol: spec.market(parse_symbol(symbol), spec.channels[0])}
        self.account = Account()
        self.intake: Mailbox[Chunk] = Mailbox(ROWS, weigh=lambda p: p.rows, on_dead_letter=lambda _p, _e: None)
        pool = ConnectionPool(
            feed_settings(settings, EXCHANGES[dialect]), spec, _no_connection, [], DEFAULT_POOL_LIMITS
        )
        self._reporter = GapReporter(
            "x", self._markets, continuity, self.account, self.intake, locked, lambda _: None
        )
        stored_trades = StoredTrades("x", consult)
        self.delivery = Delivery("x", continuity, self.account, self._reporter, stored_trades, nothing)
        self._gap_filler = GapFiller(history, self._markets, continuity, self.delivery, pool, limits)
        self._probes = StallProbes(history, self._markets, continuity, pool, limits)
        self._repairs = Repairs(self._markets, continuity, stored_trades, self.delivery, limits)
        self._limits = limits

    def worker(self, history: MadeUpHistory) -> BackfillWorker:
        """Fetches from this history."""
        fetcher = cast(Fetcher, history)
        return BackfillWorker(fetcher, self._markets, self._gap_filler, self._probes, self._repairs, self._limits)

    async def sent(self) -> list[Chunk]:
        """Takes what went to the buffer, in order."""
        chunks: list[Chunk] = []
        while self.intake.statistics().depth:
            async with self.intake.receive() as chunk:
                chunks.append(chunk)
        return [*chunks, *self._reporter.collect()]

    async def stored(self) -> list[str | None]:
        """Takes the ids of the rows that went to the buffer, in order."""
        return [trade_id for chunk in await self.sent() for trade_id in chunk.block.trade_id]


def _no_connection(_plan: Any) -> NoReturn:
    raise AssertionError("this exchange has no connections")
