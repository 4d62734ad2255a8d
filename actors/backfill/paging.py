"""Tracks the pages of one range: which rows are wanted, whether both ends are reached, and what is left."""

from collections import Counter

from msgspec.structs import replace

from actors.exchanges.contract.history import History, Page, TradeRange, id_number


class Progress:
    """The progress of one range over its pages.

    All ids of the pages are kept, which the budget of a call bounds: a trade that arrives twice counts once.

    With `shared_ids`, several trades may have one id, and even be equal in every field. Pages overlap, so which of
    them have come before shows only by their number within one page: each page's are wanted whole, as continuity
    counts them (see twins). They are counted once.
    """

    def __init__(self, history: History, trade_range: TradeRange, *, shared_ids: bool = False) -> None:
        self.history, self.trade_range, self._shared_ids = history, trade_range, shared_ids
        # The exchange chose where the pages begin: at the requested time, unless they say otherwise, or at the
        # newest trade. What is left of such a range ends with an id, which need not exist: ids may have gaps.
        self.low_met = not history.newest_first and trade_range.from_id is None
        self.high_met = history.newest_first and (trade_range.to_id is None or trade_range.from_id is None)
        self.skipped = False  # whether trades of one time may be missing, because they fill more than one page
        self.count = 0
        self.distinct = 0  # the part of `count` with numeric ids
        self.reached: tuple[int | None, int | None] | None = None  # id and time of the furthest row so far
        self._cursor = trade_range.cursor
        self._ids: set[str] = set()
        self._most: Counter[tuple[object, ...]] = Counter()  # of each trade, how many one page had at most

    @property
    def arrived(self) -> bool:
        """Whether the pages have reached the far end."""
        return self.low_met if self.history.newest_first else self.high_met

    def take(self, page: Page) -> list[int]:
        """The indices of the page's wanted rows, oldest first."""
        ids, times = page.trades.trade_id, page.trades.exchange_ns
        wanted: list[int] = []
        for at, (id_, time) in enumerate(zip(ids, times, strict=True)):
            if self._inside(id_, time) and (id_ is None or id_ not in self._ids):
                wanted.append(at)
            if id_ is not None and not self._shared_ids:
                self._ids.add(id_)
        self._meet(page)
        self.skipped |= page.skips
        self.count += self._more(page, wanted) if self._shared_ids else len(wanted)
        self.distinct += sum(1 for at in wanted if id_number(ids[at]) is not None)
        if self.history.newest_first:
            wanted.reverse()
        if ids:  # pages are in order, so the last row is the furthest
            self.reached = (id_number(ids[-1]), times[-1])
        return wanted

    def _more(self, page: Page, wanted: list[int]) -> int:
        """How many of the page's wanted rows no earlier page had."""
        trades = page.trades
        columns = trades.trade_id, trades.exchange_ns, trades.price, trades.volume, trades.side
        found = Counter(tuple(column[at] for column in columns) for at in wanted)
        before = self._most.total()
        self._most |= found
        return self._most.total() - before

    def exhausted(self) -> None:
        """There is no next page. Going forwards, this was the newest trade: nothing lies between it and now."""
        if not self.history.newest_first and self.trade_range.to_id is None:
            self.high_met = True

    def searched(self, cursor: str | None) -> None:
        """All pages so far had no rows; the search goes on with this cursor."""
        self._cursor = cursor

    @property
    def missing(self) -> int | None:
        """The number of missing ids of the range, None if unknown."""
        spanned = self.trade_range.ids
        return None if spanned is None or not self.history.dense else max(0, spanned - self.distinct)

    @property
    def complete(self) -> bool:
        """Whether everything in the range has arrived."""
        if self.trade_range.cut:
            return False
        if self.missing is not None:
            return self.missing == 0
        return self.low_met and self.high_met and not self.skipped

    def remaining(self) -> TradeRange:
        """The rest of the range after the pages so far."""
        if self.reached is None:
            late = self._cursor is not None and not self.history.newest_first and not self.low_met
            return replace(self.trade_range, cursor=self._cursor, cut=self.trade_range.cut or late)
        (id_, time), old = self.reached, self.trade_range
        if self._shared_ids:  # others with this id may be left, which time finds
            id_ = None
        if self.history.newest_first:
            low, high = old.from_id, old.to_id if id_ is None else id_ - 1
            from_ns, to_ns = old.from_ns, _bounded(time, old.from_ns, old.to_ns)
        else:
            low, high = old.from_id if id_ is None else id_ + 1, old.to_id
            from_ns, to_ns = _bounded(time, None, old.to_ns), old.to_ns
        if low is not None and high is not None and low > high:
            return old  # nothing is left, although ids in between may be missing
        # Going forwards, the rest begins behind what was not there: that must not be forgotten.
        late = not self.history.newest_first and old.from_id is None and not self.low_met
        cut = old.cut or late or (self.skipped and self.missing is None)
        ahead = self.history.newest_first and self._by_time and self._newer(time)
        return TradeRange(from_id=low, to_id=high, from_ns=from_ns, to_ns=to_ns, cut=cut, ahead=ahead)

    @property
    def _by_time(self) -> bool:
        """Whether the upper end is a time, if it has one."""
        return self.trade_range.to_id is None or self.trade_range.ahead

    def _newer(self, time: int | None) -> bool:
        """Whether a time is newer than the upper end."""
        to_ns = self.trade_range.to_ns
        return to_ns is not None and time is not None and time > to_ns + self.history.slack_ns

    def _inside(self, id_: str | None, time: int | None) -> bool:
        number, trade_range, slack = id_number(id_), self.trade_range, self.history.slack_ns
        if number is not None and trade_range.from_id is not None:
            late_enough = number >= trade_range.from_id
        else:
            late_enough = trade_range.from_ns is None or time is None or time >= trade_range.from_ns - slack
        if number is not None and trade_range.to_id is not None and not self._by_time:
            return late_enough and number <= trade_range.to_id
        return late_enough and not self._newer(time)

    def _meet(self, page: Page) -> None:
        """Whether an end is reached: an id when it arrives; a time only when it is past, because several trades may
        share it, or when the page states that it has all from then on.

        Only the first and the last row of a page count: a row in between that is out of order proves nothing.
        """
        trade_range, slack = self.trade_range, self.history.slack_ns
        ids, times = _ends(page.ids), _ends(page.times_ns)
        if self.history.newest_first:
            ids, times = ids[::-1], times[::-1]
        if ids and trade_range.from_id is not None:
            self.low_met |= ids[0] <= trade_range.from_id
        elif times and trade_range.from_ns is not None:
            self.low_met |= times[0] < trade_range.from_ns - slack
        if trade_range.from_id is None and trade_range.from_ns is not None and page.whole_from_ns is not None:
            reaches = page.whole_from_ns <= trade_range.from_ns
            self.low_met = self.low_met or reaches if self.history.newest_first else self.low_met and reaches
        if ids and trade_range.to_id is not None:
            self.high_met |= ids[-1] >= trade_range.to_id
        elif times and trade_range.to_ns is not None:
            self.high_met |= times[-1] > trade_range.to_ns + slack


def _ends(values: list[int]) -> list[int]:
    """The first and the last, [] if there are none."""
    return [values[0], values[-1]] if values else []


def _bounded(time: int | None, low: int | None, high: int | None) -> int | None:
    """The time, limited to the range from `low` to `high`."""
    if time is None:
        return None
    time = time if low is None else max(time, low)
    return time if high is None else min(time, high)
