"""The advice for each way in which a step can fail."""

import re
import socket
import ssl
from collections.abc import Iterable

from actors.exchanges.contract.history import Busy, Garbled, Refused
from actors.wire.errors import CannotConnect, ConnectionLost, HandshakeRefused, NetworkTimeout, WrongCertificate
from supervisor import MisconfiguredError

# REST errors hold the HTTP status in their text only.
_REST_STATUS = re.compile(r": HTTP (\d{3})\b")

PROXY = "something else than the exchange answers there: check ws_url and rest_url, and proxies in between"
LATER = "it is the exchange's own trouble, or the network's: try again in a minute; the service does so by itself"
STATUSES = {
    401: "the exchange wants a key for this, and none is sent: see its documentation for what has changed",
    403: "the exchange turns this address away (often its country, or a data centre's): try from another network",
    404: "no such path there: check that the url leads to this exchange (a path of its own is left out)",
    407: "a proxy in between wants a login: let this machine out without it",
    418: "this address is banned for now for asking too much: leave it alone for some hours",
    429: "too many connections or requests came from this address: wait some minutes, and see what else asks there",
    451: "the exchange turns this address away for legal reasons (its country): try from another network",
}
MISDIRECTED = "it sends clients elsewhere: point the url to where it says, if that is the exchange"
QUESTION = "the exchange finds the question wrong: check that the symbols exist, and where rest_url leads"
NO_REST = "check rest_url and the firewall; recording goes on without REST, but what is missed stays missing"


class Trouble(Exception):
    """A step failed: str() is what was found, `advice` what to do."""

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
            return "nobody answered in time: try again; if it stays so, check the network and what is in between"
        case ConnectionLost(code=1008):
            return "the exchange found something against this client: wait some minutes, and read its words"
        case ConnectionLost():
            return LATER
        case CannotConnect() | Garbled():
            return PROXY
        case MisconfiguredError():
            return "correct the configuration as the message suggests"
        case Busy():
            return "wait a little and try again: the exchange has much to do, or has been asked too much from here"
    if status := _REST_STATUS.search(str(error)):
        return on_status(int(status[1]))
    return QUESTION if isinstance(error, Refused) else NO_REST


def on_status(status: int) -> str:
    """What to do about an HTTP status that is no success."""
    if status in STATUSES:
        return STATUSES[status]
    if 300 <= status < 400:
        return MISDIRECTED
    return QUESTION if 400 <= status < 500 else LATER


def on_name(error: Exception) -> str:
    """What to do about a name that could not be looked up."""
    if isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN:
        return "no name server answered: check the network and /etc/resolv.conf"
    return "check how the name is spelled; if it is right, check the name server in /etc/resolv.conf"


def on_connect(errors: Iterable[Exception], port: int) -> str:
    """What to do about TCP that did not come about."""
    if any(isinstance(error, ConnectionRefusedError) for error in errors):
        return f"nothing listens on port {port} there, or a firewall blocks it: check host and port in the url"
    return f"check this machine's network, and whether a firewall lets it out to port {port}"


def on_certificate(error: BaseException) -> str:
    """What to do about a certificate that cannot be trusted."""
    link: BaseException | None = error
    while link is not None and not isinstance(link, ssl.SSLCertVerificationError):
        link = link.__cause__ or link.__context__
    said = link.verify_message if isinstance(link, ssl.SSLCertVerificationError) else str(error)
    if "expired" in said or "not yet valid" in said:
        return "check this machine's date; if it is right, whoever runs that server has to renew its certificate"
    if "not valid for" in said:
        return "that server is meant for another name: check the host in ws_url or rest_url, and who redirects it"
    return (
        "if that server has its own CA, name its certificate as ca_file; if not, somebody in between reads along "
        "(a company's proxy, say), or this machine's CA certificates are out of date"
    )
