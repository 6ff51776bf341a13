"""Puts an ASGI application behind AWS Lambda. Nothing here has to change with the application."""

from app.aws_lambda.handler import create_handler
from app.aws_lambda.middleware import log_requests

__all__ = ["create_handler", "log_requests"]
