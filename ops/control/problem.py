"""Errors for clients: RFC 9457 problem JSON, each with a code that never changes its meaning.

https://www.rfc-editor.org/rfc/rfc9457 (read 2026-07). `code` is our extension member, for programs; `detail` is for
people and may be reworded.
"""

from collections.abc import Mapping
from http import HTTPStatus

import msgspec

CONTENT_TYPE = "application/problem+json"


class Problem(Exception):
    """An answer that is an error. Raised anywhere in the processing of a request, sent by the connection.

    `members` are further members of the JSON object, `headers` further response headers.
    """

    def __init__(
        self,
        status: HTTPStatus,
        code: str,
        detail: str,
        *,
        members: Mapping[str, object] | None = None,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.members = dict(members or {})
        self.headers = headers

    def body(self) -> bytes:
        """The problem document."""
        document = {
            "type": "about:blank",
            "title": self.status.phrase,
            "status": int(self.status),
            "detail": self.detail,
            "code": self.code,
        }
        return msgspec.json.encode(document | self.members)

    def whole_response(self) -> bytes:
        """A complete HTTP/1.1 response, for a client that is rejected before its request is read."""
        body = self.body()
        headers = (
            ("Content-Type", CONTENT_TYPE),
            ("Content-Length", str(len(body))),
            ("Connection", "close"),
        )
        lines = [f"HTTP/1.1 {int(self.status)} {self.status.phrase}"]
        lines += [f"{name}: {value}" for name, value in headers + self.headers]
        return "\r\n".join([*lines, "", ""]).encode("ascii") + body


def bad_request(detail: str) -> Problem:
    """400: the request itself is wrong."""
    return Problem(HTTPStatus.BAD_REQUEST, "bad_request", detail)


def not_found(detail: str) -> Problem:
    """404: there is no such route."""
    return Problem(HTTPStatus.NOT_FOUND, "not_found", detail)


def forbidden(detail: str) -> Problem:
    """403: the peer may not do this."""
    return Problem(HTTPStatus.FORBIDDEN, "forbidden", detail)


def too_many_clients(clients_max: int) -> Problem:
    """503: every slot is taken."""
    return Problem(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "too_many_clients",
        f"{clients_max} clients are being served; try again when one has disconnected",
        headers=(("Retry-After", "1"),),
    )
