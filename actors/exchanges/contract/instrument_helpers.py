"""What several instrument lists share: rows that are read one by one, so that an invalid one costs only itself."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import TypeVar

import msgspec

from actors.exchanges.contract.history_helpers import excerpt
from actors.exchanges.contract.instruments import Instrument, InstrumentPage
from actors.exchanges.contract.rest import UNREADABLE, RestRequest
from actors.model.symbols import parse_symbol

T = TypeVar("T")


def read_instruments(
    rows: Sequence[msgspec.Raw],
    decoder: "msgspec.json.Decoder[T]",
    make: Callable[[T], Instrument | None],
    next_request: RestRequest | None = None,
) -> InstrumentPage:
    """The page of these rows. `make` returns None for a market that is left out; it may raise any of UNREADABLE.

    A row that cannot be decoded, or whose market has no valid unified symbol, is `odd`.
    """
    found, odd = [], []
    for raw in rows:
        try:
            instrument = make(decoder.decode(raw))
            if instrument is not None:
                parse_symbol(instrument.symbol)
                found.append(instrument)
        except UNREADABLE:
            odd.append(excerpt(bytes(raw)))
    return InstrumentPage(tuple(found), next_request, tuple(odd))


def plain(number: object) -> str:
    """A JSON number or its text as decimal digits without an exponent: 1e-10 is 0.0000000001."""
    return f"{Decimal(str(number)):f}"


def power_of_ten(places: int) -> str:
    """The step of a number with so many decimal places: 2 is 0.01, -3 is 1000."""
    return f"{Decimal(1).scaleb(-places):f}"
