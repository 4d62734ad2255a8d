"""One value that the store cannot hold costs its row: the batch, and the other exchanges in it, are stored."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from actors.model.batch import Batch
from actors.model.records import AuditRow, EventRow
from actors.model.ticks import Block, Reason, Reject
from actors.settings import StoreSettings
from actors.sink.writer import Writer
from actors.store.batch_filter import filter_batch
from actors.store.store import Store
from actors.telemetry.ledger import Ledger
from supervisor import Context, Mailbox
from tests.harness.buffering import NS, block

BAD: list[tuple[str, Any]] = [
    ("trade_id", "\ud800"),
    ("price", "x"),
    ("received_ns", 2**70),
    ("fills", "many"),
]


def poisoned(rows: int, exchange: str, column: str, value: object) -> Block:
    made = block(rows, exchange)
    getattr(made, column)[rows // 2] = value
    return made


@pytest.mark.parametrize(("column", "value"), BAD)
async def test_a_row_that_cannot_be_stored_becomes_a_reject_and_all_others_are_stored(
    tmp_path: Path, column: str, value: object
) -> None:
    ledger = Ledger("run")
    store = Store(StoreSettings(path=tmp_path / "ticks.duckdb"))
    store.start()
    blocks = (block(20, "good"), poisoned(500, "bad", column, value))
    for made in blocks:
        ledger.account(made.exchange).read(1, NS, len(made), 0, made)
    batch = Batch(store.next_number(), blocks=blocks, audit=ledger.seal(blocks, NS))
    inbox: Mailbox[Batch] = Mailbox(10, on_dead_letter=_never)
    noted: list[str] = []
    context = Context("writer")
    context.note = lambda event, reason="", **_: noted.append(f"{event}: {reason}")  # type: ignore[method-assign]
    await inbox.put(batch)
    inbox.close()
    await Writer(store, ledger, inbox).run(context)
    store.finish(lambda: False)
    good, bad = ledger.account("good"), ledger.account("bad")
    assert (good.stored, good.rejected, good.balanced) == (20, 0, True)
    assert (bad.stored, bad.rejected, bad.in_flight, bad.balanced) == (499, 1, 0, True)
    assert bad.rejected_by == {"unstorable": 1}
    assert [note.startswith("unstorable: ") and "1 ticks of bad" in note for note in noted] == [True]
    rows = store.consult(_ask("SELECT exchange, count(*) FROM ticks GROUP BY 1 ORDER BY 1"))
    assert rows == [("bad", 499), ("good", 20)]
    rejects = store.consult(_ask("SELECT exchange, reason, contains(payload::VARCHAR, 'trade_id') FROM rejects"))
    assert rejects == [("bad", "unstorable", True)]
    assert store.consult(_ask("SELECT stored, rejected FROM audit WHERE exchange = 'bad'")) == [(499, 1)]
    store.close()


def _ask(sql: str) -> Callable[[Any], list[Any]]:
    return lambda con: con.execute(sql).fetchall()


def _never(item: object, error: BaseException) -> None:
    raise AssertionError from error


def test_rows_of_other_tables_are_left_out_alone_and_rejects_stay_rejects() -> None:
    fine = EventRow(NS, "a", "ok")
    odd = (EventRow(NS, "a", "b", "\ud800"), EventRow(NS, "a", "b", detail_json='"\\ud800"'), fine)
    reject = Reject(NS, "x", None, Reason.BAD_ID, "\udc00", b"\xff", 1)
    audit = AuditRow(NS, "x", 1, 2, 3, 0, 1, 0, "run")
    filtered = filter_batch(Batch(7, events=odd, rejects=(reject,), audit=(audit,)))
    assert (filtered.batch.number, filtered.batch.events, filtered.batch.audit) == (7, (fine,), (audit,))
    assert len(filtered.others) == 2
    assert [(r.exchange, r.reason) for r in filtered.batch.rejects] == [("x", Reason.BAD_ID)]
    assert filter_batch(filtered.batch).reason == ""


async def test_an_error_that_no_row_explains_is_raised_as_it_is(tmp_path: Path) -> None:
    class Broken(Store):
        def write(self, batch: Batch) -> None:
            raise ValueError("ours")

    inbox: Mailbox[Batch] = Mailbox(10, on_dead_letter=_never)
    await inbox.put(Batch(1, blocks=(block(5),)))
    broken = Broken(StoreSettings(path=tmp_path / "ticks.duckdb"))
    with pytest.raises(ValueError, match="ours"), trio.fail_after(5):
        await Writer(broken, Ledger("run"), inbox).run(Context("writer"))
