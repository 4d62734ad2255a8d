"""Reads the recordings under tests/exchanges and the trades that are expected from them."""

import base64
import functools
import json
from dataclasses import dataclass
from typing import Any

from actors.exchanges import registry
from tests.harness.paths import EXCHANGES_FOLDER, capture

EXCHANGES = tuple(registry.EXCHANGES)


@dataclass(frozen=True, slots=True)
class Frame:
    """One recorded message: `line` counts from 1, `recv_ns` None where the recorder had no clock."""

    line: int
    recv_ns: int | None
    incoming: bool
    data: bytes


def recordings(exchange: str) -> list[str]:
    """The names of an exchange's recordings."""
    return sorted(path.name for path in (EXCHANGES_FOLDER / exchange / "captures").glob("*.jsonl"))


@functools.cache
def frames(exchange: str, name: str) -> tuple[Frame, ...]:
    """All frames of one recording, in order."""
    rows = [json.loads(line) for line in capture(f"{exchange}/{name}").read_text("utf-8").splitlines()]
    return tuple(
        Frame(
            number,
            None if row["recv"] is None else round(row["recv"] * 1e9),
            row["dir"] == "in",
            base64.b64decode(row["data"]) if row["kind"] == "binary-base64" else row["data"].encode(),
        )
        for number, row in enumerate(rows, 1)
    )


def incoming(exchange: str, name: str) -> list[bytes]:
    """The messages of one recording that came from the exchange."""
    return [frame.data for frame in frames(exchange, name) if frame.incoming]


@functools.cache
def expected(exchange: str, name: str) -> tuple[dict[str, Any], ...]:
    """The normalised trades of one recording, in its order; of a long recording the first ones."""
    rows = [
        json.loads(line)
        for line in (EXCHANGES_FOLDER / exchange / "expected.jsonl").read_text("utf-8").splitlines()
    ]
    wanted = [row for row in rows if row["file"].endswith(f"/{exchange}/{name}")]
    return tuple(sorted(wanted, key=lambda row: (row["line"], row["idx"])))
