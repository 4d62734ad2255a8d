"""What each exchange of the registry promises: its folder, facts, symbols and subscriptions."""

import json
import re
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.exchanges.contract.feed import Market
from actors.exchanges.loopbacks import LOOPBACKS
from actors.exchanges.registry import EXCHANGES
from actors.model.symbols import SymbolError, parse_symbol
from ops.config.keys import DEFAULT_SYMBOLS
from ops.sandbox.instruments import FOLDER
from tests.harness.capture_files import expected, frames, recordings
from tests.harness.exchange_cases import cases_of, market_of
from tests.harness.exchange_values import WITH_HISTORY, dialect_of, history_of, history_server_of
from tests.harness.paths import EXCHANGES_FOLDER

every_exchange = pytest.mark.parametrize("name", EXCHANGES)


# The folder and the registries.


@every_exchange
def test_an_exchange_is_one_folder_with_a_loopback_and_cases_under_its_own_name(name: str) -> None:
    here = {path.name for path in (FOLDER / name).iterdir()}
    assert here >= {"__init__.py", "feed.py", "loopback.py", "recorded.jsonl"}
    assert (EXCHANGES[name].history is not None) == ("history.py" in here)
    assert (EXCHANGES[name].instruments is not None) == ("instruments.py" in here)
    assert EXCHANGES[name].name == name and LOOPBACKS[name].name == name
    assert (EXCHANGES_FOLDER / name / "cases.py").is_file()


def test_the_registries_and_the_folders_name_the_same_exchanges() -> None:
    folders = {path.parent.name for path in FOLDER.glob("*/feed.py")} - {"contract"}
    assert list(EXCHANGES) == sorted(EXCHANGES) == list(LOOPBACKS) == sorted(folders) and len(folders) >= 5
    assert {path.parent.name for path in EXCHANGES_FOLDER.glob("*/cases.py")} == folders
    assert set(DEFAULT_SYMBOLS) <= folders


# Facts.


@every_exchange
def test_every_fact_has_its_source_and_the_day_on_which_it_was_read(name: str) -> None:
    exchange = EXCHANGES[name]
    parts = [part for part in (exchange.feed, exchange.history, exchange.instruments) if part is not None]
    for doc, doc_read in ((part.doc, part.doc_read) for part in parts):
        assert doc.startswith("https://")
        assert date(2020, 1, 1) <= date.fromisoformat(doc_read) <= datetime.now(UTC).date()
    assert LOOPBACKS[name].doc.startswith("https://")


@every_exchange
def test_there_is_a_text_for_all_that_the_command_line_prints(name: str) -> None:
    exchange = EXCHANGES[name]
    feed, history = exchange.feed, exchange.history
    assert all((exchange.title, feed.ids_note, feed.markets_note, feed.ping_note, feed.ids, feed.channels))
    assert history is None or (history.name == name and history.summary and history.depth)
    assert exchange.instruments is None or exchange.instruments.name == name


@every_exchange
def test_the_text_on_markets_names_each_kind_once_with_symbols_that_the_exchange_takes(name: str) -> None:
    feed = dialect_of(name)
    kinds = {"spot": "spot", "perpetual": "swap", "futures": "future", "options": "option"}
    words = re.findall(r"\b(spot|perpetual|futures|options)", feed.markets_note)
    assert [kinds[word] for word in words] == [kind for kind in kinds.values() if kind in feed.ids]
    symbols = [parse_symbol(text) for text in re.findall(r"[\w/:-]+/[\w/:-]+", feed.markets_note)]
    assert {symbol.kind for symbol in symbols} == set(feed.ids)
    for symbol in symbols:
        if (name, str(symbol)) != ("coinbase", "BTC/USDC"):  # of which it says that it is BTC/USD
            assert feed.market(symbol).symbol == str(symbol)


@every_exchange
def test_what_an_exchange_is_proven_by_is_what_its_captures_hold(name: str) -> None:
    """A recorder stamps the frames; trades of retired protocols prove little of the one in use."""
    names = [one for one in recordings(name) if "RETIRED" not in one and expected(name, one)]
    stamped = any(frame.recv_ns is not None for one in names for frame in frames(name, one))
    published = any(not one.startswith("documented") for one in names)
    proven = "recording" if stamped else "sample" if published else "documentation"
    assert EXCHANGES[name].proven == proven


@every_exchange
def test_the_numbers_agree_with_each_other(name: str) -> None:
    feed = dialect_of(name)
    for endpoint in {market_of(name, case.symbol, case.channel).endpoint for case in cases_of(name).markets}:
        ping = feed.ping_at(endpoint)
        assert ping is None or feed.silence_s > 2 * ping.interval_s  # one lost answer is no reason
    assert 0 < feed.limits.symbols_per_request <= feed.limits.symbols_per_connection
    assert feed.limits.requests_per_s > 0 and feed.limits.connects_per_s > 0
    assert set(feed.ids) <= {"spot", "swap", "future", "option"}


@every_exchange
def test_the_client_keeps_within_what_the_loopback_allows_as_documented(name: str) -> None:
    limits, venue = dialect_of(name).limits, LOOPBACKS[name]
    connects, window_s = venue.connects
    # with one to spare: what is sent at a steady pace may arrive closer together
    assert limits.connects_per_s * window_s + 1 <= connects
    assert venue.requests_per_s is None or limits.requests_per_s <= venue.requests_per_s
    if name in WITH_HISTORY:
        past = history_server_of(name)
        for limit in history_of(name).limits:
            assert limit.units / limit.window_s <= past.units / past.window_s


# Symbols.


@every_exchange
def test_a_unified_symbol_becomes_the_exchanges_own_name_at_the_right_endpoint(name: str) -> None:
    cases = cases_of(name).markets
    for case in cases:
        market = market_of(name, case.symbol, case.channel)
        assert market == Market(case.symbol, case.native, case.endpoint, case.unit)
    assert {parse_symbol(case.symbol).kind for case in cases} == set(dialect_of(name).ids)


@every_exchange
def test_a_symbol_that_would_have_to_be_changed_is_refused_with_the_right_spelling(name: str) -> None:
    refused = cases_of(name).refused
    assert refused, "which symbols it refuses, and what it proposes instead, belongs to the cases"
    for symbol, right in refused:
        with pytest.raises(SymbolError, match=right):
            market_of(name, symbol)


@every_exchange
def test_the_examples_and_the_default_symbols_are_its_own(name: str) -> None:
    feed = dialect_of(name)
    for symbol in (*feed.examples, *DEFAULT_SYMBOLS.get(name, ())):
        market = market_of(name, symbol)
        assert market.symbol == symbol and market.endpoint.startswith("wss://")
    assert {parse_symbol(symbol).kind for symbol in feed.examples} <= set(feed.ids) and feed.examples


codes = st.sampled_from(["BTC", "ETH", "USDT", "USDC", "USD", "EUR", "1INCH", "KRW"])


@given(
    base=codes,
    quote=codes,
    settle=st.one_of(st.none(), codes),
    tail=st.sampled_from(["", "-261225", "-261225-9-P"]),
)
def test_no_two_symbols_share_a_native_name_at_one_endpoint(
    base: str, quote: str, settle: str | None, tail: str
) -> None:
    symbol = f"{base}/{quote}" + (f":{settle}{tail}" if settle else "")
    others = [
        f"{base}/{quote}",
        *(f"{base}/{quote}:{code}{tail}" for code in (base, quote, "USD", "USDT", "USDC")),
    ]
    for name in EXCHANGES:
        try:
            mine = market_of(name, symbol)
        except SymbolError:
            continue
        for other in set(others) - {symbol}:
            try:
                theirs = market_of(name, other)
            except SymbolError:
                continue
            assert (mine.native, mine.endpoint) != (theirs.native, theirs.endpoint)


# Subscribing.


@every_exchange
def test_the_subscribe_text_is_what_the_exchange_documents(name: str) -> None:
    cases = cases_of(name).subscribes
    assert cases
    for case in cases:
        (request,) = dialect_of(name).subscribe(case.natives, case.channel, 7)
        assert (request.text, request.request_id, request.natives) == (case.text, "7", tuple(case.natives))


@every_exchange
@pytest.mark.parametrize("count", [1, 10, 11, 450])
def test_many_markets_are_asked_for_once_each_within_the_limits(name: str, count: int) -> None:
    feed = dialect_of(name)
    natives = [f"LONGNAME{number}-USDT-SWAP" for number in range(min(count, feed.limits.symbols_per_connection))]
    asked = feed.subscribe(natives, feed.channels[0], 5)
    assert [native for request in asked for native in request.natives] == natives
    assert [request.request_id for request in asked] == [str(5 + number) for number in range(len(asked))]
    for request in asked:
        json.loads(request.text)
        assert len(request.natives) <= feed.limits.symbols_per_request
        assert len(request.text.encode()) <= feed.limits.request_bytes


@every_exchange
def test_one_market_longer_than_a_request_is_still_asked_for(name: str) -> None:
    feed = dialect_of(name)
    if feed.request_replaces:
        return  # all stand in one request, whatever its length
    natives = ["A" * feed.limits.request_bytes, "B"]
    assert [request.natives for request in feed.subscribe(natives, feed.channels[0], 1)] == [
        ("A" * feed.limits.request_bytes,),
        ("B",),
    ]
