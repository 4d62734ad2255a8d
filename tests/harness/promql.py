"""What the dashboard and the alert rules ask of Prometheus."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from tests.harness.paths import OPS

DOCKER = OPS / "docker"
DASHBOARD = DOCKER / "grafana" / "dashboards" / "tickwarden.json"
ALERTS = DOCKER / "alerts.yml"
METRIC = re.compile(r"\b((?:tickwarden|process)_\w+)(\{[^}]*\})?")
MATCHER = re.compile(r'(\w+)(=~|!~|!=|=)"([^"]*)"')
GROUPED = re.compile(r"\b(?:by|without|on|ignoring) ?\(([^)]*)\)")


@dataclass(frozen=True)
class Query:
    """An expression, and the labels that are shown with its results."""

    where: str
    expr: str
    shown: frozenset[str]


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(ALERTS.read_text())["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def queries() -> Iterator[Query]:
    """Of every panel and every alert."""
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel["targets"]:
            shown = re.findall(r"\{\{ *(\w+) *\}\}", target.get("legendFormat", ""))
            expr = target["expr"].replace("$__rate_interval", "5m")
            yield Query(f"panel {panel['title']}", expr, frozenset(shown))
    for rule in rules():
        shown = re.findall(r"\$labels\.(\w+)", str(rule["annotations"]))
        yield Query(f"alert {rule['alert']}", rule["expr"], frozenset(shown))


def lacking(query: Query, series: Iterable[tuple[str, dict[str, str]]]) -> Iterator[str]:
    """What a query asks for and none of these series has: a name, a label, or a label's value."""
    every: dict[str, list[dict[str, str]]] = {}
    for name, labels in series:
        every.setdefault(name, []).append(labels)
    grouped = {label.strip() for inside in GROUPED.findall(query.expr) for label in inside.split(",")}
    asked = METRIC.findall(query.expr)
    for name, selector in asked:
        if name not in every:
            yield f"{query.where}: no series is called {name}"
            continue
        known = {label for one in every[name] for label in one}
        for label in sorted((grouped | query.shown) - known):
            yield f"{query.where}: {name} has no label {label}"
        for label, operator, wanted in MATCHER.findall(selector):
            values = {one.get(label) for one in every[name]}
            for value in wanted.split("|") if operator in ("=~", "!~") else [wanted]:
                if value not in values:
                    yield f"{query.where}: no {name} has {label}={value!r}"
    by = [set(re.split(r", *", inside)) for inside in re.findall(r"\bby ?\(([^)]*)\)", query.expr)]
    if by and not query.shown <= set.intersection(*by):
        yield f"{query.where}: {sorted(query.shown)} is shown, and only {sorted(set.intersection(*by))} is left"
