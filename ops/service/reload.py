"""Applies a changed configuration to a running service, or leaves the service as it was."""

from collections.abc import Mapping

from actors.pipeline import Pipeline
from ops.config.config import Config

# The settings that an exchange can change while it runs; any other change replaces it.
_LIVE_KEYS = {"symbols"}
# Sections that a running service cannot change.
_FIXED = ("store", "control", "supervision", "lake")


async def apply_changes(pipeline: Pipeline, old: Config, new: Config) -> Mapping[str, object]:
    """Applies the differences and returns what was done: exchanges added, removed, replaced, their symbols changed.

    `needs_restart` names differences that cannot be applied while the service runs. Raises ValueError or KeyError,
    before anything has changed, for an exchange that cannot be started.
    """
    removed = [name for name in old.exchanges if name not in new.exchanges]
    added = [name for name in new.exchanges if name not in old.exchanges]
    replaced, symbols = [], {}
    for name in old.exchanges.keys() & new.exchanges.keys():
        before, after = old.exchanges[name], new.exchanges[name]
        differs = {key for key in before.__struct_fields__ if getattr(before, key) != getattr(after, key)}
        if differs - _LIVE_KEYS:
            replaced.append(name)
        elif differs:
            symbols[name] = {
                "add": [s for s in after.symbols if s not in before.symbols],
                "remove": [s for s in before.symbols if s not in after.symbols],
            }
    for name in (*replaced, *added):
        pipeline.check_exchange(new.exchanges[name])
    for name in (*removed, *replaced):
        await pipeline.remove_exchange(name)
    for name in (*replaced, *added):
        await pipeline.add_exchange(new.exchanges[name])
    for name, change in symbols.items():
        await pipeline.exchanges[name].change(change["add"], change["remove"])
    fixed = [section for section in _FIXED if getattr(old, section) != getattr(new, section)]
    return {
        "added": added,
        "removed": removed,
        "replaced": sorted(replaced),
        "symbols": symbols,
        "needs_restart": fixed,
    }
