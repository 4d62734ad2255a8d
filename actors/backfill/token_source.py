"""Asks an exchange over REST where to connect, before each connection (see Dialect.token)."""

from actors.backfill.rate_limiter import RateLimiter
from actors.backfill.rest_client import RestClient, RestClientLimits, Unanswered
from actors.exchanges.contract.feed import Token, TokenRequest
from actors.exchanges.contract.rest import Refused
from actors.settings import ExchangeSettings

# The supervisor tries again, with its own backoff.
ONCE = RestClientLimits(answer_s=10.0, body_bytes=64 * 1024, tries=1)


class TokenSource:
    """One for all connections of an exchange, which share its rate limit."""

    def __init__(self, request: TokenRequest, settings: ExchangeSettings) -> None:
        self._request, self._settings = request, settings
        self._limiter = RateLimiter((request.limit,))

    async def get(self) -> Token:
        """A new token. Raises TransientError, and MisconfiguredError for a wrong certificate."""
        client = RestClient(
            self._request,
            self._limiter,
            rest_url=self._settings.rest_url,
            ca_file=self._settings.ca_file,
            limits=ONCE,
        )
        async with client as rest:
            try:
                return await rest.get(self._request.ask, lambda answer: self._request.read(answer.body))
            except Refused as refused:
                raise Unanswered(str(refused)) from refused
