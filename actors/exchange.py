"""One exchange: its markets spread over connections, and those under a supervisor of their own."""

import time

import trio

from actors.connection import Connection, plan_connections
from actors.dialects import DIALECTS
from actors.ledger import Account
from actors.parcel import Parcel
from actors.settings import ExchangeSettings, SupervisionSettings
from actors.symbols import parse_symbol
from actors.weather import classify
from supervisor.backoff import Backoff
from supervisor.intensity import Intensity
from supervisor.mailbox import Mailbox
from supervisor.spec import ChildSpec
from supervisor.tree import Supervisor

# Shutdown is nesting, and these are all its deadlines, upstream first: a connection says goodbye, the buffer
# empties its mailbox, the last batch is written, the tail is merged (and may be left, if time is up).
CONNECTION_STOP_S = 2.0
BUFFER_STOP_S = 5.0
WRITER_STOP_S = 10.0
MERGE_STOP_S = 10.0


def backoff_of(settings: SupervisionSettings) -> Backoff:
    """The settings' delays."""
    return Backoff(settings.backoff_initial_s, settings.backoff_max_s, settings.backoff_reset_s)


def intensity_of(settings: SupervisionSettings) -> Intensity:
    """The settings' patience with bugs."""
    return Intensity(settings.restarts_max, settings.restarts_period_s)


class Exchange:
    """Owned by the pipeline; its connections are children of the supervisor that bears its name.

    Raises SymbolError and KeyError for settings that ops.config would have refused.
    """

    def __init__(self, settings: ExchangeSettings, account: Account, intake: Mailbox[Parcel]) -> None:
        self.settings, self.account = settings, account
        self.dialect = DIALECTS[settings.dialect]
        channel = settings.channel or self.dialect.channels[0]
        self.markets = [self.dialect.market(parse_symbol(symbol), channel) for symbol in settings.symbols]
        self._next_connect_at = 0.0
        self.connections = [
            Connection(plan, settings, self.dialect, account, intake, self._pace)
            for plan in plan_connections(settings, self.dialect, self.markets)
        ]

    async def start(self, above: Supervisor) -> None:
        """Adds the exchange's supervisor and connections below `above`."""
        supervision = self.settings.supervision
        branch = await above.start_supervisor(self.settings.name, stop_together=True)
        for connection in self.connections:
            await branch.start(
                ChildSpec(
                    connection.plan.name,
                    connection.run,
                    kind="connection",
                    backoff=backoff_of(supervision),
                    intensity=intensity_of(supervision),
                    classify=classify,
                    stop_s=CONNECTION_STOP_S + 1.0,  # its goodbye, and its last parcel
                    probe_interval_s=supervision.probe_interval_s,
                )
            )

    def rests(self) -> list[Parcel]:
        """What the connections read and could not hand over."""
        parcels = (connection.rest() for connection in self.connections)
        return [parcel for parcel in parcels if parcel is not None]

    async def _pace(self) -> None:
        """Keeps new connections as far apart as the exchange wants them."""
        now = trio.current_time()
        at = max(now, self._next_connect_at)
        self._next_connect_at = at + 1 / self.dialect.limits.connects_per_s
        await trio.sleep_until(at)

    def fresh(self, within_s: float) -> bool:
        """Whether anything came from it lately."""
        heard_ns = self.account.last_frame_ns
        return heard_ns is not None and time.time_ns() - heard_ns < within_s * 1e9
