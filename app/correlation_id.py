"""Gives every response an `x-correlation-id`, and every log line of the request the same one, beside AWS's ids."""

import re
import uuid
from typing import Any

from loguru import logger
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

CORRELATION_ID_HEADER = "x-correlation-id"

# Nothing that could break out of a log line, a header or a search query.
_ACCEPTED = re.compile(r"[A-Za-z0-9._-]{1,128}")


def choose_correlation_id(candidate: object) -> str:
    """The caller's id where it is 1 to 128 of `A-Z a-z 0-9 . _ -`, else a new UUID4."""
    if isinstance(candidate, str) and _ACCEPTED.fullmatch(candidate):
        return candidate
    return str(uuid.uuid4())


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


class CorrelationIdMiddleware:
    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        correlation_id = choose_correlation_id(Headers(scope=scope).get(CORRELATION_ID_HEADER))

        async def send_with_correlation_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                message.setdefault("headers", [])  # ASGI lets an application leave them out
                MutableHeaders(scope=message)[CORRELATION_ID_HEADER] = correlation_id
            await send(message)

        request_ids = collect_request_ids(scope.get("aws.event"), scope.get("aws.context"))
        with logger.contextualize(correlation_id=correlation_id, **request_ids):
            await self.app(scope, receive, send_with_correlation_id)
