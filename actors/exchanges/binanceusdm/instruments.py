"""Binance USD-M futures' list of markets; volumes count the base currency."""

from functools import partial

from actors.exchanges.binance.history import WEIGHT
from actors.exchanges.binance.instruments import future, parse_rows
from actors.exchanges.contract.instruments import InstrumentPage
from actors.exchanges.contract.rest import RestRequest

REQUEST = RestRequest(path="/fapi/v1/exchangeInfo", costs={WEIGHT: 1.0})


def parse(body: bytes, _request: RestRequest) -> InstrumentPage:
    return parse_rows(body, "binanceusdm", partial(future, volume_unit="base"))
