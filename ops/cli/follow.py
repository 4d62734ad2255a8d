"""`tickwarden events`, `tail` and `top`: what happens, as it happens."""

import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import click
import msgspec
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from ops.cli.common import client, config_option, json_option, print_json, socket_option
from ops.cli.inspect import actor_rows, exchange_rows, headline, rich_table
from ops.exits import OK

POLL_S = 0.5


@click.command()
@click.option("--follow", is_flag=True, help="Go on until Ctrl-C.")
@config_option
@socket_option
@json_option
def events(follow: bool, config_path: Path | None, socket_path: Path | None, as_json: bool) -> int:
    """What happened to the actors since the service started (the newest 2,000; the table has all)."""
    service = client(config_path, socket_path)
    since = 0
    while True:
        said: Any = service.get(f"/v1/events?{urlencode({'since': since})}")
        for event in said:
            since = event["number"]
            if as_json:
                print_json(event)
            else:
                click.echo(_line(event))
        if not follow:
            return OK
        sys.stdout.flush()
        time.sleep(POLL_S)


def _line(event: dict[str, Any]) -> str:
    retry = "" if event["retry_in_s"] is None else f" (again in {event['retry_in_s']:.1f}s)"
    return f"{event['at']}  {event['actor']:<20} {event['event']:<10} {event['reason'] or ''}{retry}".rstrip()


@click.command()
@click.option("--exchange", default="", help="Only this exchange, by its name in the configuration.")
@click.option("--symbol", default="", help="Only this symbol, such as BTC/USDT.")
@config_option
@socket_option
@json_option
def tail(exchange: str, symbol: str, config_path: Path | None, socket_path: Path | None, as_json: bool) -> int:
    """Live ticks as they arrive, until Ctrl-C."""
    chosen = {key: value for key, value in (("exchange", exchange), ("symbol", symbol)) if value}
    route = "/v1/tap" + (f"?{urlencode(chosen)}" if chosen else "")
    for tick in client(config_path, socket_path).stream(route):
        if as_json:
            click.echo(msgspec.json.encode(tick).decode())
        elif "lagged" in tick:
            click.echo(f"... {tick['lagged']} ticks went by faster than this terminal reads ...")
        else:
            click.echo(
                f"{tick['received_at']}  {tick['exchange']:<18} {tick['symbol']:<16} {tick['side'] or '-':<4}"
                f" {tick['price']:>16} {tick['volume']:>16}"
            )
        sys.stdout.flush()
    return OK


@click.command()
@click.option("--interval", "interval_s", type=click.FloatRange(min=0.1), default=1.0, show_default=True)
@click.option("--once", is_flag=True, help="One picture instead of a live view.")
@config_option
@socket_option
def top(interval_s: float, once: bool, config_path: Path | None, socket_path: Path | None) -> int:
    """The whole service, live, until Ctrl-C; what is wrong stands first."""
    service = client(config_path, socket_path)
    console = Console()

    def picture() -> Group:
        status: Any = service.get("/v1/status")
        actors: Any = service.get("/v1/actors")
        lines = [Text(line) for line in headline(status)]
        return Group(*lines, rich_table(*exchange_rows(status)), rich_table(*actor_rows(actors)))

    if once or not console.is_terminal:
        console.print(picture())
        return OK
    with Live(picture(), console=console, screen=True, auto_refresh=False) as live:
        while True:
            time.sleep(interval_s)
            live.update(picture(), refresh=True)
