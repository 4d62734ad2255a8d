"""Distributes an exchange's markets over connections: one endpoint each, within the markets that it may carry."""

from collections.abc import Sequence
from urllib.parse import urlsplit, urlunsplit

from msgspec import Struct

from actors.exchanges.contract.feed import Dialect, Market
from actors.settings import FeedSettings


class ConnectionSpec(Struct, frozen=True):
    """The specification of one connection: its actor's name, one endpoint with its markets, and the URL to open.

    `url` is the endpoint, or the endpoint redirected by the setting ws_url.
    """

    name: str
    endpoint: str
    url: str
    markets: tuple[Market, ...]


def shard(
    settings: FeedSettings, dialect: Dialect, markets: Sequence[Market], *, first: int = 1
) -> list[ConnectionSpec]:
    """Distributes markets over connections, numbered from `first`: one endpoint each, within its maximum of
    markets.

    With redundancy the whole set is created as many times.
    """
    by_endpoint: dict[str, list[Market]] = {}
    for market in markets:
        by_endpoint.setdefault(market.endpoint, []).append(market)
    width = dialect.limits.symbols_per_connection
    parts = [
        (endpoint, tuple(group[at : at + width]))
        for endpoint, group in by_endpoint.items()
        for at in range(0, len(group), width)
    ] * settings.redundancy
    return [
        ConnectionSpec(f"{settings.name}:{number}", endpoint, redirected(endpoint, settings.ws_url), part)
        for number, (endpoint, part) in enumerate(parts, first)
    ]


def too_many_connections(settings: FeedSettings, dialect: Dialect, markets: Sequence[Market]) -> str:
    """The problem of markets that take more connections than the exchange allows, for people; "" if they do not."""
    count, most = len(shard(settings, dialect, markets)), dialect.limits.connections_max
    if count <= most:
        return ""
    copies = settings.redundancy
    each = "" if copies == 1 else f", {copies} for each,"
    fewer = "fewer symbols" if copies == 1 else "fewer symbols, or a lower redundancy"
    return (
        f"{len(markets):,} markets take {count} connections{each} and the exchange allows {most:g} at a time:"
        f" it may refuse the others; configure {fewer}"
    )


def redirected(endpoint: str, base: str | None) -> str:
    """The endpoint with scheme, host and port of `base` and its own path; unchanged without a base."""
    if base is None:
        return endpoint
    there = urlsplit(base)
    return urlunsplit(urlsplit(endpoint)._replace(scheme=there.scheme, netloc=there.netloc))
