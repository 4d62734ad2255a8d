"""Each shipped alert fires when it should and stops when its cause has ended, checked with promtool."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.harness.promql import ALERTS, rules

needs_promtool = pytest.mark.skipif(
    not shutil.which("promtool"), reason="promtool is not installed; Debian has it in the package prometheus"
)
X = 'exchange="x"'
FRAMES = f"tickwarden_last_frame_timestamp_seconds{{{X}}}"
WANTED = f"tickwarden_exchange_symbols_wanted{{{X}}}"
UNKNOWN = "NaN "


def merges(at: str, interval_s: int = 60, segments: int = 3) -> dict[str, str]:
    """The series of a service that started at 0 and merged `at` these times."""
    return {
        "tickwarden_last_merge_timestamp_seconds": at,
        "tickwarden_start_time_seconds": "0x2000",
        "tickwarden_merge_interval_seconds": f"{interval_s}x2000",
        "tickwarden_store_segments": f"{segments}x2000",
    }


# Alert -> what is scraped once a minute, then at which minutes it fires and at which it does not. "_" is no
# sample, as after an end; Prometheus counts time from 0, so the time of a last frame can be written in seconds.
SCENES: list[tuple[str, dict[str, str], list[int], list[int]]] = [
    ("Down", {'up{job="tickwarden"}': "1 1 0 0 0 0 0 1 1"}, [5], [1, 3, 8]),
    ("NotReady", {"tickwarden_ready": "1 1 0 0 0 0 0 1 1"}, [5], [1, 3, 8]),
    # it never connected, or waits for its list of markets; then its first frame comes at minute 20, and it goes on
    ("ExchangeSilent", {FRAMES: "0x19 1200+60x10", WANTED: "2x30"}, [8, 19], [1, 4, 21, 29]),
    # it connected and fell silent at minute 10
    ("ExchangeSilent", {FRAMES: "0+60x10 600x20", WANTED: "2x30"}, [18, 30], [1, 9, 12]),
    # silent, and then removed by a reload: the series ends
    ("ExchangeSilent", {FRAMES: "0x20 stale _x10", WANTED: "2x20 stale _x10"}, [15], [22, 30]),
    # its last market is removed at minute 10, and one is added at minute 30; nothing comes
    ("ExchangeSilent", {FRAMES: "0+60x10 600x40", WANTED: "1x9 0x19 1x20"}, [36, 50], [9, 12, 20, 29, 32]),
    # a feed that beats once a minute is not silent
    ("ExchangeSilent", {FRAMES: "0+60x60", WANTED: "2x60"}, [], [0, 5, 30, 59]),
    (
        "ConnectionsMissing",
        {
            f"tickwarden_exchange_connections{{{X}}}": "2 2 1x20 2x5",
            f"tickwarden_exchange_connections_wanted{{{X}}}": "2x27",
        },
        [15, 22],
        [1, 8, 25],
    ),
    # a connection that is replaced
    (
        "ConnectionsMissing",
        {
            f"tickwarden_exchange_connections{{{X}}}": "1x5 1 2 1x20",
            f"tickwarden_exchange_connections_wanted{{{X}}}": "1x5 2 2 1x20",
        },
        [],
        [5, 6, 20],
    ),
    ("ActorFailed", {'tickwarden_actor_state{actor="a",state="failed"}': "0 1 1 1 1 0 0"}, [3], [0, 6]),
    # the first bug of a series that was there at 0
    ("Bugs", {'tickwarden_actor_restarts_total{actor="a",reason="bug"}': "0x70 1x130"}, [75, 120], [60, 140, 190]),
    # a bug before the first scrape
    ("Bugs", {'tickwarden_actor_restarts_total{actor="a",reason="stuck"}': "1x130"}, [1, 50], [70, 120]),
    ("Bugs", {'tickwarden_actor_restarts_total{actor="a",reason="transient"}': "0+5x100"}, [], [10, 90]),
    (
        "Rejects",
        {'tickwarden_ticks_rejected_total{exchange="x",reason="bad_price"}': "0x10 1+1x40 41x40"},
        [40, 50],
        [5, 20, 75],
    ),
    # a part that works, but not as it should; a short disturbance is no matter
    ("Degraded", {'tickwarden_actor_state{actor="a",state="degraded"}': "0x10 1x30 0x10"}, [30, 40], [20, 45]),
    ("Degraded", {'tickwarden_actor_state{actor="a",state="degraded"}': "0x10 1x10 0x40"}, [], [15, 20, 60]),
    # merges succeed until minute 10 and again from minute 100 on, whatever prevents them meanwhile
    ("MergesWait", merges("0+60x10 600x89 6000+60x20"), [80, 99], [9, 40, 70, 102]),
    # none has ever succeeded
    ("MergesWait", merges("0x100"), [70, 99], [40, 60]),
    # they are rare because the configuration says so
    ("MergesWait", merges("0x240 14400x60", interval_s=14400), [], [100, 239, 300]),
    # nothing waits
    ("MergesWait", merges("0x100", segments=0), [], [99]),
    ("ClockJumped", {"tickwarden_clock_jumps_total": "0x10 1x60"}, [12, 20], [5, 40]),
    (
        "ClocksDiffer",
        {f"tickwarden_exchange_lag_p50_seconds{{{X}}}": UNKNOWN * 6 + "6x20 0.1x10"},
        [20],
        [3, 10, 30],
    ),
    ("ClocksDiffer", {f"tickwarden_exchange_lag_p50_seconds{{{X}}}": UNKNOWN * 60}, [], [30, 59]),
    (
        "DiskFillsUp",
        {"tickwarden_store_disk_free_bytes": "100000000-100000x600 40000000x350"},
        [500],
        [30, 940],
    ),
    ("DiskFillsUp", {"tickwarden_store_disk_free_bytes": UNKNOWN * 200}, [], [190]),
    ("LakeBehind", {"tickwarden_lake_behind_seconds": "5x10 0+60x30 5x10"}, [25, 40], [5, 12, 45]),
    ("LakeBehind", {"tickwarden_lake_behind_seconds": UNKNOWN * 60}, [], [30, 59]),
    ("LogLinesLost", {"tickwarden_log_lines_dropped_total": "0x10 5x40"}, [12, 20], [5, 40]),
]


def scene(alert: str, series: dict[str, str], fires: list[int], rests: list[int]) -> dict[str, Any]:
    """One test in promtool's form: https://prometheus.io/docs/prometheus/latest/configuration/unit_testing_rules/."""
    (rule,) = (rule for rule in rules() if rule["alert"] == alert)
    labels = dict(
        part.split("=") for text in series for part in text.partition("{")[2].rstrip("}").split(",") if part
    )
    labels = {key: text.strip('"') for key, text in labels.items()}
    summary = rule["annotations"]["summary"]
    for key, text in labels.items():
        summary = summary.replace(f"{{{{ $labels.{key} }}}}", text)
    said = {"exp_labels": labels, "exp_annotations": {**rule["annotations"], "summary": summary}}
    return {
        "interval": "1m",
        "input_series": [{"series": text, "values": values} for text, values in series.items()],
        "alert_rule_test": [
            {"eval_time": f"{minute}m", "alertname": alert, "exp_alerts": [said] if minute in fires else []}
            for minute in sorted(fires + rests)
        ],
    }


def test_every_alert_has_a_scene_in_which_it_fires() -> None:
    assert {f"Tickwarden{name}" for name, _, fires, _ in SCENES if fires} == {rule["alert"] for rule in rules()}


@needs_promtool
def test_every_alert_fires_in_its_scene_and_rests_before_and_after(tmp_path: Path) -> None:
    scenes = [scene(f"Tickwarden{name}", series, fires, rests) for name, series, fires, rests in SCENES]
    (tmp_path / "scenes.yml").write_text(
        json.dumps({"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": scenes})
    )
    tested = subprocess.run(
        ["promtool", "test", "rules", "scenes.yml"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert tested.returncode == 0, tested.stdout + tested.stderr


@needs_promtool
def test_promtool_finds_nothing_wrong_with_the_rules() -> None:
    checked = subprocess.run(
        ["promtool", "check", "rules", str(ALERTS)], capture_output=True, text=True, timeout=60
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"{len(rules())} rules found" in checked.stdout
