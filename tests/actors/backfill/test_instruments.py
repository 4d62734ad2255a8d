"""The instruments actor: what it reads, what it has stored, and what is recorded because of it."""

import time
from decimal import Decimal

import duckdb
import pytest
import trio
from msgspec.structs import replace
from trio.testing import MockClock

from actors.backfill.stored_instruments import StoredList, read_stored, storable
from actors.exchanges.contract.instruments import Instrument
from actors.model.records import INSTRUMENTS
from actors.model.symbols import SymbolError
from tests.harness.continuity_rows import SECOND_NS
from tests.harness.exchange_values import dialect_of
from tests.harness.memory_exchange import BTC, LIST_DAY_S, LIST_LIMITS, ListFile, Recorder, Venue, recorded, seen

SOL, XRP = "SOL-USDT", "XRP-USDT"


def spot(native: str, /, **changes: object) -> Instrument:
    base, quote = native.split("-")
    plain = Instrument(
        symbol=f"{base}/{quote}",
        native=native,
        kind="spot",
        base=base,
        quote=quote,
        price_step="0.1",
        volume_step="0.00000001",
    )
    return replace(plain, **changes)


def natives(recorder: Recorder) -> list[str]:
    return sorted(market.native for market in recorder.exchange.markets)


def carried(recorder: Recorder) -> list[str]:
    """Of all connections that there are."""
    specs = [connection.spec for connection in recorder.exchange.connections]
    return sorted(market.native for spec in specs for market in spec.markets)


# -- the table ----------------------------------------------------------------------------------------


async def test_a_first_list_is_stored_whole_and_a_later_one_by_what_has_changed(autojump_clock: MockClock) -> None:
    venue, file = Venue(), ListFile()
    async with recorded(venue, "BTC/USDT", listed=True, file=file) as recorder:
        assert file.newest == {"BTC/USDT": (BTC, True), "ETH/USDT": ("ETH-USDT", True)}
        first = file.rows[0]
        assert (first.exchange, first.kind, first.base, first.quote, first.settle) == (
            "x",
            "spot",
            "BTC",
            "USDT",
            None,
        )
        assert (first.volume_unit, first.price_step, first.volume_step) == ("base", "0.1", "0.00000001")
        assert [event.event for event in recorder.reported("instruments_known")] == ["instruments_known"]
        await trio.sleep(LIST_DAY_S + 1.0)
        assert venue.list_asked == 6 and len(file.rows) == 2  # nothing has changed
        venue.listed[SOL] = "live"
        del venue.listed["ETH-USDT"]
        await trio.sleep(LIST_DAY_S + 1.0)
        assert [(row.symbol, row.active) for row in file.rows[2:]] == [("SOL/USDT", True), ("ETH/USDT", False)]
        (new,), (gone,) = recorder.reported("instrument_listed"), recorder.reported("instrument_delisted")
        assert (new.detail["symbol"], gone.detail["symbol"]) == ("SOL/USDT", "ETH/USDT")


@pytest.mark.parametrize(
    ("listed", "said"),
    [
        ({BTC: "live"}, "1 market is listed, 1 traded"),
        ({BTC: "live", SOL: "live"}, "2 markets are listed, 2 traded"),
    ],
)
async def test_a_first_list_is_reported_with_its_numbers(
    listed: dict[str, str], said: str, autojump_clock: MockClock
) -> None:
    venue = Venue()
    venue.listed = listed
    async with recorded(venue, "BTC/USDT", listed=True, file=ListFile()) as recorder:
        (known,) = recorder.reported("instruments_known")
        assert known.reason == said


async def test_what_the_file_has_is_not_stored_again(autojump_clock: MockClock) -> None:
    file = ListFile(spot(BTC), spot("ETH-USDT", price_step="0.01"), spot(XRP, active=False), spot(SOL))
    async with recorded(Venue(), "BTC/USDT", listed=True, file=file):
        assert file.newest == {"ETH/USDT": ("ETH-USDT", True), "SOL/USDT": (SOL, False)}


async def test_what_was_read_while_the_clock_was_ahead_is_replaced_by_what_is_read_after_it(
    autojump_clock: MockClock,
) -> None:
    file = ListFile(spot(BTC), spot("ETH-USDT"), spot(SOL))
    file.seen_ns = ahead_ns = time.time_ns() + 172_800 * SECOND_NS
    venue = Venue()
    async with recorded(venue, "BTC/USDT", listed=True, file=file):
        assert [(row.symbol, row.active, row.seen_ns - ahead_ns) for row in file.rows] == [
            ("SOL/USDT", False, 1000)
        ]
        venue.listed[SOL] = "live"
        await trio.sleep(LIST_DAY_S + 1.0)
    assert [(row.symbol, row.active, row.seen_ns - ahead_ns) for row in file.rows[1:]] == [("SOL/USDT", True, 2000)]


def test_the_list_in_a_file_has_the_time_of_its_newest_row() -> None:
    with duckdb.connect() as con:
        con.execute(f"CREATE TABLE instruments ({INSTRUMENTS.definition})")
        assert read_stored(con, "x") == StoredList([], 0)
        for name, symbol, seen in (
            ("x", "BTC/USDT", 5),
            ("x", "ETH/USDT", 7),
            ("x", "ETH/USDT", 6),
            ("y", "A/B", 9),
        ):
            con.execute(
                "INSERT INTO instruments (exchange, symbol, kind, seen_at) VALUES (?, ?, 'spot', to_timestamp(?))",
                [name, symbol, seen],
            )
        found = read_stored(con, "x")
    assert (sorted(one.symbol for one in found.instruments), found.seen_ns) == (
        ["BTC/USDT", "ETH/USDT"],
        7 * SECOND_NS,
    )


async def test_while_the_file_is_held_the_list_counts_and_is_compared_later(autojump_clock: MockClock) -> None:
    file = ListFile(spot(BTC), spot(SOL))
    file.held = True
    async with recorded(Venue(), "BTC/USDT", "*/USDT", listed=True, file=file) as recorder:
        assert natives(recorder) == [BTC, "ETH-USDT"] and file.rows == []
        file.held = False
        await trio.sleep(2 * LIST_LIMITS.locked_s)
        assert file.newest == {"ETH/USDT": ("ETH-USDT", True), "SOL/USDT": (SOL, False)}


async def test_another_name_of_a_market_is_a_renaming(autojump_clock: MockClock) -> None:
    """The same native under another symbol, and the same symbol under another native."""
    file = ListFile(spot(BTC, symbol="XBT/USDT", base="XBT"), spot("ETH-USDT", native="ETHER-USDT"))
    async with recorded(Venue(), "BTC/USDT", listed=True, file=file) as recorder:
        assert sorted(event.reason for event in recorder.reported("instrument_renamed")) == [
            "ETH/USDT (ETHER-USDT) is ETH/USDT (ETH-USDT) now",
            "XBT/USDT (BTC-USDT) is BTC/USDT (BTC-USDT) now",
        ]
        assert not recorder.reported("instrument_listed", "instrument_delisted")
        assert file.newest == {"XBT/USDT": (BTC, False), "BTC/USDT": (BTC, True), "ETH/USDT": ("ETH-USDT", True)}


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("0.10", "0.1"),
        ("1E-8", "0.00000001"),
        ("100", "100"),
        ("0", "0"),
        ("0E+50", "0"),
        ("1e-19", None),
        ("1e20", None),
        ("0.1234567890123456789", None),
        ("NaN", None),
        ("Infinity", None),
        ("a", None),
    ],
)
def test_decimals_are_kept_as_they_come_back_from_the_file(sent: str, kept: str | None) -> None:
    step = storable(spot(BTC, price_step=sent)).price_step
    assert step == kept
    if kept is not None:  # what the file gives back has all its decimals
        assert storable(spot(BTC, price_step=str(Decimal(kept).quantize(Decimal("1e-18"))))).price_step == kept


# -- what is recorded ---------------------------------------------------------------------------------


async def test_a_symbol_that_is_not_listed_is_reported_and_holds_up_no_other(autojump_clock: MockClock) -> None:
    venue, file = Venue(), ListFile()
    async with recorded(venue, "BTC/USDT", "SOL/USDT", "BTC/USDC", listed=True, file=file) as recorder:
        assert natives(recorder) == carried(recorder) == [BTC]
        asked = [text for client in venue.server.clients for text in client.asked]
        assert asked and not any("SOL" in text or "USDC" in text for text in asked)
        reasons = {event.detail["symbol"]: event.reason for event in recorder.reported("unknown_market")}
        assert reasons.keys() == {"SOL/USDT", "BTC/USDC"}
        assert reasons["BTC/USDC"] == "BTC/USDC: okx does not list it; it lists BTC/USDT"
        (health,) = [row for row in recorder.tree.snapshot() if row.name == "x:instruments"]
        assert health.state.value == "degraded" and "SOL/USDT: okx does not list it" in health.reason
        await venue.trade()
        await seen(lambda: recorder.ids() == venue.ids())
        # It starts by itself once it is listed: while one is wanted the list is read every hour.
        venue.listed[SOL] = "live"
        await trio.sleep(1.1 * LIST_LIMITS.wanting_s)
        assert natives(recorder) == carried(recorder) == [BTC, SOL]
        await venue.trade(SOL)
        await seen(lambda: recorder.ids("SOL/USDT") == venue.ids(SOL))
        assert recorder.reported("unknown_market")[2:] == [] and recorder.gaps() == []
        recorder.check()


async def test_more_connections_than_the_exchange_allows_are_reported_while_they_are_needed(
    autojump_clock: MockClock,
) -> None:
    limits = replace(dialect_of("okx").limits, symbols_per_connection=1, connections_max=1)
    async with recorded(
        Venue(), "BTC/USDT", "ETH/USDT", listed=True, file=ListFile(), changes={"limits": limits}
    ) as recorder:
        assert carried(recorder) == [BTC, "ETH-USDT"]
        (health,) = [row for row in recorder.tree.snapshot() if row.name == "x:instruments"]
        assert health.state.value == "degraded"
        assert health.reason.startswith("2 markets take 2 connections and the exchange allows 1 at a time")
        await recorder.exchange.change([], ["ETH/USDT"])
        await trio.sleep(1.0)
        (health,) = [row for row in recorder.tree.snapshot() if row.name == "x:instruments"]
        assert (health.state.value, health.reason) == ("ok", "")


async def test_a_market_that_is_listed_and_not_traded_is_left_out(autojump_clock: MockClock) -> None:
    venue, file = Venue(), ListFile()
    venue.listed["ETH-USDT"] = "expired"
    async with recorded(venue, "BTC/USDT", "ETH/USDT", listed=True, file=file) as recorder:
        assert natives(recorder) == [BTC]
        assert [event.reason for event in recorder.reported("unknown_market")] == [
            "ETH/USDT: okx does not trade it at present, as its list says"
        ]


@pytest.mark.parametrize("fault", ["refused", "slow"])
async def test_without_a_list_symbols_start_by_the_naming_rule(fault: str, autojump_clock: MockClock) -> None:
    venue, file = Venue(), ListFile()
    venue.lists, venue.list_s = fault == "slow", 100.0 if fault == "slow" else 0.0
    async with recorded(venue, "BTC/USDT", "SOL/USDT", "*/USDC", listed=True, file=file) as recorder:
        await trio.sleep(LIST_LIMITS.first_s)
        assert natives(recorder) == carried(recorder) == [BTC, SOL]
        await venue.trade()
        await seen(lambda: recorder.ids() == venue.ids())
        await seen(lambda: recorder.reported("instruments_unavailable"))
        await trio.sleep(60.0)
        assert len(recorder.reported("instruments_unavailable")) == 1 and file.rows == []
        (health,) = [row for row in recorder.tree.snapshot() if row.name == "x:instruments"]
        assert health.reason == "*/USDC waits for the list"
        opened = len(venue.server.clients)
        venue.lists, venue.list_s = True, 0.0
        venue.listed[SOL] = "live"
        await seen(lambda: file.rows)
        await seen(lambda: recorder.reported("instruments_available"))
        assert len(venue.server.clients) == opened  # nothing moves because of a list that says the same
        recorder.check()


async def test_what_is_known_from_before_counts_while_no_list_can_be_read(autojump_clock: MockClock) -> None:
    venue, file = Venue(), ListFile(spot(BTC), spot(SOL), spot(XRP, active=False))
    venue.lists = False
    async with recorded(venue, "*/USDT", listed=True, file=file) as recorder:
        assert natives(recorder) == carried(recorder) == [BTC, SOL]
        await venue.trade(SOL)
        await seen(lambda: recorder.ids("SOL/USDT") == venue.ids(SOL))


async def test_a_market_whose_native_changes_moves_over(autojump_clock: MockClock) -> None:
    venue, file = Venue(), ListFile(spot(BTC, native="XBT-USDT"), spot("ETH-USDT"))
    venue.list_s = 10.0
    async with recorded(venue, "BTC/USDT", "ETH/USDT", listed=True, file=file) as recorder:
        assert carried(recorder) == ["ETH-USDT", "XBT-USDT"]
        await venue.trade("XBT-USDT")
        await seen(lambda: recorder.reported("instrument_renamed"))
        await seen(lambda: carried(recorder) == [BTC, "ETH-USDT"])
        await trio.sleep(3.0)
        await venue.trade(BTC)
        await seen(lambda: len(recorder.ids()) == 2)
        recorder.check()


# -- wildcards ----------------------------------------------------------------------------------------


async def test_a_wildcard_follows_the_list(autojump_clock: MockClock) -> None:
    venue, file = Venue(), ListFile()
    venue.listed["ETH-BTC"] = venue.swaps["BTC-USDT-SWAP"] = "live"
    venue.listed[XRP] = "expired"
    async with recorded(venue, "*/USDT", listed=True, file=file) as recorder:
        exchange = recorder.exchange
        assert natives(recorder) == carried(recorder) == [BTC, "ETH-USDT"]
        assert exchange.selection.matched == {"*/USDT": 2}
        await venue.trade()
        await venue.trade("ETH-USDT")
        await seen(lambda: recorder.ids("ETH/USDT") == venue.ids("ETH-USDT"))
        del venue.listed["ETH-USDT"]
        venue.listed[SOL] = venue.listed[XRP] = "live"
        await trio.sleep(LIST_DAY_S + 1.0)
        assert natives(recorder) == carried(recorder) == [BTC, SOL, XRP]
        (changed,) = recorder.reported("symbols_changed")
        assert changed.reason == "started SOL/USDT, XRP/USDT; ended ETH/USDT"
        for native in (BTC, SOL, XRP):
            await venue.trade(native)
        await seen(lambda: [recorder.ids(s) for s in ("SOL/USDT", "XRP/USDT")] == [venue.ids(SOL), venue.ids(XRP)])
        await trio.sleep(2.0)
        assert {gap.symbol for gap in recorder.gaps()} <= {"BTC/USDT"}
        assert [gap for gap in recorder.gaps() if gap.reason.value == "disconnect"] == []
        recorder.check()


async def test_a_market_that_ends_leaves_those_of_its_connection_alone(autojump_clock: MockClock) -> None:
    venue, file = Venue(), ListFile()
    async with recorded(venue, "*/USDT", listed=True, file=file) as recorder:
        await venue.trade()
        del venue.listed["ETH-USDT"]
        await trio.sleep(LIST_DAY_S + 1.0)
        assert len(venue.server.clients) == 1 and recorder.names == ["x:1"]
        assert carried(recorder) == [BTC]
        assert recorder.connection("x:1").state.since.keys() == {"BTC/USDT"}


async def test_an_outage_ends_with_the_market(autojump_clock: MockClock) -> None:
    venue, file = Venue(), ListFile()
    venue.listed[SOL] = "live"
    async with recorded(venue, "*/USDT", listed=True, file=file) as recorder:
        await venue.trade("ETH-USDT")
        await venue.trade()
        await trio.sleep(1.0)
        venue.refuses = True
        await venue.end(1)
        await trio.sleep(2.0)
        assert {(gap.symbol, gap.status.value) for gap in recorder.gaps()} >= {("ETH/USDT", "open")}
        del venue.listed["ETH-USDT"]
        await seen(lambda: natives(recorder) == [BTC, SOL])
        await trio.sleep(2.0)
        of_eth = [gap for gap in recorder.gaps() if gap.symbol == "ETH/USDT"]
        assert [gap.status.value for gap in of_eth] == ["unknown"]


async def test_a_list_that_has_lost_half_of_its_markets_is_not_believed_at_once(autojump_clock: MockClock) -> None:
    venue, file = Venue(), ListFile()
    venue.listed |= {SOL: "live", XRP: "live"}
    async with recorded(venue, "*/USDT", listed=True, file=file) as recorder:
        venue.listed = {BTC: "live"}
        await trio.sleep(LIST_DAY_S + 3.0)
        assert len(natives(recorder)) == 4
        (event,) = recorder.reported("instruments_unavailable")
        assert "has lost 3 of 4 markets at once" in event.reason
        await seen(lambda: natives(recorder) == [BTC])  # it stays so


@pytest.mark.parametrize("started", ["before", "meanwhile"])
async def test_an_empty_part_of_a_list_is_believed_only_if_it_stays_so(
    started: str, autojump_clock: MockClock
) -> None:
    """Also the part of a list that is empty when the recording starts, and was not before."""
    names = ("BTC", "ETH", "SOL")
    swaps = [f"{name}-USDT-SWAP" for name in names]
    known = [
        spot(f"{name}-USDT", symbol=f"{name}/USDT:USDT", native=native, kind="swap", settle="USDT")
        for name, native in zip(names, swaps, strict=True)
    ]
    venue, file = Venue(), ListFile(*(replace(one, volume_unit="contracts", contract_size="0.01") for one in known))
    venue.listed |= {f"A{number}-USDT": "live" for number in range(20)}
    venue.swaps = dict.fromkeys(swaps if started == "before" else (), "live")
    async with recorded(venue, "*/USDT:USDT", "XRP/USDT", listed=True, file=file) as recorder:
        venue.swaps = {}
        venue.listed[XRP] = "live"  # what is new counts at once
        await trio.sleep(25.0 if started == "before" else 10.0)
        assert natives(recorder) == [*swaps, XRP]
        (event,) = recorder.reported("instruments_unavailable")
        assert "has lost 3 of 3 markets at once" in event.reason
        venue.swaps = dict.fromkeys(swaps, "live")
        await seen(lambda: recorder.reported("instruments_available") != [])
        assert natives(recorder) == [*swaps, XRP] and recorder.reported("instrument_delisted") == []
        venue.swaps = {}
        await trio.sleep(LIST_DAY_S + LIST_LIMITS.doubt_s + 20.0)
        assert natives(recorder) == [XRP]


async def test_a_part_that_is_not_traded_at_once_is_doubted_though_another_cannot_be_read(
    autojump_clock: MockClock,
) -> None:
    venue, file = Venue(), ListFile()
    venue.listed |= {SOL: "live", XRP: "live"}
    async with recorded(venue, "*/USDT", listed=True, file=file) as recorder:
        venue.broken = {"FUTURES"}  # for ever
        venue.listed |= dict.fromkeys((BTC, SOL, XRP), "expired")
        await trio.sleep(LIST_DAY_S + 3.0)
        assert recorder.reported("instruments_unavailable")
        assert natives(recorder) == [BTC, "ETH-USDT", SOL, XRP] and not recorder.reported("instrument_delisted")
        await seen(lambda: natives(recorder) == ["ETH-USDT"])  # it stays so


async def test_each_part_of_a_list_is_doubted_for_its_own_time(autojump_clock: MockClock) -> None:
    venue, file = Venue(), ListFile()
    spots, swaps = dict(venue.listed), dict.fromkeys(("BTC-USDT-SWAP", "ETH-USDT-SWAP"), "live")
    venue.swaps = swaps
    async with recorded(venue, "*/USDT", "*/USDT:USDT", listed=True, file=file) as recorder:
        venue.listed = {}
        await trio.sleep(LIST_DAY_S + LIST_LIMITS.doubt_s - 5.0)
        venue.listed, venue.swaps = spots, {}
        await trio.sleep(LIST_LIMITS.doubt_s - 5.0)
        assert natives(recorder) == sorted((*spots, *swaps))
        await seen(lambda: natives(recorder) == sorted(spots))


async def test_many_markets_of_an_earlier_run_may_be_those_of_an_empty_part(autojump_clock: MockClock) -> None:
    """Also if another part lists markets of their kind."""
    others = [f"A{number}-USDT" for number in range(20)]
    venue, file = Venue(), ListFile(*map(spot, (BTC, SOL, XRP, *others)))
    venue.listed = dict.fromkeys((BTC, *others), "live")
    async with recorded(venue, "BTC/USDT", "SOL/USDT", "XRP/USDT", listed=True, file=file) as recorder:
        await trio.sleep(LIST_LIMITS.doubt_s - 5.0)
        assert natives(recorder) == [BTC, SOL, XRP]
        await seen(lambda: natives(recorder) == [BTC])


async def test_one_part_of_a_list_that_cannot_be_read_takes_nothing_away(autojump_clock: MockClock) -> None:
    venue, file = Venue(), ListFile(spot(BTC), spot(SOL))
    async with recorded(venue, "*/USDT", listed=True, file=file) as recorder:
        assert natives(recorder) == [BTC, "ETH-USDT"]  # SOL has gone
        venue.broken = {"FUTURES"}
        venue.listed = {XRP: "live"}
        await trio.sleep(LIST_DAY_S + 60.0)
        assert natives(recorder) == [BTC, "ETH-USDT", XRP]
        assert recorder.reported("instruments_unavailable")


async def test_a_market_whose_row_is_invalid_stays_however_many_there_are(autojump_clock: MockClock) -> None:
    venue, file = Venue(), ListFile()
    others = [f"A{number}-BTC" for number in range(300)]
    venue.listed |= dict.fromkeys((*others, SOL, XRP), "live")
    async with recorded(venue, "*/USDT", listed=True, file=file) as recorder:
        venue.damaged = {*others[:120], SOL, XRP}
        del venue.listed[XRP]
        await trio.sleep(LIST_DAY_S + 3.0)
        assert natives(recorder) == [BTC, "ETH-USDT", SOL]
        delisted = recorder.reported("instrument_delisted")
        assert [event.reason for event in delisted] == ["XRP/USDT is no longer traded"]


async def test_wildcards_are_added_and_removed_live(autojump_clock: MockClock) -> None:
    venue, file = Venue(), ListFile()
    venue.listed[SOL] = "live"
    async with recorded(venue, "BTC/USDT", listed=True, file=file) as recorder:
        change = recorder.exchange.change
        with pytest.raises(SymbolError, match="stands for a whole code"):
            await change(["B*/USDT"], ["BTC/USDT"])
        assert natives(recorder) == [BTC]
        await change(["*/USDT"], [])
        assert natives(recorder) == carried(recorder) == [BTC, "ETH-USDT", SOL]
        await change([], ["BTC/USDT"])  # the wildcard has it too
        assert natives(recorder) == carried(recorder) == [BTC, "ETH-USDT", SOL]
        await trio.sleep(2.0)
        await venue.trade(SOL)
        await seen(lambda: recorder.ids("SOL/USDT") == venue.ids(SOL))
        await change(["ETH/USDT"], ["*/USDT"])
        assert natives(recorder) == carried(recorder) == ["ETH-USDT"]
        assert recorder.exchange.settings.symbols == ("ETH/USDT",)
        await trio.sleep(2.0)
        assert recorder.gaps() == []
        recorder.check()
