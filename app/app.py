"""Assembles the service: `app` for an ASGI server, `handler` for Lambda."""

from fastapi import FastAPI

from app.aws_lambda import create_handler, log_requests
from app.aws_lambda.event_in_body import serve_events_in_bodies
from app.routers import goodbye, hello

app = FastAPI(
    title="hello-lambda",
    # A client would have to sign a redirect again, so the routers serve both spellings.
    redirect_slashes=False,
    # FastAPI would look for OpenTelemetry at each request. Remove this line if you use it.
    telemetry={"tracing": False, "metrics": False, "logs": False},
)
app.include_router(hello.router)
app.include_router(goodbye.router)

# These two come last. The first is for uvicorn, the second is for Lambda, where it starts the application.
log_requests(app)
handler = serve_events_in_bodies(create_handler(app))
