"""Assembles the service: `app` for an ASGI server, `handler` for Lambda."""

from fastapi import FastAPI

from app.aws_lambda import create_handler, log_requests
from app.routers import goodbye, hello

# A slash redirect is a second request, which the client would have to sign again; the routers serve both spellings.
app = FastAPI(title="hello-lambda", redirect_slashes=False)
app.include_router(hello.router)
app.include_router(goodbye.router)

# uvicorn gets the same log line and correlation id as Lambda.
log_requests(app)
handler = create_handler(app)
