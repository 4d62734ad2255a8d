"""Fetches a range of one market from the exchange's history, page by page, until it is complete."""

import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from datetime import UTC, datetime

import trio
from msgspec import Struct
from msgspec.structs import replace

from actors.backfill.paging import Progress
from actors.backfill.rest_client import Answer, RestClient
from actors.continuity.twins import COMPOSITE
from actors.exchanges.contract.feed import Market
from actors.exchanges.contract.feed_helpers import S_NS
from actors.exchanges.contract.history import Garbled, History, Kind, OddRow, Page, Query, Refused, TradeRange
from actors.model.ticks import OFF_BOOK, Block, IdPromise, Reject
from supervisor import MisconfiguredError, TransientError

# Histories are fed from a database and lag behind the stream: the newest trades may be missing.
SETTLE_S = 2.0
PART_ROWS = 1000  # stored at once: a row takes up to 50 us, and a page of some exchanges has a day's trades

NO_PROMISES: Mapping[str, IdPromise] = {}

Store = Callable[[Block], Awaitable[None]]


class Budget(Struct, frozen=True, kw_only=True):
    """The budget of one call, so that a long outage neither floods the buffer shared with live feeds nor delays
    another market's gap.

    After `pages` the call returns what remains, and can be repeated; after `searches` too, which are pages without
    trades on the way to the beginning of a range.
    """

    pages: int = 50
    searches: int = 500
    rows_per_s: float = 2_000.0


DEFAULT_BUDGET = Budget()


class FetchResult(Struct, frozen=True, kw_only=True):
    """What the history had of a range.

    `count` rows were stored. `complete`: nothing is missing, and `reason` is "". Otherwise `reason` says why,
    `missing` is the number of missing ids (None if unknown) and `remaining` the range still to be requested.
    `final`: a retry brings no more; otherwise it may, after `retry_after_s`. `refused`: the exchange's message if
    it refused the request for good, "" otherwise.
    """

    count: int
    complete: bool
    reason: str = ""
    missing: int | None = None
    remaining: TradeRange | None = None
    final: bool = True
    retry_after_s: float | None = None
    refused: str = ""


class Fetcher:
    """Fetches from one exchange through `rest`, which has to be entered first. `reject` receives invalid rows, each
    time a page contains them.

    On channels in `history.aggregated` a row of the stream holds several of the trades fetched here: the range must
    leave out the ids inside such rows (see History). Rows are stored once per call; continuity drops trades that
    the stream delivered too. Where the ids of a market do not identify a trade (`promises`, by symbol), rows of
    overlapping pages are passed to it again.
    """

    def __init__(
        self,
        exchange: str,
        history: History,
        channel: str,
        rest: RestClient,
        *,
        reject: Callable[[Reject], None],
        settle_s: float = SETTLE_S,
        now_ns: Callable[[], int] = time.time_ns,
        promises: Mapping[str, IdPromise] = NO_PROMISES,
    ) -> None:
        self._promises = promises
        self._exchange, self._history, self._channel = exchange, history, channel
        self.rest, self._reject, self._settle_s, self._now_ns = rest, reject, settle_s, now_ns

    async def fetch(
        self, market: Market, trade_range: TradeRange, store: Store, budget: Budget = DEFAULT_BUDGET
    ) -> FetchResult:
        """Stores what is available of the range now. Never raises because of the exchange.

        `store` receives blocks of the wanted rows with source 'backfill' or OFF_BOOK, and may wait. A range that
        ends by time is requested when that time is `settle_s` past, and no later than `settle_s` from now; one
        without an end ends now. Rows come page by page, oldest first within each.
        """
        if trade_range.to_id is None and trade_range.to_ns is None:
            trade_range = replace(trade_range, to_ns=max(self._now_ns(), trade_range.from_ns or 0))
        if trade_range.to_id is None and trade_range.to_ns is not None:
            # An end in the future means a wrong clock: the trade that ends the gap has already arrived.
            ahead_s = min(0.0, (trade_range.to_ns - self._now_ns()) / S_NS)
            await trio.sleep(max(0.0, ahead_s + self._settle_s))
        shared_ids = self._promises.get(market.symbol) in COMPOSITE
        progress = Progress(self._history, trade_range, shared_ids=shared_ids)
        run = _Run(progress, self._exchange, market, self._channel, self._now_ns)
        try:
            while run.pages < budget.pages and run.searches < budget.searches:
                odd, block = await self.rest.get(self._history.request(run.query), run.read)
                for reject in odd:
                    self._reject(reject)
                for part in _parts(block):
                    await store(part)
                if run.over:
                    return run.verdict()
                await trio.sleep(len(block) / budget.rows_per_s)
        except Refused as refused:
            return run.unfinished(str(refused), final=True, refused=str(refused))
        except MisconfiguredError as misconfigured:
            return run.unfinished(str(misconfigured), final=False)
        except TransientError as transient:
            return run.unfinished(str(transient), final=False, retry_after_s=transient.retry_after_s)
        used = f"{run.pages} pages"
        if run.pages < budget.pages:
            used = f"{run.searches} searches"
            progress.searched(run.query.cursor)
        return run.unfinished(f"the budget of {used} is used up", final=False)


def _parts(block: Block) -> Iterator[Block]:
    """The block in parts of about PART_ROWS, none if it is empty: while one is stored nothing else runs.

    Rows of one time stay together: where ids do not identify trades, equal ones of one part are two trades.
    """
    times, start = block.exchange_ns, 0
    while start < len(times):
        end = start + PART_ROWS
        while end < len(times) and times[end] == times[end - 1]:
            end += 1
        yield block.part(start, end)
        start = end


class _Run:
    """One call of `fetch`: the query for the next page, and the result of the pages so far."""

    def __init__(
        self,
        progress: Progress,
        exchange: str,
        market: Market,
        channel: str,
        now_ns: Callable[[], int],
    ) -> None:
        self.progress, self._exchange, self._now_ns = progress, exchange, now_ns
        self.query = Query(
            market=market,
            channel=channel,
            trade_range=progress.trade_range,
            rows=progress.history.page_rows,
            now_ns=now_ns(),
            cursor=progress.trade_range.cursor,
        )
        self.pages = self.searches = 0
        self.over = False
        self._odd: list[str] = []
        self._cursors: set[str | None] = {None}
        self._oldest_ns: int | None = None

    def read(self, answer: Answer) -> tuple[list[Reject], Block]:
        """The page's invalid and its wanted rows. A page that leads back to an earlier one would never end."""
        query = replace(self.query, answered_ns=self._now_ns())
        page = self.progress.history.page(answer.body, answer.headers, query)
        if page.cursor is not None and page.cursor in self._cursors:
            raise Garbled(f"the page leads back to {page.cursor!r}, which was requested already")
        received_ns, symbol = answer.received_ns, self.query.market.symbol
        rejects = [_reject(odd, received_ns, self._exchange, symbol) for odd in page.odd]
        return rejects, self._take(page, received_ns)

    def _take(self, page: Page, received_ns: int) -> Block:
        if page.trades.price or page.odd:
            self.pages += 1
        else:
            self.searches += 1
        wanted = self.progress.take(page)
        if page.times_ns:
            self._oldest_ns = min(page.times_ns + ([self._oldest_ns] if self._oldest_ns else []))
        self._odd += [odd.detail for odd in page.odd]
        if page.cursor is None:
            self.progress.exhausted()
            self.over = True
        self.over |= self.progress.arrived
        self._cursors.add(page.cursor)
        self.query = replace(self.query, cursor=page.cursor, now_ns=self._now_ns())
        trades, count, block = page.trades, len(wanted), Block(self._exchange)
        block.extend(
            [self.query.market.symbol] * count,
            [trades.exchange_ns[at] for at in wanted],
            [received_ns] * count,
            [trades.price[at] for at in wanted],
            [trades.volume[at] for at in wanted],
            [trades.side[at] for at in wanted],
            [trades.trade_id[at] for at in wanted],
            [OFF_BOOK if trades.off_book and trades.off_book[at] else "backfill" for at in wanted],
        )
        return block

    def verdict(self) -> FetchResult:
        """The result after the last page."""
        progress, name = self.progress, self.progress.history.name
        if self._odd and progress.missing != 0:  # one of these may be the missing one
            return self.unfinished(f"invalid rows: {'; '.join(self._odd[:3])}", final=False)
        if progress.complete:
            return FetchResult(count=progress.count, complete=True, missing=progress.missing)
        if not progress.high_met:
            return self.unfinished(f"{name}'s history does not reach up to the end yet", final=False)
        if self._oldest_ns is None:  # a market that has traded has a newest trade: this history lags, or is empty
            return self.unfinished(f"{name}'s history has no trades", final=False)
        if progress.trade_range.cut:
            reason = f"{name} did not return all of what came before; its history: {progress.history.depth}"
            return self.unfinished(reason, final=True)
        if not progress.low_met or progress.history.kind is Kind.RECENT_ONLY:
            depth = progress.history.depth
            reason = f"{name} returns nothing before {_utc(self._oldest_ns)}; its history: {depth}"
            return self.unfinished(reason, final=True)
        if progress.missing is None:
            return self.unfinished(f"{name} has more trades of one time than it returns", final=True)
        return self.unfinished(f"{name}'s history lacks {progress.missing} of these ids", final=True)

    def unfinished(
        self, reason: str, *, final: bool, retry_after_s: float | None = None, refused: str = ""
    ) -> FetchResult:
        """The result of an incomplete range."""
        progress = self.progress
        return FetchResult(
            count=progress.count,
            complete=False,
            reason=reason,
            missing=progress.missing,
            remaining=progress.remaining(),
            final=final,
            retry_after_s=retry_after_s,
            refused=refused,
        )


def _reject(odd: OddRow, received_ns: int, exchange: str, symbol: str) -> Reject:
    return Reject(received_ns, exchange, symbol, odd.reason, odd.detail, odd.payload, len(odd.payload))


def _utc(ns: int) -> str:
    return f"{datetime.fromtimestamp(ns // S_NS, UTC):%Y-%m-%dT%H:%M:%SZ}"
