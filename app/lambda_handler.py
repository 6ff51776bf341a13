"""Puts an ASGI application behind Lambda, so that whatever event arrives, an answer leaves."""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

from loguru import logger
from mangum import Mangum
from mangum.handlers import APIGateway
from mangum.types import ASGI

from app.correlation_id import CORRELATION_ID_HEADER, choose_correlation_id, collect_request_ids
from app.events import describe_problems, describe_unreadable, is_multi_value_alb
from app.request_log import log_request

# Mangum takes the thread's event loop, and asyncio.run(), wherever one calls it, leaves none behind.
_LOOP = asyncio.new_event_loop()


def create_handler(app: ASGI) -> Callable[[Any, Any], dict[str, Any]]:
    """Makes the function that Lambda calls with an event and a context.

    It answers with `statusCode`, `headers`, `body` and `isBase64Encoded`, as API Gateway takes them from
    a proxy integration: also to an event that is none (400) and to a failure (500). It never raises: in a
    non-proxy integration the caller would get the stack trace, with HTTP status 200.
    https://docs.aws.amazon.com/apigateway/latest/developerguide/handle-errors-in-lambda-integration.html
    """
    asyncio.set_event_loop(_LOOP)
    # lifespan="off": it would run at every invocation, not at every start.
    # APIGateway first: else a REST event with "version": "1.0" goes to the handler for HTTP APIs.
    adapter = Mangum(app, lifespan="off", custom_handlers=[APIGateway])

    def handler(event: Any, context: Any) -> dict[str, Any]:
        started = time.perf_counter()

        def answer(status: int, detail: str, exception: BaseException | None = None) -> dict[str, Any]:
            correlation_id = choose_correlation_id(_find_header(event, CORRELATION_ID_HEADER))
            with logger.contextualize(correlation_id=correlation_id, **collect_request_ids(event, context)):
                log_request(None, None, status, started, exception)
            body = json.dumps({"detail": detail})
            headers = {
                "content-length": str(len(body)),
                "content-type": "application/json",
                CORRELATION_ID_HEADER: correlation_id,
            }
            envelope = {"isBase64Encoded": False, "statusCode": status, "headers": headers, "body": body}
            if is_multi_value_alb(event):
                del envelope["headers"]
                envelope["multiValueHeaders"] = {name: [value] for name, value in headers.items()}
            return envelope

        def refuse(problems: str) -> dict[str, Any]:
            return answer(400, f"Not an event of API Gateway, a function URL or a load balancer: {problems[:2000]}")

        if problems := describe_problems(event):
            return refuse(problems)
        asyncio.set_event_loop(_LOOP)
        try:
            return adapter(event, context)
        except ValueError as exception:  # Mangum could not read a well-shaped event
            return refuse(describe_unreadable(event, exception))
        except (Exception, asyncio.CancelledError) as exception:
            return answer(500, "Internal Server Error", exception)

    return handler


def _find_header(event: Any, name: str) -> Any:
    """The value of a header, of the last one where there are several, in an event of any shape."""
    for field in ("multiValueHeaders", "headers") if isinstance(event, dict) else ():
        headers = event.get(field)
        for key, value in headers.items() if isinstance(headers, dict) else ():
            if str(key).lower() == name:
                return value[-1] if isinstance(value, list) and value else value
    return None
