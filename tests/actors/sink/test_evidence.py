"""The evidence of rejects has a daily limit per exchange; what is beyond it is counted, and the books agree."""

import time

import msgspec
import pytest
import trio

from actors.model.chunk import Chunk
from actors.model.ticks import Block, Reason, Reject
from actors.sink.evidence import DAY_NS, Evidence
from tests.harness.buffering import NS, SETTINGS, Desk, buffering

SIZE = 1_000


def reject(exchange: str = "x") -> Reject:
    made = Reject(NS, exchange, None, Reason.NOT_JSON, "", b"", SIZE)
    return msgspec.structs.replace(made, payload=b"x" * (SIZE - made.evidence_bytes))


def test_each_exchange_has_its_own_limit_and_it_begins_again_at_midnight_utc() -> None:
    evidence = Evidence(3 * SIZE)
    midnight = NS // DAY_NS * DAY_NS + DAY_NS
    kept, beyond = evidence.split([reject(), reject("y")] * 4, midnight - 1)
    assert [r.exchange for r in kept] == ["x", "y"] * 3
    assert [r.exchange for r in beyond] == ["x", "y"]
    assert evidence.take_news() == ["x", "y"]
    assert evidence.split([reject()], midnight - 1) == ((), [reject()])
    assert evidence.take_news() == []  # once a day
    assert evidence.split([reject()], midnight) == ((reject(),), [])


async def test_beyond_the_limit_rejects_are_counted_by_reason_and_one_event_reports_it(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: NS)
    desk = Desk(msgspec.structs.replace(SETTINGS, rejects_bytes_per_day=5 * SIZE))
    noted: list[tuple[str, object]] = []
    desk.context.note = lambda event, reason="", **detail: noted.append((event, detail))  # type: ignore[method-assign]
    account = desk.ledger.account("x")
    async with buffering(desk):
        for _ in range(3):
            account.reject_unsaved(4)
            await desk.buffer.intake.put(Chunk(Block("x"), (reject(),) * 4))
            await trio.sleep(0.1)
        batch = await desk.batch()
    assert len(batch.rejects) == 5
    assert (account.rejected, account.rejects_unkept, account.rejected_by) == (12, 7, {"not_json": 12})
    assert batch.audit[0].rejected == 12
    assert noted == [("rejects_limited", {"exchange": "x"})]
    assert desk.balanced()
