"""Logs one line per request, and answers 500 to an exception that nothing else caught."""

import time

from loguru import logger
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_cold_start = True

# What a caller can make long, in characters: CloudWatch cuts a line that is too long into pieces.
_LONGEST = 1024


def log_request(
    method: str | None,
    path: str | None,
    status: int,
    started: float,
    exception: BaseException | None = None,
) -> None:
    """Logs the line of one request; `started` is the `time.perf_counter()` of its beginning.

    Without a method it is the line of an event that never became a request.
    """
    global _cold_start
    method, path = method and method[:_LONGEST], path and path[:_LONGEST]
    level = "ERROR" if exception else "WARNING" if method is None else "INFO"
    line = logger.bind(
        method=method,
        path=path,
        status=status,
        duration_ms=round((time.perf_counter() - started) * 1000, 3),
        cold_start=_cold_start,
    )
    if exception:
        line = line.opt(exception=exception)
    line.log(level, f"{method} {path} {status}" if method else f"no request {status}")
    _cold_start = False


class RequestLogMiddleware:
    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        started = time.perf_counter()
        status: int | None = None
        # Lambda answers as a whole. So there the answer waits until it is whole, and whatever goes wrong on the
        # way, a stream that breaks or a header that Mangum could not read, can still become a 500.
        on_lambda = "aws.event" in scope
        held: list[Message] = []

        async def hold_or_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            if not on_lambda:
                await send(message)
                return
            for name, value in message.get("headers", ()):
                name.decode(), value.decode()
            held.append(message)

        try:
            await self.app(scope, receive, hold_or_send)
        except BaseException as exception:
            # A server has to see what ends it; on Lambda nothing may.
            if not (on_lambda or isinstance(exception, Exception)):
                raise
            already_sent = None if on_lambda else status
            log_request(scope["method"], scope["path"], already_sent or 500, started, exception)
            if already_sent:
                raise
            await JSONResponse({"detail": "Internal Server Error"}, status_code=500)(scope, receive, send)
            return
        for message in held:
            await send(message)
        log_request(scope["method"], scope["path"], status or 500, started)
