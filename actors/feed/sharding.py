"""Which connections an exchange's markets need: one endpoint each, and no more markets than it may carry."""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from actors.exchanges.contract.feed import Dialect, Market
from actors.settings import FeedSettings


@dataclass(frozen=True, slots=True)
class ConnectionSpec:
    """What one connection is for: its actor's name, one endpoint with its markets, and the URL to dial.

    `url` is the endpoint, or what the setting ws_url makes of it.
    """

    name: str
    endpoint: str
    url: str
    markets: tuple[Market, ...]


def shard(
    settings: FeedSettings, dialect: Dialect, markets: Sequence[Market], *, first: int = 1
) -> list[ConnectionSpec]:
    """Spreads markets over connections, numbered from `first`: one endpoint each, no more than it may carry.

    With redundancy the whole comes as many times.
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


def redirected(endpoint: str, base: str | None) -> str:
    """The endpoint with scheme, host and port of `base`, its own path kept; unchanged without a base."""
    if base is None:
        return endpoint
    there = urlsplit(base)
    return urlunsplit(urlsplit(endpoint)._replace(scheme=there.scheme, netloc=there.netloc))
