"""The connection actor: opens one session with its exchange per run, and keeps its data across runs."""

import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence

import msgspec
import trio

from actors.continuity.continuity import Continuity
from actors.exchanges.contract.feed import Dialect, Market, Token
from actors.feed.accumulator import Accumulator
from actors.feed.connection_state import ConnectionState
from actors.feed.session import Session
from actors.feed.set_aside import SetAside
from actors.feed.sharding import ConnectionSpec
from actors.model.chunk import Chunk, Source
from actors.model.records import GapReason
from actors.settings import CHUNK_ROWS, LAST_CHUNK_S, FeedSettings
from actors.telemetry.ledger import Account
from actors.wire.errors import HandshakeRefused
from actors.wire.websocket import Connect, connect
from supervisor import Context, Mailbox


class Connection:
    """One connection; the pool owns it, so that its state and accumulated ticks survive crashes of `run`.

    `expect`: see Accumulator. `pace` returns when a connection may be opened; `refused` receives a refused
    handshake. `token` requests the URL to connect to, if the dialect needs that.
    """

    def __init__(
        self,
        spec: ConnectionSpec,
        settings: FeedSettings,
        dialect: Dialect,
        account: Account,
        intake: Mailbox[Chunk],
        expect: Callable[[Source], None],
        pace: Callable[[], Awaitable[None]],
        continuity: Continuity,
        refused: Callable[[HandshakeRefused], None],
        token: Callable[[], Awaitable[Token]] | None = None,
        connect: Connect = connect,
        chunk_rows: int = CHUNK_ROWS,
    ) -> None:
        self.spec, self.state = spec, ConnectionState()
        self._settings, self._dialect, self._continuity = settings, dialect, continuity
        self._accumulator = Accumulator(settings.name, account, intake, expect, continuity, chunk_rows)
        self._pace, self._refused, self._token = pace, refused, token
        self._set_aside, self._connect = SetAside(), connect
        self._session: Session | None = None

    async def run(self, context: Context) -> None:
        """Runs one session until it ends; raises the error that ended it, usually a transient one. Stops on
        `context.stopping`.
        """
        state = self.state
        await self.hand_over()
        await self._pace()
        token = await self._token() if self._token else None
        self._accumulator.new_session()
        session = self._session = Session(
            self.spec,
            self._settings,
            self._dialect,
            state,
            self._accumulator,
            self._continuity,
            context,
            set_aside=self._set_aside,
            token=token,
            connect=self._connect,
        )
        try:
            await session.run()
        except HandshakeRefused as refusal:
            self._refused(refusal)
            raise
        finally:
            self._session = None
            reason = GapReason.OVERFLOW if state.overflowed else GapReason.DISCONNECT
            lost = state.since.keys() - state.given_up
            self._continuity.disconnected(lost, time.time_ns(), reason, self._accumulator.session)
            state.ended()
            with trio.move_on_after(LAST_CHUNK_S, shield=True):
                await self.hand_over()

    def give_up(self, symbols: Iterable[str]) -> None:
        """Opens no gap for these markets when the connection ends."""
        self.state.give_up(symbols)

    def add(self, markets: Sequence[Market]) -> None:
        """Carries more markets: on the open connection, and from the next one on."""
        self.spec = msgspec.structs.replace(self.spec, markets=(*self.spec.markets, *markets))
        self.state.given_up.difference_update(market.symbol for market in markets)
        if self._session is not None:
            self._session.add(markets)

    def drop(self, symbols: Collection[str], *, silently: bool = False) -> None:
        """Carries these markets no more; `silently`: without unsubscribing them, as nothing of them comes."""
        self.give_up(symbols)
        kept = tuple(market for market in self.spec.markets if market.symbol not in symbols)
        self.spec = msgspec.structs.replace(self.spec, markets=kept)
        if self._session is not None:
            self._session.remove(symbols, silently=silently)

    def decode(self) -> None:
        """Decodes what has been read so far, so that `state` shows it; errors end the session, not the caller."""
        if self._accumulator.decode is not None:
            self._accumulator.decode()

    async def hand_over(self) -> None:
        """Puts everything read so far into the buffer's mailbox."""
        await self._accumulator.hand_over()

    def rest(self) -> Chunk | None:
        """Removes and returns what was read and not sent, once it no longer runs."""
        return self._accumulator.rest()
