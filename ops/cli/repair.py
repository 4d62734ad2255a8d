"""`tickwarden repair`: requests a time range of one market again from the exchange."""

import sys
import time
from pathlib import Path
from random import Random
from typing import Any

import click

from ops.cli.common import (
    check_range,
    client,
    config_option,
    json_option,
    print_json,
    quiet_option,
    socket_option,
)
from ops.cli.completing import configured_exchanges, configured_symbols
from ops.control.client import ControlClient, segment
from ops.terminal.exit_codes import FAILED, OK
from ops.terminal.time_options import microseconds
from supervisor import Backoff

POLL = Backoff(initial_s=0.05, max_s=1.0)  # a short repair ends in moments, a long one takes hours
_SAME = ("repair", "exchange", "symbol", "from", "to")


def _time(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:  # noqa: ARG001 - click's
    try:
        if value is not None:
            microseconds(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    return value


@click.command()
@click.option(
    "--exchange",
    required=True,
    shell_complete=configured_exchanges,
    help="The exchange, by its name in the configuration.",
)
@click.option("--symbol", required=True, shell_complete=configured_symbols, help="The market, such as BTC/USDT.")
@click.option("--from", "since", required=True, callback=_time, metavar="T", help="From this time or UTC day on.")
@click.option("--to", "until", callback=_time, metavar="T", help="To this time or start of a UTC day; else to now.")
@quiet_option
@click.option("--no-wait", is_flag=True, help="Do not wait for the outcome; `events` reports it.")
@config_option
@socket_option
@json_option
def repair(
    exchange: str,
    symbol: str,
    since: str,
    until: str | None,
    quiet: bool,
    no_wait: bool,
    config_path: Path | None,
    socket_path: Path | None,
    as_json: bool,
) -> int:
    """Request a time range again from an exchange: missing trades are stored, gaps in it are closed.

    The running service does it, beside its other work and within the exchange's limits. Ctrl-C ends the waiting and
    not the repair. Exit code 1 if the exchange could not return the whole range.
    """
    check_range(microseconds(since), microseconds(until) if until else None)
    service = client(config_path, socket_path)
    body = {"symbol": symbol, "from": since, **({"to": until} if until else {})}
    order: Any = service.post(f"/v1/exchanges/{segment(exchange)}/repair", body)
    if not no_wait:
        try:
            order = _wait(service, order, quiet=quiet)
        except KeyboardInterrupt:
            click.echo(f"repair {order['repair']} continues; `tickwarden events` reports its outcome", err=True)
            raise
    if as_json:
        print_json(order)
    else:
        click.echo(_words(order))
    return OK if order["state"] in ("running", "complete") else FAILED


def _wait(service: ControlClient, order: dict[str, Any], *, quiet: bool) -> dict[str, Any]:
    """Waits until the repair has ended; shows its progress on a terminal."""
    shown, polls, jitter = "", 0, Random()  # noqa: S311 - spreads load, keeps no secret
    while order["state"] == "running":
        progress = f"{order['came']:,} trades came, {order['stored']:,} of them were missing; {order['reason']}"
        if progress != shown and sys.stderr.isatty() and not quiet:
            click.echo(progress, err=True)
        shown = progress
        time.sleep(POLL.delay_s(polls, jitter))
        polls += 1
        known: Any = service.get("/v1/repairs")
        # A restarted service counts from 1 again.
        forgotten = {**order, "state": "forgotten"}
        order = next((one for one in known if all(one[key] == order[key] for key in _SAME)), forgotten)
    return order


def _words(order: dict[str, Any]) -> str:
    what = f"{order['exchange']} {order['symbol']} from {order['from']} to {order['to']}"
    counts = f"{order['came']:,} trades came, {order['stored']:,} of them were missing and are stored now"
    if order["state"] == "running":
        return f"{what}: repair {order['repair']} has begun; `tickwarden events --follow` reports its outcome"
    if order["state"] == "forgotten":
        return f"{what}: the service has no record of it; see `tickwarden events`"
    gaps = "".join(f"\ngap {gap}: {status}" for gap, status in sorted(order["gaps"].items()))
    outcome = "complete" if order["state"] == "complete" else f"not complete: {order['reason']}"
    return f"{what}: {outcome}; {counts}{gaps}"
