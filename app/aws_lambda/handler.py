"""Gives every event an answer: Mangum's, or 400, or 500."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

from loguru import logger
from mangum import Mangum

from app.aws_lambda.events import EventError, OtherServiceError, check_event
from app.aws_lambda.request_log import HEADER, choose_correlation_id, read_aws_ids
from app.aws_lambda.server import LOOP

Answer = dict[str, Any]


def answer_every_event(mangum: Mangum) -> Callable[[Any, Any], Answer]:
    """Makes the function that Lambda calls with an event and a context. It raises OtherServiceError only.

    In a non-proxy integration an exception would reach the caller as HTTP 200 with a stack trace:
    https://docs.aws.amazon.com/apigateway/latest/developerguide/handle-errors-in-lambda-integration.html
    """

    def handler(event: Any, context: Any) -> Answer:
        asyncio.set_event_loop(LOOP)  # asyncio.run() in the application unsets it
        try:
            check_event(event)
            return mangum(event, context)
        except OtherServiceError:
            raise
        except EventError as error:
            return refuse(event, context, 400, str(error))
        # Only reading the event raises these. Mangum catches the application's errors.
        except (AttributeError, KeyError, TypeError, ValueError):
            return refuse(event, context, 400, "A field of the event is missing, or has a value of a wrong type")
        except (Exception, SystemExit, asyncio.CancelledError):
            return refuse(event, context, 500, "Internal Server Error")

    return handler


def refuse(event: Any, context: Any, status: int, detail: str) -> Answer:
    headers = event.get("headers") if isinstance(event, dict) else None
    by_name = {name.lower(): value for name, value in headers.items()} if isinstance(headers, dict) else {}
    correlation_id = choose_correlation_id(by_name.get(HEADER))
    ids = read_aws_ids({"aws.event": event, "aws.context": context})
    line = logger.bind(status=status, correlation_id=correlation_id, **ids).opt(exception=status == 500)
    line.log("ERROR" if status == 500 else "WARNING", "not served {}: {}", status, detail)
    body = json.dumps({"detail": detail}, separators=(",", ":"))
    own_headers = {"content-type": "application/json", "content-length": str(len(body)), HEADER: correlation_id}
    return {"statusCode": status, "headers": own_headers, "body": body, "isBase64Encoded": False}
