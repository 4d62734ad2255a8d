"""The connection actor: opens one session with its exchange a run, and keeps what was read across runs."""

import time
from collections.abc import Awaitable, Callable, Iterable

import trio

from actors.continuity.continuity import Continuity
from actors.exchanges.contract.feed import Dialect, Token
from actors.feed.accumulator import Accumulator
from actors.feed.connection_state import ConnectionState
from actors.feed.session import Session
from actors.feed.set_aside import SetAside
from actors.feed.sharding import ConnectionSpec
from actors.model.chunk import Chunk
from actors.model.records import GapReason
from actors.settings import CHUNK_ROWS, LAST_CHUNK_S, FeedSettings
from actors.telemetry.ledger import Account
from actors.wire.errors import HandshakeRefused
from actors.wire.websocket import Connect, connect
from supervisor import Context, Mailbox


class Connection:
    """Owned by the connection pool: its state and accumulated ticks outlive crashes of `run`.

    `pace` returns when the exchange may be connected to; `refused` receives a refused handshake.
    `token` asks the exchange where to connect, if the dialect wants that.
    """

    def __init__(
        self,
        spec: ConnectionSpec,
        settings: FeedSettings,
        dialect: Dialect,
        account: Account,
        intake: Mailbox[Chunk],
        pace: Callable[[], Awaitable[None]],
        continuity: Continuity,
        refused: Callable[[HandshakeRefused], None],
        token: Callable[[], Awaitable[Token]] | None = None,
        connect: Connect = connect,
        chunk_rows: int = CHUNK_ROWS,
    ) -> None:
        self.spec, self.state = spec, ConnectionState()
        self._settings, self._dialect, self._continuity = settings, dialect, continuity
        self._accumulator = Accumulator(settings.name, account, intake, continuity, chunk_rows)
        self._pace, self._refused, self._token = pace, refused, token
        self._set_aside, self._connect = SetAside(), connect

    async def run(self, context: Context) -> None:
        """One session until it ends; raises what ended it (a transient error, mostly). Ends on
        `context.stopping`.
        """
        state = self.state
        await self.hand_over()
        await self._pace()
        session = Session(
            self.spec,
            self._settings,
            self._dialect,
            state,
            self._accumulator,
            self._continuity,
            context,
            set_aside=self._set_aside,
            token=await self._token() if self._token else None,
            connect=self._connect,
        )
        try:
            await session.run()
        except HandshakeRefused as refusal:
            self._refused(refusal)
            raise
        finally:
            reason = GapReason.OVERFLOW if state.overflowed else GapReason.DISCONNECT
            self._continuity.disconnected(state.since.keys() - state.given_up, time.time_ns(), reason)
            state.ended()
            with trio.move_on_after(LAST_CHUNK_S, shield=True):
                await self.hand_over()

    def give_up(self, symbols: Iterable[str]) -> None:
        """No gap opens for these when the connection ends."""
        self.state.give_up(symbols)

    async def hand_over(self) -> None:
        """Puts what was read so far into the buffer's mailbox."""
        await self._accumulator.hand_over()

    def rest(self) -> Chunk | None:
        """Takes what was read and not handed over, once it runs no more."""
        return self._accumulator.rest()
