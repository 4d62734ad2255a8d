"""Detects feeds that withhold trades, as opposed to quiet markets, and has their connections replaced.

A market is examined when its newest trade is older than its own intervals explain. That alone proves nothing. It is
a stall if the coin is traded on the other exchanges, if another connection delivers it, or if the history of this
exchange has trades that did not arrive. Then a gap is opened, a second connection takes over, and the history is
queried for the missing trades.
"""

import math
import time
from collections.abc import Iterable
from functools import partial
from typing import Protocol

from msgspec import Struct

from actors.continuity.continuity import Continuity
from actors.feed.connection import Connection
from actors.feed.connection_pool import OVERLAP_S, ConnectionPool
from actors.feed.interarrival import PATIENCE_S_MAX, Interarrival
from actors.feed.peer_activity import PeerActivity
from actors.feed.ticker import ticker
from actors.model.records import GapReason
from supervisor import Context

# How often all markets are looked at: a share of the shortest silence that may be suspicious, within these limits.
TICK_SHARE = 0.2
TICK_S_MIN, TICK_S_MAX = 1.0, 2.0
LATE_S = 5.0  # a check this late means that our loop was blocked, and data is still to be read
# One connection may have a trade a little before another, and a connection being replaced is no news.
BEHIND_S = 2 * OVERLAP_S
SHOWN_MAX = 10  # stalled markets that health names
NEVER = -1.0  # a time before all others: there was no trade


class StallLimits(Struct, frozen=True, kw_only=True):
    """How long the stall detector waits; seconds."""

    answer_s: float = 60.0  # the wait for the history, before the other exchanges decide
    repeat_s: float = 300.0  # the maximum time until a lasting stall is detected again


DEFAULT_STALL_LIMITS = StallLimits()

# a market, the connections that do not deliver it, all connections that should, and when this was found
_Silence = tuple[str, list[Connection], list[Connection], float]


class Probes(Protocol):
    """Probes of the exchange's history, see actors.backfill.stall_probe."""

    def ask(self, symbol: str, silent_s: float) -> None:
        """Requests a probe: are there trades of the last `silent_s` that did not arrive? No effect while one is
        running.
        """

    def answer(self, symbol: str, since: float) -> bool | None:
        """Takes the answer to a probe requested after `since` (trio's clock); None while there is none."""


class StallDetector:
    """The exchange owns it: what it has learnt survives crashes of the task that runs `run`.

    `least_s` is the shortest silence of a market that may be suspicious; `probes` is None if there is no history.
    """

    def __init__(
        self,
        exchange: str,
        pool: ConnectionPool,
        continuity: Continuity,
        peers: PeerActivity,
        probes: Probes | None,
        *,
        least_s: float,
        limits: StallLimits,
    ) -> None:
        self._exchange, self._least_s = exchange, least_s
        self._tick_s = max(TICK_S_MIN, min(TICK_S_MAX, TICK_SHARE * least_s))
        self._pool, self._continuity = pool, continuity
        self._peers, self._probes, self._limits = peers, probes, limits
        self._interarrivals: dict[str, Interarrival] = {}
        self._last: dict[str, float] = {}  # when each market last had a trade on any connection
        self._asked: dict[str, float] = {}  # since when an answer about each market is awaited
        self._stalled: dict[str, str] = {}  # stalled markets, and the evidence
        self._behind: dict[str, float] = {}  # since when one connection delivers what another does not
        self._uneven: dict[str, str] = {}  # the message about it, once it has lasted long enough
        self._condition = ""  # the exchange's own status
        self._looked_at = self._awake_since = -math.inf
        self._silent: list[_Silence] = []  # to be judged
        self._reported = ""

    async def run(self, context: Context) -> None:
        """Runs until cancelled."""
        context.ok()
        self._reported = ""  # by the run before, of which health shows nothing now
        while True:
            every_s = TICK_S_MIN if self._pool.replacing else self._tick_s  # a replacement goes on by these looks
            await ticker().repeat(partial(self._check, context), every_s)
            for event, reason in await self._pool.look():
                context.note(event, reason)
            for silence in self._silent:
                await self._judge(context, *silence)
            self._report(context)

    def _check(self, context: Context, now: float) -> bool:
        """Looks at all markets; returns whether there is anything to do about them."""
        self._silent = self._look(now)
        self._note_condition(context)
        self._report(context)
        context.handled(0)
        return bool(self._silent) or self._pool.to_replace

    def _report(self, context: Context) -> None:
        """Shows stalled markets and the exchange's status in health."""
        reason = ""
        if self._stalled or self._uneven or self._condition:
            parts = [*self._stalled.values(), *self._uneven.values()][:SHOWN_MAX]
            if self._condition:
                parts.insert(0, f"{self._exchange} reports: {self._condition}")
            reason = "; ".join(parts)
        if reason and reason != self._reported:
            context.degraded(reason)
        elif not reason:
            context.ok()
        self._reported = reason

    def _note_condition(self, context: Context) -> None:
        """Reports the exchange's status once, although several connections receive it."""
        conditions = [connection.state.condition for connection in self._pool.connections]
        condition = ", ".join(dict.fromkeys(filter(None, conditions))) if any(conditions) else ""
        if condition != self._condition:
            self._condition = condition
            context.note("condition", condition or "normal again")

    def _look(self, now: float) -> list[_Silence]:
        """Notes what was traded; returns the markets that are silent for too long."""
        if now - self._looked_at > LATE_S:
            self._awake_since = now
        self._looked_at = now
        carriers = self._carriers()
        for symbol in list(self._stalled):
            if all(connection.state.halted for connection in carriers.get(symbol, ())):
                del self._stalled[symbol]  # closed connections, or a halted exchange, are what matters now
        if self._behind:
            for symbol in self._behind.keys() - carriers.keys():
                self._level(symbol)
        recent = now - min(self._least_s, self._limits.repeat_s)  # since then no silence can be too long
        traded = set[str]()
        silences: list[_Silence] = []
        for symbol, connections in carriers.items():
            times = [connection.state.last_trade_at.get(symbol, NEVER) for connection in connections]
            if self._has_traded(symbol, connections, max(times), now):
                traded.add(_coin(symbol))
            silent = self._too_long(symbol, connections, now) if min(times) < recent else []
            if silent:
                for connection in silent:  # what it has read may be trades, or the exchange's status
                    connection.decode()
                silent = self._too_long(symbol, silent, now)
            if silent:
                silences.append((symbol, silent, connections, now))
            elif self._behind:
                self._level(symbol)
        self._peers.traded(self._exchange, traded, now)
        return silences

    def _carriers(self) -> dict[str, list[Connection]]:
        """The connections that deliver each market."""
        carriers: dict[str, list[Connection]] = {}
        for connection in self._pool.connections:
            for symbol in connection.state.since:
                carriers.setdefault(symbol, []).append(connection)
        return carriers

    def _too_long(self, symbol: str, connections: Iterable[Connection], now: float) -> list[Connection]:
        """Those whose silence about the market is longer than its intervals explain."""
        interarrival = self._interarrival(symbol)
        at_most_s = self._limits.repeat_s if symbol in self._stalled else PATIENCE_S_MAX
        return [c for c in connections if interarrival.due(self._idle_since(c, symbol), now, at_most_s)]

    def _interarrival(self, symbol: str) -> Interarrival:
        found = self._interarrivals.get(symbol)
        if found is None:  # setdefault would create one for each look
            found = self._interarrivals[symbol] = Interarrival(self._least_s)
        return found

    def _idle_since(self, connection: Connection, symbol: str) -> float:
        return max(connection.state.idle_since(symbol), self._awake_since)

    def _watched_since(self, connection: Connection, symbol: str) -> float:
        """Since when its silence would have been the market's own; inf if it does not deliver it: decoding for
        another market may have ended the subscription.
        """
        state = connection.state
        since = state.since.get(symbol, math.inf)
        return max(since, state.reading_since, state.matching_since, self._awake_since)

    def _has_traded(self, symbol: str, connections: Iterable[Connection], last: float, now: float) -> bool:
        """Whether the market had trades since the last check, now that it `last` had one; learns from the silence
        before them.
        """
        before = self._last.get(symbol, NEVER)
        if last <= before:
            return False
        self._last[symbol] = last
        self._asked.pop(symbol, None)
        interarrival = self._interarrival(symbol)
        own = before > NEVER and any(self._watched_since(c, symbol) <= before for c in connections)
        if self._stalled.pop(symbol, None) is None and own:
            # the pause between two checks is not the market's own
            interarrival.traded(max(0.0, last - before - self._tick_s), now)
        else:
            interarrival.traded_after_loss()
        return True

    async def _judge(
        self, context: Context, symbol: str, silent: list[Connection], connections: list[Connection], now: float
    ) -> None:
        silent = self._too_long(symbol, silent, now)
        if not silent:  # they have ended, or begun again, since that was found
            return
        interarrival = self._interarrival(symbol)
        since = min(self._idle_since(connection, symbol) for connection in silent)
        others = [c for c in connections if c not in silent and c.state.last_trade_at.get(symbol, NEVER) > since]
        if others:
            await self._fall_behind(context, symbol, silent, others[0], now)
            return
        self._level(symbol)
        evidence = self._evidence(symbol, since, now)
        if evidence is None:
            return
        self._asked.pop(symbol, None)
        interarrival.doubted(now)
        if not evidence:
            self._stalled.pop(symbol, None)
            return
        rule = f", usually {interarrival.rule_s:.3g} s" if interarrival.known else ""
        why = f"{symbol} silent for {now - since:.0f} s{rule}: {evidence}"
        self._stalled[symbol] = why
        now_ns = time.time_ns()
        self._continuity.suspect(symbol, now_ns, GapReason.STALL, now_ns - int((now - since) * 1e9))
        context.note("stalled", why, symbol=symbol, connections=[connection.spec.name for connection in silent])
        for connection in silent:
            await self._pool.replace(connection, why)

    async def _fall_behind(
        self, context: Context, symbol: str, silent: list[Connection], other: Connection, now: float
    ) -> None:
        """Handles a connection that lacks what another delivers: nothing is missing, but it is not reliable."""
        if now - self._behind.setdefault(symbol, now) < BEHIND_S:
            return
        for connection in silent:
            why = f"{symbol} silent on {connection.spec.name}: {other.spec.name} delivers it"
            self._uneven.setdefault(symbol, why)
            if await self._pool.replace(connection, why):
                context.note("stalled", why, symbol=symbol, connections=[connection.spec.name])

    def _level(self, symbol: str) -> None:
        self._behind.pop(symbol, None)
        self._uneven.pop(symbol, None)

    def _evidence(self, symbol: str, since: float, now: float) -> str | None:
        """The evidence that a silent market is stalled; "" for none, None while unknown.

        The other exchanges are believed at once if a market exceeds its usual intervals, and if there is no
        history; otherwise the history decides, or they do if it does not answer.
        """
        coin = _coin(symbol)
        busy = self._peers.busy(self._exchange, coin, since)
        elsewhere = f"{coin} is traded on {', '.join(busy)}" if busy else ""
        if self._probes is None or (busy and self._interarrival(symbol).known and symbol not in self._stalled):
            return elsewhere  # a quiet market alone proves nothing
        missed = self._probes.answer(symbol, since)
        if missed is not None:
            return "its history has newer trades" if missed else ""
        self._probes.ask(symbol, now - since)
        late = now - self._asked.setdefault(symbol, now) > self._limits.answer_s
        return elsewhere if late and busy else None


def _coin(symbol: str) -> str:
    return symbol.partition("/")[0]  # in the form of unified symbols
