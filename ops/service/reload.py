"""Applies a changed configuration to a running service, one exchange after the other."""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial

import structlog

from actors.pipeline import Pipeline
from actors.settings import ExchangeSettings
from ops.config.config import Config
from supervisor import describe

# The settings that an exchange can change while it runs; any other change replaces it.
_LIVE_KEYS = {"symbols"}
# Sections that a running service cannot change.
_FIXED = ("store", "control", "supervision", "lake")

_log = structlog.get_logger()


class AppliedInPart(Exception):
    """Some exchanges are not as configured; the message names them. The next reload tries again."""


async def apply_changes(pipeline: Pipeline, old: Config, new: Config) -> Mapping[str, object]:
    """Applies the differences and returns what was done: exchanges added, removed, replaced, their symbols changed.

    What is recorded now is what counts, so that whatever an earlier reload has left undone is done. Exchanges are
    replaced one at a time. `needs_restart` names differences that cannot be applied while the service runs.

    Raises ValueError or LookupError, before anything has changed, for an exchange that cannot be started, and
    AppliedInPart when everything else has been changed. After a cancellation an exchange may be missing.
    """
    recorded = {name: exchange.settings for name, exchange in pipeline.exchanges.items()}
    removed = [name for name in recorded if name not in new.exchanges]
    added = [name for name in new.exchanges if name not in recorded]
    replaced, symbols = [], {}
    for name in sorted(recorded.keys() & new.exchanges.keys()):
        before, after = recorded[name], new.exchanges[name]
        differs = {key for key in before.__struct_fields__ if getattr(before, key) != getattr(after, key)}
        if differs - _LIVE_KEYS:
            replaced.append(name)
        elif set(before.symbols) != set(after.symbols):
            symbols[name] = {
                "add": [s for s in after.symbols if s not in before.symbols],
                "remove": [s for s in before.symbols if s not in after.symbols],
            }
    for name in (*replaced, *added):
        pipeline.check_exchange(new.exchanges[name])
    steps: list[tuple[str, Callable[[], Awaitable[None]]]] = [
        *((name, partial(_change_symbols, pipeline, name, **change)) for name, change in symbols.items()),
        *((name, partial(pipeline.remove_exchange, name)) for name in removed),
        *((name, partial(pipeline.add_exchange, new.exchanges[name])) for name in added),
        *((name, partial(_replace, pipeline, new.exchanges[name])) for name in replaced),
    ]
    await _carry_out(pipeline, steps)
    fixed = [section for section in _FIXED if getattr(old, section) != getattr(new, section)]
    fixed += ["log.format"] if old.log.format != new.log.format else []
    return {
        "added": added,
        "removed": removed,
        "replaced": replaced,
        "symbols": symbols,
        "needs_restart": fixed,
    }


async def _carry_out(pipeline: Pipeline, steps: list[tuple[str, Callable[[], Awaitable[None]]]]) -> None:
    """Takes all steps, of which each is about one exchange; raises AppliedInPart if some failed."""
    failed: dict[str, str] = {}
    for name, step in steps:
        if pipeline.stopping:
            failed[name] = "the service is stopping"
            continue
        try:
            await step()
        except Exception as error:  # noqa: BLE001 - of one exchange: the others are changed all the same
            if not pipeline.stopping:
                _log.error("reload_step_failed", exchange=name, exc_info=error)
            failed[name] = describe(error)
    if failed:
        which = "; ".join(f"{name} ({why})" for name, why in failed.items())
        raise AppliedInPart(f"not applied: {which}. Everything else is; reload to try again")


async def _replace(pipeline: Pipeline, settings: ExchangeSettings) -> None:
    await pipeline.remove_exchange(settings.name)
    await pipeline.add_exchange(settings)


async def _change_symbols(pipeline: Pipeline, name: str, add: list[str], remove: list[str]) -> None:
    await pipeline.exchanges[name].change(add, remove)
