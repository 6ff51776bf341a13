"""Holds a response until it is complete, since Lambda returns one answer."""

import json
import os
import re

from mangum.types import Message, Receive, Scope, Send
from starlette.responses import PlainTextResponse

from app.aws_lambda.request_log import HEADER
from app.aws_lambda.sources import TEXT_TYPES

MOST_BYTES = 6 * 1024 * 1024  # https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
# Lambda's runtime client escapes all but ASCII, except in AWS's base images for Python 3.12 and newer.
ESCAPES_UNICODE = not os.environ.get("AWS_EXECUTION_ENV", "").startswith("AWS_Lambda_python")
# JSON writes these as two characters, and other control characters as six.
TWO, SIX = b'"\\\b\f\n\r\t', bytes({*range(32), 127} - {*b"\b\f\n\r\t"})
NAME, VALUE = re.compile(rb"[\w!#$%&'*+.^`|~-]+"), re.compile(rb"[^\x00-\x08\x0a-\x1f\x7f]*")


class WholeResponse:
    """A response that breaks off, is too large or has a header that HTTP does not allow becomes 500."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self.scope, self.forward = scope, send
        self.start: Message = {}
        self.chunks: list[bytes] = []
        self.complete, self.failure = False, "Internal Server Error"

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start" and not self.start:
            headers = [(bytes(name).lower(), bytes(value)) for name, value in message.get("headers", ())]
            if not all(NAME.fullmatch(name) and VALUE.fullmatch(value) for name, value in headers):
                raise ValueError("A response header has a character that HTTP does not allow")
            # ASGI has values in Latin-1, and Mangum reads UTF-8.
            self.start = {**message, "headers": [[name, value.decode("latin-1").encode()] for name, value in headers]}
            return
        if message["type"] != "http.response.body" or self.complete:
            raise RuntimeError(f"The application sent {message['type']} at a wrong time")
        self.chunks.append(message.get("body", b""))
        if message.get("more_body", False):
            return
        body = b"" if self.scope["method"] == "HEAD" else b"".join(self.chunks)
        if len(body) > MOST_BYTES // 8 and (size := self.count_bytes(body)) > MOST_BYTES:
            self.failure = f"The response has {size} bytes. Lambda returns at most {MOST_BYTES}."
            raise OverflowError(self.failure)
        await self.forward(self.start)
        await self.forward({"type": "http.response.body", "body": body})
        self.complete = True

    def count_bytes(self, body: bytes) -> int:
        """At most so many bytes has the answer. A text is a string of JSON there, and anything else is base64."""
        headers = dict(self.start["headers"])
        rest = 1000 + len(str(self.start["headers"]))
        is_text = any(each.encode() in headers.get(b"content-type", b"") for each in TEXT_TYPES)
        if not is_text or not is_utf_8(body):
            return rest + len(body) * 4 // 3
        if "aws.event_in_body" in self.scope:  # JSON within JSON
            body = json.dumps(body.decode()).encode()
        elif ESCAPES_UNICODE and not body.isascii():
            return rest + len(json.dumps(body.decode()))
        two, six = (len(body) - len(body.translate(None, each)) for each in (TWO, SIX))
        return rest + len(body) + two + 5 * six

    async def finish(self, receive: Receive) -> None:
        if not self.complete:
            headers = {HEADER: self.scope.get("correlation_id", "")}
            await PlainTextResponse(self.failure, 500, headers)(self.scope, receive, self.forward)


def is_utf_8(body: bytes) -> bool:
    try:
        return body.isascii() or bool(body.decode())
    except UnicodeDecodeError:
        return False
