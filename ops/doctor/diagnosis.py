"""Examines exchanges all at once: the connections that the service would make, REST, the clock."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import trio

from actors.backfill.rate_limiter import RateLimiters
from actors.exchanges.contract.feed import Dialect
from actors.exchanges.registry import EXCHANGES
from actors.feed.sharding import ConnectionSpec, shard
from actors.model.symbols import parse_symbol
from actors.settings import ExchangeSettings
from actors.wire.dial import parse_url
from ops.doctor.advice import Trouble
from ops.doctor.clock import Dated, judge
from ops.doctor.feed import examine_feed
from ops.doctor.findings import Chart, Finding, State, Step, Stop
from ops.doctor.history import examine_history
from ops.doctor.network import reach
from ops.doctor.probe_session import Talk
from ops.doctor.silent import examine_silent

Tell = Callable[[str], None]
_CONNECTION_STEPS = tuple(step for step in Step if step not in (Step.REST, Step.CLOCK))


@dataclass(frozen=True, slots=True)
class Report:
    """All findings about one exchange, connection by connection; those about REST and the clock come last."""

    exchange: str
    dialect: str
    endpoints: dict[str, str]
    findings: tuple[Finding, ...]

    @property
    def state(self) -> State:
        """Fails if anything does; what was skipped for a good reason does no harm."""
        failed = any(finding.state is State.FAIL for finding in self.findings)
        return State.FAIL if failed else State.PASS


async def examine(exchanges: Sequence[ExchangeSettings], wait_s: float, tell: Tell) -> list[Report]:
    """The reports in the order of `exchanges`; `tell` hears how it goes on, in lines for people.

    `wait_s` is how long a trade may take once the subscription is answered.
    """
    limiters, reports = RateLimiters(), dict[str, Report]()

    async def one(settings: ExchangeSettings) -> None:
        reports[settings.name] = report = await _examine(settings, wait_s, tell, limiters)
        tell(f"{settings.name}: {report.state}")

    async with trio.open_nursery() as nursery:
        for settings in exchanges:
            nursery.start_soon(one, settings)
    return [reports[settings.name] for settings in exchanges]


async def _examine(settings: ExchangeSettings, wait_s: float, tell: Tell, limiters: RateLimiters) -> Report:
    dialect = EXCHANGES[settings.dialect].feed
    channel = settings.channel or dialect.channels[0]
    markets = [dialect.market(parse_symbol(symbol), channel) for symbol in settings.symbols]
    plans = shard(settings, dialect, markets)
    charts = [Chart(plan.name, _CONNECTION_STEPS) for plan in plans]
    talks: list[Talk] = []

    async def connection(number: int) -> None:
        await trio.sleep(number / dialect.limits.connects_per_s)  # as far apart as the exchange wants them
        talk = await _connection(charts[number], plans[number], settings, dialect, wait_s, tell)
        if talk is not None:
            talks.append(talk)

    async with trio.open_nursery() as nursery:
        for number in range(len(plans)):
            nursery.start_soon(connection, number)
    ending = Chart(settings.name, ())
    first = next((talk.first for talk in talks if talk.first is not None), None)
    dated = None
    try:
        market = first.market if first else markets[0]
        dated = await examine_history(ending, settings, channel, market, first, limiters)
    except Stop:
        pass  # the chart has it, and the clock can do without
    traded = {symbol for talk in talks for symbol in talk.traded}
    if talks:
        silent = [market for market in markets if market.symbol not in traded]
        await examine_silent(ending, settings, channel, silent, sorted(traded), limiters)
    _examine_clock(ending, talks, dated)
    findings = [finding for chart in (*charts, ending) for finding in chart.findings]
    return Report(settings.name, settings.dialect, {plan.name: plan.url for plan in plans}, tuple(findings))


async def _connection(
    chart: Chart, plan: ConnectionSpec, settings: ExchangeSettings, dialect: Dialect, wait_s: float, tell: Tell
) -> Talk | None:
    """All steps of one connection; None where it did not come so far that anything was said."""
    talk = None
    try:
        await reach(chart, parse_url(plan.url), settings)
        talk = await examine_feed(chart, plan, settings, dialect, wait_s, lambda line: tell(f"{plan.name}: {line}"))
    except Stop:
        pass  # the chart has it
    chart.skip_rest()
    return talk


def _examine_clock(chart: Chart, talks: Sequence[Talk], dated: Dated | None) -> None:
    trades = sum(talk.timed for talk in talks)
    lag_ns = min((talk.lag_ns for talk in talks), default=math.inf)
    try:
        said = judge(trades, lag_ns, dated)
    except Trouble as trouble:
        chart.add(Step.CLOCK, State.FAIL, None, str(trouble), trouble.advice)
    else:
        state = State.SKIPPED if said is None else State.PASS
        chart.add(Step.CLOCK, state, None, said or "neither a trade nor an answer of REST told a time")
