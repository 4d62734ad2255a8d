"""The REST API of one loopback exchange, with its faults and its rate limit."""

import random
from collections.abc import Sequence

import trio

from actors.exchanges.contract.loopback_rest import HttpRequest, HttpResponse, ListedMarket, Meter, Tape
from ops.sandbox.exchange import Exchange

HTML = {"content-type": "text/html"}
GONE = HttpResponse("<html><body><h1>503 Service Unavailable</h1></body></html>", 503, HTML)
ONLY_GET = HttpResponse("only GET is served here\n", 405)
NOT_FOUND = HttpResponse("there is nothing here\n", 404)
FAILURE = HttpResponse("<html><body><h1>500 Internal Server Error</h1></body></html>", 500, HTML)
RETRY_AFTER_S = 2
IN_FLIGHT_S = 1.0  # a request may have been sent before its client, on a busy machine, had read the demand


class RestApi:
    """Answers one exchange's REST requests; all clients share one address, because they are on loopback.

    Counts in the exchange's `struck`: "rate_limit" for each request beyond the exchange's documented limit,
    "rest_impatient" for each before a Retry-After has passed, and the faults by name.
    """

    def __init__(self, exchange: Exchange) -> None:
        self._exchange, self._venue = exchange, exchange.venue
        history = self._venue.history
        self._meter = Meter(history.units, history.window_s) if history is not None else None
        self._listed = [ListedMarket(row.symbol, row.native, row.category) for row in exchange.listings.values()]
        self._told_at = self._not_before = 0.0
        self._clients = 0  # that were forgotten
        self._rng = random.Random(f"{exchange.venue.name}/rest")  # noqa: S311 - the markets' own stay untouched

    @property
    def paths(self) -> tuple[str, ...]:
        """Where it is asked about old trades, the list of markets and tokens; those ending in / have more below."""
        history, listing = self._venue.history, self._venue.listing
        return (*(history.paths if history else ()), *(listing.paths if listing else ()), *self._venue.tokens)

    def serves(self, path: str) -> bool:
        """Whether a path is this exchange's."""
        return _among(path, self.paths)

    def collides(self, other: "RestApi") -> bool:
        """Whether both serve the same path."""
        return any(map(self.serves, other.paths)) or any(map(other.serves, self.paths))

    async def answer(self, request: HttpRequest) -> HttpResponse:
        """The exchange's answer, or what a fault makes of it."""
        faults, struck, now = self._exchange.faults(), self._exchange.struck, trio.current_time()
        struck["rest"] += 1
        if self._told_at + IN_FLIGHT_S < now < self._not_before:
            struck["rest_impatient"] += 1
        history, token = self._venue.history, self._venue.tokens.get(request.path)
        listed, cost = self._listed_for(request)
        if token is None and listed is None and history is not None:
            cost = history.cost(request)
        if history is not None and self._meter is not None and not self._meter.allows(cost, now):
            struck["rate_limit"] += 1
            return self._turned_away(history.too_many)
        if self._exchange.outage.down:
            return GONE
        if faults["rest_slow"]:
            struck["rest_slow"] += 1
            clients = self._clients
            await trio.sleep(faults["rest_slow"])
            if clients != self._clients:
                return GONE
        if self._rng.random() < faults["rest_429"]:
            struck["rest_429"] += 1
            body = history.too_many.body if history is not None else ""
            return self._turned_away(HttpResponse(body, 429, {"retry-after": str(RETRY_AFTER_S)}))
        if self._rng.random() < faults["rest_fail"]:
            struck["rest_fail"] += 1
            return FAILURE
        if token is not None:
            return token(request)
        if listed is not None:
            return listed
        if history is None or not _among(request.path, history.paths):
            return NOT_FOUND
        if request.body is not None and not history.posts:
            return ONLY_GET
        return history.answer(request, self._tape)

    def _listed_for(self, request: HttpRequest) -> tuple[HttpResponse | None, float]:
        """The list of markets and what it costs; None where it is not asked for.

        One path may serve list and history, told apart by the body: hyperliquid's /info.
        """
        listing = self._venue.listing
        if listing is None or not _among(request.path, listing.paths):
            return None, 1.0
        return listing.answer(request, self._listed), listing.cost(request)

    def forget_client(self) -> None:
        """Forgets what was asked, and the demand to wait: the next client knows of neither."""
        self._not_before = 0.0
        self._clients += 1
        if self._meter is not None:
            self._meter.clear()

    def _turned_away(self, reply: HttpResponse) -> HttpResponse:
        """Starts to check whether the client waits as long as requested."""
        wait_s = float(reply.headers.get("retry-after", 0))
        now = trio.current_time()
        if now >= self._not_before:
            self._told_at = now
        self._not_before = max(self._not_before, now + wait_s)
        return reply

    def _tape(self, category: str, native: str) -> Tape | None:
        row = self._exchange.listings.get((category, native))
        if row is None:
            return None
        market = self._exchange.markets.get((category, native))
        return Tape(native, market, list(self._exchange.truth.get(row.symbol, ())))


def _among(path: str, own: Sequence[str]) -> bool:
    """Whether a path is one of these, or below one that ends with a slash."""
    return any(path == one or (one.endswith("/") and path.startswith(one)) for one in own)
