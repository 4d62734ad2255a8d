"""The faults of the loopback exchanges, and their notation on the command line."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ops.terminal.suggestions import did_you_mean


class FaultError(ValueError):
    """An unknown fault or a value out of range; the message gives what is expected."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: its default value, its range, and its effect."""

    value: float
    low: float
    high: float
    unit: str
    help: str


FAULTS: Mapping[str, Fault] = {
    "stall": Fault(
        5, 0.01, 3600, "SECONDS", "every 10 s or so a connection sends nothing for this time, then continues"
    ),
    "half_open": Fault(
        1, 0, 1, "SHARE", "every 10 s or so this share of connections goes dead for good, without being closed"
    ),
    "silence": Fault(1, 0, 1, "SHARE", "this share of connections acknowledges and then never sends a trade"),
    "mute": Fault(
        0.5, 0, 1, "SHARE", "this share of a connection's markets never trades on it, while the others do"
    ),
    "duplicate": Fault(0.01, 0, 1, "SHARE", "this share of trade frames is sent twice"),
    "reorder": Fault(0.01, 0, 1, "SHARE", "this share of trade frames swaps places with the market's next one"),
    "gap": Fault(0.01, 0, 1, "SHARE", "this share of trade frames is not sent, although their trades happened"),
    "close": Fault(
        1001, 1000, 4999, "CODE", "every 10 s or so a connection is closed with CODE; 1006 just drops it"
    ),
    "flap": Fault(1, 0.05, 3600, "SECONDS", "every connection is dropped (1006) at this age"),
    "age": Fault(
        20,
        0.05,
        86_400,
        "SECONDS",
        "every connection is closed (1001) at this age, as Binance does after 24 h; lifetime_s in the printed"
        " configuration tells the service, which knows it of the real exchanges",
    ),
    "outage": Fault(
        60,
        0.05,
        86_400,
        "SECONDS",
        "every 10 s or so the exchange drops all connections and is down for this time, REST included",
    ),
    "garbage": Fault(0.01, 0, 1, "SHARE", "before this share of trade frames a malformed one is sent"),
    "oversize": Fault(4 << 20, 1, 1 << 30, "BYTES", "every 10 s or so a single message of this many bytes is sent"),
    "slow": Fault(0.5, 0, 3600, "SECONDS", "the handshake and every message are delayed by this"),
    "refuse": Fault(503, 300, 599, "STATUS", "every new connection is refused with this HTTP status"),
    "clock": Fault(
        5, -86_400, 86_400, "SECONDS", "the exchange's clock is ahead by this, or behind if it is negative"
    ),
    "rest_fail": Fault(0.5, 0, 1, "SHARE", "this share of REST requests is answered 500, in HTML"),
    "rest_429": Fault(0.2, 0, 1, "SHARE", "this share of REST requests is answered 429, Retry-After: 1"),
    "rest_slow": Fault(2, 0, 3600, "SECONDS", "every REST answer is delayed by this"),
}
EVERY_S = 10.0  # "every 10 s or so": evenly distributed between half and one and a half of it


@dataclass(frozen=True, slots=True)
class Faults:
    """The faults that are on, with their values; `every_s` paces those that strike from time to time."""

    values: Mapping[str, float] = field(default_factory=dict)
    every_s: float = EVERY_S

    def __post_init__(self) -> None:
        for name, value in self.values.items():
            if name not in FAULTS:
                raise FaultError(f"no fault is called {name!r}; {did_you_mean(name, FAULTS)}")
            fault = FAULTS[name]
            if not math.isfinite(value) or not fault.low <= value <= fault.high:
                right = f"{fault.unit} from {fault.low:.12g} to {fault.high:.12g}"
                raise FaultError(f"got {name}={value:g}, expected {name}={right}")

    def __getitem__(self, name: str) -> float:
        """The value of a fault, 0 where it is off."""
        return self.values.get(name, 0.0)


def parse_faults(words: Iterable[str], every_s: float = EVERY_S) -> Faults:
    """Faults from NAME or NAME=VALUE; raises FaultError naming the nearest known name or the right range."""
    values: dict[str, float] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if name not in FAULTS:
            raise FaultError(f"no fault is called {name!r}; {did_you_mean(name, FAULTS)}")
        try:
            values[name] = float(text) if equals else FAULTS[name].value
        except ValueError as error:
            raise FaultError(f"got {word!r}, expected {name}={FAULTS[name].unit} with a number") from error
    return Faults(values, every_s)


def faults_help() -> str:
    """One line a fault, for help texts."""
    return "\n".join(
        f"{name}[={fault.unit}]".ljust(20) + f"{fault.help} (default {fault.value:.12g})"
        for name, fault in FAULTS.items()
    )
