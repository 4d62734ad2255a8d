"""Builds Prometheus metric families from a name, a help text, and rows of label values."""

from collections.abc import Iterable, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from actors.telemetry.histogram import Histogram

PREFIX = "tickwarden_"
UNKNOWN = float("nan")  # the series exists, and every comparison with it is false

Row = tuple[Sequence[str], float]


def counter(name: str, text: str, labels: Sequence[str], rows: Iterable[Row]) -> CounterMetricFamily:
    """`name` without prefix and without `_total`, which the exposition adds."""
    family = CounterMetricFamily(PREFIX + name, text, labels=labels)
    for values, number in rows:
        family.add_metric(values, number)
    return family


def gauge(name: str, text: str, labels: Sequence[str], rows: Iterable[Row]) -> GaugeMetricFamily:
    """Like `counter`, for values that may fall."""
    family = GaugeMetricFamily(PREFIX + name, text, labels=labels)
    for values, number in rows:
        family.add_metric(values, number)
    return family


def histogram(
    name: str, text: str, labels: Sequence[str], rows: Iterable[tuple[Sequence[str], Histogram]]
) -> HistogramMetricFamily:
    """Buckets in the text format: cumulative, the last one +Inf."""
    family = HistogramMetricFamily(PREFIX + name, text, labels=labels)
    for values, source in rows:
        below, buckets = 0, []
        for bound, count in zip((*source.bounds, float("inf")), source.counts, strict=True):
            below += count
            buckets.append(("+Inf" if bound == float("inf") else repr(bound), float(below)))
        family.add_metric(values, buckets, source.total)
    return family


def seconds(ns: int | None) -> float:
    """Nanoseconds as seconds for Prometheus; 0 for None."""
    return 0.0 if ns is None else ns / 1e9
