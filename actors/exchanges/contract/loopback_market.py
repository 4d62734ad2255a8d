"""A simulated market: a random walk of trades that continues a recorded one, reproducible by its seed."""

import random
import statistics
import uuid
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

FILLS_KEPT = 50  # as many as an exchange re-sends on subscribe
PRICE_BAND = 0.1  # the walk turns back this far from where it began
# Most takers meet one resting order; some sweep a few.
FILLS_OF_AN_ORDER = (1, 1, 1, 1, 1, 1, 2, 2, 3, 5)


@dataclass(frozen=True, slots=True)
class Fill:
    """One trade as the exchange publishes it; `ns` is UTC nanoseconds in the exchange's own resolution.

    `side` is the taker's. `count` is how many ids it used up: `trade_id` is the last of them. `order` is
    the taker's order, common to its fills; `seq` the exchange's own event counter. `changed` and `rising`
    compare the price with the one before, as tick directions do.
    """

    trade_id: str
    price: str
    volume: str
    side: str
    ns: int
    count: int
    order: int
    seq: int
    changed: bool
    rising: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """How an exchange formats its numbers and counts its trades."""

    resolution_ns: int
    trims_zeros: bool
    uuid_ids: bool = False
    merges_fills: bool = False  # fills of one order at one price are one trade with a count
    seq_counts_fills: bool = False  # `seq` of each fill is the one before plus one


@dataclass(frozen=True, slots=True)
class Seed:
    """The state of a market in a recording: its last id and event counter, and samples of its prices and sizes."""

    last_id: int
    seq: int
    prices: Sequence[str]
    volumes: Sequence[str]


class _Digits:
    """Decimal digits from a whole number of steps, written as the recorded ones are."""

    def __init__(self, recorded: Sequence[str], trims_zeros: bool) -> None:
        fractions = [text.partition(".")[2] for text in recorded]
        self.width = max(map(len, fractions))
        steps = max(len(fraction.rstrip("0")) for fraction in fractions)
        self._scale: int = 10 ** (self.width - steps)
        self._trims = trims_zeros

    def steps(self, text: str) -> int:
        whole, _, fraction = text.partition(".")
        return max(1, int(whole + fraction.ljust(self.width, "0")) // self._scale)

    def text(self, steps: int) -> str:
        if not self.width:
            return str(steps)
        digits = str(steps * self._scale).rjust(self.width + 1, "0")
        text = f"{digits[: -self.width]}.{digits[-self.width :]}"
        return text.rstrip("0").rstrip(".") if self._trims else text


@dataclass(eq=False)
class Market:
    """One simulated market. Ids rise by exactly one per fill, starting from the recorded one."""

    symbol: str
    native: str
    category: str
    seed: Seed
    style: Style
    rng: random.Random
    recent: deque[Fill] = field(default_factory=lambda: deque(maxlen=FILLS_KEPT))

    def __post_init__(self) -> None:
        self._price_digits = _Digits(self.seed.prices, self.style.trims_zeros)
        self._volume_digits = _Digits(self.seed.volumes, self.style.trims_zeros)
        self._start = self._price = self._price_digits.steps(self.seed.prices[-1])
        self._usual = statistics.median_low([self._volume_digits.steps(text) for text in self.seed.volumes])
        self._last_id, self._seq, self._order, self._ns = self.seed.last_id, self.seed.seq, 0, 0
        self._rising = True

    def trade(self, now_ns: int) -> list[Fill]:
        """The fills of one taker's order, oldest first; times never run backwards."""
        rng, style = self.rng, self.style
        self._ns = max(self._ns, now_ns - now_ns % style.resolution_ns)
        self._order += 1
        self._seq += 0 if style.seq_counts_fills else rng.randint(1, 60)
        buys = rng.random() < 0.5
        count = rng.choice(FILLS_OF_AN_ORDER)
        counts = [count] if style.merges_fills else [1] * count
        fills = [self._fill(buys, used) for used in counts]
        self.recent.extend(fills)
        return fills

    def _fill(self, buys: bool, count: int) -> Fill:
        before = self._price
        # A buyer lifts the price or leaves it, a seller the other way; the band keeps it near the start.
        self._price += self.rng.choice((0, 0, 0, 1, 1, 2)) * (1 if buys else -1)
        band = max(1, int(self._start * PRICE_BAND))
        self._price = max(1, self._start - band, min(self._start + band, self._price))
        if self._price != before:
            self._rising = self._price > before
        # Of several fills each has at least one step.
        volume = max(count, 1 + int(self.rng.expovariate(1.0) * self._usual))
        self._last_id += count
        self._seq += self.style.seq_counts_fills
        return Fill(
            trade_id=str(self._uuid()) if self.style.uuid_ids else str(self._last_id),
            price=self._price_digits.text(self._price),
            volume=self._volume_digits.text(volume),
            side="buy" if buys else "sell",
            ns=self._ns,
            count=count,
            order=self._order,
            seq=self._seq,
            changed=self._price != before,
            rising=self._rising,
        )

    def parts(self, fill: Fill) -> list[Fill]:
        """The single fills in one that merges several, oldest first: one an id, together its volume."""
        if fill.count == 1:
            return [fill]
        share, rest = divmod(self._volume_digits.steps(fill.volume), fill.count)
        volumes = [share] * (fill.count - 1) + [share + rest]
        first_id = int(fill.trade_id) - fill.count + 1
        return [
            replace(fill, trade_id=str(first_id + at), volume=self._volume_digits.text(volume), count=1)
            for at, volume in enumerate(volumes)
        ]

    def _uuid(self) -> uuid.UUID:
        return uuid.UUID(int=self.rng.getrandbits(128), version=5)
