"""An exchange's list of markets over REST: how it is requested, and each market's scales and units.

No I/O here; decimals are the wire's own digits.
"""

import re
from collections.abc import Callable, Iterable
from decimal import Decimal

import msgspec
from msgspec import Struct

from actors.exchanges.contract.rest import DETAIL_CHARS_MAX, UNREADABLE, Garbled, RestRequest
from actors.model.symbols import Symbol, parse_symbol

DECIMALS_MAX = 18  # the store holds no more
PAGES_MAX = 200  # bybit's linear markets come in 1,000 a page; more pages than this is a list without end
_TEXT = re.compile(r'"((?:[^"\\]|\\.)*)"')  # of JSON


class Instrument(Struct, frozen=True, kw_only=True):
    """One market as the exchange lists it.

    `symbol` is the unified one, `native` the exchange's name in its frames, `kind` 'spot', 'swap', 'future' or
    'option' (model.symbols). `base`, `quote` and `settle` are unified codes, `settle` "" for spot. A trade's
    volume counts `volume_unit`: 'base', 'quote' or 'contracts', each worth `contract_size` of base (linear) or
    quote (inverse). `price_step` and `volume_step` are the least differences. Decimals are digits or None where
    the exchange says nothing. `active`: it is traded now, as far as the list says. Where prices and volumes are
    scaled integers on the wire, 10 to the power of `price_scale` and of `volume_scale` stand for 1.
    """

    symbol: str
    native: str
    kind: str
    base: str
    quote: str
    settle: str = ""
    volume_unit: str = "base"
    contract_size: str | None = None
    price_step: str | None = None
    volume_step: str | None = None
    active: bool = True
    price_scale: int | None = None
    volume_scale: int | None = None


class InstrumentPage(Struct, frozen=True):
    """One answer: its markets, and the request for the next page, None where there is none.

    `odd` has the rows that could not be parsed or that have no unified symbol, whole: they name their market as
    frames do, in capitals or not, if that is intact.
    """

    instruments: tuple[Instrument, ...]
    next_request: RestRequest | None = None
    odd: tuple[str, ...] = ()


class InstrumentList(Struct, frozen=True, kw_only=True):
    """How one exchange's markets are listed.

    - `requests`: one request for each kind of market; `base` is the host of those that name none.
    - `parse(body, request)`: reads an answer with status 200; raises Garbled, Busy or one of UNREADABLE. Call it
      through `page`.
    """

    name: str
    doc: str
    doc_read: str
    base: str
    requests: tuple[RestRequest, ...]
    parse: Callable[[bytes, RestRequest], InstrumentPage]

    def page(self, body: bytes, request: RestRequest) -> InstrumentPage:
        """The page in an answer. Raises TransientError: an unexpected answer is the exchange's fault."""
        try:
            return self.parse(body, request)
        except UNREADABLE as error:
            detail = (str(error) or type(error).__name__)[:DETAIL_CHARS_MAX]
            raise Garbled(f"the list of instruments makes no sense: {detail}") from error


def read_instruments(
    rows: Iterable[msgspec.Raw],
    parse_row: Callable[[bytes], Instrument | None],
    next_request: RestRequest | None = None,
) -> InstrumentPage:
    """Parses a list row by row, so that an invalid one costs only itself.

    `parse_row` returns None for a market of a kind that is not recorded, and may raise any of UNREADABLE.
    """
    instruments, odd = list[Instrument](), list[str]()
    for raw in rows:
        row = bytes(raw)
        try:
            instrument = parse_row(row)
            if instrument is not None:
                parse_symbol(instrument.symbol)
                instruments.append(instrument)
        except UNREADABLE:
            odd.append(row.decode("utf-8", "replace"))
    return InstrumentPage(tuple(instruments), next_request, tuple(odd))


def names_in(odd: Iterable[str]) -> set[str]:
    """All texts in rows that could not be parsed, in capitals: the natives of their markets are among them."""
    return {text.upper() for row in odd for text in _TEXT.findall(row)}


def instrument_of(
    symbol: Symbol,
    native: str,
    *,
    volume_unit: str = "base",
    contract_size: str | None = None,
    price_step: str | None = None,
    volume_step: str | None = None,
    active: bool = True,
    price_scale: int | None = None,
    volume_scale: int | None = None,
) -> Instrument:
    """The instrument whose kind and codes are those of its symbol."""
    return Instrument(
        symbol=str(symbol),
        native=native,
        kind=symbol.kind,
        base=symbol.base,
        quote=symbol.quote,
        settle=symbol.settle,
        volume_unit=volume_unit,
        contract_size=contract_size,
        price_step=price_step,
        volume_step=volume_step,
        active=active,
        price_scale=price_scale,
        volume_scale=volume_scale,
    )


def decimal_step(decimals: int) -> str:
    """The least difference of numbers with so many decimals."""
    return format(Decimal(1).scaleb(-min(decimals, DECIMALS_MAX)), "f")


def plain_digits(token: str) -> str:
    """A decimal without exponent: lists write small steps as 1E-8."""
    value = Decimal(token)
    if not value.is_finite() or abs(value.adjusted()) > 2 * DECIMALS_MAX:
        raise ValueError(f"not a decimal that can be stored: {token[:60]}")
    return format(value, "f")
