"""What the folder of one exchange provides: its feed, its history, its list of markets."""

from typing import Literal

from msgspec import Struct

from actors.exchanges.contract.feed import Dialect
from actors.exchanges.contract.history import History
from actors.exchanges.contract.instruments import InstrumentList


class Exchange(Struct, frozen=True, kw_only=True):
    """One exchange: `name` is the key in the registry and in the configuration, `title` the name for people.

    `proven` states what its decoding was checked against: trades recorded from its stream in the protocol in use,
    published single frames ('sample'), or its documentation alone. `history` is None if old trades cannot be
    requested, `instruments` if no list of its markets is read.
    """

    name: str
    title: str
    feed: Dialect
    proven: Literal["recording", "sample", "documentation"]
    history: History | None = None
    instruments: InstrumentList | None = None
