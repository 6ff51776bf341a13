"""Gives an application on uvicorn, or another ASGI server, the correlation id and the log line that it has on Lambda."""

import time

from loguru import logger
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.aws_lambda.request_log import CORRELATION_ID_HEADER, INTERNAL_ERROR, choose_correlation_id, log_request


def log_requests(app: Starlette) -> None:
    """Gives the requests of a FastAPI or Starlette application their id and line, on any ASGI server."""
    build_middleware_stack = app.build_middleware_stack
    # add_middleware() would place it inside Starlette's handling of exceptions, where it does not see the 500.
    app.build_middleware_stack = lambda: RequestLogMiddleware(build_middleware_stack())  # type: ignore[method-assign]
    if not {500, Exception} & set(app.exception_handlers):
        app.add_exception_handler(Exception, _answer_500)


async def _answer_500(_request: Request, _error: Exception) -> JSONResponse:
    return JSONResponse({"detail": INTERNAL_ERROR}, status_code=500)


class RequestLogMiddleware:
    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # The Lambda handler writes its own line. For a mounted application, the outer one writes the line.
        if scope["type"] != "http" or "aws.event" in scope or "request_log" in scope:
            await self.app(scope, receive, send)
            return

        scope["request_log"] = self
        started = time.perf_counter()
        correlation_id = choose_correlation_id(Headers(scope=scope).get(CORRELATION_ID_HEADER))
        status, complete = 500, False

        async def send_with_id(message: Message) -> None:
            nonlocal status, complete
            if message["type"] == "http.response.start":
                status = message["status"]
                message.setdefault("headers", [])  # ASGI lets an application leave them out
                MutableHeaders(scope=message)[CORRELATION_ID_HEADER] = correlation_id
            complete = message["type"] == "http.response.body" and not message.get("more_body", False)
            await send(message)

        with logger.contextualize(correlation_id=correlation_id):
            try:
                await self.app(scope, receive, send_with_id)
            except Exception as error:
                log_request(scope["method"], scope["path"], status, started, error)
                if not complete:  # the server has to end the connection
                    raise
            else:
                log_request(scope["method"], scope["path"], status, started)
