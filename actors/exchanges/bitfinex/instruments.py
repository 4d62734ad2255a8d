"""Bitfinex's lists of markets: pairs and perpetuals by their names alone."""

import msgspec

from actors.exchanges.bitfinex.feed import UNIFIED
from actors.exchanges.contract.history_helpers import decoded
from actors.exchanges.contract.instruments import InstrumentPage, instrument_of
from actors.exchanges.contract.rest import RestRequest
from actors.model.symbols import Symbol

SPOT_PATH, SWAP_PATH = "/v2/conf/pub:list:pair:exchange", "/v2/conf/pub:list:pair:futures"
_PERPETUAL = "F0"

_decoder = msgspec.json.Decoder(list[list[object]])  # one that is no text costs only itself


def parse(body: bytes, request: RestRequest) -> InstrumentPage:
    """[["BTCUSD","DOGE:USD",...]], perpetuals [["BTCF0:USTF0",...]]: without the t of the stream's names."""
    found, odd = [], []
    for name in (name for names in decoded(_decoder, body) for name in names):
        if not isinstance(name, str):
            odd.append(str(name))
            continue
        base, _, quote = name.partition(":") if ":" in name else (name[:3], "", name[3:])
        settled = request.path == SWAP_PATH
        if not (base and quote) or settled != (base.endswith(_PERPETUAL) and quote.endswith(_PERPETUAL)):
            odd.append(name)
            continue
        if settled:
            base, quote = base.removesuffix(_PERPETUAL), quote.removesuffix(_PERPETUAL)
        base, quote = UNIFIED.get(base, base), UNIFIED.get(quote, quote)
        settle = quote if settled else ""
        found.append(instrument_of(Symbol(base, quote, settle), f"t{name}"))
    return InstrumentPage(tuple(found), odd=tuple(odd))
