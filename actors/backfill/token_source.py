"""Requests the URL to connect to from an exchange's REST API, before each connection (see Dialect.token)."""

from pathlib import Path
from typing import TYPE_CHECKING

from actors.backfill.rate_limiter import RateLimiter
from actors.backfill.rest_client import RestClient, RestClientLimits, Unanswered
from actors.exchanges.contract.feed import Token, TokenRequest
from actors.exchanges.contract.rest import Refused

if TYPE_CHECKING:
    import httpx

# The supervisor retries, with its own backoff.
ONCE = RestClientLimits(answer_s=10.0, body_bytes=64 * 1024, tries=1)


class TokenSource:
    """One for all connections to an endpoint, which share its rate limit. It waits while the exchange wants no
    request through `beside` either.
    """

    def __init__(
        self,
        request: TokenRequest,
        *,
        rest_url: str | None,
        ca_file: Path | None,
        beside: RateLimiter | None = None,
        transport: "httpx.AsyncBaseTransport | None" = None,
    ) -> None:
        self._request, self._rest_url, self._ca_file, self._transport = request, rest_url, ca_file, transport
        self._limiter = RateLimiter((request.limit,), beside=beside)

    async def get(self) -> Token:
        """A new token. Raises TransientError, and MisconfiguredError for a wrong certificate."""
        client = RestClient(
            self._request,
            self._limiter,
            rest_url=self._rest_url,
            ca_file=self._ca_file,
            limits=ONCE,
            transport=self._transport,
        )
        async with client as rest:
            try:
                return await rest.get(self._request.request, lambda answer: self._request.read(answer.body))
            except Refused as refused:
                raise Unanswered(str(refused)) from refused
