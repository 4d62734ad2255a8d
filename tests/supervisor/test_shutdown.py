"""Promises of the final stop to actors that have taken items off their mailbox and still hold them."""

import trio

from supervisor import ChildSpec, Context, Mailbox, Supervisor
from tests.harness.supervisor_fakes import Record


class Hoarder:
    """Takes items off its mailbox at once and delivers them when it stops, unless it crashes then."""

    def __init__(self, crashes: int) -> None:
        self.inbox = Mailbox[int](10, on_dead_letter=lambda item, error: None)
        self.held: list[int] = []
        self.delivered: list[int] = []
        self.crashes = crashes

    def spec(self) -> ChildSpec:
        return ChildSpec("hoarder", self.run, mailbox=self.inbox, on_stop=self.inbox.close, stop_s=5.0)

    async def run(self, context: Context) -> None:
        context.ok()
        try:
            await self.collect()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(0.1)  # it takes some time to stop
        if self.crashes:
            self.crashes -= 1
            raise ValueError("while stopping")
        self.delivered, self.held = self.delivered + self.held, []

    async def collect(self) -> None:
        while True:
            try:
                async with self.inbox.receive() as item:
                    self.held.append(item)
            except trio.EndOfChannel:
                return


async def test_an_actor_that_crashes_with_its_mailbox_empty_is_run_again_to_finish(autojump_clock: object) -> None:
    hoarder = Hoarder(crashes=2)
    async with Supervisor("root", on_event=Record()) as root:
        await root.start(hoarder.spec())
        await hoarder.inbox.put(1)
        await trio.sleep(1)
    assert hoarder.delivered == [1]


async def test_an_actor_that_crashes_on_every_stop_is_abandoned_at_its_deadline(autojump_clock: object) -> None:
    hoarder = Hoarder(crashes=1000)
    async with Supervisor("root", on_event=Record()) as root:
        await root.start(hoarder.spec())
        began = trio.current_time()
    assert trio.current_time() - began <= 5.0


async def test_an_actor_paused_with_items_in_hand_delivers_them_at_the_final_stop(autojump_clock: object) -> None:
    hoarder = Hoarder(crashes=0)
    async with Supervisor("root", on_event=Record()) as root:
        await root.start(hoarder.spec())
        await hoarder.inbox.put(1)
        await trio.sleep(1)
        await root.pause("hoarder")
    assert hoarder.delivered == [1]


async def test_a_restart_interrupted_by_the_final_stop_loses_no_item_in_hand(autojump_clock: object) -> None:
    hoarder = Hoarder(crashes=0)
    async with Supervisor("root", on_event=Record()) as root, trio.open_nursery() as nursery:
        await root.start(hoarder.spec())
        await hoarder.inbox.put(1)
        await trio.sleep(1)
        nursery.start_soon(root.restart, "hoarder")
        await trio.sleep(0.05)
        nursery.cancel_scope.cancel()
    assert hoarder.delivered == [1]
