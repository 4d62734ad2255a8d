"""Accumulates a connection's decoded ticks for the buffer: counted at once, kept across crashes of its task."""

import itertools
import time
from collections.abc import Container
from contextlib import suppress

import msgspec
import trio

from actors.continuity.continuity import Continuity
from actors.continuity.row import Refused
from actors.feed.decoder import Decoder, Outcome
from actors.model.chunk import Chunk, reject_rows
from actors.model.ticks import AFTER_BREAK, REJECT_DETAIL_CHARS_MAX, REJECT_PAYLOAD_BYTES_MAX, Block, Reason, Reject
from actors.settings import CHUNK_ROWS
from actors.telemetry.ledger import Account
from actors.wire.frame_parser import Violation
from supervisor import Mailbox, describe
from supervisor.text import printable

CHUNK_S = 0.02  # a chunk is sent to the buffer when its first tick is this old, or it is full
OVERSIZE_CLOSE = 1009  # RFC 6455, section 7.4.1

_sessions = itertools.count(1)
_timers: "trio.lowlevel.RunVar[ChunkTimer]" = trio.lowlevel.RunVar("chunk timer")


class Accumulator:
    """Owned by the connection: its ticks survive crashes of that task. A chunk is full at `chunk_rows`."""

    def __init__(
        self,
        exchange: str,
        account: Account,
        intake: Mailbox[Chunk],
        continuity: Continuity,
        chunk_rows: int = CHUNK_ROWS,
    ) -> None:
        self._exchange, self._account, self._intake = exchange, account, intake
        self._continuity, self._chunk_rows = continuity, chunk_rows
        self._block = Block(exchange)
        self._rejects: list[Reject] = []
        self._evidence_rows = 0  # their weight, see chunk.reject_rows
        self._filling = trio.Event()
        self._handing = trio.Lock()
        self._session = 0

    def new_session(self) -> None:
        """What is taken from now on is delivered by another session: it may be copies of what the last one had."""
        self._session = next(_sessions)

    def take(self, messages: list[bytes], received_ns: int, decoder: Decoder) -> Outcome:
        """Decodes messages as soon as they are read and counts them, without interruption.

        Trades that are stored or on their way already are counted and dropped. Messages after the first
        `Outcome.messages` are not processed: pass them again after other tasks had their turn. An error of the
        decoder is a bug of ours and is raised; none of these messages then becomes a tick, and each is kept as a
        reject.
        """
        mark = len(self._block)
        crash: Exception | None = None
        duplicates = 0
        try:
            outcome = decoder.read(messages, received_ns, self._block)
            if outcome.off_book:
                self._continuity.deduplicator.has_off_book = True
            if outcome.ticks:
                joined, session = outcome.joined, self._session
                duplicates = admit(self._continuity, self._block, mark, joined=joined, session=session)
            if outcome.breaks:  # contiguous ids have shown it themselves
                sources = self._block.source
                sources[mark:] = ["stream" if one == AFTER_BREAK else one for one in sources[mark:]]
        except Exception as error:  # noqa: BLE001 - raised again below, once the counts agree
            crash, self._block = error, _first(self._block, mark)
            detail = describe(error)[:REJECT_DETAIL_CHARS_MAX]
            rejects = [self._crashed(message, received_ns, detail) for message in messages]
            outcome = Outcome(len(messages), rejects=rejects)
            self._account.rejected_by[Reason.CRASHED.value] += len(messages)  # at once, as `Ledger.refused` does
        if outcome.messages < len(messages):
            messages = messages[: outcome.messages]
        self._account.bytes += sum(map(len, messages))
        self._account.read(len(messages), received_ns, outcome.ticks, len(outcome.rejects), self._block, duplicates)
        if outcome.rejects:
            self._rejects += outcome.rejects
            self._evidence_rows += reject_rows(outcome.rejects)
        refusals = self._account.refusals
        if outcome.rejects or refusals.watched:
            refusals.note(outcome.rejects, self._block.symbol[mark:], decoder.markets, trio.current_time())
        if crash is not None:
            raise crash
        return outcome

    def take_violation(self, violation: Violation) -> None:
        """Counts a message too large to be read, and keeps it as a reject."""
        if violation.code != OVERSIZE_CLOSE:
            return
        self._account.reject_unsaved(1)
        self._rejects.append(
            Reject(
                time.time_ns(),
                self._exchange,
                None,
                Reason.OVERSIZE,
                printable(violation.detail, REJECT_DETAIL_CHARS_MAX),
                violation.excerpt,
                violation.size_bytes,
            )
        )

    def rest(self) -> Chunk | None:
        """Removes and returns everything not sent to the buffer; None if there is nothing."""
        if not (len(self._block) or self._rejects):
            return None
        chunk = Chunk(self._block, tuple(self._rejects))
        self._block, self._rejects, self._evidence_rows = Block(self._exchange), [], 0
        return chunk

    async def hand_over(self) -> None:
        """Puts the content into the buffer's mailbox; if that is cancelled it is still here.

        Only one caller at a time: if two chunks came back at once, their order would be lost.
        """
        if not self._handing.locked() and self._hand_over_now():
            return
        async with self._handing:
            chunk = self._packed_rest()
            if chunk is None:
                return
            put = False
            try:
                await self._intake.put(chunk)
                put = True
            finally:
                if not put:
                    self._take_back(chunk)

    def _hand_over_now(self) -> bool:
        """The usual case, with room in the mailbox: needs no turn of the scheduler."""
        chunk = self._packed_rest()
        if chunk is None:
            return True
        put = False
        with suppress(trio.WouldBlock):
            try:
                self._intake.put_nowait(chunk)
                put = True
            finally:
                if not put:
                    self._take_back(chunk)
        return put

    def _packed_rest(self) -> Chunk | None:
        chunk = self.rest()
        if chunk is not None:
            chunk.block.pack()
        return chunk

    def _take_back(self, chunk: Chunk) -> None:
        newer, self._block = self._block, chunk.block
        if len(newer):
            _append(self._block, newer)
        self._rejects = [*chunk.rejects, *self._rejects]
        self._evidence_rows += reject_rows(chunk.rejects)

    async def hand_over_if_due(self) -> None:
        """Called after each read."""
        if len(self._block) >= self._chunk_rows or self._evidence_rows >= self._chunk_rows:
            await self.hand_over()
        elif len(self._block) or self._rejects:
            self._filling.set()

    async def hand_over_by_age(self) -> None:
        """Runs beside the reading task: no tick waits here longer than CHUNK_S."""
        while True:
            await self._filling.wait()
            await _timer().wait()
            self._filling = trio.Event()
            await self.hand_over()

    def _crashed(self, message: bytes, received_ns: int, detail: str) -> Reject:
        payload = message[:REJECT_PAYLOAD_BYTES_MAX]
        return Reject(received_ns, self._exchange, None, Reason.CRASHED, detail, payload, len(message))


def admit(
    continuity: Continuity,
    block: Block,
    start: int,
    *,
    joined: bool = True,
    known: Container[str] = (),
    session: int = 0,
) -> int:
    """Removes copies of stored trades from the block's rows from `start` on; returns their number.

    `joined` False: no row stands for more than one trade. `known`, `session`: see Deduplicator.admit.
    """
    spans = block.fills[start:] if joined else None
    if spans is not None and max(spans) == 1:
        spans = None
    now = trio.current_time()
    return continuity.deduplicator.admit(block, start, spans, now, known=known, session=session)


def rejected(exchange: str, refused: Refused) -> Reject:
    """The reject of a row that was held and then rejected. Its message is no longer known: the payload is the row,
    as JSON.
    """
    row = refused.row
    price, volume, side = row.content
    payload = msgspec.json.encode(
        {
            "symbol": refused.symbol,
            "exchange_ns": row.time_ns,
            "price": price,
            "volume": volume,
            "side": side,
            "trade_id": row.trade_id,
            "source": row.source,
            "fills": row.span,
        }
    )
    return Reject(row.received_ns, exchange, refused.symbol, refused.reason, refused.detail, payload, len(payload))


class ChunkTimer:
    """One timer for all connections: with 100 connections, each delivering occasionally, separate timers took a
    fifth of the CPU.

    It fires every `period_s` while a task waits: the first waiter sleeps, and later ones are woken with it.
    """

    def __init__(self, period_s: float) -> None:
        self._period_s = period_s
        self._followers = trio.lowlevel.ParkingLot()
        self._led = False

    async def wait(self) -> None:
        """Waits until the period ends: sooner for late joiners, or if the first waiter is cancelled."""
        if self._led:
            await self._followers.park()
            return
        self._led = True
        try:
            await trio.sleep(self._period_s)
        finally:
            self._led = False
            self._followers.unpark_all()


def _timer() -> ChunkTimer:
    """One per run: the connections of all exchanges send together."""
    try:
        return _timers.get()
    except LookupError:
        _timers.set(timer := ChunkTimer(CHUNK_S))
        return timer


def _append(block: Block, more: Block, rows: int | None = None) -> None:
    """Appends the first `rows` of `more`, or all."""
    block.extend(*(column[:rows] for column in more.lists()))


def _first(block: Block, rows: int) -> Block:
    kept = Block(block.exchange)
    _append(kept, block, rows)
    return kept
