"""Tests all exchanges at the same time: the connections of the service, REST, the clock."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import trio
from msgspec.structs import replace

from actors.backfill.instruments import REST_LIMITS, ListService, limiter_of, read_list
from actors.backfill.rate_limiter import RateLimiters
from actors.backfill.rest_client import RestClient
from actors.exchanges.contract.exchange import Exchange
from actors.exchanges.contract.feed import Market
from actors.exchanges.contract.instruments import Instrument
from actors.exchanges.registry import EXCHANGES
from actors.exchanges.selection import Listed, Selection, select
from actors.feed.sharding import shard
from actors.model.symbols import is_wildcard, parse_symbol, parse_wildcard
from actors.recorder import feed_settings
from actors.settings import ExchangeSettings
from actors.wire.observer import ConnectionStep
from ops.doctor.advice import Trouble
from ops.doctor.clock import Dated, judge
from ops.doctor.feed import FeedLimits, examine_feed
from ops.doctor.findings import Chart, Finding, State, Step, Stop
from ops.doctor.history import examine_history
from ops.doctor.probe_session import Probe
from ops.doctor.silent import examine_silent

Notify = Callable[[str], None]
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
        """Fails if any finding does; skipped steps do not matter."""
        failed = any(finding.state is State.FAIL for finding in self.findings)
        return State.FAIL if failed else State.PASS


async def examine(
    exchanges: Sequence[ExchangeSettings], wait_s: float, notify: Notify, limits: FeedLimits | None = None
) -> list[Report]:
    """The reports in the order of `exchanges`; `notify` receives lines on the progress, for people.

    `wait_s` is how long a trade may take once the subscription is answered.
    """
    limiters, reports = RateLimiters(), dict[str, Report]()

    async def one(settings: ExchangeSettings) -> None:
        reports[settings.name] = report = await _examine(settings, wait_s, notify, limiters, limits or FeedLimits())
        notify(f"{settings.name}: {report.state}")

    async with trio.open_nursery() as nursery:
        for settings in exchanges:
            nursery.start_soon(one, settings)
    return [reports[settings.name] for settings in exchanges]


async def _listed(
    settings: ExchangeSettings, exchange: Exchange, notify: Notify, limiters: RateLimiters
) -> tuple[Mapping[str, Instrument], Sequence[str]]:
    """The markets in the exchange's list, by symbol, and why others could not be read.

    It is read for wildcards, and where a wrong name would close the connection. The connections are tested after
    it, so it is requested once, and the first problem ends it.
    """
    instruments, history = exchange.instruments, exchange.history
    needed = exchange.feed.bad_symbol_closes or any(map(is_wildcard, settings.symbols))
    if instruments is None or not settings.has_rest or not needed:
        return {}, ()
    rest = RestClient(
        ListService(instruments.base, history),
        limiter_of(limiters, history, settings.rest_url),
        rest_url=settings.rest_url,
        ca_file=settings.ca_file,
        limits=replace(REST_LIMITS, tries=1),
    )
    notify(f"{settings.name}: reading the list of markets")
    read = await read_list(instruments, rest, problems_max=1)
    return read.found, read.problems


async def _markets(
    chart: Chart,
    settings: ExchangeSettings,
    exchange: Exchange,
    channel: str,
    notify: Notify,
    limiters: RateLimiters,
) -> Sequence[Market]:
    """The markets to test: the configured symbols, or one market of each wildcard if there are only wildcards.

    Every wildcard gets a finding, because one that matches no market records nothing. If none matches, an example
    of the exchange shows whether the connection works.
    """
    listed, problems = await _listed(settings, exchange, notify, limiters)
    dialect = exchange.feed
    wildcards = [symbol for symbol in settings.symbols if is_wildcard(symbol)]
    symbols = [symbol for symbol in settings.symbols if not is_wildcard(symbol)]
    matches: dict[str, Market] = {}
    for text in wildcards:
        selection = select([text], exchange, channel, Listed(listed), exchanges=EXCHANGES)
        _examine_wildcard(chart, text, selection, problems)
        likely = [example for example in dialect.examples if example in selection.markets]  # these trade often
        matches |= {symbol: selection.markets[symbol] for symbol in (likely or [*selection.markets])[:1]}
    if matches and not symbols:
        return list(matches.values())
    kinds = {parse_wildcard(text).kind for text in wildcards}
    fitting = [example for example in dialect.examples if parse_symbol(example).kind in kinds]
    return [
        dialect.market_listed(listed[symbol], channel)
        if symbol in listed and listed[symbol].active
        else dialect.market(parse_symbol(symbol), channel)
        for symbol in symbols or fitting[:1] or dialect.examples[:1]
    ]


def _examine_wildcard(chart: Chart, text: str, selection: Selection, problems: Sequence[str]) -> None:
    """`problems` are those with the list."""
    matched = selection.matched[text]
    if matched and not selection.problems:
        chart.add(Step.REST, State.PASS, None, f"{text} matches {matched:,} of the listed markets")
    elif problems and not matched:
        found = f"{text}: the list of markets cannot be read: {problems[0]}"
        chart.add(Step.REST, State.FAIL, None, found, "check rest_url and the firewall: wildcards wait for it")
    else:
        found = selection.problems[0] if selection.problems else f"{text} matches no market that can be recorded"
        chart.add(Step.REST, State.FAIL, None, found, "correct it, or remove it")


async def _examine(
    settings: ExchangeSettings, wait_s: float, notify: Notify, limiters: RateLimiters, limits: FeedLimits
) -> Report:
    exchange = EXCHANGES[settings.dialect]
    dialect = exchange.feed
    # A second connection that delivers the same shows nothing more, unless it is configured.
    feed = feed_settings(replace(settings, redundancy=settings.redundancy or 1), exchange)
    channel = feed.channel
    ending = Chart(settings.name, ())
    markets = await _markets(ending, settings, exchange, channel, notify, limiters)
    specs = shard(feed, dialect, markets)
    charts = [Chart(spec.name, _CONNECTION_STEPS) for spec in specs]
    probes: list[Probe] = []

    async def connection(number: int) -> None:
        await trio.sleep(number / dialect.limits.connects_per_s)  # as far apart as the exchange requires
        spec, chart = specs[number], charts[number]
        probe = await examine_feed(
            chart, spec, feed, dialect, wait_s, lambda line: notify(f"{spec.name}: {line}"), limits
        )
        chart.skip_rest()
        if ConnectionStep.OPENED in probe.at:
            probes.append(probe)

    async with trio.open_nursery() as nursery:
        for number in range(len(specs)):
            nursery.start_soon(connection, number)
    first = next((probe.first for probe in probes if probe.first is not None), None)
    dated = None
    try:
        market = first.market if first else markets[0]
        dated = await examine_history(ending, settings, channel, market, first, limiters)
    except Stop:
        pass  # the chart has the failure, and the clock step can do without
    traded = {symbol for probe in probes for symbol in probe.traded}
    if probes:
        silent = [market for market in markets if market.symbol not in traded]
        await examine_silent(ending, settings, channel, silent, sorted(traded), limiters)
    _examine_clock(ending, probes, dated)
    findings = [finding for chart in (*charts, ending) for finding in chart.findings]
    return Report(settings.name, settings.dialect, {spec.name: spec.url for spec in specs}, tuple(findings))


def _examine_clock(chart: Chart, probes: Sequence[Probe], dated: Dated | None) -> None:
    trades = sum(probe.timed for probe in probes)
    lag_ns = min((probe.lag_ns for probe in probes), default=math.inf)
    try:
        found = judge(trades, lag_ns, dated)
    except Trouble as trouble:
        chart.add(Step.CLOCK, State.FAIL, None, str(trouble), trouble.advice)
    else:
        state = State.SKIPPED if found is None else State.PASS
        chart.add(Step.CLOCK, state, None, found or "neither a trade nor an answer of REST had a time")
