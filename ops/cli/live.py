"""`tickwarden events` and `tail`: events and ticks, live."""

import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import click

from ops.cli.chosen import check_served
from ops.cli.common import client, config_option, json_option, print_json, print_json_line, socket_option
from ops.cli.completing import configured_exchanges, configured_symbols
from ops.terminal.exit_codes import OK
from ops.terminal.layout import reason_for_people, shortened
from ops.terminal.output import terminal_width
from ops.terminal.time_options import ago_or_instant
from supervisor.text import REASON_CHARS_MAX, printable

POLL_S = 0.5
# Widths in `tail`: time, exchange, symbol, side, price, volume. Longer values are not cut.
_WIDE = (27, 18, 16, 4, 16, 16)
_MEDIUM = (12, 16, 14, 4, 12, 12)
_NARROW = (8, 10, 12, 4, 10, 8)


@click.command()
@click.option("--follow", is_flag=True, help="Continue until Ctrl-C.")
@click.option(
    "--since",
    "since_us",
    callback=ago_or_instant,
    metavar="T",
    help="Only events since this time, or of the last 15min, 2h, 3d.",
)
@config_option
@socket_option
@json_option
def events(
    follow: bool, since_us: int | None, config_path: Path | None, socket_path: Path | None, as_json: bool
) -> int:
    """What happened to the actors since the service started (the newest 2,000; the table has all).

    --json prints one list; with --follow one object a line (NDJSON).
    """
    service = client(config_path, socket_path)
    line = event_line(terminal_width(sys.stdout))
    number = 0
    while True:
        rows: Any = service.get(f"/v1/events?{urlencode({'since': number})}")
        number = rows[-1]["number"] if rows else number
        wanted = [event for event in rows if since_us is None or _microseconds(event["at"]) >= since_us]
        if as_json and not follow:
            print_json(wanted)
        for event in wanted if follow or not as_json else []:
            if as_json:
                print_json_line(event)
            else:
                click.echo(line(event))
        if not follow:
            if since_us is not None and not wanted and not as_json:
                click.echo("nothing happened since then; without --since all is shown", err=True)
            return OK
        sys.stdout.flush()
        time.sleep(POLL_S)


def event_line(width: int | None) -> Callable[[dict[str, Any]], str]:
    """A function that formats an event: whole, or within the width of a terminal."""

    def line(event: dict[str, Any]) -> str:
        retry = "" if event["retry_in_s"] is None else f" (again in {event['retry_in_s']:.1f}s)"
        reason = printable(event["reason"] or "", REASON_CHARS_MAX)
        if width is None:
            return f"{event['at']}  {event['actor']:<20} {event['event']:<10} {reason}{retry}".rstrip()
        head = f"{_clock(event['at'])}  {_shorter(event['actor'], width // 3):<16} {event['event']:<9} "
        room = width - len(head)
        text = shortened(reason_for_people(reason), max(room - len(retry), room // 2))
        return shortened(f"{head}{text}{retry}".rstrip(), width)

    return line


def _clock(instant: str) -> str:
    """Today's times without the day."""
    at = datetime.fromisoformat(instant).astimezone(UTC)
    return f"{at:%H:%M:%S}" if at.date() == datetime.now(UTC).date() else f"{at:%m-%d %H:%M:%S}"


def _microseconds(instant: str) -> int:
    return int(datetime.fromisoformat(instant).timestamp() * 1_000_000)


@click.command()
@click.option(
    "--exchange",
    default="",
    shell_complete=configured_exchanges,
    help="Only this exchange, by its name in the configuration.",
)
@click.option("--symbol", default="", shell_complete=configured_symbols, help="Only this symbol, such as BTC/USDT.")
@config_option
@socket_option
@json_option
def tail(exchange: str, symbol: str, config_path: Path | None, socket_path: Path | None, as_json: bool) -> int:
    """Live ticks as they arrive, until Ctrl-C. --json prints one object a line (NDJSON)."""
    service = client(config_path, socket_path)
    if exchange or symbol:
        status: Any = service.get("/v1/status")
        check_served(status, exchange, symbol)
    chosen = {key: value for key, value in (("exchange", exchange), ("symbol", symbol)) if value}
    route = "/v1/tap" + (f"?{urlencode(chosen)}" if chosen else "")
    for tick in service.stream(route):
        if as_json:
            print_json_line(tick)
            continue
        if "lagged" in tick:
            click.echo(f"... {tick['lagged']} ticks skipped: this terminal reads too slowly ...")
        else:
            click.echo(tick_line(tick, terminal_width(sys.stdout)))
        sys.stdout.flush()
    return OK


def tick_line(tick: dict[str, Any], width: int | None) -> str:
    """Formats one tick, whole or for a terminal: numbers keep their digits, names are shortened."""
    sizes = next((s for s in (_WIDE, _MEDIUM) if width is None or sum(s) + len(s) <= width), _NARROW)
    at = tick["received_at"] if sizes is _WIDE else tick["received_at"].partition("T")[2][: sizes[0]]
    side, price, volume = (tick["side"] or "-").ljust(sizes[3]), tick["price"].rjust(sizes[4]), tick["volume"]
    numbers = f"{side} {price} {volume:>{sizes[5]}}"
    if width is None:
        return f"{at}  {tick['exchange']:<{sizes[1]}} {tick['symbol']:<{sizes[2]}} {numbers}"
    exchange, symbol = (_shorter(tick[key], size) for key, size in (("exchange", sizes[1]), ("symbol", sizes[2])))
    line = f"{at} {exchange:<{sizes[1]}} {symbol:<{sizes[2]}} {numbers}"
    return line if len(line) <= width else f"{exchange} {symbol} {numbers.strip()}"


def _shorter(text: str, size: int) -> str:
    return text if len(text) <= size else f"{text[: size - 1]}…"
