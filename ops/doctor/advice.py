"""What to do about each way in which a step can fail."""

import re
import socket
import ssl
from collections.abc import Iterable

from actors.exchanges.contract.history import Busy, Garbled, Refused
from actors.wire.errors import CannotConnect, ConnectionLost, HandshakeRefused, NetworkTimeout, WrongCertificate
from supervisor import MisconfiguredError

# REST errors contain the HTTP status in their text only.
_REST_STATUS = re.compile(r": HTTP (\d{3})\b")

PROXY = "another server than the exchange answers there: check ws_url and rest_url, and proxies in between"
LATER = "the exchange or the network has a problem: try again in a minute; the service retries by itself"
STATUSES = {
    401: "the exchange requires a key for this, and none is sent: see its documentation for what has changed",
    403: "the exchange rejects this address (often its country, or a data centre's): try from another network",
    404: "no such path there: check that the url leads to this exchange (a path of its own is left out)",
    407: "a proxy in between requires a login: let this machine connect without it",
    418: "this address is banned for now because of too many requests: send none for some hours",
    429: "too many connections or requests came from this address: wait some minutes, and see what else sends them",
    451: "the exchange rejects this address for legal reasons (its country): try from another network",
}
MISDIRECTED = "it redirects clients: set the url to its target, if that is the exchange"
QUESTION = "the exchange rejects the request: check that the symbols exist, and where rest_url leads"
NO_REST = "check rest_url and the firewall; recording continues without REST, but missed trades stay missing"


class Trouble(Exception):
    """A step failed: str() is the finding, `advice` what to do."""

    def __init__(self, found: str, advice: str) -> None:
        super().__init__(found)
        self.advice = advice


def advice_on(error: Exception) -> str:
    """What to do about an error that ended a step."""
    match error:
        case Trouble():
            return error.advice
        case HandshakeRefused():
            return on_status(error.status)
        case WrongCertificate():
            return on_certificate(error)
        case NetworkTimeout():
            return "no answer in time: try again; if that does not help, check the network and firewalls"
        case ConnectionLost(code=1008):
            return "the exchange rejects this client: wait some minutes, and read its message"
        case ConnectionLost():
            return LATER
        case CannotConnect() | Garbled():
            return PROXY
        case MisconfiguredError():
            return "correct the configuration as the message suggests"
        case Busy():
            return "wait a little and try again: the exchange is overloaded, or got too many requests from here"
    if status := _REST_STATUS.search(str(error)):
        return on_status(int(status[1]))
    return QUESTION if isinstance(error, Refused) else NO_REST


def on_status(status: int) -> str:
    """What to do about an HTTP error status."""
    if status in STATUSES:
        return STATUSES[status]
    if 300 <= status < 400:
        return MISDIRECTED
    return QUESTION if 400 <= status < 500 else LATER


def on_name(error: Exception) -> str:
    """What to do about a name that could not be resolved."""
    if isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN:
        return "no name server answered: check the network and /etc/resolv.conf"
    return "check the spelling of the name; if it is right, check the name server in /etc/resolv.conf"


def on_connect(errors: Iterable[Exception], port: int) -> str:
    """What to do about a failed TCP connection."""
    if any(isinstance(error, ConnectionRefusedError) for error in errors):
        return f"nothing listens on port {port} there, or a firewall blocks it: check host and port in the url"
    return f"check this machine's network, and whether a firewall lets it out to port {port}"


def on_certificate(error: BaseException) -> str:
    """What to do about a certificate that cannot be trusted."""
    link: BaseException | None = error
    while link is not None and not isinstance(link, ssl.SSLCertVerificationError):
        link = link.__cause__ or link.__context__
    text = link.verify_message if isinstance(link, ssl.SSLCertVerificationError) else str(error)
    if "expired" in text or "not yet valid" in text:
        return "check this machine's date; if it is right, the operator of that server has to renew its certificate"
    if "not valid for" in text:
        return "that server's certificate is for another name: check the host in ws_url or rest_url, and redirects"
    return (
        "if that server has its own CA, set its certificate as ca_file; if not, a proxy decrypts the traffic "
        "(a company's, for example), or this machine's CA certificates are out of date"
    )
