"""What one connection asked for, what was confirmed, and what was refused; no I/O."""

from collections.abc import Iterable, Sequence

from actors.dialect import Ack, Dialect, Refusal, Request


class Subscription:
    """Keeps count of the markets of one connection.

    Data is a confirmation too: some exchanges acknowledge late, or with words that name nobody. A request
    for several markets that is refused as a whole is asked again market by market, so that one unknown
    symbol costs only itself. Where the refusal names one market, nobody can tell whether the others of its
    request still get their answer: those that do not are asked again by `again`.
    """

    def __init__(self, dialect: Dialect, natives: Sequence[str], channel: str) -> None:
        self._dialect, self._channel = dialect, channel
        self._next_id = 1
        self._ours = frozenset(natives)
        self._open: dict[str, Request] = {}
        self._asked: set[str] = set()  # ids of all requests, open or not
        self._doubtful: dict[str, None] = {}  # asked for together with a market that was refused by name
        self.pending = dict.fromkeys(natives)  # in order; what waits for an answer
        self.refused: dict[str, str] = {}
        self.confirmed: set[str] = set()

    def requests(self, natives: Sequence[str] | None = None) -> list[Request]:
        """The requests for these natives (None: for all that wait)."""
        made = list(self._dialect.subscribe(natives or list(self.pending), self._channel, self._next_id))
        self._next_id += len(made)
        self._open.update((request.request_id, request) for request in made)
        self._asked.update(request.request_id for request in made)
        return made

    def again(self) -> list[Request]:
        """Requests, one a market, for what stood beside a refused one and has had no answer since."""
        natives = [native for native in self._doubtful if native in self.pending]
        self._doubtful.clear()
        return self._singly(natives)

    def acknowledged(self, ack: Ack) -> None:
        """The exchange said yes."""
        request = self._meant(ack)
        natives = ack.natives or (request.natives if request else ())
        self._settle(natives)

    def refuse(self, refusal: Refusal) -> list[Request]:
        """The exchange said no; returns what to send in its place."""
        request = self._meant(refusal)
        asked = request.natives if request else ()
        natives = [native for native in refusal.natives or asked if native in self._ours]
        if request and set(asked) <= set(natives):
            self._open.pop(request.request_id, None)
        if len(natives) > 1:
            return self._singly(natives)
        for native in natives:
            self.refused[native] = refusal.reason
            self.confirmed.discard(native)
            self.pending.pop(native, None)
            self._doubtful.update((other, None) for other in asked if other in self.pending)
        return []

    def delivered(self, natives: Iterable[str]) -> None:
        """Trades of these have come."""
        self._settle([native for native in natives if native not in self.confirmed])

    def _singly(self, natives: Iterable[str]) -> list[Request]:
        return [request for native in natives for request in self.requests([native])]

    def _settle(self, natives: Iterable[str]) -> None:
        for native in natives:
            self.pending.pop(native, None)
            self.refused.pop(native, None)
            self.confirmed.add(native)
        for request_id, request in list(self._open.items()):
            if not any(native in self.pending for native in request.natives):
                del self._open[request_id]

    def _meant(self, answer: Ack | Refusal) -> Request | None:
        """The request an answer belongs to: by its id, by a market it names, or the oldest still open."""
        if answer.request_id in self._open:
            return self._open[answer.request_id]
        for request in self._open.values():
            if set(answer.natives) & set(request.natives):
                return request
        if answer.natives or answer.request_id in self._asked:  # a late answer to what data has settled already
            return None
        return next(iter(self._open.values()), None)
