"""Answers one request: checks the peer's rights, finds the route, calls the service."""

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

import structlog
import trio

from ops.control import problem
from ops.control.app import ControlApp, NotAvailable, Refused, UnknownName
from ops.control.http import Reply, Request
from ops.control.peers import Peer
from ops.control.problem import Problem
from ops.control.routes import Call, Route, Stream, check_query, find_route, split_target

_log = structlog.get_logger()


async def dispatch(app: ControlApp, request: Request, peer: Peer, command_s: float) -> Reply | Stream:
    """The answer to a request; raises Problem. A stream is entered inside `app_errors_as_problems`."""
    segments, query = split_target(request.target)
    route, name = find_route(segments)
    if request.method not in route.methods:
        allowed = ", ".join(route.methods)
        raise Problem(
            HTTPStatus.METHOD_NOT_ALLOWED,
            "method_not_allowed",
            f"this route accepts {allowed}",
            headers=(("Allow", allowed),),
        )
    if route.command and not peer.may_command:
        raise problem.forbidden(
            "commands are accepted on the Unix socket only, from the service's own user and root"
        )
    check_query(route, query)
    with app_errors_as_problems(request):
        if route.capability and route.capability not in app.capabilities:
            raise NotAvailable(route.capability)
        call = Call(app, name, query, request.body)
        if route.command:
            return await _command(route, call, request, peer, command_s)
        return await route.handle(call)


async def _command(route: Route, call: Call, request: Request, peer: Peer, command_s: float) -> Reply | Stream:
    log = _log.bind(target=request.target, uid=peer.uid, pid=peer.pid)
    log.info("control_command")
    with trio.move_on_after(command_s):
        return await route.handle(call)
    if route.goes_on:
        log.warning("control_command_goes_on", after_s=command_s)
        what = "goes on; see the log of the service"
    else:
        log.warning("control_command_given_up", after_s=command_s)
        why = "; ".join(call.app.ready())  # such as a full disk, which the writer waits for
        what = f"was cancelled: {why}" if why else "was cancelled; see the status"
    detail = f"the command was not finished within {command_s:g} s and {what}"
    raise Problem(HTTPStatus.GATEWAY_TIMEOUT, "command_timeout", detail)


@contextmanager
def app_errors_as_problems(request: Request) -> Iterator[None]:
    """Converts errors of the service to Problems; a bug is logged, and its text not sent."""
    try:
        yield
    except Problem:
        raise
    except UnknownName as error:
        raise Problem(HTTPStatus.NOT_FOUND, "unknown_name", str(error)) from error
    except Refused as error:
        raise Problem(HTTPStatus.CONFLICT, "refused", str(error)) from error
    except NotAvailable as error:
        detail = f"this service does not offer {error}"
        raise Problem(HTTPStatus.NOT_IMPLEMENTED, "not_available", detail) from error
    except Exception as error:
        _log.exception("control_request_failed", target=request.target)
        detail = "internal error; see the log of the service"
        raise Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", detail) from error
