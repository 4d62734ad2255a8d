"""Accumulates what a connection reads for the buffer: messages, then their ticks, kept across crashes of its task.

Decoding one message costs ten times as much as one of twenty that are decoded together, so messages wait here until
the session decodes them, or until the buffer collects them.
"""

import itertools
import time
from collections.abc import Awaitable, Callable, Container, Mapping, Sequence
from contextlib import suppress
from functools import partial

import msgspec
import trio

from actors.continuity.continuity import Continuity
from actors.continuity.row import Refused
from actors.feed.decoder import Decoder, Outcome
from actors.model.chunk import Chunk, Source, reject_rows
from actors.model.ticks import AFTER_BREAK, REJECT_DETAIL_CHARS_MAX, REJECT_PAYLOAD_BYTES_MAX, Block, Reason, Reject
from actors.settings import CHUNK_ROWS
from actors.telemetry.ledger import Account
from actors.wire.frame_parser import Violation
from supervisor import Mailbox, describe
from supervisor.text import printable

# What is read waits for more, to be decoded together: until it is so much, or has waited so long.
DECODE_MESSAGES = 64
DECODE_S = 1.5  # longer than a flush takes to collect it
DECODE_BYTES = 64 * 1024
OVERSIZE_CLOSE = 1009  # RFC 6455, section 7.4.1

_sessions = itertools.count(1)


class _Read(msgspec.Struct):
    """Decoded messages that are held: how many, their bytes, and when the last of them was read."""

    block: Block
    outcome: Outcome
    frames: int
    size: int
    last_ns: int


class Accumulator:
    """Owned by the connection: its content survives crashes of that task. A chunk is full at `chunk_rows`.

    `expect` is called with the accumulator when it begins to hold something; the buffer then collects it before its
    next batch.
    """

    follows = False

    def __init__(
        self,
        exchange: str,
        account: Account,
        intake: Mailbox[Chunk],
        expect: Callable[[Source], None],
        continuity: Continuity,
        chunk_rows: int = CHUNK_ROWS,
    ) -> None:
        self._exchange, self._account, self._intake, self._expect = exchange, account, intake, expect
        self._continuity, self._chunk_rows = continuity, chunk_rows
        self._hold = continuity.hold
        self.full = False  # a chunk is to be sent to the buffer now
        self.decode: Callable[[], None] | None = None  # set while a session reads: decodes what waits
        self._expected = False
        self._messages: list[bytes] = []  # wait to be decoded
        self._received: list[int] = []  # when each of them was read
        self._waiting_bytes = 0
        self._waiting_since = 0.0  # trio's clock
        self._block = Block(exchange)
        self._rejects: list[Reject] = []
        self._evidence_rows = 0  # their weight, see chunk.reject_rows
        self._handing = trio.Lock()
        self.session = 0

    def new_session(self) -> None:
        """What is taken from now on is delivered by another session: it may be copies of what the last one had."""
        self.session = next(_sessions)

    def add(self, messages: list[bytes], received_ns: int) -> bool:
        """Keeps messages of one read until they are decoded. Returns whether that, or a hand-over, is due now."""
        if not self._messages:
            self._waiting_since = trio.current_time()
        self._messages += messages
        if len(messages) == 1:
            self._received.append(received_ns)
            self._waiting_bytes += len(messages[0])
        else:
            self._received += [received_ns] * len(messages)
            self._waiting_bytes += sum(map(len, messages))
        self._await_collection()
        return self.full or len(self._messages) >= DECODE_MESSAGES or self._waiting_bytes >= DECODE_BYTES

    def _await_collection(self) -> None:
        if not self._expected:
            self._expected = True
            self._expect(self)

    @property
    def waiting(self) -> int:
        """How many messages wait to be decoded."""
        return len(self._messages)

    def overdue(self, now: float) -> bool:
        """Whether messages have waited long enough to be decoded."""
        return bool(self._messages) and now - self._waiting_since >= DECODE_S

    def take(self, decoder: Decoder, decoded: Callable[[], None] = lambda: None) -> Outcome:
        """Decodes what waits, and counts it without interruption; `decoded` is called before trades are admitted.

        Trades that are stored or on their way already are counted and dropped. Messages after the first
        `Outcome.messages` still wait: call it again after other tasks had their turn. An error of the decoder is a
        bug of ours and is raised; the message that causes it becomes no tick and is kept as a reject.
        """
        messages, received, self._messages, self._received = self._messages, self._received, [], []
        size, self._waiting_bytes = self._waiting_bytes, 0
        if self._hold.on:
            return self._take_for_later(decoder, decoded, messages, received, size)
        mark = len(self._block)
        crash: Exception | None = None
        duplicates = 0
        try:
            outcome = decoder.read(messages, received, self._block)
        except Exception as error:  # noqa: BLE001 - raised again below, once the counts agree
            if len(messages) > 1:
                self._block = self._block.part(0, mark)
                return self._take_each(messages, received, decoder, decoded)
            crash = error
        else:
            try:
                decoded()
                duplicates = self._admit(outcome, mark, self.session)
            except Exception as error:  # noqa: BLE001 - likewise
                crash = error
        if crash is not None:
            self._block = self._block.part(0, mark)
            outcome = self._crashed(messages, received, crash)
        self._leave_waiting(messages, received, outcome.messages)
        self._account.bytes += size - self._waiting_bytes
        if messages:
            last_ns = received[len(messages) - 1]
            rejects_count = len(outcome.rejects)
            self._account.read(len(messages), last_ns, outcome.ticks, rejects_count, self._block, duplicates)
        self._note_rejects(outcome, mark, decoder.markets)
        if crash is not None:
            raise crash
        return outcome

    def _leave_waiting(self, messages: list[bytes], received: list[int], taken: int) -> None:
        if taken < len(messages):
            self._messages, self._received = messages[taken:], received[taken:]
            self._waiting_bytes = sum(map(len, self._messages))
            del messages[taken:]

    def _note_rejects(self, outcome: Outcome, mark: int, markets: Mapping[str, str]) -> None:
        if outcome.rejects:
            self._rejects += outcome.rejects
            self._evidence_rows += reject_rows(outcome.rejects)
        self._measure()
        refusals = self._account.refusals
        if outcome.rejects or refusals.watched:
            refusals.note(outcome.rejects, self._block.symbol[mark:], markets, trio.current_time())

    # -- while the hold is on ---------------------------------------------------------------------------

    def _take_for_later(
        self,
        decoder: Decoder,
        decoded: Callable[[], None],
        messages: list[bytes],
        received: list[int],
        size: int,
    ) -> Outcome:
        """Decodes what waits and keeps its trades in the hold; they are admitted, and count, when it ends."""
        block = Block(self._exchange)
        crash: Exception | None = None
        try:
            outcome = decoder.read(messages, received, block)
        except Exception as error:  # noqa: BLE001 - raised again below
            if len(messages) > 1:
                return self._take_each(messages, received, decoder, decoded)
            crash, block = error, Block(self._exchange)
            outcome = self._crashed(messages, received, crash)
        decoded()
        self._leave_waiting(messages, received, outcome.messages)
        if messages:
            read = _Read(block, outcome, len(messages), size - self._waiting_bytes, received[len(messages) - 1])
            block.pack()
            outcome.numbers = None
            act = partial(self._take_held, read, self.session, decoder.markets)
            self._hold.keep(act, len(block) + reject_rows(outcome.rejects))
        self.full = self._hold.full
        if crash is not None:
            raise crash
        return outcome

    def _take_held(self, read: "_Read", session: int, markets: Mapping[str, str]) -> Awaitable[None] | None:
        """Admits and counts what was kept; what this returns is to be awaited before the next."""
        mark, outcome = len(self._block), read.outcome
        self._block.extend(*read.block.lists())
        duplicates = 0
        try:
            duplicates = self._admit(outcome, mark, session)
        except Exception as error:  # noqa: BLE001 - a bug of ours costs these messages, whose bytes are gone, no more
            self._block = self._block.part(0, mark)
            outcome = self._crashed([b""] * read.frames, [read.last_ns] * read.frames, error)
        self._account.bytes += read.size
        self._account.read(read.frames, read.last_ns, outcome.ticks, len(outcome.rejects), self._block, duplicates)
        self._note_rejects(outcome, mark, markets)
        self._await_collection()
        large = len(self._block) >= self._chunk_rows or self._evidence_rows >= self._chunk_rows
        return self._send() if large else None

    def _take_each(
        self, messages: list[bytes], received: list[int], decoder: Decoder, decoded: Callable[[], None]
    ) -> Outcome:
        """Decodes each message alone, so that an error of the decoder affects only the message that causes it;
        raises the first one at the end."""
        outcome, crash = Outcome(len(messages)), None
        for message, received_ns in zip(messages, received, strict=True):
            self._messages, self._received, self._waiting_bytes = [message], [received_ns], len(message)
            try:
                one = self.take(decoder, decoded)
            except Exception as error:  # noqa: BLE001 - raised below
                crash = crash or error
            else:
                outcome.ticks += one.ticks
                outcome.controls += one.controls
        if crash is not None:
            raise crash
        return outcome

    def _admit(self, outcome: Outcome, mark: int, session: int) -> int:
        """Removes copies from the rows from `mark` on; returns their number."""
        duplicates = 0
        if outcome.off_book:
            self._continuity.deduplicator.has_off_book = True
        if outcome.ticks:
            joined, numbers = outcome.joined, outcome.numbers
            if self._continuity.agreement is not None:
                self._continuity.agreement.delivered(session, self._block, mark, trio.current_time())
            duplicates = admit(self._continuity, self._block, mark, joined=joined, session=session, numbers=numbers)
        if outcome.breaks:  # contiguous ids have shown it themselves
            sources = self._block.source
            sources[mark:] = ["stream" if one == AFTER_BREAK else one for one in sources[mark:]]
        return duplicates

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

    def prepare(self) -> None:
        """See Source: decodes what waits."""
        if self.decode is not None:
            self.decode()

    def collect(self) -> list[Chunk]:
        """See Source: as `rest`; messages that have come since it was prepared are expected next time."""
        chunk = self.rest()
        self._expected = False
        if self._messages and self.decode is not None:
            self._await_collection()
        return [chunk] if chunk is not None else []

    def rest(self) -> Chunk | None:
        """Removes and returns all ticks and rejects not sent to the buffer; None if there are none."""
        if not (len(self._block) or self._rejects):
            return None
        chunk = Chunk(self._block, tuple(self._rejects))
        self._block, self.full = Block(self._exchange), False
        if self._rejects:
            self._rejects, self._evidence_rows = [], 0
        return chunk

    async def hand_over(self) -> None:
        """Puts everything read so far into the buffer's mailbox; if that is cancelled it is still here.

        Only one caller at a time: if two chunks came back at once, their order would be lost.
        """
        if self.decode is not None:
            self.decode()
        await self._hold.room()
        await self._send()
        self._measure()

    async def _send(self) -> None:
        if self._send_now():
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

    def _measure(self) -> None:
        """Kept as a field, because every read asks for it."""
        self.full = len(self._block) >= self._chunk_rows or self._evidence_rows >= self._chunk_rows

    def hand_over_now(self) -> bool:
        """The usual case, with room in the mailbox: needs no turn of the scheduler. Returns False without room."""
        return not self._hold.full and self._send_now()

    def _send_now(self) -> bool:
        if self._handing.locked():
            return False
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
            self._block.extend(*newer.lists())
        self._rejects = [*chunk.rejects, *self._rejects]
        self._evidence_rows += reject_rows(chunk.rejects)
        self._measure()
        self._await_collection()

    def _crashed(self, messages: Sequence[bytes], received: Sequence[int], error: Exception) -> Outcome:
        """Rejects messages that met a bug of ours, and counts them at once, as `Ledger.refused` does."""
        detail = describe(error)[:REJECT_DETAIL_CHARS_MAX]
        self._account.rejected_by[Reason.CRASHED.value] += len(messages)
        return Outcome(
            len(messages),
            rejects=[
                Reject(
                    received_ns,
                    self._exchange,
                    None,
                    Reason.CRASHED,
                    detail,
                    message[:REJECT_PAYLOAD_BYTES_MAX],
                    len(message),
                )
                for message, received_ns in zip(messages, received, strict=True)
            ],
        )


def admit(
    continuity: Continuity,
    block: Block,
    start: int,
    *,
    joined: bool = True,
    known: Container[str] = (),
    session: int = 0,
    numbers: list[int] | None = None,
) -> int:
    """Removes copies of stored trades from the block's rows from `start` on; returns their number.

    `joined` False: no row stands for more than one trade. The rest: see Deduplicator.admit.
    """
    spans = block.fills[start:] if joined else None
    if spans is not None and max(spans) == 1:
        spans = None
    now = trio.current_time()
    return continuity.deduplicator.admit(block, start, spans, now, known=known, session=session, numbers=numbers)


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
