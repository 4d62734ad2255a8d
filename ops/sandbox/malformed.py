"""Makes malformed frames from valid ones, which a decoder must reject."""

import random
import re

# A price by its key, after its side, or as the last number of a nested list.
_NUMBER = re.compile(r'("(?:p|price|px|trade_price|price_str)": ?|"(?:Buy|Sell)",|,(?=[0-9.]+\]\]$))"?[0-9.]+"?')
_PRICES = (
    '"-1"',
    '"0"',
    '"NaN"',
    '"1e400"',
    '"0.1234567890123456789"',
    '"\'); drop table ticks; --"',
    "null",
    '""',
)
_TEXTS = (
    "garbage",
    "{",
    "[]",
    "null",
    '"trade"',
    "{}",
    '{"e":"nonsense","type":"nonsense","channel":"nonsense","event":"nonsense","topic":"nonsense"}',
    "\ufffd\x00\x01",
)


def garbage(frame: str, rng: random.Random) -> str:
    """A corrupted copy of `frame`: truncated, with an absurd price or none, or something else."""
    kind = rng.randrange(4)
    if kind == 0:
        return rng.choice(_TEXTS)
    if kind == 1:
        return frame[: rng.randint(1, len(frame) - 1)]
    if kind == 2:
        price = rng.choice(_PRICES)
        return _NUMBER.sub(lambda match: match[1] + price, frame)
    return _NUMBER.sub('"nothing":1', frame)
