"""What the list of markets of each exchange promises: what it asks, and what it reads of recorded answers."""

import pytest

from actors.exchanges.contract.instruments import Instrument, InstrumentList
from actors.exchanges.contract.rest import Garbled
from actors.exchanges.registry import EXCHANGES
from tests.harness.exchange_cases import cases_of, market_of

WITH_INSTRUMENTS = [name for name, exchange in EXCHANGES.items() if exchange.instruments is not None]
every_list = pytest.mark.parametrize("name", WITH_INSTRUMENTS)


def list_of(name: str) -> InstrumentList:
    instruments = EXCHANGES[name].instruments
    assert instruments is not None
    return instruments


@every_list
def test_recorded_lists_are_read_field_by_field(name: str) -> None:
    instruments, cases = list_of(name), cases_of(name).listed
    assert cases, "a list of instruments needs a recorded answer"
    for case in cases:
        page = instruments.page(case.content(), instruments.requests[case.request])
        assert (len(page.instruments), page.odd) == (case.count, ())
        found: dict[str, Instrument] = {instrument.native: instrument for instrument in page.instruments}
        for wanted in case.some:
            assert found[wanted.native] == wanted
        assert (page.next_request.target if page.next_request is not None else None) == case.next_request


@every_list
def test_each_instrument_is_the_market_that_its_symbol_names(name: str) -> None:
    instruments = list_of(name)
    for case in cases_of(name).listed:
        page = instruments.page(case.content(), instruments.requests[case.request])
        for instrument in page.instruments:
            market = market_of(name, instrument.symbol)
            assert (market.native, market.volume_unit) == (instrument.native, instrument.volume_unit)


@every_list
@pytest.mark.parametrize("body", [b"", b"{", b"null", b"<html>busy</html>", b"\xff\xfe", b"[" * 5000])
def test_a_list_without_sense_is_transient(name: str, body: bytes) -> None:
    instruments = list_of(name)
    for ask in instruments.requests:
        with pytest.raises(Garbled):
            instruments.page(body, ask)


@every_list
def test_each_kind_of_market_is_asked_for_once(name: str) -> None:
    requests = list_of(name).requests
    urls = [ask.url(list_of(name).base) for ask in requests]
    assert urls and len(set(urls)) == len(urls) and all(url.startswith("https://") for url in urls)


def test_a_list_of_several_pages_is_asked_for_page_by_page() -> None:
    bybit = list_of("bybit")
    page = bybit.page(b'{"retCode":0,"result":{"list":[],"nextPageCursor":"a=b"}}', bybit.requests[1])
    assert page.next_request is not None
    assert page.next_request.target == "/v5/market/instruments-info?category=linear&limit=1000&cursor=a%3Db"
    again = bybit.page(b'{"retCode":0,"result":{"list":[],"nextPageCursor":"c"}}', page.next_request)
    assert again.next_request is not None and again.next_request.query[-1] == ("cursor", "c")
    assert len(again.next_request.query) == 3
