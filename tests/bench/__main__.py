"""Runs a benchmark: python -m tests.bench PART [OPTION]...; without a part it lists them."""

import importlib
import runpy
import signal
import sys

PARTS = (
    *("paced", "flood", "scaling", "wildcards", "start", "latency", "decode", "siege", "memory"),
    *("store_figures", "queries", "replay", "pauses", "merge_cost", "lake", "lake_compact", "lake_scale"),
)


def main() -> None:
    part = sys.argv[1] if len(sys.argv) > 1 else ""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what has been started is ended
    if part in PARTS:
        sys.argv = [f"tests.bench {part}", *sys.argv[2:]]
        runpy.run_module(f"tests.bench.{part}", run_name="__main__")
        return
    print(__doc__)
    for name in PARTS:
        about = importlib.import_module(f"tests.bench.{name}").__doc__ or ""
        print(f"  {name:<14} {about.splitlines()[0]}")
    sys.exit(64 if part else 0)


if __name__ == "__main__":
    main()
