"""The REST API of one loopback exchange, with its faults and its rate limit."""

import random

import trio

from actors.exchanges.contract.loopback_rest import Meter, Past, Question, Reply, Tape
from ops.sandbox.exchange import Exchange

GONE = Reply("<html><body><h1>503 Service Unavailable</h1></body></html>", 503, {"content-type": "text/html"})
ONLY_GET = Reply("only GET is served here\n", 405)
FAILURE = Reply("<html><body><h1>500 Internal Server Error</h1></body></html>", 500, {"content-type": "text/html"})
RETRY_AFTER_S = 1


class RestApi:
    """Answers one exchange's REST questions; all clients share one address, as on loopback they do.

    Counts in the exchange's `struck`: "rate_limit" for each request beyond the exchange's documented limit,
    "rest_impatient" for each before a Retry-After was over, and the faults by their names.
    """

    def __init__(self, exchange: Exchange, past: Past) -> None:
        self._exchange, self._past = exchange, past
        self._meter = Meter(past.units, past.window_s)
        self._not_before = 0.0
        self._rng = random.Random(f"{exchange.venue.name}/rest")  # noqa: S311 - the markets' own stay untouched

    def serves(self, path: str) -> bool:
        """Whether a path is this exchange's."""
        return any(path == own or (own.endswith("/") and path.startswith(own)) for own in self._past.paths)

    async def answer(self, question: Question) -> Reply:
        """The exchange's answer, or what a fault makes of it."""
        faults, struck, now = self._exchange.faults(), self._exchange.struck, trio.current_time()
        struck["rest"] += 1
        if now < self._not_before:
            struck["rest_impatient"] += 1
        if not self._meter.allows(self._past.cost(question), now):
            struck["rate_limit"] += 1
            return self._turned_away(self._past.too_many)
        if question.body is not None and not self._past.posts:
            return ONLY_GET
        if self._exchange.outage.down:
            return GONE
        if faults["rest_slow"]:
            struck["rest_slow"] += 1
            await trio.sleep(faults["rest_slow"])
        if self._rng.random() < faults["rest_429"]:
            struck["rest_429"] += 1
            return self._turned_away(Reply(self._past.too_many.body, 429, {"retry-after": str(RETRY_AFTER_S)}))
        if self._rng.random() < faults["rest_fail"]:
            struck["rest_fail"] += 1
            return FAILURE
        return self._past.answer(question, self._tape)

    def _turned_away(self, reply: Reply) -> Reply:
        """From now on it is watched whether the client keeps away for as long as it was asked to."""
        wait_s = float(reply.headers.get("retry-after", 0))
        self._not_before = max(self._not_before, trio.current_time() + wait_s)
        return reply

    def _tape(self, category: str, native: str) -> Tape | None:
        row = self._exchange.listings.get((category, native))
        if row is None:
            return None
        market = self._exchange.markets.get((category, native))
        return Tape(native, market, list(self._exchange.truth.get(row.symbol, ())))
