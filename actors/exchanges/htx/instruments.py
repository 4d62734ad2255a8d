"""HTX's lists of markets: spot pairs, linear swaps, coin-margined swaps."""

import msgspec

from actors.exchanges.contract.feed_helpers import digits
from actors.exchanges.contract.history_helpers import decoded, excerpt
from actors.exchanges.contract.instruments import (
    Instrument,
    InstrumentPage,
    decimal_step,
    instrument_of,
    plain_digits,
    read_instruments,
)
from actors.exchanges.contract.rest import Busy, RestRequest
from actors.exchanges.htx.feed import SWAP_BASE
from actors.model.symbols import Symbol

SPOT_PATH = "/v1/common/symbols"
SWAP_PATHS = ("/linear-swap-api/v1/swap_contract_info", "/swap-api/v1/swap_contract_info")
REQUESTS = (RestRequest(path=SPOT_PATH), *(RestRequest(path=path, base=SWAP_BASE) for path in SWAP_PATHS))
# A market that is suspended or in settlement goes on without notice. Others of spot are offline, and pre-online and
# not-online, which are before the first trade; of contracts 0 delisted, 2 pending, 6 delivering and 8 delivered.
_TRADED_PAIRS = ("online", "suspend", "fuse")
_TRADED_CONTRACTS = (1, 3, 4, 5, 7, 9)  # listed, suspended, being suspended, in settlement, settled, halted


class _Pair(
    msgspec.Struct,
    gc=False,
    rename={
        "base": "base-currency",
        "quote": "quote-currency",
        "price_digits": "price-precision",
        "volume_digits": "amount-precision",
    },
):
    """{"base-currency":"btc","quote-currency":"usdt","price-precision":2,"amount-precision":6,"symbol":"btcusdt",
    "state":"online",...}"""

    base: str
    quote: str
    symbol: str
    state: str
    price_digits: int | None = None
    volume_digits: int | None = None


class _Contract(msgspec.Struct, gc=False, rename={"code": "contract_code", "status": "contract_status"}):
    """{"symbol":"BTC","contract_code":"BTC-USDT","contract_size":0.001,"price_tick":0.1,"contract_status":1,...};
    futures stand in the list of linear swaps too, as BTC-USDT-210625."""

    code: str
    contract_size: msgspec.Raw
    price_tick: msgspec.Raw
    status: int


class _Answer(msgspec.Struct, gc=False):
    status: str
    data: list[msgspec.Raw] = []


_decoder = msgspec.json.Decoder(_Answer)
_pair, _contract = msgspec.json.Decoder(_Pair), msgspec.json.Decoder(_Contract)


def parse(body: bytes, request: RestRequest) -> InstrumentPage:
    answer = decoded(_decoder, body)
    if answer.status != "ok":
        raise Busy(f"htx lists no markets: {excerpt(body)}")
    if request.path == SPOT_PATH:
        return read_instruments(answer.data, lambda row: _spot(_pair.decode(row)))
    return read_instruments(answer.data, lambda row: _swap(_contract.decode(row)))


def _spot(row: _Pair) -> Instrument:
    base, quote = row.base.upper(), row.quote.upper()
    return instrument_of(
        Symbol(base, quote),
        row.symbol,
        price_step=None if row.price_digits is None else decimal_step(row.price_digits),
        volume_step=None if row.volume_digits is None else decimal_step(row.volume_digits),
        active=row.state in _TRADED_PAIRS,
    )


def _swap(row: _Contract) -> Instrument | None:
    base, quote, *day = row.code.split("-")
    if day:
        return None
    settle = base if quote == "USD" else quote
    return instrument_of(
        Symbol(base, quote, settle),
        row.code,
        volume_unit="contracts",
        contract_size=plain_digits(digits(row.contract_size, "contract_size")),
        price_step=plain_digits(digits(row.price_tick, "price_tick")),
        volume_step="1",
        active=row.status in _TRADED_CONTRACTS,
    )
