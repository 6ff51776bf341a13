"""Assembles the service: `app` for an ASGI server, `handler` for Lambda."""

from fastapi import FastAPI

from app.aws_lambda import create_handler, log_requests
from app.routers import goodbye, hello

# A slash redirect is a second request, which the client would have to sign again; the routers serve both spellings.
app = FastAPI(title="hello-lambda", redirect_slashes=False)
app.include_router(hello.router)
app.include_router(goodbye.router)

# These two come last. The first is for uvicorn, the second is for Lambda, where it starts the application.
log_requests(app)
handler = create_handler(app)
