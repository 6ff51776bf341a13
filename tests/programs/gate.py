"""The ASGI layer in front of the emulated account. It lets in the steps of this run, and nobody else.

The emulator alone takes the key `test`, or any 12 digits, for the account's owner, and does not check the signature. It
obeys unsigned requests to pages of its own, and lets every web page read its answers.
"""

import json
import os
import re
import sys
import time
from base64 import b64encode
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qs

from ministack.app import app as emulator
from ministack.core.iam_evaluator import is_root_access_key
from ministack.core.router import extract_access_key_id

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

# The emulator runs its functions with this Python, which has other packages than the emulator.
sys.executable = os.environ["FUNCTION_PYTHON"]
ADMINISTRATOR = os.environ["AWS_ACCESS_KEY_ID"]
# The emulator's password for its registry never changes, and the emulator does not ask for it. The secret is as long.
PASSWORDS = "ministack-auth-token", os.environ["AWS_SECRET_ACCESS_KEY"]
FIXED_LOGIN, LOGIN = (b64encode(f"AWS:{password}".encode()) for password in PASSWORDS)


async def app(scope: Message, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await emulator(scope, receive, send)
    elif scope["type"] == "websocket":
        await send({"type": "websocket.close"})
    else:
        await answer(scope, receive, log_request(scope, send))


async def answer(scope: Message, receive: Receive, send: Send) -> None:
    headers: dict[str, str] = {}
    for name, value in ((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]):
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    key = extract_access_key_id(headers, parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True))
    path, host = scope["path"], re.sub(r":\d+$", "", headers.get("host", ""))
    is_api_host = re.fullmatch(r"[0-9a-f]{8}\.execute-api\.localhost", host) is not None
    # A host name of somebody else can have the address 127.0.0.1. A browser then sends that name.
    if host not in ("127.0.0.1", "localhost") and not is_api_host:
        await refuse(send, 403, "The emulated account has no such host name")
    elif key and key != ADMINISTRATOR and is_root_access_key(key):
        await refuse(send, 403, "The security token included in the request is invalid.")
    elif path == "/_ministack/health" or re.match("/_aws/execute-api/[^/]+/", path):
        await emulator(scope, receive, send)
    elif path.startswith("/_"):
        await refuse(send, 403, "This page of the emulator is closed")
    elif is_api_host:
        await emulator(scope, receive, send)
    elif "origin" in headers or "sec-fetch-site" in headers:
        await refuse(send, 403, "A web page may call the API, and not the account")
    elif re.match("/v2(/|$)", path) and headers.get("authorization") != f"Basic {LOGIN.decode()}":
        await refuse(send, 401, "Log in to the registry")
    elif not key and not re.match("/v2(/|$)", path):
        await refuse(send, 403, "Missing Authentication Token")
    else:
        await emulator(scope, receive, replace_password(send))


async def refuse(send: Send, status: int, message: str) -> None:
    headers = [(b"content-type", b"application/json")]
    if status == 401:  # only then Docker sends its password
        headers.append((b"www-authenticate", b"Basic"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps({"message": message}).encode()})


def replace_password(send: Send) -> Send:
    async def send_own(message: Message) -> None:
        if "body" in message:
            message["body"] = message["body"].replace(FIXED_LOGIN, LOGIN)
        await send(message)

    return send_own


def log_request(scope: Message, send: Send) -> Send:
    """Prints a line for each answer. The path stays percent-encoded, so it cannot hold a line's end."""
    started = time.monotonic()
    status = 0

    async def send_and_log(message: Message) -> None:
        nonlocal status
        status = message.get("status", status)
        await send(message)
        if message["type"] == "http.response.body" and not message.get("more_body"):
            request = f"{scope['method']} {scope['raw_path'].decode('latin-1')}".encode("unicode_escape").decode()
            print(f"request {request} {status} {time.monotonic() - started:.4f}", flush=True)

    return send_and_log
