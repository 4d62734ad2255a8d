"""One REST request to an exchange as a value, its rate limits, and the errors of an answer. No I/O here."""

from collections.abc import Mapping
from typing import Protocol
from urllib.parse import urlencode, urlsplit

from msgspec import Struct, field

from supervisor import TransientError

# What the content of an answer can make a parser raise (msgspec's errors and FieldError are ValueErrors, as is an
# int of 5,000 digits). Anything else is a bug of ours and must show.
UNREADABLE = (ValueError, ArithmeticError, LookupError, RecursionError)
DETAIL_CHARS_MAX = 300


class Refused(Exception):
    """The exchange refuses this request for good; the message quotes its error.

    Raised only for errors that the dialect lists as final: an unknown market, an invalid argument.
    """


class Busy(TransientError):
    """The exchange is overloaded or rate-limits us, by its own error message."""


class Garbled(TransientError):
    """The response is not an answer to the request: a proxy's page, a truncated body, an unexpected shape."""


class RateLimit(Struct, frozen=True, kw_only=True):
    """At most `units` in any `window_s`: `burst` of them at once, the rest refilled evenly.

    A bucket that holds `burst` and gains `rate_per_s` gives out at most burst + rate * window in a window;
    the rate is what makes that `units`.
    """

    name: str
    units: float
    window_s: float
    burst: float

    def __post_init__(self) -> None:
        if not 0 < self.burst < self.units or not self.window_s > 0:
            raise ValueError(f"{self.name}: a rate limit needs 0 < burst < units and a window")

    @property
    def rate_per_s(self) -> float:
        """Units gained a second."""
        return (self.units - self.burst) / self.window_s


class RestRequest(Struct, frozen=True, kw_only=True):
    """One REST request as a value; `costs` is how many units of each named rate limit it uses.

    `base` (scheme and host) is set where the request goes to another host than the exchange's other requests;
    the setting rest_url replaces it too. A request with a `body` is a POST of JSON, b"" an empty one. `headers` are
    sent beside the client's own.
    """

    path: str
    query: tuple[tuple[str, str], ...] = ()
    costs: Mapping[str, float] = field(default_factory=lambda: {"requests": 1.0})
    base: str = ""
    body: bytes | None = None
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def method(self) -> str:
        """GET or POST."""
        return "GET" if self.body is None else "POST"

    @property
    def target(self) -> str:
        """Path and query as they go over the wire."""
        return self.path + (f"?{urlencode(self.query)}" if self.query else "")

    def url(self, base: str, rest_url: str | None = None) -> str:
        """The whole URL; `base` is the exchange's own, used where the request names none."""
        return origin(rest_url or self.base or base) + self.target


class ErrorResponse(Struct, frozen=True):
    """An error response of the exchange; `message` is its own text.

    `final`: the market is unknown or an argument is invalid, so that a retry cannot help. All other errors are
    transient; `retry_after_s` is how long the exchange wants no request at all from this address.
    """

    message: str
    final: bool = False
    retry_after_s: float | None = None

    def error(self, name: str) -> Refused | TransientError:
        """The exception to raise where an answer with status 200 contains this error."""
        text = f"{name}: {self.message or 'an error without a reason'}"
        return Refused(text) if self.final else Busy(text, retry_after_s=self.retry_after_s)


class RestService(Protocol):
    """What a RestClient needs to know about one REST service; a History is one."""

    @property
    def base(self) -> str:
        """Scheme and host of requests that name none."""
        ...

    @property
    def banned(self) -> Mapping[int, float]:
        """Statuses that mean that all requests of this address are refused, and for how many seconds."""
        ...

    def error_response(self, status: int, body: bytes) -> ErrorResponse:
        """Reads an answer with a status other than 200; never raises."""
        ...


def origin(url: str) -> str:
    """Scheme, host and port of a URL."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
