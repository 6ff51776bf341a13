"""Logs one line per request, and answers 500 to an exception that nothing else caught."""

import time
from typing import Any

from loguru import logger
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_cold_start = True


def log_request(
    method: str | None,
    path: str | None,
    status: int,
    started: float,
    exception: BaseException | None = None,
) -> None:
    """Logs the line of one request; `started` is the `time.perf_counter()` of its beginning."""
    global _cold_start
    level = "ERROR" if exception else "WARNING" if method is None else "INFO"
    logger.opt(exception=exception).bind(
        method=method,
        path=path,
        status=status,
        duration_ms=round((time.perf_counter() - started) * 1000, 3),
        cold_start=_cold_start,
    ).log(level, f"{method} {path} {status}" if method else f"invalid event {status}")
    _cold_start = False


def collect_request_ids(event: Any, context: Any) -> dict[str, str]:
    """The ids by which AWS knows an invocation, as far as it has them.

    `api_gateway_request_id` comes from the event. Through a non-proxy integration the caller writes
    the event, so it is a clue there, not evidence.
    """
    ids = {"aws_request_id": getattr(context, "aws_request_id", None)}
    request_context = event.get("requestContext") if isinstance(event, dict) else None
    if isinstance(request_context, dict):
        ids["api_gateway_request_id"] = request_context.get("requestId")
    return {name: value[:128] for name, value in ids.items() if isinstance(value, str)}


class RequestLogMiddleware:
    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        started = time.perf_counter()
        status: int | None = None

        async def send_and_note_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        ids = collect_request_ids(scope.get("aws.event"), scope.get("aws.context"))
        with logger.contextualize(**ids):
            try:
                await self.app(scope, receive, send_and_note_status)
            except Exception as exception:
                log_request(scope["method"], scope["path"], 500, started, exception)
                if status is not None:  # too late for another answer: the server has to cut it off
                    raise
                answer = JSONResponse({"detail": "Internal Server Error"}, status_code=500)
                await answer(scope, receive, send)
            else:
                log_request(scope["method"], scope["path"], status or 500, started)
