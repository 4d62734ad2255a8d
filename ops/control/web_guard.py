"""Checks requests over TCP: addressed to this listener, from no foreign web page, and with the token."""

import base64
import binascii
import hmac
import ipaddress
import re
import socket
from http import HTTPStatus

from ops.control.http import Request
from ops.control.problem import Problem

_LOCAL = frozenset({"localhost", "127.0.0.1", "[::1]"})


class WebGuard:
    """The checks of one TCP listener on `address`.

    A web page can make its own name resolve to this address (DNS rebinding) and would then read through the user's
    browser. So requests must be addressed to loopback or, where a token is needed as well, to any address or to
    this machine's own name: foreign pages have neither. `token` "" is none.
    """

    def __init__(self, address: str, token: str = "") -> None:
        self._names = _LOCAL | {f"[{address}]" if ":" in address else address}
        self._token = token.encode()
        if token:
            own = socket.gethostname().lower()
            self._names |= {own, f"{own}.local"}

    def check(self, request: Request) -> None:
        """Raises Problem where the request is not to be answered."""
        host = (request.header(b"host") or "").lower()
        named = [host]
        if "://" in request.target:
            named.append(_authority(request.target))
        if not all(map(self._is_ours, named)):
            # The machine's own name is not given: the page that asks may be a foreign one.
            names = (
                "an IP address or this machine's own name"
                if self._token
                else "localhost or the address of [control] http"
            )
            raise _misdirected(f"only requests to {names} are answered; a proxy has to set the header Host to that")
        origin = request.header(b"origin")
        if origin is not None and _authority(origin) != host:
            raise _misdirected("this listener answers no page of another origin")
        if self._token and not hmac.compare_digest(_presented(request), self._token):
            raise Problem(
                HTTPStatus.UNAUTHORIZED,
                "unauthorized",
                "this listener needs [control] token as the password of any user, or as a bearer token",
                headers=(("WWW-Authenticate", 'Basic realm="tickwarden", charset="UTF-8"'),),
            )

    def _is_ours(self, authority: str) -> bool:
        name = re.sub(r":\d+$", "", authority)
        return name in self._names or (bool(self._token) and _is_address(name))


def _authority(url: str) -> str:
    """Host and port of a URL or an origin; an opaque origin ("null") has none."""
    return url.partition("://")[2].partition("/")[0].lower()


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


def _presented(request: Request) -> bytes:
    """The token that a request carries, b"" for none."""
    scheme, _, value = (request.header(b"authorization") or "").partition(" ")
    if scheme.lower() == "bearer":
        return value.strip().encode("latin-1")
    if scheme.lower() != "basic":
        return b""
    try:
        return base64.b64decode(value.strip(), validate=True).partition(b":")[2]
    except (ValueError, binascii.Error):
        return b""


def _misdirected(detail: str) -> Problem:
    return Problem(HTTPStatus.MISDIRECTED_REQUEST, "wrong_host", detail)
