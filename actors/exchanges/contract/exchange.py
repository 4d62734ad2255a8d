"""What the folder of one exchange provides: its feed, its history, its list of markets."""

from dataclasses import dataclass

from actors.exchanges.contract.feed import Dialect
from actors.exchanges.contract.history import History
from actors.exchanges.contract.instruments import InstrumentList


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One exchange: `name` is the key in the registry and in the configuration, `title` what people read.

    `history` is None where old trades cannot be asked for, `instruments` where no list of its markets is read.
    `default_symbols` are recorded where there is no configuration at all; empty leaves the exchange out of that.
    """

    name: str
    title: str
    feed: Dialect
    history: History | None = None
    instruments: InstrumentList | None = None
    default_symbols: tuple[str, ...] = ()
