"""What the list of markets of each exchange promises: what it asks, and what it reads of recorded answers."""

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec
import pytest

from actors.exchanges.contract.instruments import (
    Instrument,
    InstrumentList,
    InstrumentPage,
    decimal_step,
    names_in,
    plain_digits,
    read_instruments,
)
from actors.exchanges.contract.rest import Garbled, RestRequest
from actors.exchanges.registry import EXCHANGES
from tests.harness.exchange_cases import cases_of, market_of
from tests.harness.exchange_values import dialect_of

WITH_INSTRUMENTS = [name for name, exchange in EXCHANGES.items() if exchange.instruments is not None]
PARALLEL = ("hyperliquid",)  # a row of its list belongs to that at the same place of another
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
            listed = dialect_of(name).market_listed(instrument, dialect_of(name).channels[0])
            renamed = instrument.native in case.listed_only
            assert (market.native != listed.native) is renamed and market.endpoint == listed.endpoint
            assert market.volume_unit == listed.volume_unit == instrument.volume_unit


@pytest.mark.parametrize(
    ("name", "request_number", "field", "traded", "not_traded"),
    [
        ("bingx", 0, '"status":1', ("1", "25"), ("0", "5")),
        ("bingx", 1, '"status":0', ("1", "25"), ("0", "5")),
        ("bitget", 0, '"status":"online"', ("online", "gray", "halt"), ("offline",)),
        (
            *("bitget", 1, '"symbolStatus":"normal"'),
            ("normal", "limit_open", "restrictedAPI", "maintain"),
            ("listed", "off"),
        ),
        ("gate", 1, '"status":"trading"', ("trading", "delisting", "circuit_breaker"), ("prelaunch", "delisted")),
        ("gate", 1, '"in_delisting":false', ("false", "true"), ()),
        ("htx", 0, '"state":"online"', ("online", "suspend", "fuse"), ("offline", "pre-online")),
        ("htx", 1, '"contract_status":1', ("1", "3", "4", "5", "7", "9"), ("0", "2", "6", "8")),
        ("kucoin", 1, '"status":"Open"', ("Open", "Paused", "CancelOnly"), ("Init", "Settled", "Closed")),
        ("mexc", 0, '"status":"1"', ("1", "2"), ("3",)),
        ("mexc", 1, '"state":0', ("0", "4"), ("1", "2", "3")),
        ("okx", 1, '"state":"live"', ("live", "suspend", "rebase", "post_only"), ("preopen", "expired", "test")),
        ("poloniex", 0, '"state":"NORMAL"', ("NORMAL", "PAUSE", "POST_ONLY"), ("",)),
    ],
)
def test_a_market_that_is_halted_or_restricted_for_a_while_counts_as_traded(
    name: str, request_number: int, field: str, traded: Sequence[str], not_traded: Sequence[str]
) -> None:
    """It goes on without notice: what is traded before the list is read again would be lost, and in no gap."""
    instruments = list_of(name)
    case = next(case for case in cases_of(name).listed if case.request == request_number)
    body = re.sub(rb'": +', b'":', case.content())
    key, value = field.split(":")
    quote = '"' if value.startswith('"') else ""

    def active(status: str) -> bool:
        changed = body.replace(field.encode(), f"{key}:{quote}{status}{quote}".encode(), 1)
        assert field.encode() in body
        return instruments.page(changed, instruments.requests[request_number]).instruments[0].active

    assert [status for status in (*traded, *not_traded) if active(status)] == list(traded)


@every_list
def test_a_row_that_is_no_market_costs_no_other(name: str) -> None:
    instruments = list_of(name)
    for case in cases_of(name).listed:
        answer = json.loads(case.content())
        lists = list(lists_of_objects(answer)) or (answer if name == "bitfinex" else [])  # lists of names
        if name in PARALLEL or not lists:
            continue
        page = instruments.page(case.content(), instruments.requests[case.request])
        max(lists, key=lambda rows: len(json.dumps(rows))).insert(1, {})
        beside = instruments.page(json.dumps(answer).encode(), instruments.requests[case.request])
        assert (beside.instruments, len(beside.odd)) == (page.instruments, len(page.odd) + 1)


def lists_of_objects(value: object) -> Iterator[list[object]]:
    """Those in a JSON value, at any depth."""
    if isinstance(value, list) and value and isinstance(value[0], dict):
        yield value
    for inner in value if isinstance(value, list) else value.values() if isinstance(value, dict) else ():
        yield from lists_of_objects(inner)


def test_an_invalid_row_of_a_list_costs_only_itself() -> None:
    def parse_row(row: bytes) -> Instrument | None:
        base, quote, kind = msgspec.json.decode(row)
        if kind != "spot":
            return None
        return Instrument(symbol=f"{base}/{quote}", native=base + quote, kind=kind, base=base, quote=quote)

    body = b'[["BTC","USD","spot"],["ETH"],["A-B","USD","spot"],["ETH","USD","index"],["ETH","USD","spot"]]'
    rows = msgspec.json.decode(body, type=list[msgspec.Raw])
    page = read_instruments(rows, parse_row)
    assert [instrument.symbol for instrument in page.instruments] == ["BTC/USD", "ETH/USD"]
    assert page.odd == ('["ETH"]', '["A-B","USD","spot"]')


@every_list
def test_an_invalid_row_names_its_market_as_frames_do(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    instruments, natives = list_of(name), set[str]()

    def read_invalid(
        rows: Iterable[msgspec.Raw],
        parse_row: Callable[[bytes], Instrument | None],
        next_request: RestRequest | None = None,
    ) -> InstrumentPage:
        def parse(row: bytes) -> Instrument | None:
            one = parse_row(row)
            if one is None:
                return None
            natives.add(one.native)
            raise ValueError("something besides its name is invalid")

        return read_instruments(rows, parse, next_request)

    # Where a list has nothing but names, no row is read by itself.
    monkeypatch.setattr(sys.modules[instruments.parse.__module__], "read_instruments", read_invalid, raising=False)
    for case in cases_of(name).listed:
        natives.clear()
        page = instruments.page(case.content(), instruments.requests[case.request])
        assert {native.upper() for native in natives} <= names_in(page.odd)


def test_steps_are_digits_without_exponent() -> None:
    assert [decimal_step(decimals) for decimals in (0, 2, 400)] == ["1", "0.01", f"0.{'0' * 17}1"]
    assert [plain_digits(token) for token in ("0.10", "1E-8", "5", "1e3")] == ["0.10", "0.00000001", "5", "1000"]
    for token in ("1E-400", "1E400", "NaN", "-Infinity"):
        with pytest.raises(ValueError, match="not a decimal"):
            plain_digits(token)


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
    urls = [(request.url(list_of(name).base), request.body) for request in requests]
    assert urls and len(set(urls)) == len(urls) and all(url.startswith("https://") for url, _ in urls)


def test_a_list_of_several_pages_is_asked_for_page_by_page() -> None:
    bybit = list_of("bybit")
    page = bybit.page(b'{"retCode":0,"result":{"list":[],"nextPageCursor":"a=b"}}', bybit.requests[1])
    assert page.next_request is not None
    assert page.next_request.target == "/v5/market/instruments-info?category=linear&limit=1000&cursor=a%3Db"
    again = bybit.page(b'{"retCode":0,"result":{"list":[],"nextPageCursor":"c"}}', page.next_request)
    assert again.next_request is not None and again.next_request.query[-1] == ("cursor", "c")
    assert len(again.next_request.query) == 3


@every_list
def test_a_request_costs_what_the_exchange_limits(name: str) -> None:
    """The list shares the rate limiter of the history; without one it has a limit of its own, of requests."""
    history = EXCHANGES[name].history
    known = {"requests"} if history is None else {limit.name for limit in history.limits}
    for request in list_of(name).requests:
        assert request.costs.keys() <= known
