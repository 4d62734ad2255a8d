"""The routes of the control socket. Routes only grow; the version is in the path."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from http import HTTPStatus
from typing import Literal, TypeVar
from urllib.parse import parse_qsl, unquote

import msgspec
from msgspec import Struct

from ops.control import problem
from ops.control.app import ControlApp, RepairOrder, SymbolsChange
from ops.control.http import Reply
from ops.control.problem import Problem

NAME = "{name}"  # one path segment that names an actor or an exchange
_ARGUMENT_CHARS_MAX = 128
_SINCE_DIGITS_MAX = 18  # fits 64 bits


class Stream(Struct, frozen=True):
    """An answer that goes on while `opened` is open."""

    opened: AbstractAsyncContextManager[AsyncIterator[bytes]]
    content_type: str = "application/x-ndjson"


class Call(Struct, frozen=True):
    """One request as a route receives it: `name` from the path, `query` with known keys only."""

    app: ControlApp
    name: str
    query: Mapping[str, str]
    body: bytes


class Route(Struct, frozen=True):
    """The implementation of a path. A `command` changes something; `capability` "" is always offered.

    `goes_on`: the app finishes the command although the call is cancelled.
    """

    handle: Callable[[Call], Awaitable[Reply | Stream]]
    capability: str = ""
    command: bool = False
    goes_on: bool = False
    query: frozenset[str] = frozenset()

    @property
    def methods(self) -> tuple[str, ...]:
        """The HTTP methods that the path answers."""
        return ("POST",) if self.command else ("GET", "HEAD")


class _LogLevel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    level: Literal["debug", "info", "warning", "error"]


class _Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


_Body = TypeVar("_Body", bound=msgspec.Struct)


def split_target(target: str) -> tuple[tuple[str, ...], dict[str, str]]:
    """Path segments and query of a request target, percent-decoded; raises Problem."""
    if target.lower().startswith("http://"):  # the absolute form, which a server has to accept
        _, slash, rest = target[7:].partition("/")
        target = slash + rest
    path, _, query = target.partition("?")
    if not path.startswith("/"):
        raise problem.bad_request("the request target must be a path")
    try:
        segments = tuple(unquote(segment, errors="strict") for segment in path[1:].split("/"))
        pairs = parse_qsl(
            query, keep_blank_values=True, strict_parsing=bool(query), errors="strict", max_num_fields=8
        )
    except ValueError as error:
        raise problem.bad_request(f"the request target cannot be decoded: {error}") from error
    if len(dict(pairs)) != len(pairs):
        raise problem.bad_request("a query parameter is given twice")
    if any(len(part) > _ARGUMENT_CHARS_MAX for part in (*segments, *dict(pairs).values())):
        raise problem.not_found("the name is too long")
    return segments, dict(pairs)


def find_route(segments: tuple[str, ...]) -> tuple[Route, str]:
    """The route of a path and the name in it; raises Problem 404."""
    for pattern, route in ROUTES.items():
        if len(pattern) == len(segments) and all(p in (NAME, s) for p, s in zip(pattern, segments, strict=True)):
            return route, next((s for p, s in zip(pattern, segments, strict=True) if p is NAME), "")
    raise problem.not_found("there is no such route")


def check_query(route: Route, query: Mapping[str, str]) -> None:
    """Rejects unknown parameters: a misspelt filter must not silently mean "everything"; raises Problem 400."""
    unknown = sorted(query.keys() - route.query)
    if unknown:
        known = ", ".join(sorted(route.query)) or "none"
        raise problem.bad_request(f"unknown query parameter {unknown[0]!r}; this route knows: {known}")


def _json(value: object) -> Reply:
    return Reply(msgspec.json.encode(value))


def _read_body(body: bytes, kind: type[_Body]) -> _Body:
    try:
        return msgspec.json.decode(body or b"{}", type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise problem.bad_request(f"the body is not what this route expects: {error}") from error


async def _live(call: Call) -> Reply:
    if not call.app.live():
        raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "not_live", "the service is not making progress")
    return _json({"live": True})


async def _ready(call: Call) -> Reply:
    reasons = list(call.app.ready())
    if reasons:
        detail = "; ".join(reasons)
        raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "not_ready", detail, members={"reasons": reasons})
    return _json({"ready": True, "reasons": []})


async def _status(call: Call) -> Reply:
    return _json(call.app.status())


async def _actors(call: Call) -> Reply:
    return _json(call.app.actors())


async def _actor(call: Call) -> Reply:
    for actor in call.app.actors():
        if actor["name"] == call.name:
            return _json(actor)
    raise Problem(HTTPStatus.NOT_FOUND, "unknown_name", f"there is no actor {call.name!r}")


async def _config(call: Call) -> Reply:
    return _json(call.app.config())


async def _events(call: Call) -> Reply:
    since = call.query.get("since", "0")
    if not (since.isascii() and since.isdigit() and len(since) <= _SINCE_DIGITS_MAX):
        raise problem.bad_request("since is the number of the last event already seen")
    return _json(call.app.events(int(since)))


async def _tap(call: Call) -> Stream:
    return Stream(call.app.tap(call.query.get("exchange", ""), call.query.get("symbol", "")))


async def _dashboard(call: Call) -> Reply:
    html, policy = call.app.dashboard()
    headers = (("Content-Security-Policy", policy), ("Referrer-Policy", "no-referrer"))
    return Reply(html, content_type="text/html; charset=utf-8", headers=headers)


async def _snapshots(call: Call) -> Stream:
    return Stream(call.app.snapshots(), "text/event-stream")


async def _metrics(call: Call) -> Reply:
    return Reply(call.app.metrics(), content_type="text/plain; version=0.0.4; charset=utf-8")


def _on_actor(act: Callable[[ControlApp, str], Awaitable[None]]) -> Callable[[Call], Awaitable[Reply]]:
    async def handle(call: Call) -> Reply:
        _read_body(call.body, _Nothing)
        await act(call.app, call.name)
        return _json({"ok": True})

    return handle


async def _flush(call: Call) -> Reply:
    _read_body(call.body, _Nothing)
    await call.app.flush()
    return _json({"ok": True})


async def _merge(call: Call) -> Reply:
    _read_body(call.body, _Nothing)
    await call.app.merge()
    return _json({"ok": True})


async def _reload(call: Call) -> Reply:
    _read_body(call.body, _Nothing)
    return _json(await call.app.reload())


async def _change_symbols(call: Call) -> Reply:
    change = _read_body(call.body, SymbolsChange)
    return _json(await call.app.change_symbols(call.name, change.add, change.remove))


async def _repair(call: Call) -> Reply:
    return _json(call.app.repair(call.name, _read_body(call.body, RepairOrder)))


async def _repairs(call: Call) -> Reply:
    return _json(call.app.repairs())


async def _feeds(call: Call) -> Reply:
    return _json(call.app.feeds())


async def _hand_over(call: Call) -> Stream:
    _read_body(call.body, _Nothing)
    return Stream(call.app.hand_over())


async def _log_level(call: Call) -> Reply:
    call.app.log_level(_read_body(call.body, _LogLevel).level)
    return _json({"ok": True})


ROUTES: Mapping[tuple[str, ...], Route] = {
    ("",): Route(_dashboard, "dashboard"),
    ("v1", "live"): Route(_live),
    ("v1", "ready"): Route(_ready),
    ("v1", "status"): Route(_status),
    ("v1", "actors"): Route(_actors),
    ("v1", "actors", NAME): Route(_actor),
    ("v1", "config"): Route(_config, "config"),
    ("v1", "events"): Route(_events, "events", query=frozenset({"since"})),
    ("v1", "tap"): Route(_tap, "tap", query=frozenset({"exchange", "symbol"})),
    ("v1", "snapshots"): Route(_snapshots, "dashboard"),
    ("metrics",): Route(_metrics, "metrics"),
    ("v1", "actors", NAME, "restart"): Route(
        _on_actor(lambda app, name: app.restart(name)), "restart", command=True
    ),
    ("v1", "actors", NAME, "pause"): Route(_on_actor(lambda app, name: app.pause(name)), "pause", command=True),
    ("v1", "actors", NAME, "resume"): Route(_on_actor(lambda app, name: app.resume(name)), "resume", command=True),
    ("v1", "flush"): Route(_flush, "flush", command=True),
    ("v1", "merge"): Route(_merge, "merge", command=True),
    ("v1", "reload"): Route(_reload, "reload", command=True, goes_on=True),
    ("v1", "exchanges", NAME, "symbols"): Route(_change_symbols, "change_symbols", command=True),
    ("v1", "exchanges", NAME, "repair"): Route(_repair, "repair", command=True),
    ("v1", "repairs"): Route(_repairs, "repairs"),
    ("v1", "feeds"): Route(_feeds, "feeds"),
    ("v1", "hand-over"): Route(_hand_over, "hand_over", command=True),
    ("v1", "log-level"): Route(_log_level, "log_level", command=True),
}
