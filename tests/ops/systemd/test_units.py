"""The files for systemd, Docker, Prometheus and Grafana say what they should, and the service lives under them."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest
import trio

from actors.settings import (
    BUFFER_STOP_S,
    CONNECTION_STOP_S,
    MERGE_STOP_S,
    SHIP_STOP_S,
    WRITER_STOP_S,
    PipelineSettings,
    StoreSettings,
)
from ops.config.config import Config, load_config
from ops.config.keys import ControlSettings, LogSettings
from ops.monitoring.systemd_notify import Notifier
from ops.service.service import run_service
from tests.harness import unit_confinement
from tests.harness.paths import OPS
from tests.harness.promql import DASHBOARD, DOCKER, queries

UNIT = OPS / "systemd" / "tickwarden.service"
EXPOSURE_MAX = 2.0
PATIENCE_S = 30.0
# Keys that systemd knows from 254 on; older ones name them and go on.
NEWER = ("RestartSteps", "RestartMaxDelaySec")

needs_systemd = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
needs_promtool = pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed")


def said_by(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit with a program that exists here."""
    here = tmp_path / "tickwarden.service"
    here.write_text(UNIT.read_text().replace("/opt/tickwarden/bin/tickwarden", sys.executable))
    return here


def seconds(span: str) -> float:
    number, unit = re.fullmatch(r"(\d+)(s|min)", span).groups()  # type: ignore[union-attr]
    return float(number) * {"s": 1, "min": 60}[unit]


# -- systemd ----------------------------------------------------------------------------------------


@needs_systemd
def test_systemd_finds_nothing_wrong_with_the_unit(unit: Path) -> None:
    checked = said_by("systemd-analyze", "verify", "--man=no", str(unit))
    complaints = [
        line for line in (checked.stdout + checked.stderr).splitlines() if not any(k in line for k in NEWER)
    ]
    assert (checked.returncode, complaints) == (0, [])


@needs_systemd
def test_the_exposure_is_at_most_two_and_as_kept_beside_the_unit(unit: Path) -> None:
    told = said_by("systemd-analyze", "security", "--offline=true", "--no-pager", str(unit)).stdout
    kept = (UNIT.parent / "security.txt").read_text()
    for text in (told, kept):
        (level,) = re.findall(r"Overall exposure level for tickwarden.service: ([\d.]+)", text)
        assert float(level) <= EXPOSURE_MAX


def test_the_unit_has_systemd_supervise_the_service_as_it_is_meant_to() -> None:
    service = {key: values[-1] for key, values in unit_confinement.settings(UNIT).items()}
    assert service["Type"] == "notify"
    assert service["Restart"] == "on-failure"
    assert "78" in service["RestartPreventExitStatus"].split() and "75" not in service["RestartPreventExitStatus"]
    assert seconds(service["RestartSec"]) < seconds(service["RestartMaxDelaySec"])
    stop_s = CONNECTION_STOP_S + 1 + BUFFER_STOP_S + WRITER_STOP_S + SHIP_STOP_S + MERGE_STOP_S
    assert stop_s + 5 < seconds(service["TimeoutStopSec"])
    assert service["StateDirectory"] == service["RuntimeDirectory"] == "tickwarden"
    assert service["DynamicUser"] == "yes"
    assert service["RestrictAddressFamilies"].split() == ["AF_UNIX", "AF_INET", "AF_INET6"]


def test_the_watchdog_of_the_unit_is_one_that_the_service_understands() -> None:
    period_us = str(int(seconds(unit_confinement.settings(UNIT)["WatchdogSec"][0]) * 1_000_000))
    notifier = Notifier({"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": period_us, "WATCHDOG_PID": str(os.getpid())})
    assert notifier.watchdog_s == 60


def test_the_unit_and_its_configuration_agree_about_places() -> None:
    service = unit_confinement.settings(UNIT)
    config = load_config(UNIT.parent / "tickwarden.toml")
    assert config.store.path.is_relative_to(f"/var/lib/{service['StateDirectory'][0]}")
    assert config.control.socket.is_relative_to(f"/run/{service['RuntimeDirectory'][0]}")
    for command in (service["ExecStart"][0], service["ExecReload"][0]):
        assert command.endswith(f"--config /etc/{service['ConfigurationDirectory'][0]}/tickwarden.toml")


@needs_systemd
def test_the_service_records_and_merges_under_the_units_system_call_rules(tmp_path: Path) -> None:
    confined = [sys.executable, unit_confinement.__file__, str(UNIT), sys.executable]
    forbidden = "import os\nos.nice(1)"
    probe = said_by(*confined, "-c", forbidden)
    if probe.returncode == unit_confinement.MISSING:
        pytest.skip(f"this machine cannot confine a process so: {probe.stderr.strip()}")
    assert "PermissionError" in probe.stderr
    main = "import sys; from ops.cli import main; sys.exit(main())"
    demo = said_by(*confined, "-c", main, "demo", "--seconds", "1", "--dir", str(tmp_path))
    assert demo.returncode == 0, demo.stderr
    with duckdb.connect(str(tmp_path / "ticks.duckdb"), read_only=True) as con:
        (count,) = con.execute("SELECT count(*) FROM ticks").fetchall()[0]
    assert count > 0


# -- Docker -----------------------------------------------------------------------------------------


def instructions() -> list[tuple[str, str]]:
    text = re.sub(r"\\\n", " ", (DOCKER / "Dockerfile").read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in lines]


def test_the_image_runs_as_a_numbered_user_that_is_not_root_and_from_pinned_bases() -> None:
    found = instructions()
    stages = [rest for word, rest in found if word == "FROM"]
    assert len(stages) == 2 and all(re.match(r"\S+:\S*\d", stage) for stage in stages)
    last = [word for word, _ in found].index("FROM", 1)
    final = dict(found[last:])
    assert final["USER"] == "10001:10001"
    assert final["STOPSIGNAL"] == "SIGTERM"
    for word in ("ENTRYPOINT", "CMD"):
        assert json.loads(final[word])  # without a shell in between, which would keep signals to itself
    assert not {"ADD", "MAINTAINER"} & {word for word, _ in found}
    assert not any(re.search(r"\bsudo\b|\bcurl\b.*\|", rest) for word, rest in found if word == "RUN")


def test_everything_that_is_copied_into_the_image_exists_and_is_not_ignored() -> None:
    top = OPS.parent
    kept = [line[1:] for line in (DOCKER / "Dockerfile.dockerignore").read_text().splitlines() if line[0] == "!"]
    sources = [
        source
        for word, rest in instructions()
        if word == "COPY" and not rest.startswith("--from")
        for source in rest.split()[:-1]
    ]
    assert sources
    for source in sources:
        assert (top / source).exists()
        assert any(Path(source).is_relative_to(name) for name in kept)


async def test_the_healthcheck_asks_a_real_service_and_reports_what_it_found(tmp_path: Path) -> None:
    script, path = str(DOCKER / "healthcheck.py"), tmp_path / "s"
    config = Config(
        store=StoreSettings(path=tmp_path / "t.duckdb"),
        exchanges={},
        supervision=PipelineSettings(store=StoreSettings(path=tmp_path), exchanges={}).supervision,
        control=ControlSettings(socket=path),
        log=LogSettings(),
    )

    async def ask(route: str) -> tuple[int, str]:
        asked = await trio.run_process(
            [sys.executable, script, str(path), route], capture_stdout=True, capture_stderr=True, check=False
        )
        return asked.returncode, asked.stdout.decode()

    assert (await ask("/v1/live"))[0] == 1
    started = trio.Event()
    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: run_service(config, on_started=lambda _: started.set()))
            await started.wait()
            assert await ask("/v1/live") == (0, '200 {"live":true}\n')
            code, text = await ask("/v1/ready")  # there are no exchanges
            assert code == 1 and text.startswith("503 ") and "not_ready" in text
            nursery.cancel_scope.cancel()


def yaml_of(path: Path) -> Any:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    return yaml.safe_load(path.read_text())


def test_compose_publishes_on_loopback_only_and_puts_prometheus_where_the_service_listens() -> None:
    compose = yaml_of(DOCKER / "compose.yaml")
    services = compose["services"]
    for name, service in services.items():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ())), name
        assert name == "tickwarden" or re.search(r":v?\d+\.\d+\.\d+$", service["image"])
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            assert (DOCKER / source).exists() if source.startswith("./") else source in compose["volumes"]
    assert services["prometheus"]["network_mode"] == "service:tickwarden"
    assert (DOCKER / services["tickwarden"]["build"]["context"]).resolve() == OPS.parent
    scrape = yaml_of(DOCKER / "prometheus.yml")["scrape_configs"][0]["static_configs"][0]["targets"]
    assert scrape == [load_config(DOCKER / "tickwarden.toml").control.http]


def test_grafana_gets_the_data_source_that_the_dashboard_queries() -> None:
    provisioning = DOCKER / "grafana" / "provisioning"
    (source,) = yaml_of(provisioning / "datasources" / "prometheus.yaml")["datasources"]
    (provider,) = yaml_of(provisioning / "dashboards" / "tickwarden.yaml")["providers"]
    panels = json.loads(DASHBOARD.read_text())["panels"]
    assert {panel["datasource"]["uid"] for panel in panels} == {source["uid"]}
    assert f"./grafana/dashboards:{provider['options']['path']}:ro" in (DOCKER / "compose.yaml").read_text()


# -- what is asked of Prometheus --------------------------------------------------------------------


def test_the_panels_of_the_dashboard_do_not_overlap_and_have_their_own_ids() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(cells)) == len(cells) and all(x < 24 for x, _ in cells)
    assert len({panel["id"] for panel in panels}) == len(panels)


@needs_promtool
def test_prometheus_understands_its_configuration_and_every_expression(tmp_path: Path) -> None:
    assert said_by("promtool", "check", "config", str(DOCKER / "prometheus.yml")).returncode == 0
    rules = [{"record": f"x{number}", "expr": query.expr} for number, query in enumerate(queries())]
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "all", "rules": rules}]}))
    checked = said_by("promtool", "check", "rules", str(tmp_path / "rules.yml"))
    assert checked.returncode == 0, checked.stdout + checked.stderr
