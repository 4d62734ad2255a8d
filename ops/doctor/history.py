"""Requests one page of an exchange's REST history, as a repair would."""

import time
from email.utils import parsedate_to_datetime

import trio

from actors.backfill.rate_limiter import RateLimiter, RateLimiters
from actors.backfill.rest_client import Answer, RestClient, RestClientLimits
from actors.exchanges.contract.feed import Market
from actors.exchanges.contract.history import Query, TradeRange
from actors.exchanges.registry import EXCHANGES
from actors.settings import ExchangeSettings
from ops.doctor.clock import Dated
from ops.doctor.findings import Chart, State, Step
from ops.doctor.probe_session import FirstTrade

S_NS = 1_000_000_000
BACK_S = 60  # how old the requested trades are if no trade is known
ROWS = 10
LIMITS = RestClientLimits(answer_s=15.0, tries=1)  # retries would hide the problem


async def examine_history(
    chart: Chart,
    settings: ExchangeSettings,
    channel: str,
    market: Market,
    first: FirstTrade | None,
    limiters: RateLimiters,
) -> Dated | None:
    """Takes the step REST; returns the Date of its answer, and raises Stop if it fails.

    It requests the first trade of the feed, if there is one with a number, because that is what a repair requests.
    """
    history = EXCHANGES[settings.dialect].history
    if history is None:
        chart.add(Step.REST, State.SKIPPED, None, "this exchange has no REST history")
        return None
    if not settings.has_rest:
        # As for repairs: a ws_url may lead anywhere, so the real exchange is not queried instead.
        chart.add(Step.REST, State.SKIPPED, None, "ws_url is set and rest_url is not: nothing is requested")
        return None
    query = Query(market=market, channel=channel, trade_range=_stretch(first), rows=ROWS)
    with chart.step(Step.REST) as note:
        ask = history.request(query)
        # Wait for the rate limit before timing; the request then uses a limiter of its own.
        await limiters.of(history, settings.rest_url).take(ask.costs)
        own = RateLimiter(history.limits)
        async with RestClient(
            history, own, rest_url=settings.rest_url, ca_file=settings.ca_file, limits=LIMITS
        ) as rest:
            asked = trio.current_time()
            dated, page = await rest.get(
                ask, lambda answer: (_dated(answer), history.page(answer.body, answer.headers, query))
            )
            note.took_s = trio.current_time() - asked
        known = first is not None and first.trade_id in page.trades.trade_id
        note.found = f"{rest.origin}{ask.path} {'has the first trade' if known else 'answers'}"
    return dated


def _stretch(first: FirstTrade | None) -> TradeRange:
    if first is None:
        now_ns = time.time_ns()
        return TradeRange(from_ns=now_ns - BACK_S * S_NS, to_ns=now_ns)
    around_ns = time.time_ns() if first.exchange_ns is None else first.exchange_ns
    number = int(first.trade_id) if first.trade_id is not None and first.trade_id.isdecimal() else None
    return TradeRange(from_id=number, to_id=number, from_ns=around_ns - S_NS, to_ns=around_ns + S_NS)


def _dated(answer: Answer) -> Dated | None:
    """When the answer was created, by its server's clock; None without a Date, or if it came from a cache (Age)."""
    try:
        at = parsedate_to_datetime(answer.headers.get("date", ""))
    except ValueError:
        return None
    return None if "age" in answer.headers else Dated(int(at.timestamp()) * S_NS, answer.received_ns)
