"""dYdX: snapshots, batches, what never met the book, and the numbers of a connection's messages."""

import json

from actors.exchanges.dydx.history import parse
from actors.feed.decoder import Decoder
from actors.model.ticks import AFTER_BREAK, OFF_BOOK, OFF_BOOK_AFTER_BREAK, Block, Reason
from tests.harness.exchange_cases import query_of
from tests.harness.exchange_values import dialect_of

NOW_NS = 1_790_000_000_000_000_000
NAMES = {"BTC-USD": "BTC/USD:USDC", "ETH-USD": "ETH/USD:USDC"}


def row(trade_id: str, *, at: str = "42.257Z", kind: str = "LIMIT", **changes: object) -> dict[str, object]:
    time = f"2026-09-17T19:18:{at}"
    rest = {"side": "SELL", "size": "0.0002", "price": "76467", "type": kind, "createdAt": time}
    return {"id": trade_id, **rest, **changes}


def frame(number: int, native: str, *rows: object, kind: str = "channel_data", batched: bool = False) -> bytes:
    contents: object = [{"trades": [row]} for row in rows] if batched else {"trades": rows}
    head = {"type": kind, "connection_id": "x", "message_id": number, "id": native, "channel": "v4_trades"}
    return json.dumps({**head, "contents": contents}).encode()


def reader() -> Decoder:
    dialect = dialect_of("dydx")
    return Decoder("dydx", dialect, NAMES, dialect.decoder_for({}))


def marked(block: Block) -> list[tuple[str | None, str]]:
    return [(id_, source) for id_, source in zip(block.trade_id, block.source, strict=True) if source != "stream"]


def test_the_answer_to_a_request_is_a_snapshot_newest_first() -> None:
    block = Block("dydx")
    first = frame(1, "BTC-USD", row("c", at="43Z"), row("b"), row("a"), kind="subscribed")
    reader().read([first, frame(2, "BTC-USD", row("d", at="44Z"), row("e", at="44Z"))], NOW_NS, block)
    assert block.trade_id == ["a", "b", "c", "d", "e"]
    assert block.source == ["snapshot"] * 3 + ["stream"] * 2


def test_a_batch_holds_several_lists() -> None:
    block = Block("dydx")
    outcome = reader().read(
        [frame(1, "BTC-USD", row("a"), row("b"), kind="channel_batch_data", batched=True)], NOW_NS, block
    )
    assert (block.trade_id, block.symbol, outcome.ticks) == (["a", "b"], ["BTC/USD:USDC"] * 2, 2)


def test_one_bad_trade_costs_only_itself() -> None:
    for batched, kind in ((False, "channel_data"), (True, "channel_batch_data")):
        block = Block("dydx")
        rows = (row("a"), row("b", side="HOLD"), row("c", price="-1"), row("d", createdAt="now"), row("e"))
        outcome = reader().read([frame(1, "BTC-USD", *rows, kind=kind, batched=batched)], NOW_NS, block)
        assert block.trade_id == ["a", "e"]
        reasons = [reject.reason for reject in outcome.rejects]
        assert reasons == [Reason.BAD_SIDE, Reason.BAD_PRICE, Reason.BAD_TIME]


def test_deleveraging_never_met_the_book_and_liquidations_did() -> None:
    block = Block("dydx")
    reader().read([frame(1, "BTC-USD", row("a", kind="DELEVERAGED"), row("b", kind="LIQUIDATED"))], NOW_NS, block)
    assert block.source == [OFF_BOOK, "stream"]
    body = json.dumps({"trades": [{**row("a", kind="DELEVERAGED"), "createdAtHeight": "9"}]}).encode()
    assert parse(body, {}, query_of("dydx")).trades.off_book == [True]


def test_a_hole_in_the_numbers_marks_the_next_message_of_each_market() -> None:
    decoder, block = reader(), Block("dydx")
    decoder.read([frame(4, "BTC-USD", row("a")), frame(5, "ETH-USD", row("b"))], NOW_NS, block)
    decoder.read([frame(7, "BTC-USD", row("c"), row("d")), frame(8, "BTC-USD", row("e"))], NOW_NS, block)
    decoder.read([frame(7, "BTC-USD", row("c2")), frame(9, "ETH-USD", row("f"))], NOW_NS, block)
    assert marked(block) == [("c", AFTER_BREAK), ("c2", AFTER_BREAK), ("f", AFTER_BREAK)]


def test_a_hole_before_trades_that_are_not_stored_is_marked_all_the_same() -> None:
    decoder, block = reader(), Block("dydx")
    decoder.read([frame(4, "BTC-USD", row("a")), frame(5, "ETH-USD", row("b"))], NOW_NS, block)
    decoder.read([frame(7, "BTC-USD", row("c", createdAt="now")), frame(8, "BTC-USD", row("d"))], NOW_NS, block)
    decoder.read([frame(9, "ETH-USD", row("e", kind="DELEVERAGED"), row("f"))], NOW_NS, block)
    assert marked(block) == [("d", AFTER_BREAK), ("e", OFF_BOOK_AFTER_BREAK)]


def test_what_a_new_market_is_sent_first_is_behind_no_hole() -> None:
    decoder, block = reader(), Block("dydx")
    decoder.read([frame(4, "BTC-USD", row("a")), frame(7, "BTC-USD", row("b"))], NOW_NS, block)
    decoder.read([frame(8, "ETH-USD", row("c"), kind="subscribed"), frame(9, "ETH-USD", row("d"))], NOW_NS, block)
    assert marked(block) == [("b", AFTER_BREAK), ("c", "snapshot")]


def test_other_messages_are_counted_too() -> None:
    decoder, block = reader(), Block("dydx")
    others = [b'{"type":"unsubscribed","message_id":5,"channel":"v4_trades","id":"X-USD"}', frame(6, "ETH-USD")]
    decoder.read([frame(4, "BTC-USD", row("a")), *others, frame(7, "BTC-USD", row("b"))], NOW_NS, block)
    assert marked(block) == []
    decoder.read([b'{"type":"pong","message_id":9}', frame(10, "BTC-USD", row("c"))], NOW_NS, block)
    assert marked(block) == [("c", AFTER_BREAK)]


def test_a_page_that_one_block_fills_leads_to_the_block_before() -> None:
    query = query_of("dydx", rows=2)
    for heights, cursor in ((("9", "8"), "8"), (("9", "9"), "8"), (("9",), None)):
        rows = [{**row(str(at)), "createdAtHeight": height} for at, height in enumerate(heights)]
        assert parse(json.dumps({"trades": rows}).encode(), {}, query).cursor == cursor
