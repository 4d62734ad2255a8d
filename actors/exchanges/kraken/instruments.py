"""Kraken's list of pairs: those of currencies and, asked for apart, of tokenised stocks."""

import msgspec
from msgspec.structs import replace

from actors.exchanges.contract.history_helpers import decoded
from actors.exchanges.contract.instruments import (
    Instrument,
    InstrumentPage,
    decimal_step,
    instrument_of,
    read_instruments,
)
from actors.exchanges.contract.rest import RestRequest
from actors.exchanges.kraken.feed import RENAMED
from actors.exchanges.kraken.history import parse_error
from actors.model.symbols import Symbol

PATH = "/0/public/AssetPairs"
REQUESTS = (RestRequest(path=PATH), RestRequest(path=PATH, query=(("aclass_base", "tokenized_asset"),)))
# A market that is not matched for a while stays recorded, as it goes on without notice.
_TRADED = ("online", "limit_only", "reduce_only", "post_only", "cancel_only")


class _Row(
    msgspec.Struct,
    gc=False,
    rename={"name": "wsname", "price_step": "tick_size", "decimals": "lot_decimals"},
):
    """{"altname":"XBTUSDT","wsname":"XBT/USDT","pair_decimals":1,"lot_decimals":8,"tick_size":"0.1","status":"online",
    ...}: the names of WebSocket v1, which v2 refuses. Dark pools ("ETHXBT.d") have none."""

    name: str = ""
    price_step: str | None = None
    decimals: int | None = None
    status: str = ""


class _Answer(msgspec.Struct, gc=False):
    error: list[str]
    result: dict[str, msgspec.Raw] = {}


_decoder = msgspec.json.Decoder(_Answer)
_row = msgspec.json.Decoder(_Row)


def parse(body: bytes, _request: RestRequest) -> InstrumentPage:
    answer = decoded(_decoder, body)
    if answer.error:
        raise parse_error(200, body).error("kraken")
    page = read_instruments(answer.result.values(), _instrument)
    return replace(page, odd=tuple(map(_renamed, page.odd))) if page.odd else page


def _renamed(row: str) -> str:
    """A row that could not be parsed, with the names of v2."""
    for old, new in RENAMED.items():
        row = row.replace(f'"{old}/', f'"{new}/').replace(f'/{old}"', f'/{new}"')
    return row


def _instrument(raw: bytes) -> Instrument | None:
    row = _row.decode(raw)
    if not row.name:
        return None
    base, _, quote = row.name.partition("/")
    base, quote = RENAMED.get(base, base), RENAMED.get(quote, quote)
    symbol = Symbol(base, quote)
    return instrument_of(
        symbol,
        str(symbol),
        price_step=row.price_step,
        volume_step=None if row.decimals is None else decimal_step(row.decimals),
        active=row.status in _TRADED,
    )
