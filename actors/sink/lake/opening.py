"""Opens the lake of a configuration, and imports its client only then: that takes time and memory."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import trio

from actors.settings import LakeSettings
from actors.sink.lake.credentials import configured_options
from actors.sink.lake.lake import Lake
from actors.sink.lake.ship import Ship, Source


def open_lake(
    settings: LakeSettings, make_folder: Callable[[Path], None], crash_point: Callable[[str], None]
) -> Lake:
    """The lake; see DeltaLake. Raises LakeMisconfigured, and OSError if the credentials' file cannot be read."""
    from actors.sink.lake.delta import DeltaLake

    return DeltaLake(
        settings.uri,
        settings.recorder,
        partial(configured_options, settings),
        make_folder=make_folder,
        crash_point=crash_point,
    )


def ship_to(
    settings: LakeSettings | None,
    source: Source,
    limiter: trio.CapacityLimiter,
    make_folder: Callable[[Path], None],
    crash_point: Callable[[str], None],
) -> Ship | None:
    """The ship actor, None without a lake."""
    if settings is None:
        return None
    return Ship(source, partial(open_lake, settings, make_folder, crash_point), settings, limiter)
