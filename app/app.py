"""The service: `app` for an ASGI server such as uvicorn, `handler` for Lambda."""

from fastapi import FastAPI
from mangum import Mangum

from app.aws_lambda import SOURCES, TEXT_TYPES, LambdaServer, RequestLog, answer_every_event, configure_logging
from app.routers import goodbye, hello

configure_logging()  # first, so that it keeps every handler that you add

app = FastAPI(
    title="hello-lambda",
    # A client would have to sign a redirect again, so the routers serve both spellings.
    redirect_slashes=False,
    # FastAPI would look for OpenTelemetry at each request. Remove this line if you use it.
    telemetry={"tracing": False, "metrics": False, "logs": False},
)
app.include_router(hello.router)
app.include_router(goodbye.router)

# Add middleware and exception handlers above. RequestLog is around all of them, so that it sees every response.
app.middleware_stack = RequestLog(app.build_middleware_stack())

# Mangum would start the application at every event. LambdaServer starts it once.
mangum = Mangum(LambdaServer(app), lifespan="off", custom_handlers=SOURCES, text_mime_types=TEXT_TYPES)
handler = answer_every_event(mangum)
