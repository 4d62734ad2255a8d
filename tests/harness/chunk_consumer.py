"""What takes the chunks of an exchange in the place of the buffer."""

import itertools

import trio

from actors.model.chunk import Chunk, Source
from supervisor import Mailbox

COLLECT_S = 0.02  # how long a source may hold rows


class ChunkConsumer:
    """Collects in `chunks` what is put into `intake`, and what sources hold; `batch_ends` has their number whenever
    the buffer would have ended a batch.
    """

    def __init__(self, rows: int = 100_000) -> None:
        self.intake: Mailbox[Chunk] = Mailbox(rows, weigh=lambda chunk: chunk.rows, on_dead_letter=lambda *_: None)
        self.chunks: list[Chunk] = []
        self.batch_ends: list[int] = []
        self._sources: dict[Source, None] = {}
        self._expecting = trio.Event()

    def expect(self, source: Source) -> None:
        """As Buffer.expect."""
        self._sources[source] = None
        self._expecting.set()

    async def run(self) -> None:
        """Consumes until it is cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._collect)
            while True:
                async with self.intake.receive() as chunk:
                    self.chunks.append(chunk)

    async def _collect(self) -> None:
        while True:
            await self._expecting.wait()
            await trio.sleep(COLLECT_S)
            sources, self._sources, self._expecting = self._sources, {}, trio.Event()
            while self.intake.statistics().depth:  # noqa: ASYNC110 - what was put before comes before
                await trio.sleep(COLLECT_S)
            for source in sources:
                source.prepare()
            collected = [source.collect() for source in sources if not source.follows]
            followers = [source for source in (*sources, *self._sources) if source.follows]
            for source in followers:
                self._sources.pop(source, None)
                collected.append(source.collect())
            self.chunks += itertools.chain.from_iterable(collected)
            self.batch_ends.append(len(self.chunks))
