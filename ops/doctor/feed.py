"""Tests the feed of one connection in the service's own steps: from the host's name to the first trade."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import trio

from actors.exchanges.contract.feed import Dialect
from actors.feed.connection_state import WATCH_S
from actors.feed.session import NotSubscribed
from actors.feed.sharding import ConnectionSpec
from actors.settings import FeedSettings
from actors.wire.dial import Target, parse_url
from actors.wire.errors import CannotConnect, NetworkTimeout
from actors.wire.observer import ConnectionStep
from actors.wire.websocket import WebSocketLimits
from ops.doctor.advice import PROXY, Trouble, on_connect, on_name
from ops.doctor.findings import Chart, Note, State, Step, Stop
from ops.doctor.probe_session import Probe
from supervisor import leaves

NAMES_MAX = 5  # of markets in one line

Notify = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedLimits:
    """How long the steps may take, in seconds; `websocket` None: as in the service.

    - `answers_s` for all answers together: a thousand markets requested one by one take their time.
    - `notice_s` without a trade are reported to the user who waits.
    - `more_s` after the first trade the other markets may still deliver one too.
    """

    answers_s: float = 120.0
    notice_s: float = 1.0
    more_s: float = 2.0
    websocket: WebSocketLimits | None = None


async def examine_feed(
    chart: Chart,
    plan: ConnectionSpec,
    settings: FeedSettings,
    dialect: Dialect,
    wait_s: float,
    notify: Notify,
    limits: FeedLimits,
) -> Probe:
    """Takes the steps from RESOLVE to TRADE, up to the first failure; the chart has the findings.

    A refusal of some markets is a failure, but the others may still deliver a trade.
    """
    probe = Probe(plan, settings, dialect, limits.websocket)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(probe.run)
        with suppress(Stop):
            await _open(chart, probe, parse_url(plan.url), settings)
            await _converse(chart, probe, wait_s, notify, limits)
        nursery.cancel_scope.cancel()
    return probe


async def _open(chart: Chart, probe: Probe, target: Target, settings: FeedSettings) -> None:
    reached = trio.current_time()

    async def reach(note: Note, step: ConnectionStep) -> str:
        """Waits for a step; its time counts from the one before. Returns its detail."""
        nonlocal reached
        await probe.until(lambda: step in probe.at)
        reached, note.took_s = probe.at[step], probe.at[step] - reached
        return ", ".join(probe.details[step])

    with chart.step(Step.RESOLVE) as note, _network_errors(Step.RESOLVE, target):
        note.found = await reach(note, ConnectionStep.RESOLVED)
    with chart.step(Step.CONNECT) as note, _network_errors(Step.CONNECT, target):
        address = await reach(note, ConnectionStep.CONNECTED)
        note.found = f"TCP to port {target.port} of {address}"
    if target.tls:
        with chart.step(Step.TLS) as note, _network_errors(Step.TLS, target):
            await reach(note, ConnectionStep.SECURED)
            trust = settings.ca_file or "the system's CAs"
            note.found = f"the certificate is {target.host}'s, by {trust}"
    else:
        chart.add(Step.TLS, State.SKIPPED, None, "ws:// uses none")
    with chart.step(Step.WEBSOCKET) as note:
        await reach(note, ConnectionStep.OPENED)
        note.found = "the handshake was answered"


@contextmanager
def _network_errors(step: Step, target: Target) -> Iterator[None]:
    """Adds advice to an error before the WebSocket handshake."""
    try:
        yield
    except CannotConnect as error:
        causes = _causes(error)
        if step is Step.RESOLVE:
            found = f"{target.host} cannot be resolved: {_words(causes[-1])}"
            raise Trouble(found, on_name(causes[-1])) from error
        if step is Step.CONNECT:
            raise Trouble(str(error), on_connect(causes, target.port)) from error
        raise Trouble(
            str(error),
            f"port {target.port} may not speak TLS there: check host and port, and whether ws:// is meant",
        ) from error
    except NetworkTimeout as error:
        if step is not Step.CONNECT:
            raise
        raise Trouble(str(error), on_connect([], target.port)) from error


def _causes(error: BaseException) -> list[Exception]:
    """The errors behind one, outermost first; of a group all members."""
    found: list[Exception] = []
    cause = error.__cause__
    if isinstance(cause, BaseExceptionGroup):
        return [leaf for leaf in leaves(cause) if isinstance(leaf, Exception)]
    if isinstance(cause, Exception):
        found = [cause, *_causes(cause)]
    return found


def _words(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


async def _converse(chart: Chart, probe: Probe, wait_s: float, notify: Notify, limits: FeedLimits) -> None:
    wanted = probe.markets.keys()
    with chart.step(Step.SUBSCRIBE) as note:
        await probe.until(lambda: wanted <= probe.requested, trio.current_time() + limits.answers_s)
        note.found = f"requested {_count(len(wanted), 'market')} in {_count(probe.requests, 'request')}"
    asked_at = probe.at[ConnectionStep.REQUESTED]
    try:
        with chart.step(Step.ACKNOWLEDGED) as note:
            with suppress(NotSubscribed), trio.move_on_after(limits.answers_s):
                await _settle(probe)
            note.found = _answers(probe)
            note.took_s = trio.current_time() - asked_at
    except Stop:
        if not probe.subscription.confirmed:
            raise
    with chart.step(Step.TRADE) as note:
        answered = trio.current_time()
        if wait_s > limits.notice_s and not await probe.until(lambda: probe.first, answered + limits.notice_s):
            notify(f"waiting up to {wait_s:g} s for a trade")
        await probe.until(lambda: probe.first, answered + wait_s)
        if probe.first is None:
            raise _no_trade(probe, wait_s)
        note.took_s = probe.first.at - asked_at
        markets = len(probe.subscription.confirmed)
        await probe.until(lambda: len(probe.traded) >= markets, probe.first.at + limits.more_s)
        note.found = f"{probe.first.market.symbol} at {probe.first.price}"
        if markets > 1:
            note.found += f"; {len(probe.traded)} of {markets} markets have traded"
        if probe.rejects:
            note.found += f"; {_count(probe.rejects, 'invalid message')} ({probe.reject})"


async def _settle(probe: Probe) -> None:
    """Waits until each market has its answer, or none arrived within the exchange's `ack_s`."""
    subscription = probe.subscription
    while subscription.pending.keys() - subscription.unanswered.keys():
        await probe.until(lambda: not subscription.pending, trio.current_time() + WATCH_S)


def _answers(probe: Probe) -> str:
    """The result of the subscription; raises Trouble unless all of it was acknowledged."""
    subscription, wanted = probe.subscription, len(probe.markets)
    if not (subscription.refused or subscription.pending):
        return f"all {wanted}" if wanted > 1 else "yes"
    parts, advice = [f"{len(subscription.confirmed)} of {wanted}"], []
    if subscription.refused:
        words = list(dict.fromkeys(subscription.refused.values()))
        parts.append(f"refused: {_names(probe, subscription.refused)} ({'; '.join(words[:NAMES_MAX])})")
        advice.append("remove the refused symbols, or write them as in the exchange's list of markets")
    if subscription.held:
        words = list(dict.fromkeys(subscription.held.values()))
        parts.append(f"delayed: {_names(probe, subscription.held)} ({'; '.join(words[:NAMES_MAX])})")
        advice.append("wait a little: the cause is the exchange or the request rate, not these markets")
    if silent := {native: None for native in subscription.pending if native not in subscription.held}:
        parts.append(f"no answer: {_names(probe, silent)}")
        advice.append("check that the url leads to this exchange, and that these markets exist")
    raise Trouble("; ".join(parts), "; ".join(advice))


def _no_trade(probe: Probe, wait_s: float) -> Trouble:
    if probe.state.condition:
        found = f"none within {wait_s:g} s, and the exchange reports: {probe.state.condition}"
        return Trouble(found, "wait until it trades again")
    if probe.rejects:
        found = f"none within {wait_s:g} s, but {_count(probe.rejects, 'invalid message')} ({probe.reject})"
        return Trouble(found, f"the exchange may have changed its messages, or {PROXY}")
    found = f"none within {wait_s:g} s" + (f", only {probe.resent} old ones" if probe.resent else "")
    return Trouble(
        found,
        "the market may be quiet: try a longer --wait, or a busier symbol; if that is silent too, the endpoint "
        "may be retired (then it acknowledges and sends nothing), or the symbol may not exist",
    )


def _names(probe: Probe, natives: dict[str, str] | dict[str, None]) -> str:
    names = [probe.markets[native].symbol for native in list(natives)[:NAMES_MAX]]
    more = len(natives) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")
