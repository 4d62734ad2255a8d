"""Checks over REST whether silent markets exist, and suggests similar names that do."""

import difflib
import time
from collections.abc import Sequence

import trio
from msgspec.structs import replace

from actors.backfill.fetcher import Budget, Fetcher, FetchResult
from actors.backfill.rate_limiter import RateLimiters
from actors.backfill.rest_client import RestClient, RestClientLimits
from actors.exchanges.contract.feed import Market
from actors.exchanges.contract.history import TradeRange
from actors.exchanges.registry import EXCHANGES
from actors.model.symbols import Symbol, SymbolError, parse_symbol
from actors.model.ticks import Block, Reject
from actors.settings import ExchangeSettings
from ops.doctor.findings import Chart, State, Step

S_NS = 1_000_000_000
BACK_NS = 60 * S_NS  # the last minute is requested: any range shows whether a market exists
MARKETS_MAX = 50  # markets to check
ASK_S = 60.0  # and for no longer than this: rate limits apply, and a user is waiting
NEAR_MAX = 3  # similar names in one piece of advice
ALIKE = 0.8  # difflib's cutoff for a misspelling
QUOTES = ("USDT", "USDC", "USD", "EUR")  # quotes that are confused with each other
LIMITS = RestClientLimits(answer_s=15.0, tries=2)
BUDGET = Budget(pages=1, searches=3)


async def examine_silent(
    chart: Chart,
    settings: ExchangeSettings,
    channel: str,
    silent: Sequence[Market],
    traded: Sequence[str],
    limiters: RateLimiters,
) -> None:
    """A failure of the step REST for each silent market that the exchange does not list.

    Failed requests are no finding: the step REST has reported them already.
    """
    history = EXCHANGES[settings.dialect].history
    if history is None or not settings.has_rest or not silent:
        return
    limiter = limiters.of(history, settings.rest_url)
    async with RestClient(
        history, limiter, rest_url=settings.rest_url, ca_file=settings.ca_file, limits=LIMITS
    ) as rest:
        fetcher = Fetcher(settings.name, history, channel, rest, reject=_no_reject, settle_s=0)
        asked = 0
        with trio.move_on_after(ASK_S):
            for market in silent[:MARKETS_MAX]:
                begun = trio.current_time()
                refused = (await _ask(fetcher, market)).refused
                if refused:
                    near = await _near(fetcher, settings, channel, market, traded)
                    advice = f"write {' or '.join(near)} if that is meant" if near else "check its spelling"
                    found = f"{market.symbol}: {settings.dialect} has no such market ({refused})"
                    chart.add(Step.REST, State.FAIL, trio.current_time() - begun, found, f"{advice}, or remove it")
                asked += 1
    if asked < len(silent):
        more = len(silent) - asked
        chart.add(Step.REST, State.SKIPPED, None, f"{more} more silent markets were not checked")


async def _near(
    fetcher: Fetcher, settings: ExchangeSettings, channel: str, market: Market, traded: Sequence[str]
) -> list[str]:
    """Markets with trades and similar names, and those that differ in the quote only, if REST has them."""
    near = difflib.get_close_matches(market.symbol, traded, NEAR_MAX, ALIKE)
    for symbol in _other_quotes(parse_symbol(market.symbol)):
        if len(near) >= NEAR_MAX:
            break
        if str(symbol) in near:
            continue
        try:
            other = EXCHANGES[settings.dialect].feed.market(symbol, channel)
        except SymbolError:
            continue
        answer = await _ask(fetcher, other)
        if answer.complete or answer.count:
            near.append(str(symbol))
    return near


def _other_quotes(symbol: Symbol) -> list[Symbol]:
    """The same coin in other quotes; the settlement follows where it is the quote."""
    return [
        replace(symbol, quote=quote, settle=quote if symbol.settle == symbol.quote else symbol.settle)
        for quote in QUOTES
        if quote != symbol.quote
    ]


async def _ask(fetcher: Fetcher, market: Market) -> FetchResult:
    now_ns = time.time_ns()
    return await fetcher.fetch(market, TradeRange(from_ns=now_ns - BACK_NS, to_ns=now_ns), _ignore, BUDGET)


async def _ignore(block: Block) -> None:
    """Only the answer matters."""


def _no_reject(reject: Reject) -> None:
    """Nothing is recorded here."""
