"""Assembles the service: `app` for an ASGI server, `handler` for Lambda."""

import gc

from fastapi import FastAPI

from app.correlation_id import CorrelationIdMiddleware
from app.lambda_handler import create_handler
from app.logs import configure_logging
from app.request_log import RequestLogMiddleware
from app.routers import goodbye, hello

configure_logging()

app = FastAPI(
    title="hello-lambda",
    # A slash redirect would drop API Gateway's stage from the path; the routers serve both spellings.
    redirect_slashes=False,
    # FastAPI would look for OpenTelemetry at every request. Where you set it up, take this line out.
    telemetry={"tracing": False, "metrics": False, "logs": False},
)
app.include_router(hello.router)
app.include_router(goodbye.router)

# The last one added is the outermost: the correlation id must be there before anything is logged.
app.add_middleware(RequestLogMiddleware)
app.add_middleware(CorrelationIdMiddleware)

handler = create_handler(app)

# Nothing from before is garbage: the collector, off since app/__init__.py, does not look there again.
gc.freeze()
gc.enable()
