"""The loopback exchanges: one server on as many ports as it takes for URL paths to tell the venues apart."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import trio

from actors.exchanges.contract.loopback import Venue
from actors.exchanges.contract.loopback_market import Fill
from actors.exchanges.loopbacks import LOOPBACKS
from ops.sandbox.exchange import Exchange
from ops.sandbox.faults import Faults
from ops.sandbox.listener import Listener
from ops.sandbox.outbox import OUTBOX_FRAMES_MAX
from ops.sandbox.rest_api import RestApi
from ops.terminal.suggestions import did_you_mean

PACE_S = 0.01  # the trades of this time are made at once
PAUSE_MAX_S = 0.25
TURN_ORDERS = 200  # some 5 ms of work
PORT_MAX = 65535
RATE_MAX = 1_000_000.0
# So long before the age at which a fault closes connections the service begins to replace them.
REPLACED_WITHIN_S = 10.0
LIFETIME_S_MIN = 10.0  # that a configuration takes
SCHEMES = (("ws", "ws"), ("rest", "http"))  # both on the exchange's port


class Sandbox:
    """Loopback exchanges for demos and tests.

    Each of `exchanges` makes `rate_per_s` trades a second, spread over the markets that anybody has
    subscribed since the start; a market keeps trading when its clients have disconnected, as real ones do.
    `faults` holds for all, or by exchange name; `set_faults` changes them while it runs. The same `seed`
    makes the same trades in each market (only times differ); `ids_from` moves every first trade id, for a
    sandbox that follows another one into the same file.

    `venues` are the loopback exchanges by name. A client for which more than `outbox_frames_max` messages wait is
    cut off.

    "rate_limit" in `struck` counts what went beyond an exchange's documented limits (REST requests, connections,
    messages on one), "rest_impatient" REST requests before a Retry-After was over: a good client causes neither.

    `truth[exchange][symbol]` holds the newest `keep_truth` trades of each market, oldest first, those that
    were made before the first subscriber (and re-sent to it) among them. `struck[exchange][fault]` counts.
    `exchanges` and `rest_apis` are the loopback exchanges by name, and their REST sides.

    Each exchange is served on the first port on which no earlier one has any of its paths. `ports` are those of all
    exchanges by name, 0 before `serve` has started, `port` the first one: that of an exchange that runs alone.
    """

    def __init__(
        self,
        exchanges: Sequence[str] = tuple(LOOPBACKS),
        rate_per_s: float = 20.0,
        faults: Faults | Mapping[str, Faults] | None = None,
        seed: int = 0,
        *,
        keep_truth: int = 100_000,
        ids_from: int = 0,
        now_ns: Callable[[], int] = time.time_ns,
        outbox_frames_max: int = OUTBOX_FRAMES_MAX,
        venues: Mapping[str, Venue] = LOOPBACKS,
    ) -> None:
        for name in exchanges:
            if name not in venues:
                raise ValueError(f"no sandbox exchange is called {name!r}; {did_you_mean(name, venues)}")
        if not 0 < rate_per_s <= RATE_MAX:
            raise ValueError(f"got a rate of {rate_per_s:g}, expected above 0 to {RATE_MAX:g} a second")
        self.host = ""
        self._rate_per_s, self._outbox_frames_max = rate_per_s, outbox_frames_max
        self.exchanges = {
            name: Exchange(venues[name], seed, ids_from, keep_truth, now_ns, self._faults_of(name))
            for name in dict.fromkeys(exchanges)
        }
        self._faults = dict.fromkeys(self.exchanges, Faults())
        self.rest_apis = {name: RestApi(made) for name, made in self.exchanges.items()}
        self._listeners: list[Listener] = []
        self._listener_of = {name: self._place(name, seed) for name in self.exchanges}
        self.ports = dict.fromkeys(self.exchanges, 0)
        if isinstance(faults, Faults):
            self.set_faults(faults)
        for name, own in faults.items() if isinstance(faults, Mapping) else ():
            self.set_faults(own, name)

    def _place(self, name: str, seed: int) -> int:
        """The listener that serves an exchange."""
        for number, listener in enumerate(self._listeners):
            if listener.takes(self.exchanges[name], self.rest_apis[name]):
                return number
        self._listeners.append(Listener(seed, self._outbox_frames_max))
        return self._place(name, seed)

    def _faults_of(self, name: str) -> Callable[[], Faults]:
        return lambda: self._faults[name]

    @property
    def truth(self) -> Mapping[str, Mapping[str, Sequence[Fill]]]:
        """Every trade made (the newest `keep_truth` of a market), by exchange and unified symbol."""
        return {name: exchange.truth for name, exchange in self.exchanges.items()}

    @property
    def struck(self) -> Mapping[str, Counter[str]]:
        """How often each fault has occurred, by exchange."""
        return {name: exchange.struck for name, exchange in self.exchanges.items()}

    def symbols(self, exchange: str) -> list[str]:
        """The unified symbols that an exchange lists here."""
        return [row.symbol for row in self.exchanges[exchange].listings.values()]

    def forget_client(self) -> None:
        """Counts against no rate limit what was asked until now: a client that was killed left nobody who knows."""
        for name, exchange in self.exchanges.items():
            exchange.connects.clear()
            self.rest_apis[name].forget_client()

    def set_faults(self, faults: Faults, exchange: str | None = None) -> None:
        """Changes the faults of one exchange or all; running connections follow."""
        for name in self.exchanges if exchange is None else (exchange,):
            if name not in self.exchanges:
                raise ValueError(f"{name!r} is not running here; {did_you_mean(name, self.exchanges)}")
            self._faults[name] = faults

    @property
    def port(self) -> int:
        """The first port."""
        return next(iter(self.ports.values()), 0)

    @property
    def port_count(self) -> int:
        """How many ports are needed."""
        return len(self._listeners)

    @property
    def where(self) -> str:
        """The ports, for people."""
        numbers = [str(port) for port in dict.fromkeys(self.ports.values())]
        return f"port {numbers[0]}" if len(numbers) == 1 else f"ports {', '.join(numbers[:-1])} and {numbers[-1]}"

    def url(self, exchange: str, scheme: str) -> str:
        """Where an exchange is served by WebSocket ("ws") and REST ("http"), once it is."""
        assert self.ports[exchange], "the port is known when serve() has started"
        return f"{scheme}://{self.host}:{self.ports[exchange]}"

    def config_toml(self) -> str:
        """The tables that point a service at this server, once it serves."""
        tables = []
        for name in self.exchanges:
            symbols = ", ".join(f'"{symbol}"' for symbol in self.symbols(name))
            urls = "".join(f'{key}_url = "{self.url(name, scheme)}"\n' for key, scheme in SCHEMES)
            age_s = self._faults[name]["age"]
            lifetime = f"lifetime_s = {max(age_s - REPLACED_WITHIN_S, LIFETIME_S_MIN):g}\n" if age_s else ""
            tables.append(f"[exchanges.{name}]\n{urls}{lifetime}symbols = [{symbols}]\n")
        return "\n".join(tables)

    async def serve(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serves until cancelled, on `port` and those that follow it, or on free ones where that is 0.

        Raises OSError for a port that cannot be opened; its text names it.
        `task_status` gets the first port.
        """
        self.host = f"[{host}]" if ":" in host else host
        async with trio.open_nursery() as nursery:
            opened = []
            for number, listener in enumerate(self._listeners):
                listeners = await _listen(host, port and port + number)
                opened.append(listeners[0].socket.getsockname()[1])
                nursery.start_soon(trio.serve_listeners, listener.connection, listeners)
            self.ports = {name: opened[number] for name, number in self._listener_of.items()}
            for exchange in self.exchanges.values():
                nursery.start_soon(self._trade, exchange)
                nursery.start_soon(exchange.outage.run, exchange.drop_all)
            task_status.started(self.port)

    async def _trade(self, exchange: Exchange) -> None:
        pause_s = min(PAUSE_MAX_S, max(PACE_S, 1 / self._rate_per_s))
        due, last, made = 0.0, trio.current_time(), 0
        while True:
            await trio.sleep(pause_s)
            now = trio.current_time()
            # After a pause of the machine at most one second of trades is made up for.
            due = min(due + (now - last) * self._rate_per_s, max(1.0, self._rate_per_s))
            last = now
            markets = list(exchange.markets.values())
            while due >= 1.0 and markets:
                due -= exchange.trade(exchange.rng.choice(markets))
                made += 1
                if made % TURN_ORDERS == 0:
                    await trio.lowlevel.checkpoint()  # a flood must not block the other tasks


async def _listen(host: str, port: int) -> list[trio.SocketListener]:
    try:
        return await trio.open_tcp_listeners(port, host=host)
    except OSError as error:
        why = f"port {port} of {host} cannot be opened ({error.strerror or error}); --port chooses others"
        raise OSError(error.errno, why) from error
