"""OKX's list of markets over REST: spot, swaps and futures."""

from decimal import Decimal

import msgspec

from actors.exchanges.contract.history_helpers import decoded, error_text
from actors.exchanges.contract.instruments import Instrument, InstrumentPage, instrument_of, read_instruments
from actors.exchanges.contract.rest import Busy, RestRequest
from actors.model.symbols import Symbol

PATH = "/api/v5/public/instruments"
# Options are listed one underlying at a time only.
REQUESTS = tuple(RestRequest(path=PATH, query=(("instType", kind),)) for kind in ("SPOT", "SWAP", "FUTURES"))
_KINDS = {"SPOT": "spot", "SWAP": "swap", "FUTURES": "future"}
# A market that is suspended goes on without notice. The others are preopen, expired, settling and test.
_TRADED = ("live", "suspend", "rebase", "post_only")


class _Row(
    msgspec.Struct,
    gc=False,
    rename={
        "native": "instId",
        "kind": "instType",
        "settle": "settleCcy",
        "size": "ctVal",
        "multiplier": "ctMult",
        "price_step": "tickSz",
        "volume_step": "lotSz",
    },
):
    """{"instId":"BTC-USDT-SWAP","instType":"SWAP","settleCcy":"USDT","ctVal":"0.01","ctMult":"1","tickSz":"0.1",
    "lotSz":"0.01","state":"live",...}; a market of spot has no contract: its ctVal is empty."""

    native: str
    kind: str
    state: str
    settle: str = ""
    size: str = ""
    multiplier: str = ""
    price_step: str = ""
    volume_step: str = ""


class _Answer(msgspec.Struct, gc=False):
    code: str
    data: list[msgspec.Raw] = []


_decoder, _row = msgspec.json.Decoder(_Answer), msgspec.json.Decoder(_Row)


def parse(body: bytes, _request: RestRequest) -> InstrumentPage:
    answer = decoded(_decoder, body)
    if answer.code != "0":
        raise Busy(f"okx: {error_text(body, 'code', 'msg')}")
    return read_instruments(answer.data, lambda row: _instrument(_row.decode(row)))


def _instrument(row: _Row) -> Instrument:
    base, quote, *rest = row.native.split("-")
    kind = _KINDS[row.kind]
    return instrument_of(
        Symbol(base, quote, row.settle, rest[0] if kind == "future" else ""),
        row.native,
        volume_unit="base" if kind == "spot" else "contracts",
        contract_size=f"{Decimal(row.size) * Decimal(row.multiplier or 1):f}" if row.size else None,
        price_step=row.price_step or None,
        volume_step=row.volume_step or None,
        active=row.state in _TRADED,
    )
