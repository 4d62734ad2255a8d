"""Questions to an exchange's history: whether a market that says nothing had trades that did not arrive."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import trio

from actors.backfill.fetcher import SETTLE_S, Fetcher
from actors.backfill.retry import patience_s
from actors.continuity.continuity import Continuity
from actors.exchanges.contract.feed import Market
from actors.exchanges.contract.history import History, TradeRange

# A market that has never traded is asked for once: if the history refuses it, the exchange does not have it.
SILENT_S = 60.0  # from when on it is delivered, which the exchange may say of any name
ABSENT_AGAIN_S = 300.0  # it may be listed later
QUESTIONS_MAX = 10  # in one round: gaps are asked for between them, however many markets are quiet


@dataclass(slots=True)
class StallProbe:
    """About the last `silent_s` before `asked_at`. `answer` None while there is none."""

    symbol: str
    asked_at: float
    silent_s: float
    answer: bool | None = None
    due: float = 0.0
    tries: int = 0


class StallProbes:
    """Owned by the recovery. `lied` says of a market that the history has brought what its feed should have."""

    def __init__(
        self,
        history: History,
        markets: Callable[[], Mapping[str, Market]],
        continuity: Continuity,
        lied: Callable[[str], bool],
    ) -> None:
        self._history, self._markets, self._continuity, self._lied = history, markets, continuity, lied
        self._questions: dict[str, StallProbe] = {}
        self._look_at: dict[str, float] = {}  # when a market that has never traded is asked for again
        self._news: list[str] = []
        self.absent: dict[str, str] = {}  # markets that the exchange does not have, in words

    def look(self) -> list[tuple[str, str]]:
        """About once a second: asks for silent markets. Returns those found absent since, with why."""
        now, now_ns, markets = trio.current_time(), time.time_ns(), self._markets()
        for symbol in [symbol for symbol in self.absent if symbol not in markets]:
            del self.absent[symbol]
        for symbol in markets:
            since_ns = self._continuity.untraded_ns(symbol)
            if since_ns is None:
                if symbol in self.absent and self._continuity.newest(symbol)[1] is not None:
                    self._found(symbol)
            elif now_ns - since_ns > SILENT_S * 1e9 and now >= self._look_at.get(symbol, 0.0):
                asked = self._questions.get(symbol)
                if asked is None or asked.answer is not None:
                    self._questions[symbol] = StallProbe(symbol, now, (now_ns - since_ns) / 1e9)
        news, self._news = self._news, []
        return [(symbol, self.absent[symbol]) for symbol in news if symbol in self.absent]

    def _found(self, symbol: str) -> None:
        self._look_at[symbol] = math.inf
        if self.absent.pop(symbol, None) is not None:
            self._continuity.present(symbol, time.time_ns())

    def _lost(self, symbol: str, words: str) -> None:
        self._look_at[symbol] = trio.current_time() + ABSENT_AGAIN_S
        if symbol not in self.absent:
            self._news.append(symbol)
            self.absent[symbol] = (
                f"{symbol}: {self._history.name} has no such market ({words}); check how it is written, "
                f"`tickwarden doctor` names near ones"
            )
            self._continuity.absent(symbol, time.time_ns())

    def doubt(self, symbol: str, silent_s: float) -> None:
        """Has it asked whether trades of the last so many seconds did not arrive; twice is the same as once."""
        self._questions.setdefault(symbol, StallProbe(symbol, trio.current_time(), silent_s))

    def doubted(self, symbol: str, since: float) -> bool | None:
        """What was answered to a question asked after `since` (trio's clock), once; None while nothing was."""
        question = self._questions.get(symbol)
        if question is None or (question.answer is None and question.asked_at >= since):
            return None
        del self._questions[symbol]
        return question.answer if question.asked_at >= since else None

    def due(self) -> list[StallProbe]:
        """A few that may be asked now."""
        markets, now = self._markets(), trio.current_time()
        self._questions = {symbol: one for symbol, one in self._questions.items() if symbol in markets}
        unanswered = [one for one in self._questions.values() if one.answer is None and now >= one.due]
        return unanswered[:QUESTIONS_MAX]

    async def answer(self, probe: Fetcher, question: StallProbe) -> None:
        """Asks; `probe` takes one page. Where nothing is answered it is asked again later."""
        market, now = self._markets().get(question.symbol), trio.current_time()
        if market is None:
            return
        if self._lied(question.symbol):
            question.answer = True
            return
        last_id, last_ns = self._continuity.newest(question.symbol)
        untraded = last_id is None and last_ns is None
        if last_ns is None:  # nothing was ever stored
            last_ns = time.time_ns() - int((now - question.asked_at + question.silent_s) * 1e9)
        from_ns = last_ns + 1 + self._history.slack_ns
        until_ns = max(time.time_ns() - int(SETTLE_S * 1e9), from_ns)
        result = await probe.recover(market, TradeRange(from_ns=from_ns, to_ns=until_ns))
        if result.refused and untraded:
            self._lost(question.symbol, result.refused)
            question.answer = False
        elif result.count or result.complete:
            self._found(question.symbol)
            question.answer = result.count > 0
        elif result.final:
            if not result.refused:
                self._found(question.symbol)
            question.due = math.inf
        else:
            question.tries += 1
            question.due = now + max(patience_s(question.tries), result.retry_after_s or 0.0)
