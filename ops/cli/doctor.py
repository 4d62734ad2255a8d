"""`tickwarden doctor`: tests each step to each exchange, and suggests a fix where one fails."""

import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import click
import trio

from actors.settings import ExchangeSettings
from ops.cli.common import Number, config_option, configuration, json_option, print_json, quiet_option
from ops.cli.completing import configured_exchanges
from ops.doctor import Finding, Report, State, examine
from ops.terminal.exit_codes import FAILED, INTERRUPTED, OK
from ops.terminal.layout import Fit
from ops.terminal.output import write_table
from ops.terminal.suggestions import did_you_mean

FINDINGS = Fit(drop=("took",), shorten=("found",))


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=configured_exchanges)
@click.option(
    "--wait",
    "wait_s",
    type=Number(min=0, min_open=True, max=3600),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for a first trade.",
)
@quiet_option
@config_option
@json_option
def doctor(names: tuple[str, ...], wait_s: float, quiet: bool, config_path: Path | None, as_json: bool) -> int:
    """Test every step to the configured exchanges, or only those NAMEd; exit 1 if anything fails.

    Needs no running service, and stores nothing.
    """
    known = configuration(config_path).exchanges
    for name in names:
        if name not in known:
            raise click.UsageError(f"[exchanges.{name}] is not configured; {did_you_mean(name, known)}")
    chosen = [settings for name, settings in known.items() if not names or name in names]
    reports = trio.run(_examined, chosen, wait_s, quiet)
    if reports is None:
        return INTERRUPTED
    if as_json:
        print_json([_facts(report) for report in reports])
    else:
        for report in reports:
            _print(report)
    return OK if all(report.state is State.PASS for report in reports) else FAILED


async def _examined(chosen: Sequence[ExchangeSettings], wait_s: float, quiet: bool) -> list[Report] | None:
    """The reports; None after Ctrl-C, which closes the connections first."""
    reports: list[Report] | None = None
    with trio.open_signal_receiver(signal.SIGINT) as signals:

        def say(line: str) -> None:
            if not quiet:
                click.echo(line, err=True)

        say(f"examining {', '.join(settings.name for settings in chosen)}")
        async with trio.open_nursery() as nursery:

            async def stop() -> None:
                async for _ in signals:
                    nursery.cancel_scope.cancel()

            nursery.start_soon(stop)
            reports = await examine(chosen, wait_s, say)
            nursery.cancel_scope.cancel()
    return reports


def _print(report: Report) -> None:
    click.echo(f"{report.exchange}: {report.state}")
    for name, endpoint in report.endpoints.items():
        click.echo(f"  {name} is {endpoint}")
    rows = [(f.about, f.step.replace("_", " "), f.state, _took(f), f.found) for f in report.findings]
    write_table(["about", "step", "result", "took", "found"], rows, sys.stdout, fit=FINDINGS)
    for finding in report.findings:
        if finding.advice:
            click.echo(f"  ! {finding.about}, {finding.step.replace('_', ' ')}: {finding.advice}")
    click.echo()


def _took(finding: Finding) -> str:
    return "" if finding.took_s is None else f"{finding.took_s * 1000:,.1f} ms"


def _facts(report: Report) -> dict[str, object]:
    steps = [
        {
            "about": finding.about,
            "step": finding.step.value,
            "state": finding.state.value,
            "took_ms": None if finding.took_s is None else round(finding.took_s * 1000, 3),
            "found": finding.found,
            "advice": finding.advice or None,
        }
        for finding in report.findings
    ]
    return {
        "exchange": report.exchange,
        "dialect": report.dialect,
        "state": report.state.value,
        "endpoints": report.endpoints,
        "steps": steps,
    }
