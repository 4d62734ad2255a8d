"""The feed of one connection in timed steps: WebSocket, subscription, its answers, the first trade."""

from collections.abc import Callable
from contextlib import AsyncExitStack, suppress

import trio

from actors.exchanges.contract.feed import Dialect
from actors.feed.sharding import ConnectionSpec
from actors.settings import ExchangeSettings
from actors.wire.dial import client_context
from actors.wire.websocket import WebSocket, WebSocketLimits, connect
from ops.doctor.advice import PROXY, Trouble
from ops.doctor.findings import Chart, Step, Stop
from ops.doctor.probe_session import Talk

ANSWERS_S = 120.0  # all answers together: a thousand markets that are asked for one by one take their time
NOTICE_S = 1.0  # a trade that has not come by then is worth a word to whoever waits
MORE_S = 2.0  # how long the other markets may take after the first trade to show one too
NAMES_MAX = 5  # of markets in one line

Tell = Callable[[str], None]


async def examine_feed(
    chart: Chart,
    plan: ConnectionSpec,
    settings: ExchangeSettings,
    dialect: Dialect,
    wait_s: float,
    tell: Tell,
) -> Talk:
    """Takes the steps from WEBSOCKET to TRADE and returns what was said; raises Stop at the first that fails.

    A refusal of some of the markets is a failure, but the others may show a trade all the same.
    """
    talk = Talk(plan, settings, dialect)
    limits = WebSocketLimits(message_bytes=dialect.limits.message_bytes)
    async with AsyncExitStack() as stack:
        with chart.step(Step.WEBSOCKET) as note:
            tls = client_context(settings.ca_file) if plan.url.startswith("wss:") else None
            opening = connect(plan.url, sink=talk.sink, limits=limits, ssl_context=tls)
            wire = await stack.enter_async_context(opening)
            note.found = "a connection of its own, from TCP to the answered handshake"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk.follow, wire)
            nursery.start_soon(talk.ping, wire)
            with suppress(Stop):  # the chart has it; out of a nursery it would come in a group
                await _converse(chart, talk, wire, wait_s, tell)
            nursery.cancel_scope.cancel()
    return talk


async def _converse(chart: Chart, talk: Talk, wire: WebSocket, wait_s: float, tell: Tell) -> None:
    with chart.step(Step.SUBSCRIBE) as note:
        requests = await talk.subscribe(wire)
        note.found = f"asked for {_count(len(talk.markets), 'market')} in {_count(requests, 'request')}"
    try:
        with chart.step(Step.ACKNOWLEDGED) as note:
            with trio.move_on_after(ANSWERS_S):
                await talk.settle(wire)
            note.found = _answers(talk)
            note.took_s = trio.current_time() - talk.first_asked_at
    except Stop:
        if not talk.subscription.confirmed:
            raise
    with chart.step(Step.TRADE) as note:
        answered = trio.current_time()
        if wait_s > NOTICE_S and not await talk.until(lambda: talk.first, answered + NOTICE_S):
            tell(f"waiting up to {wait_s:g} s for a trade")
        await talk.until(lambda: talk.first, answered + wait_s)
        if talk.first is None:
            raise _no_trade(talk, wait_s)
        note.took_s = talk.first.at - talk.first_asked_at
        markets = len(talk.subscription.confirmed)
        await talk.until(lambda: len(talk.traded) >= markets, talk.first.at + MORE_S)
        note.found = f"{talk.first.market.symbol} at {talk.first.price}"
        if markets > 1:
            note.found += f"; {len(talk.traded)} of {markets} markets have traded"
        if talk.rejects:
            note.found += f"; {_count(talk.rejects, 'message')} made no sense ({talk.reject})"


def _answers(talk: Talk) -> str:
    """What became of the subscription; raises Trouble unless all of it was acknowledged."""
    subscription, wanted = talk.subscription, len(talk.markets)
    if not (subscription.refused or subscription.pending):
        return f"all {wanted}" if wanted > 1 else "yes"
    parts, advice = [f"{len(subscription.confirmed)} of {wanted}"], []
    if subscription.refused:
        words = list(dict.fromkeys(subscription.refused.values()))
        parts.append(f"refused: {_names(talk, subscription.refused)} ({'; '.join(words[:NAMES_MAX])})")
        advice.append("take the refused symbols out, or write them as the exchange's list of markets has them")
    if subscription.held:
        words = list(dict.fromkeys(subscription.held.values()))
        parts.append(f"put off: {_names(talk, subscription.held)} ({'; '.join(words[:NAMES_MAX])})")
        advice.append("wait a little: that is about the exchange or the rate of requests, not about these markets")
    if silent := {native: None for native in subscription.pending if native not in subscription.held}:
        parts.append(f"no answer: {_names(talk, silent)}")
        advice.append("check that the url leads to this exchange, and that these markets exist")
    raise Trouble("; ".join(parts), "; ".join(advice))


def _no_trade(talk: Talk, wait_s: float) -> Trouble:
    if talk.condition:
        said = f"none within {wait_s:g} s, and the exchange says: {talk.condition}"
        return Trouble(said, "wait until it trades again")
    if talk.rejects:
        said = f"none within {wait_s:g} s, but {_count(talk.rejects, 'message')} that made no sense ({talk.reject})"
        return Trouble(said, f"the exchange may have changed its messages, or {PROXY}")
    said = f"none within {wait_s:g} s" + (f", only {talk.resent} old ones" if talk.resent else "")
    return Trouble(
        said,
        "a quiet market is possible: try a longer --wait, or a busier symbol; if that is silent too, the endpoint "
        "is not what it seems (retired ones acknowledge and send nothing), as is a symbol that does not exist",
    )


def _names(talk: Talk, natives: dict[str, str] | dict[str, None]) -> str:
    names = [talk.markets[native].symbol for native in list(natives)[:NAMES_MAX]]
    more = len(natives) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")
