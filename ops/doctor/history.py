"""Asks an exchange's REST history for one page, as a repair would."""

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
BACK_S = 60  # how long ago is asked for where no trade says what there is
ROWS = 10
LIMITS = RestClientLimits(answer_s=15.0, tries=1)  # patience would hide what is wrong


async def examine_history(
    chart: Chart,
    settings: ExchangeSettings,
    channel: str,
    market: Market,
    first: FirstTrade | None,
    limiters: RateLimiters,
) -> Dated | None:
    """Takes the step REST; returns what its answer's Date says, and raises Stop if it fails.

    Asked is for the first trade of the feed, if there is one with a number: that is what a repair asks for.
    """
    history = EXCHANGES[settings.dialect].history
    if history is None:
        chart.add(Step.REST, State.SKIPPED, None, "no history of this exchange is asked over REST")
        return None
    if settings.ws_url is not None and settings.rest_url is None:
        # As for repairs: what stands behind a ws_url may be anything, and the real exchange is not asked instead.
        chart.add(Step.REST, State.SKIPPED, None, "rest_url is not set, and ws_url is: nothing is asked")
        return None
    query = Query(market=market, channel=channel, trade_range=_stretch(first), rows=ROWS)
    with chart.step(Step.REST) as note:
        ask = history.request(query)
        # The turn is waited for before the time counts; a limiter of its own then lets it pass at once.
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
    """When the answer was made, by its server's clock; None where it does not say, or a cache made it (Age)."""
    try:
        at = parsedate_to_datetime(answer.headers.get("date", ""))
    except ValueError:
        return None
    return None if "age" in answer.headers else Dated(int(at.timestamp()) * S_NS, answer.received_ns)
