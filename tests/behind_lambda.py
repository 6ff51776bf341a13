"""Puts the applications of the tests behind Lambda."""

from collections.abc import Callable
from typing import Any

from mangum import Mangum
from starlette.applications import Starlette

from app.aws_lambda import SOURCES, TEXT_TYPES, LambdaServer, RequestLog, answer_every_event, configure_logging

configure_logging()


def make_handler(app: Any) -> Callable[[Any, Any], dict[str, Any]]:
    """Puts an ASGI application behind Lambda, in the lines of app/app.py."""
    if isinstance(app, Starlette):
        app.middleware_stack = RequestLog(app.build_middleware_stack())
    else:
        app = RequestLog(app)
    mangum = Mangum(LambdaServer(app), lifespan="off", custom_handlers=SOURCES, text_mime_types=TEXT_TYPES)
    return answer_every_event(mangum)
