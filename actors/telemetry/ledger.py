"""The ledger: counts what each exchange delivered and what became of it, so that nothing is lost unseen.

received = stored + duplicates + rejected + in flight, at every moment: each method changes both sides together and
never waits. `audit` returns the totals for the moment at which a batch becomes durable.
"""

import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping

from msgspec import Struct, field

from actors.model.batch import Batch
from actors.model.records import AuditRow
from actors.model.ticks import Block, Reason
from actors.telemetry.histogram import LAG_BOUNDS_S, WORK_BOUNDS_S, Histogram
from actors.telemetry.reject_monitor import Refusals

LAG_SAMPLES = 512  # one sample per read; at one read a millisecond the percentiles cover half a second


class Account(Struct):
    """Running totals of one exchange in this run. Units: messages, bytes of messages, trades, nanoseconds.

    `rejected_by` counts rejects by reason once they are durable. `gaps` is the number of gaps opened in this run.
    """

    frames: int = 0
    bytes: int = 0
    received: int = 0
    stored: int = 0
    duplicates: int = 0
    rejected: int = 0
    rejects_unkept: int = 0  # the part of them that was only counted: see actors.sink.evidence
    in_flight: int = 0
    sealed: int = 0  # the received ticks that are or were in a batch
    gaps: int = 0
    backfilled: int = 0
    rejected_by: Counter[str] = field(default_factory=Counter)
    refusals: Refusals = field(default_factory=Refusals)
    last_frame_ns: int | None = None
    last_tick_ns: int | None = None
    lags_ns: deque[int] = field(default_factory=lambda: deque(maxlen=LAG_SAMPLES))
    lag_s: Histogram = field(default_factory=lambda: Histogram(LAG_BOUNDS_S))

    def read(
        self, frames: int, received_ns: int, ticks: int, rejects: int, block: Block, duplicates: int = 0
    ) -> None:
        """Counts one decoded read of the socket; its ticks that are no duplicates are the last of `block`."""
        self.frames += frames
        self.last_frame_ns = received_ns
        self.received += ticks + rejects
        self.rejected += rejects
        self.duplicates += duplicates
        self.in_flight += ticks - duplicates
        if ticks > duplicates and len(block):  # the others are held
            self.last_tick_ns = received_ns
            made_ns = block.exchange_ns[-1]
            if made_ns is not None and block.source[-1] == "stream":
                self.lags_ns.append(received_ns - made_ns)
                self.lag_s.observe((received_ns - made_ns) / 1e9)

    def decided(self, duplicates: int, rejects: int) -> None:
        """Counts held trades that turned out to be copies, or invalid."""
        self.in_flight -= duplicates + rejects
        self.duplicates += duplicates
        self.rejected += rejects

    def recovered(self, ticks: int, duplicates: int) -> None:
        """Counts trades received from the exchange's history."""
        self.received += ticks
        self.duplicates += duplicates
        self.in_flight += ticks - duplicates
        self.backfilled += ticks - duplicates

    def reject_unsaved(self, rejects: int) -> None:
        """Counts a reject of data that could not be split into messages (an oversize message)."""
        self.received += rejects
        self.rejected += rejects

    def lag_ms(self, share: float) -> float | None:
        """The quantile of receipt minus exchange time over the last reads, in ms; None without any: see Lags."""
        if not self.lags_ns:
            return None
        ordered = sorted(self.lags_ns)
        return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))] / 1e6, 3)

    @property
    def balanced(self) -> bool:
        """Whether both sides are equal."""
        return self.received == self.stored + self.duplicates + self.rejected + self.in_flight


class Ledger:
    """All accounts of one run, and durations in seconds: `flush_s` of writing a batch, `merge_s` of locking the
    file, `durable_s` from the receipt of a tick until it is durable.
    """

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self.flush_s, self.merge_s = Histogram(WORK_BOUNDS_S), Histogram(WORK_BOUNDS_S)
        self.durable_s = Histogram(WORK_BOUNDS_S)
        self.accounts: dict[str, Account] = {}

    def account(self, exchange: str) -> Account:
        """The exchange's account, created at first use."""
        account = self.accounts.get(exchange)
        if account is None:  # creating one takes 5 us, and a batch may have thousands of blocks
            account = self.accounts[exchange] = Account()
        return account

    def seal(self, blocks: Iterable[Block], at_ns: int) -> tuple[AuditRow, ...]:
        """Records the blocks as part of a batch, and returns the totals that hold once it is durable.

        Batches become durable in order, so by then everything sealed before is stored.
        """
        for block in blocks:
            self.account(block.exchange).sealed += len(block)
        return tuple(
            AuditRow(
                at_ns=at_ns,
                exchange=name,
                frames=a.frames,
                received=a.received,
                stored=a.sealed,
                duplicates=a.duplicates,
                rejected=a.rejected,
                in_flight=a.in_flight - (a.sealed - a.stored),
                run_id=self.run_id,
            )
            for name, a in self.accounts.items()
        )

    def stored(self, batch: Batch) -> None:
        """Counts a durable batch. The oldest tick's age stands for its whole block: they arrived together."""
        now_ns = time.time_ns()
        for block in batch.blocks:
            account, rows = self.account(block.exchange), len(block)
            account.stored += rows
            account.in_flight -= rows
            if rows:
                self.durable_s.observe((now_ns - block.first_received_ns) / 1e9, rows)
        for reject in batch.rejects:
            if reject.reason is not Reason.CRASHED:  # one such reject stands for many ticks, see `refused`
                self.account(reject.exchange).rejected_by[reject.reason.value] += 1

    def unstored(self) -> dict[str, int]:
        """Trades received and not durable, by exchange; lost if the service has ended."""
        return {name: account.in_flight for name, account in self.accounts.items() if account.in_flight}

    def unstorable(self, ticks: Mapping[str, int]) -> None:
        """Counts ticks of a sealed batch, by exchange, that became rejects because the store cannot hold them."""
        for exchange, count in ticks.items():
            account = self.account(exchange)
            account.in_flight -= count
            account.sealed -= count
            account.rejected += count

    def refused(self, blocks: Iterable[Block], *, sealed: bool) -> None:
        """Counts ticks that crashed their handler three times and became rejects."""
        for block in blocks:
            account = self.account(block.exchange)
            account.in_flight -= len(block)
            account.rejected += len(block)
            account.rejected_by[Reason.CRASHED.value] += len(block)
            if sealed:
                account.sealed -= len(block)
