"""What the folder of one exchange provides: its feed, its history, and how people call it."""

from dataclasses import dataclass

from actors.exchanges.contract.feed import Dialect
from actors.exchanges.contract.history import History


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One exchange: `name` is the key in the registry and in the configuration, `title` what people read.

    `history` is None where old trades cannot be asked for. `default_symbols` are recorded where there is no
    configuration at all; empty leaves the exchange out of that.
    """

    name: str
    title: str
    feed: Dialect
    history: History | None = None
    default_symbols: tuple[str, ...] = ()
