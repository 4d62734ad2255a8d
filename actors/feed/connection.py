"""The connection actor: one WebSocket to one exchange, from the address to chunks for the buffer."""

import time
from collections.abc import Awaitable, Callable

import trio

from actors.continuity.continuity import Continuity
from actors.exchanges.contract.feed import Dialect
from actors.feed.accumulator import Accumulator
from actors.feed.connection_state import ConnectionState
from actors.feed.session import Session
from actors.feed.sharding import ConnectionSpec
from actors.model.chunk import Chunk
from actors.model.records import GapReason
from actors.settings import LAST_CHUNK_S, ExchangeSettings
from actors.telemetry.ledger import Account
from actors.wire.errors import HandshakeRefused
from supervisor import Context, Mailbox


class Connection(ConnectionState):
    """Owned by the exchange: its catch outlives the crashes of `run`."""

    def __init__(
        self,
        plan: ConnectionSpec,
        settings: ExchangeSettings,
        dialect: Dialect,
        account: Account,
        intake: Mailbox[Chunk],
        pace: Callable[[], Awaitable[None]],
        continuity: Continuity,
        turned_away: Callable[[HandshakeRefused], None],
    ) -> None:
        super().__init__(
            plan, settings, dialect, Accumulator(settings.name, account, intake, continuity), continuity
        )
        self._pace, self._turned_away = pace, turned_away

    async def run(self, context: Context) -> None:
        """One connection until it ends; raises what ended it (a transient error, mostly). Ends on
        `context.stopping`.
        """
        await self.catch.hand_over()
        await self._pace()
        session = Session(self, context)
        try:
            await session.run()
        except HandshakeRefused as refusal:
            self._turned_away(refusal)
            raise
        finally:
            reason = GapReason.OVERFLOW if self.overflowed else GapReason.DISCONNECT
            self.continuity.disconnected(self.since.keys() - self.given_up, time.time_ns(), reason)
            self.ended()
            with trio.move_on_after(LAST_CHUNK_S, shield=True):
                await self.catch.hand_over()

    def rest(self) -> Chunk | None:
        """Takes what was read and not handed over, once it runs no more."""
        return self.catch.rest()
