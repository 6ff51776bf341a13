"""The layers between Lambda and the application. A request passes them from top to bottom. app/app.py puts them together.

answer_every_event   400 for an event that is no request, 500 for a failure        handler.py, events.py
Mangum               turns an event into an ASGI request, and the response into an answer
SOURCES              correct what Mangum reads: paths, headers, addresses          sources.py, paths.py
                     read the guide's event from the body of a POST                event_in_body.py
LambdaServer         starts the application once, and wants a whole response       server.py, response.py
RequestLog           the correlation id and the line in the log, on uvicorn, too   request_log.py, logs.py
"""

from mangum.types import LambdaHandler

from app.aws_lambda.event_in_body import EventInBody
from app.aws_lambda.handler import answer_every_event
from app.aws_lambda.logs import configure_logging
from app.aws_lambda.request_log import RequestLog
from app.aws_lambda.server import LambdaServer
from app.aws_lambda.sources import TEXT_TYPES, HttpApi, LoadBalancer, RestApi

# The first that knows an event reads it. A REST event may have a version, too, so HttpApi comes last.
SOURCES: list[type[LambdaHandler]] = [EventInBody, RestApi, LoadBalancer, HttpApi]

__all__ = ["SOURCES", "TEXT_TYPES", "LambdaServer", "RequestLog", "answer_every_event", "configure_logging"]
