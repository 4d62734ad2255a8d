"""Detects feeds that withhold trades, as opposed to quiet markets, and has their connections replaced.

A market is examined when its newest trade is older than its own intervals explain. That alone proves nothing.
It is a stall if the coin is traded at the other exchanges, if another connection delivers it, or if the history of
this exchange has trades that did not arrive. Then a gap is opened, a second connection takes over, and the history
is asked for what was missed.
"""

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import trio

from actors.continuity.continuity import Continuity
from actors.feed.connection import Connection
from actors.feed.connection_pool import OVERLAP_S, ConnectionPool
from actors.feed.interarrival import PATIENCE_S_MAX, Interarrival
from actors.feed.peer_activity import PeerActivity
from actors.model.records import GapReason
from supervisor import Context

TICK_S = 1.0
LATE_S = 5.0  # a look that comes so late means that we stood still, and what came meanwhile is yet to be read
# One connection may have a trade a little before another, and one that is being replaced is no news.
BEHIND_S = 2 * OVERLAP_S
SHOWN_MAX = 10  # stalled markets that health names


@dataclass(frozen=True, slots=True, kw_only=True)
class StallLimits:
    """How long the stall detector waits; seconds."""

    answer_s: float = 60.0  # for the history, before the other exchanges decide
    repeat_s: float = 300.0  # at the latest until a stall that goes on is detected again


DEFAULT_STALL_LIMITS = StallLimits()


class Probes(Protocol):
    """Probes of the exchange's history, see actors.backfill.stall_probe."""

    def ask(self, symbol: str, silent_s: float) -> None:
        """Asks whether trades of the last so many seconds did not arrive; no effect while a probe is under way."""

    def answer(self, symbol: str, since: float) -> bool | None:
        """Takes the answer to a probe asked for after `since` (trio's clock); None while there is none."""


class StallDetector:
    """Owned by the exchange: what it has learnt outlives crashes of the task that runs `run`.

    `least_s` is the shortest silence of a market that may be suspicious; `probes` None where there is no history.
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
        self._pool, self._continuity = pool, continuity
        self._peers, self._probes, self._limits = peers, probes, limits
        self._interarrivals: dict[str, Interarrival] = {}
        self._last: dict[str, float] = {}  # when each market last had a trade on any connection
        self._asked: dict[str, float] = {}  # since when an answer about each is waited for
        self._stalled: dict[str, str] = {}  # markets that are known to be stalled, and the evidence
        self._behind: dict[str, float] = {}  # since when one connection brings what another does not
        self._uneven: dict[str, str] = {}  # the message about it, once it has lasted
        self._condition = ""  # what the exchange says of its own state
        self._looked_at = self._awake_since = -math.inf

    async def run(self, context: Context) -> None:
        """Until cancelled."""
        context.ok()
        said = ""
        while True:
            for event, reason in await self._pool.look():
                context.note(event, reason)
            await self._look(context)
            self._note_condition(context)
            parts = [*self._stalled.values(), *self._uneven.values()][:SHOWN_MAX]
            if self._condition:
                parts.insert(0, f"{self._exchange} says: {self._condition}")
            reason = "; ".join(parts)
            if reason and reason != said:
                context.degraded(reason)
            elif not reason:
                context.ok()
            said = reason
            context.handled(0)
            await trio.sleep(TICK_S)

    def _note_condition(self, context: Context) -> None:
        """The same news of several connections is one event."""
        conditions = (connection.state.condition for connection in self._pool.connections)
        said = ", ".join(dict.fromkeys(filter(None, conditions)))
        if said != self._condition:
            self._condition = said
            context.note("condition", said or "normal again")

    async def _look(self, context: Context) -> None:
        now = trio.current_time()
        if now - self._looked_at > LATE_S:
            self._awake_since = now
        self._looked_at = now
        carriers: dict[str, list[Connection]] = {}
        for connection in self._pool.connections:
            for symbol in connection.state.since:
                carriers.setdefault(symbol, []).append(connection)
        for symbol in list(self._stalled):
            if all(connection.state.halted for connection in carriers.get(symbol, ())):
                del self._stalled[symbol]  # that connections have ended, or no trades are made, is what matters now
        for symbol in self._behind.keys() - carriers.keys():
            self._level(symbol)
        heard = {_coin(symbol) for symbol in carriers if self._heard(symbol, carriers[symbol], now)}
        self._peers.traded(self._exchange, heard, now)
        for symbol, connections in carriers.items():
            interarrival, at_most_s = (
                self._interarrival(symbol),
                self._limits.repeat_s if symbol in self._stalled else PATIENCE_S_MAX,
            )
            silent = [c for c in connections if interarrival.due(self._idle_since(c, symbol), now, at_most_s)]
            if silent:
                await self._judge(context, symbol, silent, connections, now)
            else:
                self._level(symbol)

    def _interarrival(self, symbol: str) -> Interarrival:
        return self._interarrivals.setdefault(symbol, Interarrival(self._least_s))

    def _idle_since(self, connection: Connection, symbol: str) -> float:
        return max(connection.state.idle_since(symbol), self._awake_since)

    def _heard(self, symbol: str, connections: Iterable[Connection], now: float) -> bool:
        """Whether it had trades since the last look; its usual intervals are learnt from the silence before."""
        last = max(connection.state.last_trade_at.get(symbol, -1.0) for connection in connections)
        before = self._last.get(symbol)
        if last < 0 or (before is not None and last <= before):
            return False
        self._last[symbol] = last
        self._asked.pop(symbol, None)
        interarrival = self._interarrival(symbol)
        own = before is not None and any(
            max(c.state.since[symbol], c.state.reading_since, c.state.matching_since, self._awake_since) <= before
            for c in connections
        )
        if self._stalled.pop(symbol, None) is None and own and before is not None:
            interarrival.heard(max(0.0, last - before - TICK_S), now)  # the pause between two looks is not its own
        else:
            interarrival.heard_after_loss()
        return True

    async def _judge(
        self, context: Context, symbol: str, silent: list[Connection], connections: list[Connection], now: float
    ) -> None:
        interarrival = self._interarrival(symbol)
        since = min(self._idle_since(connection, symbol) for connection in silent)
        others = [c for c in connections if c not in silent and c.state.last_trade_at.get(symbol, -1.0) > since]
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
        rule = f", {interarrival.rule_s:.3g} s as a rule" if interarrival.known else ""
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
        """One connection brings what others do not: nothing is missed, but those are not to be relied on."""
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
        """What shows that a silent market is not quiet; "" for nothing, None while that is not known yet.

        The other exchanges are believed at once where a market exceeds its usual intervals, and where there is no
        history to ask; beyond that the history decides, or they do if it does not answer.
        """
        coin = _coin(symbol)
        busy = self._peers.busy(self._exchange, coin, since)
        elsewhere = f"{coin} is traded on {', '.join(busy)}" if busy else ""
        if self._probes is None or (busy and self._interarrival(symbol).known and symbol not in self._stalled):
            return elsewhere  # a quiet market alone is no reason for anything
        missed = self._probes.answer(symbol, since)
        if missed is not None:
            return "its history has newer trades" if missed else ""
        self._probes.ask(symbol, now - since)
        late = now - self._asked.setdefault(symbol, now) > self._limits.answer_s
        return elsewhere if late and busy else None


def _coin(symbol: str) -> str:
    return symbol.partition("/")[0]  # as unified symbols are written
