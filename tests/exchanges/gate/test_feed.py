"""Gate's trades of contracts in the forms that they have had, and what is rejected of them."""

import json

import pytest

from actors.exchanges.gate.feed import ms_ns
from actors.feed.decoder import Decoder, Outcome
from actors.model.ticks import AFTER_BREAK, OFF_BOOK, Block, Reason
from actors.model.validation import FieldError
from tests.harness.exchange_cases import market_of
from tests.harness.exchange_values import dialect_of

SYMBOLS = ("BTC/USDT:USDT", "MOB/USDT:USDT", "BTC/USD:BTC-220603")
ROW = {"size": "-7", "id": 9, "create_time": 1653808101, "create_time_ms": 1653808101123, "price": "5"}


def read(*rows: dict[str, object]) -> tuple[Block, Outcome]:
    block, dialect = Block("gate"), dialect_of("gate")
    names = {market_of("gate", symbol).native: symbol for symbol in SYMBOLS}
    frame = {"time": 1, "channel": "futures.trades", "event": "update", "error": None, "result": list(rows)}
    reader = Decoder("gate", dialect, names, dialect.decoder_for({}))
    return block, reader.read([json.dumps(frame).encode()], 5, block)


def test_sizes_and_prices_are_numbers_or_texts_and_the_sign_is_the_side() -> None:
    rows: list[dict[str, object]] = [
        {**ROW, "contract": "BTC_USDT", "size": 50, "price": "56233.30"},
        {**ROW, "contract": "MOB_USDT", "size": -90, "price": 0.836},
        {**ROW, "contract": "MOB_USDT", "size": "-1.5", "id": 10},
    ]
    block, outcome = read(*rows)
    assert outcome.ticks == 3 and not outcome.rejects
    assert block.price == ["56233.30", "0.836", "5"] and block.volume == ["50", "90", "1.5"]
    assert block.side == ["buy", "sell", "sell"]


def test_a_dated_contract_has_seconds_where_it_has_no_milliseconds() -> None:
    row = {key: value for key, value in ROW.items() if key != "create_time_ms"}
    block, _ = read({**row, "contract": "BTC_USD_20220603"})
    assert (block.symbol, block.exchange_ns) == (["BTC/USD:BTC-220603"], [1_653_808_101_000_000_000])


def test_rows_that_come_newest_first_are_turned_round() -> None:
    block, _ = read(*({**ROW, "contract": "BTC_USDT", "id": number} for number in (12, 11, 10)))
    assert block.trade_id == ["10", "11", "12"]


def test_what_never_met_the_book_is_marked() -> None:
    block, outcome = read(
        {**ROW, "contract": "BTC_USDT"}, {**ROW, "contract": "BTC_USDT", "id": 10, "is_internal": True}
    )
    assert outcome.off_book and block.source == ["stream", OFF_BOOK]


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("1788336082402.208000", 1_788_336_082_402_208_000),
        ("1606292218213.4578", 1_606_292_218_213_457_800),
        ("1606292218213", 1_606_292_218_213_000_000),
        ("1788336082402.2080009", 1_788_336_082_402_208_000),
        ("17883360824021.08000", 17_883_360_824_021_080_000),
    ],
)
def test_milliseconds_keep_their_fraction(text: str, ns: int) -> None:
    assert ms_ns(text) == ns


@pytest.mark.parametrize(
    "text", ["1788336082402,208000", "17883360824x2.208000", "1788336082402.20800x", "\uff11.5"]
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(FieldError):
        ms_ns(text)


def spot(number: int | None, numbers: str = "") -> bytes:
    row = {
        **{"id": (number or 0) + 1000, "create_time_ms": "1788336082402.208000", "side": "sell", "price": "5"},
        **{"currency_pair": "BTC_USDT", "amount": "1"},
        **({} if number is None else {"id_market": number, "range": numbers or f"{number}-{number}"}),
    }
    return json.dumps({"channel": "spot.trades", "event": "update", "result": row}).encode()


@pytest.mark.parametrize("together", [True, False])
def test_a_hole_in_the_numbers_of_a_pair_is_a_break(together: bool) -> None:
    """A row may stand for several numbers, and frames of 2021 have none."""
    frames = [spot(5), spot(6), spot(9), spot(12, "10-12"), spot(None), spot(12), spot(15, "14-15"), spot(16)]
    block, dialect = Block("gate"), dialect_of("gate")
    reader = Decoder("gate", dialect, {"spot.BTC_USDT": "BTC/USDT"}, dialect.decoder_for({}))
    for messages in [frames] if together else [[frame] for frame in frames]:
        reader.read(messages, 5, block)
    assert [at for at, source in enumerate(block.source) if source == AFTER_BREAK] == [2, 6]
    reader.read([spot(20).replace(b'"5"', b'"0"'), spot(21)], 5, block)
    assert block.source[-2:] == ["stream", AFTER_BREAK]


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("size", 0, Reason.BAD_VOLUME),
        ("size", "--1", Reason.BAD_VOLUME),
        ("size", None, Reason.BAD_TYPE),
        ("price", -1, Reason.BAD_PRICE),
        ("create_time_ms", "1653808101123", Reason.BAD_TYPE),
        ("create_time_ms", 10**16, Reason.BAD_TIME),
        ("contract", "NOPE_USDT", Reason.UNKNOWN_SYMBOL),
        ("is_internal", "yes", Reason.BAD_TYPE),
    ],
)
def test_an_invalid_trade_costs_only_itself(field: str, value: object, reason: Reason) -> None:
    good = {**ROW, "contract": "BTC_USDT"}
    block, outcome = read(good, {**good, field: value}, {**good, "id": 10})
    assert [reject.reason for reject in outcome.rejects] == [reason] and block.trade_id == ["9", "10"]
