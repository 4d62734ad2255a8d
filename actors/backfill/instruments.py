"""The instruments actor of one exchange: reads its list of markets at start and daily, and records the changes."""

import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence

import trio
from msgspec import Struct, field
from msgspec.structs import replace

from actors.backfill.rate_limiter import RateLimiter, RateLimiters
from actors.backfill.rest_client import Answer, RestClient, RestClientLimits
from actors.backfill.stored_instruments import StoredList, row_of, storable
from actors.exchanges.contract.history import History
from actors.exchanges.contract.instruments import PAGES_MAX, Instrument, InstrumentList, InstrumentPage, names_in
from actors.exchanges.contract.rest import ErrorResponse, Garbled, RateLimit, Refused
from actors.exchanges.selection import NOT_LISTED, Listed
from actors.model.errors import DatabaseLocked
from actors.model.records import InstrumentRow
from actors.settings import JITTER
from supervisor import Backoff, Context, MisconfiguredError, TransientError

# A list of 3,000 markets is 2 to 15 MB, with all the orders that each allows.
REST_LIMITS = RestClientLimits(answer_s=60.0, body_bytes=32 << 20, tries=3)
INSTRUMENTS_MAX = 100_000  # deribit and okx have some thousands of options each
# If the exchange has no history whose limits apply: far below the documented limits of any exchange.
OWN_LIMIT = RateLimit(name="requests", units=20, window_s=10.0, burst=5)

EVENTS_MAX = 50  # events of one kind per reading of the list; the table has all changes
NAMES_MAX = 10  # symbols that one event names
PROBLEMS_SHOWN_MAX = 10
TICK_NS = 1000  # the file keeps microseconds

RETRY = Backoff(60.0, 3_600.0)


class InstrumentLimits(Struct, frozen=True, kw_only=True):
    """How often the list is read, and how long a start waits for it; seconds."""

    first_s: float = 2.0  # how long a first start waits for the list before it uses the naming rule
    every_s: float = 86_400.0
    jitter: float = 0.05  # delayed by up to this share, so that not all are read at once
    wanting_s: float = 3_600.0  # while a configured symbol is not listed
    retry: Backoff = RETRY
    locked_s: float = 5.0  # how often the file is tried while another process has it open
    # A list that has lost this share of its markets at once, or of those that one request lists, is accepted only
    # if it is read so for this long: an exchange's maintenance may last some time, and subscriptions go on.
    lost_min: int = 20
    lost_share: float = 0.5
    doubt_s: float = 3_600.0


DEFAULT_INSTRUMENT_LIMITS = InstrumentLimits()


class Applied(Struct, frozen=True):
    """Symbols whose recording began and ended, those left out and why, and other problems.

    `excess`: what a later list does not mend: they are more than the exchange allows.
    """

    started: Sequence[str] = ()
    ended: Sequence[str] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    problems: Sequence[str] = ()
    excess: Sequence[str] = ()


class ListService(Struct, frozen=True):
    """The REST service of a list, for a RestClient, with the errors and bans of the exchange's history."""

    base: str
    history: History | None = None

    @property
    def banned(self) -> Mapping[int, float]:
        """See RestService."""
        return self.history.banned if self.history is not None else {}

    def error_response(self, status: int, body: bytes) -> ErrorResponse:
        """Never final: the list may be available tomorrow."""
        if self.history is None:
            return ErrorResponse(body[:200].decode("utf-8", "replace"))
        return replace(self.history.error_response(status, body), final=False)


def limiter_of(limiters: RateLimiters, history: History | None, rest_url: str | None) -> RateLimiter:
    """What paces the requests to an exchange: shared by all that ask its history, if it has one."""
    return limiters.of(history, rest_url) if history is not None else RateLimiter((OWN_LIMIT,))


# What may lose its markets at once: a request, by its place; (kind, settle) of an earlier run's; None: the list.
_Part = int | tuple[str, str] | None


class Reading(Struct):
    """A list as it was read: all markets that can be read, by symbol, invalid rows, and why others cannot be read.

    `origins` is the place of the request that has listed each market; `complete` are those of requests whose whole
    answer was read, `empty` those of them that list none.
    """

    found: dict[str, Instrument] = field(default_factory=dict)
    odd: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    origins: dict[str, int] = field(default_factory=dict)
    complete: set[int] = field(default_factory=set)
    empty: set[int] = field(default_factory=set)

    def has(self, part: _Part) -> bool:
        """Whether all markets of this part could be read."""
        return not self.problems or part in self.complete


async def read_list(instruments: InstrumentList, rest: RestClient, *, problems_max: int | None = None) -> Reading:
    """Reads the whole list, or until so many requests have failed. Enters `rest`."""
    reading = Reading()
    try:
        async with rest:
            for origin in range(len(instruments.requests)):
                try:
                    await _read_pages(instruments, rest, origin, reading)
                except (TransientError, Refused) as error:
                    reading.problems.append(str(error))
                    if len(reading.problems) == problems_max:
                        break
    except MisconfiguredError as error:
        reading.problems.append(str(error))
    return reading


async def _read_pages(instruments: InstrumentList, rest: RestClient, origin: int, reading: Reading) -> None:
    def read(answer: Answer) -> InstrumentPage:
        return instruments.page(answer.body, request)

    request, found, is_empty = instruments.requests[origin], reading.found, True
    for _ in range(PAGES_MAX):
        page = await rest.get(request, read)
        is_empty &= not page.instruments and not page.odd
        reading.odd += page.odd
        for one in map(storable, page.instruments):
            known = found.get(one.symbol)
            if known is None or (one.active and not known.active):
                found[one.symbol], reading.origins[one.symbol] = one, origin
        if len(found) > INSTRUMENTS_MAX:
            raise Garbled(f"the list has more than {INSTRUMENTS_MAX:,} markets")
        if page.next_request is None:
            reading.complete.add(origin)
            if is_empty:
                reading.empty.add(origin)
            return
        request = page.next_request
    raise Garbled(f"the list has more than {PAGES_MAX} pages")


class Instruments:
    """The exchange owns it: its state survives crashes of the task that runs `run`.

    `apply` starts to record the configured symbols according to the list in force. `recall` reads the newest rows
    of the exchange from the file, or raises DatabaseLocked; `record` has rows stored.
    """

    def __init__(
        self,
        exchange: str,
        instruments: InstrumentList,
        rest: RestClient,
        apply: Callable[[], Awaitable[Applied]],
        *,
        recall: Callable[[], Awaitable[StoredList]],
        record: Callable[[Sequence[InstrumentRow]], None],
        limits: InstrumentLimits = DEFAULT_INSTRUMENT_LIMITS,
    ) -> None:
        self._exchange, self._list, self._rest = exchange, instruments, rest
        self._apply_listed, self._recall, self._record, self._limits = apply, recall, record, limits
        self._stored: dict[str, Instrument] | None = None  # as the file has them; None while it cannot be read
        self._seen_ns = 0  # of its newest row
        # The list read, to be compared with those, and whether it is complete.
        self._read: tuple[dict[str, Instrument], bool] | None = None
        self._opens_at: float | None = None  # until when a first start waits
        self._asked = trio.Event()  # set when the list was read, or could not be
        self._news = trio.Event()  # there is something to apply
        self._sooner = trio.Event()  # the list is due earlier than it was
        self._due, self._failures = 0.0, 0
        self._origins: dict[str, int] = {}  # the requests that have listed the markets in this run
        self._doubted: dict[_Part, float] = {}  # since when parts of the list have lost too many markets
        self._problems: tuple[str, ...] = ()
        self._reported: set[str] = set()  # symbols left out and already reported
        self.listed = NOT_LISTED  # the list in force
        self.unavailable = ""  # why it is unavailable now

    # -- what is known ------------------------------------------------------------------------------------

    def recalled(self, stored: StoredList) -> None:
        """Takes what the file has of the exchange: it is in force unless a newer list has been read."""
        if self._stored is not None:
            return
        self._stored = {one.symbol: one for one in stored.instruments}
        self._seen_ns = stored.seen_ns
        if self.listed is NOT_LISTED and self._stored:
            self.listed = Listed(self._stored)  # there may be new ones since

    def describe(self, now_ns: int) -> None:
        """Stores all that is known again, as the file that had it is gone."""
        self._store((self._stored or {}).values(), now_ns)

    def look(self) -> None:
        """The configured symbols have changed: health reports their problems."""
        self._news.set()

    # -- the actor ----------------------------------------------------------------------------------------

    async def run(self, context: Context) -> None:
        """Runs until cancelled. The recording waits for the first answer, for a limited time."""
        context.ok()
        now = trio.current_time()
        self._opens_at = now + self._limits.first_s if self._opens_at is None else self._opens_at
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_reading, context)
            with trio.move_on_at(self._opens_at):
                await self._asked.wait()
            while True:
                self._news = trio.Event()
                await self._apply(context)
                await self._news.wait()

    async def _apply(self, context: Context) -> None:
        applied = await self._apply_listed()
        for symbol, why in applied.left_out.items():
            if symbol not in self._reported:
                context.note("unknown_market", why, symbol=symbol)
        self._reported = set(applied.left_out)
        if applied.started or applied.ended:
            began = f"started {_named(applied.started)}" if applied.started else ""
            ended = f"ended {_named(applied.ended)}" if applied.ended else ""
            context.note("symbols_changed", "; ".join(filter(None, (began, ended))))
        self._problems = tuple(applied.problems)
        if self._problems and not self.unavailable:  # the configured symbols may be listed soon
            self._due = min(self._due, trio.current_time() + self._limits.wanting_s)
            self._sooner.set()
        context.degraded_by([*applied.excess, *self._problems], PROBLEMS_SHOWN_MAX)

    async def _keep_reading(self, context: Context) -> None:
        while True:
            try:
                reading = await self._read_all()
            finally:
                self._asked.set()
            found, doubt = reading.found, self._doubt(reading)
            why = reading.problems[0] if reading.problems else doubt
            self._note_available(context, why)
            if doubt:  # what it names as not traded any more goes on too
                known = self.listed.instruments
                found = {symbol: one for symbol, one in found.items() if one.active or not _active(known, symbol)}
            if found:
                self._take(found, whole=not why)
            while self._stored is None:
                try:
                    self.recalled(await self._recall())
                except DatabaseLocked:
                    await trio.sleep(self._limits.locked_s)
            self._compare(context)
            self._news.set()
            context.handled(0)
            while trio.current_time() < self._due:
                self._sooner = trio.Event()
                with trio.move_on_at(self._due):
                    await self._sooner.wait()

    def _note_available(self, context: Context, why: str) -> None:
        """Sets when the list is read next; reports when it becomes unavailable, and when it is available again."""
        now, limits = trio.current_time(), self._limits
        if why:
            self._due = now + limits.retry.delay_s(self._failures, JITTER)
            self._failures += 1
            if not self.unavailable:
                known = "the last known one stays in force" if self.listed is not NOT_LISTED else "none is known"
                context.note("instruments_unavailable", f"{why}; {known}")
        else:
            self._failures = 0
            every_s = limits.wanting_s if self._problems else limits.every_s
            self._due = now + every_s * JITTER.uniform(1.0, 1.0 + limits.jitter)
            if self.unavailable:
                context.note("instruments_available", "the list of markets can be read again")
        self.unavailable = why

    # -- one reading of the list --------------------------------------------------------------------------

    async def _read_all(self) -> Reading:
        """Everything that can be read, with the markets of invalid rows."""
        reading = await read_list(self._list, self._rest)
        found = reading.found
        if not found and not reading.problems:
            reading.problems.append("the list is empty")
        names = names_in(reading.odd)
        for symbol, known in (self._stored or {}).items() if names else ():
            if symbol not in found and known.native.upper() in names:
                found[symbol] = known  # an invalid row does not mean that its market is gone
        return reading

    def _doubt(self, reading: Reading) -> str:
        """Why a list is not accepted yet: too many of the traded markets of some part are missing at once."""
        now, lost = trio.current_time(), self._lost(reading)
        since = {part: self._doubted.get(part, now) for part in lost}
        young = [part for part, at in since.items() if now - at < self._limits.doubt_s]
        # What could not be read now is neither confirmed nor refuted.
        unread = {part: at for part, at in self._doubted.items() if part not in lost and not reading.has(part)}
        self._doubted = unread | (since if young else {})
        return lost[young[0]] if young else ""

    def _lost(self, reading: Reading) -> dict[_Part, str]:
        """The parts of the list that miss too many markets, and how many.

        In what could not be read, a market is missing only if it is named as not traded.
        """
        known, limits, found = self.listed.instruments, self._limits, reading.found
        self._origins = {symbol: at for symbol, at in self._origins.items() if symbol in known} | reading.origins
        active = [one for one in known.values() if one.active]
        parts: dict[_Part, list[Instrument]] = {None: active}
        for one in active:
            if (origin := self._origins.get(one.symbol)) is not None:
                parts.setdefault(origin, []).append(one)
            elif reading.empty:  # of an earlier run, maybe listed there
                parts.setdefault((one.kind, one.settle), []).append(one)
        left = {(one.kind, one.settle) for one in found.values() if one.active}
        empty = reading.empty | ({(one.kind, one.settle) for one in active} - left)
        texts = {}
        for part, markets in parts.items():
            has = reading.has(part)
            gone = [one for one in markets if not _active(found, one.symbol) and (has or one.symbol in found)]
            many = len(gone) >= limits.lost_min and len(gone) >= limits.lost_share * len(markets)
            if many or (gone and part in empty):
                texts[part] = f"the list has lost {len(gone):,} of {len(markets):,} markets at once"
        return texts

    def _take(self, found: dict[str, Instrument], *, whole: bool) -> None:
        """Puts a list in force. An incomplete one adds to the previous one and removes nothing."""
        if whole:
            self.listed = Listed(found, _kinds(found.values()))
        else:
            found = {**self.listed.instruments, **found}
            self.listed = Listed(found, self.listed.whole)
        self._read = found, whole

    # -- what has changed ---------------------------------------------------------------------------------

    def _compare(self, context: Context) -> None:
        """Stores and reports the rows that are new compared with the file."""
        if self._read is None or self._stored is None:
            return
        (found, whole), stored, self._read = self._read, self._stored, None
        changed = [one for symbol, one in found.items() if stored.get(symbol) != one]
        gone = [one for symbol, one in stored.items() if one.active and symbol not in found] if whole else []
        rows = [*changed, *(replace(one, active=False) for one in gone)]
        self._store(rows, time.time_ns())
        self._stored = {**stored, **{one.symbol: one for one in rows}}
        if stored:
            self._report_changes(context, stored, changed, gone)
        elif found:
            active = sum(one.active for one in found.values())
            listed = "1 market is listed" if len(found) == 1 else f"{len(found):,} markets are listed"
            context.note("instruments_known", f"{listed}, {active:,} traded")

    def _store(self, instruments: Collection[Instrument], now_ns: int) -> None:
        """Has rows stored that are newer than those in the file, also if this host's clock was ahead before."""
        if instruments:
            self._seen_ns = max(now_ns, self._seen_ns + TICK_NS)
        self._record([row_of(self._exchange, one, self._seen_ns) for one in instruments])

    def _report_changes(
        self,
        context: Context,
        stored: Mapping[str, Instrument],
        changed: Sequence[Instrument],
        gone: Sequence[Instrument],
    ) -> None:
        ended = [*gone, *(stored[one.symbol] for one in changed if not one.active and _active(stored, one.symbol))]
        began = [one for one in changed if one.active and not _active(stored, one.symbol)]
        by_native = {(one.kind, one.native): one for one in ended}
        renamed = [(by_native[one.kind, one.native], one) for one in began if (one.kind, one.native) in by_native]
        renamed += [
            (old, one)
            for one in changed
            if one.active and _active(stored, one.symbol) and (old := stored[one.symbol]).native != one.native
        ]
        of_renamed = {one.symbol for pair in renamed for one in pair}
        texts = {
            "instrument_renamed": [
                (new, f"{old.symbol} ({old.native}) is {new.symbol} ({new.native}) now") for old, new in renamed
            ],
            "instrument_listed": [
                (one, f"{one.symbol} is listed as {one.native}") for one in began if one.symbol not in of_renamed
            ],
            "instrument_delisted": [
                (one, f"{one.symbol} is no longer traded") for one in ended if one.symbol not in of_renamed
            ],
        }
        for event, reports in texts.items():
            for one, reason in reports[:EVENTS_MAX]:
                context.note(event, reason, symbol=one.symbol, native_symbol=one.native, kind=one.kind)
            if (more := len(reports) - EVENTS_MAX) > 0:
                context.note(event, f"and {more:,} more; see the table instruments")


def _kinds(instruments: Iterable[Instrument]) -> frozenset[str]:
    return frozenset(one.kind for one in instruments)


def _active(listed: Mapping[str, Instrument], symbol: str) -> bool:
    return symbol in listed and listed[symbol].active


def _named(symbols: Sequence[str]) -> str:
    more = len(symbols) - NAMES_MAX
    return ", ".join(symbols[:NAMES_MAX]) + (f" and {more} more" if more > 0 else "")
