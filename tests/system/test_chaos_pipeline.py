"""Promises of the whole pipeline under random crashes, stalls, failing disks and commands.

A failure names its seed and what was done; the same examples are drawn again in the next run.
"""

from collections import Counter

import pytest
import trio
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from actors.model.records import AuditRow
from actors.model.ticks import Reason
from tests.harness.amounts import amount
from tests.harness.chaos_edges import install
from tests.harness.chaos_pipeline import IDENTITY, Chaos

EXAMPLES = amount(40, 1500)
BLOCKS = 4  # parts of the test, for as many processes
# exchanges, buffer, writer, merger: the final stop if each needs all the time it has
STOP_S_MAX = 3.0 + 5.0 + 10.0 + 10.0


def run(seed: int) -> Chaos:
    chaos = Chaos(seed)
    with pytest.MonkeyPatch.context() as patch:
        install(chaos, patch)
        trio.run(chaos.run, clock=chaos.clock(), instruments=[chaos])
    return chaos


def check(chaos: Chaos) -> None:
    """What has to be true when it is over."""
    assert not chaos.wrong, chaos.wrong[:3]
    stored, rejected, oversize = kept(chaos)
    delivered = [identity for found in chaos.delivered.values() for identity in found]
    assert set(stored.values()) | set(rejected.values()) <= {1}, "twice"
    assert not stored.keys() & rejected.keys(), "stored and refused"
    assert stored.keys() | rejected.keys() <= set(delivered), "invented"
    for found in chaos.delivered.values():
        mine = set(found) - chaos.held  # what is held comes later
        order = [one for one in found if one in mine and one in stored]
        assert [one for one in stored if one in mine] == order, "out of order"
    if chaos.gave_up:
        assert chaos.frail, "gave up though it is patient"
        return
    accounts = chaos.pipeline.ledger.accounts
    missing = set(delivered) - stored.keys() - rejected.keys()
    assert len(missing) == sum(a.duplicates for a in accounts.values()), f"lost: {sorted(missing)[:5]}"
    trades = chaos.venue.trades
    known = {trades[identity] for identity in (*stored, *rejected) if identity in trades}
    assert {trades[identity] for identity in missing} <= known, "a copy was left out, but of nothing"
    for record, mine in by_record(chaos).items():
        once = Counter(trades[identity] for identity in stored if identity in mine)
        assert set(once.values()) <= {1}, f"stored again by {record}"
    audit = {row.exchange: row for row in audit_rows(chaos)}
    for name, account in accounts.items():
        assert account.received == chaos.heard[name] + oversize[name]
        assert account.stored == chaos.store.rows.get(name, 0)
        assert account.in_flight == 0
        assert sum(account.rejected_by.values()) == account.rejected
        last = audit[name] if account.received else account
        for total in ("received", "stored", "duplicates", "rejected", "in_flight"):
            assert getattr(last, total) == getattr(account, total), f"the last audit row of {name} is not true"
    assert all(
        row.received == row.stored + row.duplicates + row.rejected + row.in_flight for row in audit_rows(chaos)
    )
    assert set(chaos.states.values()) == {"stopped"}
    assert chaos.stop_took_s <= STOP_S_MAX


def by_record(chaos: Chaos) -> dict[str, set[str]]:
    """What was delivered to each exchange as long as it was recorded without a break."""
    found: dict[str, set[str]] = {}
    for (exchange, _, continuity), identities in chaos.delivered.items():
        name = f"{exchange}, {id(continuity):x}"
        found.setdefault(name, set()).update(identities)
    return found


def audit_rows(chaos: Chaos) -> list[AuditRow]:
    return [row for batch in chaos.store.batches for row in batch.audit]


def kept(chaos: Chaos) -> tuple[Counter[str], Counter[str], Counter[str]]:
    """What the store has: identities as ticks and in rejects, and how many rejects were too large to read."""
    stored, rejected, oversize = Counter[str](), Counter[str](), Counter[str]()
    for batch in chaos.store.batches:
        stored.update(identity for block in batch.blocks for identity in block.price)
        for reject in batch.rejects:
            rejected.update(IDENTITY.findall(reject.payload.decode()))
            oversize[reject.exchange] += reject.reason is Reason.OVERSIZE
    return stored, rejected, oversize


@pytest.mark.parametrize("block", range(BLOCKS))
def test_whatever_happens_every_tick_is_kept_once_in_order_and_the_totals_agree(block: int) -> None:
    recorded: list[bool] = []

    # pytest-trio gives Hypothesis trio's scheduler, whose order the random module's strategy draws too.
    @settings(max_examples=EXAMPLES // BLOCKS, phases=[Phase.generate])
    @given(st.integers(0, 2**32), st.random_module())
    def one(seed: int, scheduler: object) -> None:
        number = seed * BLOCKS + block
        chaos = run(number)
        recorded.append(bool(chaos.delivered))
        try:
            check(chaos)
        except AssertionError as error:
            error.add_note(f"seed {number}; what was done to it:\n" + "\n".join(chaos.log[-40:]))
            raise

    one()
    assert sum(recorded) >= len(recorded) // 2 > 0
