"""The subscriptions of one connection: which markets are requested, confirmed, and to be retried when; no I/O."""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from actors.exchanges.contract.feed import Ack, Dialect, Refusal, Request
from actors.feed.set_aside import CLOSES_S, REASON, SetAside
from actors.settings import JITTER
from supervisor import Backoff

# A request refused or not answered is repeated after 5 to 10 s, then after twice as long each time, up to 10 min.
AGAIN = Backoff(initial_s=10.0, max_s=600.0)
TRIES_COUNTED_MAX = 6  # from then on the pause is the longest
STANDS_S = 600.0  # after this time a subscription ended by the exchange is retried like a new one
TOGETHER_S = 1.0  # markets due this soon go into the same request
DOUBT_S = 2.0  # after a market was refused by name, how long the others of its request may go unanswered


class _Waiting(Struct):
    """A market to be requested at `due` or later, together with those of `group` that are due too.

    `again`: it was requested without success, so it waits for its turn.
    """

    due: float
    group: tuple[str, ...]
    again: bool


class _Open(Struct):
    """A request without a full answer; `left` are its markets without one.

    `sent_at` is None before it is sent, and once an answer is late.
    """

    request: Request
    left: set[str]
    sent_at: float | None = None


class Subscription:
    """Keeps every market of one connection subscribed. All times are trio's clock.

    `next` returns the requests to send, one by one. A market that is refused, gets no answer, or whose subscription
    the exchange ends is requested again, with growing pauses and one request at a time.

    Data is a confirmation too: some exchanges acknowledge late, or with messages that name no market. A request for
    several markets that is refused as a whole is repeated market by market, so that one unknown symbol affects only
    itself; if it was refused because of the request rate it is repeated unchanged, and nothing is requested before.
    If the refusal names one market, the others of its request may still get their answer: those that do not are
    requested again by themselves.

    If a subscription has ended, by the exchange or by `remove`, only an answer to a later request shows that there
    is one again: data and answers that arrive before may still be those of the ended one. If none comes in time,
    data shows it.

    If an unknown market would end the connection, `set_aside` remembers such markets across connections.
    """

    def __init__(
        self, dialect: Dialect, natives: Sequence[str], channel: str, set_aside: SetAside | None = None
    ) -> None:
        self._dialect, self._channel = dialect, channel
        self.acknowledges = dialect.acknowledges_on(channel)
        self._set_aside = set_aside or SetAside()
        self._next_id = 1
        if dialect.bad_symbol_closes:  # those that the exchange has accepted before come first
            natives = sorted(natives, key=lambda native: native not in self._set_aside.accepted)
        self._all, self._ours = tuple(natives), set(natives)
        self._pauses: dict[int, float] = {}  # by tries: markets refused together are requested again together
        self._queue: list[Request] = []
        self._ending: list[Request] = []  # requests that end subscriptions
        self._open: dict[str, _Open] = {}
        self._turn = ""  # id of the last request for markets requested without success before
        self._tries: dict[str, int] = {}  # failed tries in a row
        self._stood_since: dict[str, float] = {}
        # no request before this time, because of the rate; how often in a row
        self._held_until, self._holds = -1.0, 0
        self._ended: set[str] = set()  # ended, and no request since then has been answered: trades prove nothing
        self._listed: set[str] = set()  # what this connection is subscribed to, according to the exchange
        self._waiting = {native: _Waiting(-1.0, self._all, again=False) for native in self._all}
        self.pending = dict.fromkeys(natives)  # in order; markets that wait for an answer, or to be requested again
        self.refused: dict[str, str] = {}
        self.held: dict[str, str] = {}  # of those pending: why they are requested again
        self.unanswered: dict[str, None] = {}  # of those pending: not answered in time
        self.confirmed: set[str] = set()
        self.assumed: set[str] = set()  # requested from an exchange that never answers, and without trades so far
        self.answered = False  # the exchange has reacted to a request, with any message or data
        for native in self._ours & self._set_aside.due.keys():
            self._waiting[native] = _Waiting(self._set_aside.due[native], (native,), again=True)
            self.pending.pop(native)
            self.refused[native] = REASON

    @property
    def settled(self) -> bool:
        """Whether there is nothing to send now or later, and no answer to wait for."""
        return not (self._waiting or self._queue or self._ending or self._open)

    # -- what to send ---------------------------------------------------------------------------------

    def next(self, now: float) -> Request | None:
        """The request to send now, if there is one."""
        self._look_for_late(now)
        if now < self._held_until:
            return None
        if self._ending:
            return self._ending.pop(0)
        self._refill(now)
        while self._queue:
            opened = self._open.get(self._queue[0].request_id)
            if opened and not self._may_go(opened.request):
                return None
            request = self._queue.pop(0)
            if opened:  # otherwise data has answered it
                opened.sent_at = now
                if not self.acknowledges:
                    self._assume(request)
                return request
        return None

    def _may_go(self, request: Request) -> bool:
        """Whether a request can be sent so that, if the connection ends because of it, the cause is unambiguous."""
        if not self._dialect.bad_symbol_closes:
            return True
        accepted, on_way = self._set_aside.accepted, self._on_way()
        return not on_way or accepted.issuperset((*on_way, *request.natives))

    def _on_way(self) -> set[str]:
        """The markets whose requests have been sent, and have no answer yet."""
        return {native for one in self._open.values() if one.sent_at is not None for native in one.left}

    def _assume(self, request: Request) -> None:
        """No answer will arrive: these markets count as requested, and are confirmed by their first trades."""
        self.answered = True
        self._ended.difference_update(request.natives)
        for native in request.natives:
            if native in self.pending:
                del self.pending[native]
                self.held.pop(native, None)
                self.assumed.add(native)
        self._open.pop(request.request_id, None)

    def closed(self, now: float) -> list[str]:
        """The connection has ended without a reason. Returns the market that is set aside for that, if any."""
        if not self._dialect.bad_symbol_closes:
            return []
        asked = [one for one in self._open.values() if one.sent_at is not None and now - one.sent_at <= CLOSES_S]
        return self._set_aside.closed([native for one in asked for native in one.left], now)

    def hurry(self, now: float) -> None:
        """The obstacle to answers is gone: all markets without one are due, as if for the first time."""
        self._held_until, self._holds = -1.0, 0
        self._tries.clear()
        for opened in self._open.values():
            if opened.sent_at is not None:  # its answer may have been lost with the obstacle
                opened.sent_at = None
                late = tuple(native for native in opened.request.natives if native in opened.left)
                for native in late:
                    self._waiting.setdefault(native, _Waiting(now, late, again=False))
        for waiting in self._waiting.values():
            waiting.due, waiting.again = now, False

    def _refill(self, now: float) -> None:
        """Queues what is due: all markets requested for the first time, and one request of the others."""
        turn = self._open.get(self._turn)
        busy = turn is not None and (turn.sent_at is not None or turn.request in self._queue)
        for native in list(self._waiting):
            first = self._waiting.get(native)
            if first is None or first.due > now or (first.again and busy):
                continue
            natives = [one for one in first.group if self._goes_with(one, first, now)]
            if not first.again:
                self._ask(natives)
                continue
            self._ask(natives[: self._dialect.limits.symbols_per_request])
            self._turn, busy = self._queue[-1].request_id, True

    def _goes_with(self, native: str, first: _Waiting, now: float) -> bool:
        waiting = self._waiting.get(native)
        return waiting is not None and waiting.again == first.again and waiting.due <= now + TOGETHER_S

    def _ask(self, natives: Sequence[str]) -> None:
        for native in natives:
            del self._waiting[native]
        if self._dialect.request_replaces:
            natives = [native for native in self._all if native not in self._waiting]
        for request_id, opened in list(self._open.items()):
            if opened.left <= set(natives):  # a late answer to it would count as one to the new request
                del self._open[request_id]
        made = self._dialect.subscribe(natives, self._channel, self._next_id)
        self._next_id += len(made)
        self._queue += made
        # A request that replaces others names markets that are answered already.
        known = self.confirmed if self._dialect.request_replaces else set[str]()
        self._open.update((request.request_id, _Open(request, {*request.natives} - known)) for request in made)

    # -- changes ------------------------------------------------------------------------------------------

    def add(self, natives: Sequence[str], now: float) -> None:
        """Subscribes to more markets on this connection."""
        new = tuple(native for native in natives if native not in self._ours)
        self._all += new
        self._ours.update(new)
        for native in new:
            self._waiting[native] = _Waiting(now, new, again=False)
            self.pending[native] = None

    def remove(self, natives: Iterable[str], now: float, *, silently: bool = False) -> None:
        """Wants these no more. Those that were asked for are unsubscribed, unless `silently`."""
        gone = self._ours & set(natives)
        asked = gone & (self.confirmed | self.assumed | self._on_way())
        self._all = tuple(native for native in self._all if native not in gone)
        self._ours -= gone
        self._ended |= gone  # if they are added again, only a new request shows that they are subscribed
        for names in (self.confirmed, self.assumed, self._listed):
            names -= gone
        for by_name in (self._waiting, self.pending, self.refused, self.held, self.unanswered):
            for native in gone:
                by_name.pop(native, None)
        for request in [one for one in self._queue if gone & set(one.natives)]:
            self._queue.remove(request)
            self._open.pop(request.request_id, None)
            # The others of it are requested again.
            rest = tuple(one for one in request.natives if one in self._ours and one not in self.confirmed)
            self._waiting.update((native, _Waiting(now, rest, again=False)) for native in rest)
        for request_id, opened in list(self._open.items()):
            opened.left -= gone
            if not opened.left:
                del self._open[request_id]
        if silently or not asked:
            return
        if self._dialect.request_replaces:  # the next request names all others
            for native in self._all[:1]:
                self._waiting.setdefault(native, _Waiting(now, (native,), again=False))
            return
        made = self._dialect.unsubscribe(sorted(asked), self._channel, self._next_id)
        self._next_id += len(made)
        self._ending += (Request(one.text, one.request_id, ()) for one in made)

    def _look_for_late(self, now: float) -> None:
        """Markets not answered in time are requested again; a late answer is accepted all the same."""
        for opened in self._open.values():
            if opened.sent_at is None or now - opened.sent_at <= self._dialect.ack_s:
                continue
            opened.sent_at = None
            self._ended -= opened.left
            left = opened.left - self._waiting.keys()
            late = tuple(native for native in opened.request.natives if native in left)
            self.unanswered.update((native, None) for native in late if native in self.pending)
            self._wait(late, now, late)

    def _wait(self, natives: Iterable[str], now: float, group: tuple[str, ...]) -> None:
        """Schedules these markets to be requested again, after the pause that is due."""
        for native in natives:
            self._waiting[native] = _Waiting(now + self._pause_s(self._in_vain(native, now)), group, again=True)

    def _in_vain(self, native: str, now: float) -> int:
        """Counts one more failed try; returns how many there were before, in a row."""
        if now - self._stood_since.pop(native, now) >= STANDS_S:
            self._tries.pop(native, None)
        tries = self._tries.get(native, 0)
        self._tries[native] = tries + 1
        return tries

    def _pause_s(self, tries: int) -> float:
        tries = min(tries, TRIES_COUNTED_MAX)
        return self._pauses.setdefault(tries, AGAIN.delay_s(tries, JITTER))

    # -- what the exchange answers -----------------------------------------------------------------------

    def acknowledged(self, ack: Ack, now: float) -> set[str]:
        """Handles a confirmation. Returns the markets that it no longer lists although it did before."""
        self.answered, self._holds = True, 0
        gone: set[str] = set()
        if ack.whole:
            gone, self._listed = self._listed - set(ack.natives), self._ours & set(ack.natives)
        opened = None if ack.whole else self._meant(ack)
        whole_request = opened is not None and not ack.only
        natives = ack.natives or (opened.request.natives if opened and whole_request else ())
        self._answered(natives)
        self._settle(self.proved(natives), now)
        return gone

    def _answered(self, natives: Iterable[str]) -> None:
        """Requests for these are answered: whatever it had sent of ended subscriptions arrived before that."""
        self._ended -= self._on_way().intersection(natives)

    def left_out(self, ack: Ack) -> tuple[str, ...]:
        """The markets of its request that do not exist, as the answer names all that do."""
        opened = self._open.get(ack.request_id) if ack.only else None
        left = () if opened is None else (native for native in opened.request.natives if native in opened.left)
        return tuple(native for native in left if native not in ack.natives)

    def refuse(self, refusal: Refusal, now: float) -> list[str]:
        """Handles a refusal. Returns the markets without a subscription for now."""
        self.answered = True
        if refusal.transient:
            return self._hold(refusal, now)
        if refusal.natives and all(n in self.refused and n in self._waiting for n in refusal.natives):
            return []  # refused already, and not requested since
        opened = self._meant(refusal)
        asked = opened.request.natives if opened else ()
        natives = [native for native in refusal.natives or asked if native in self._ours]
        if not refusal.natives:
            natives = [native for native in natives if native not in self.confirmed]
        self._answered(natives)
        for request_id, one in list(self._open.items()):
            one.left -= set(natives) if one is opened or refusal.natives else set()
            if not one.left:
                del self._open[request_id]
        if not refusal.natives and len(natives) > 1:
            for native in natives:
                # Where each request replaces the one before, they must go one after the other.
                again = native in self._tries or self._dialect.request_replaces
                self._waiting[native] = _Waiting(now, (native,), again=again)
            return []
        for native in natives:
            self.refused[native] = refusal.reason
            self.confirmed.discard(native)
            self.assumed.discard(native)
            for standing in (self.pending, self.held, self.unanswered):
                standing.pop(native, None)
            self._wait([native], now, self._all if self._dialect.answers_each else (native,))
            if not self._dialect.answers_each:
                self._doubt([other for other in asked if other in self.pending], now)
        return natives

    def _doubt(self, natives: Iterable[str], now: float) -> None:
        for native in natives:
            if native not in self._waiting:
                self._waiting[native] = _Waiting(now + DOUBT_S, (native,), again=native in self._tries)

    def _hold(self, refusal: Refusal, now: float) -> list[str]:
        """Too many requests, according to the exchange: none for a while, and then the same ones."""
        named = refusal.natives or refusal.request_id in self._open
        if now < self._held_until and not named:
            return []  # all requests are held already
        if now >= self._held_until:
            self._held_until = now + AGAIN.delay_s(self._holds, JITTER)
            self._holds += 1
        opened = self._meant(refusal) if named else None
        if opened or refusal.natives:
            asked = opened.request.natives if opened else refusal.natives
            about = [(refusal.natives or asked, asked)]
            turned_down = [opened] if opened else []
        else:  # it may be any request that has been sent
            turned_down = [one for one in self._open.values() if one.sent_at is not None]
            about = [(one.request.natives, one.request.natives) for one in turned_down]
            for native in self.pending:  # those not requested yet wait as well
                self.held.setdefault(native, refusal.reason)
        held: list[str] = []
        for natives, group in about:
            self._answered(natives)
            for native in natives:
                if native in self._ours and native not in self.confirmed and native not in self._waiting:
                    self._waiting[native] = _Waiting(self._held_until, group, again=True)
                    held.append(native)
        for one in turned_down:
            if one.left <= self._waiting.keys():
                one.sent_at = None  # its answer has arrived; otherwise its other markets may still get theirs
        self.held.update((native, refusal.reason) for native in held if native in self.pending)
        return held

    def unsubscribed(self, natives: Iterable[str], now: float, words: str) -> list[str]:
        """The exchange ended these subscriptions, or (none named) all. Returns those active until now.

        They are requested again at once, and with growing pauses if it ends them repeatedly.
        """
        ended = [native for native in natives or self._all if native in self.confirmed]
        for native in ended:
            self.confirmed.discard(native)
            self._listed.discard(native)
            self.pending[native] = None
            self.held[native] = words
            self._ended.add(native)
            tries = self._in_vain(native, now)
            due = now + self._pause_s(tries - 1) if tries else now
            self._waiting[native] = _Waiting(due, self._all, again=tries > 0)
        return ended

    def proved(self, natives: Iterable[str]) -> set[str]:
        """Those of these markets with trades that are subscribed: trades of a subscription that has ended may still
        be on their way.
        """
        return set(natives) - self._ended

    def delivered(self, natives: Iterable[str], now: float) -> None:
        """Trades of these markets have arrived."""
        new = self.proved(natives) - self.confirmed
        if new:
            self.answered = True
            self._settle(new, now)

    def _settle(self, natives: Iterable[str], now: float) -> None:
        settled = self._ours & set(natives)
        if settled <= self.confirmed and not settled & self._waiting.keys():
            return
        for native in settled:
            for standing in (self.pending, self.refused, self.held, self.unanswered, self._waiting):
                standing.pop(native, None)
            self._stood_since.setdefault(native, now)
        self.confirmed |= settled
        self.assumed -= settled
        self._set_aside.accept(settled)
        for request_id, opened in list(self._open.items()):
            opened.left -= settled
            if not opened.left:
                del self._open[request_id]

    def _meant(self, answer: Ack | Refusal) -> _Open | None:
        """The request an answer belongs to: by its id, by a market it names, or the oldest still open."""
        if answer.request_id in self._open:
            return self._open[answer.request_id]
        for opened in self._open.values():
            if set(answer.natives) & set(opened.request.natives):
                return opened
        if answer.natives or self._was_asked(answer.request_id):  # a late answer to what data has settled already
            return None
        return next(iter(self._open.values()), None)

    def _was_asked(self, request_id: str) -> bool:
        number = request_id if request_id.isascii() and request_id.isdecimal() and len(request_id) < 10 else "0"
        return 0 < int(number) < self._next_id
