"""The lifespan of an application: it starts once per execution environment, and stops when the process ends."""

import json
from typing import Any

import pytest
from behind_lambda import make_handler
from forked_python import run_forked
from helpers import load_event

GUIDE = load_event("guide")
ON_LAMBDA = {"AWS_LAMBDA_FUNCTION_NAME": "hello-lambda"}
POOL = """
from contextlib import asynccontextmanager
from fastapi import FastAPI, Request
from behind_lambda import make_handler

@asynccontextmanager
async def open_pool(app: FastAPI):
    print("open")
    yield {"pool": "a pool"}
    print("close")

app = FastAPI(lifespan=open_pool)

@app.get("/hello/")
async def read(request: Request):
    request.state.count = getattr(request.state, "count", 0) + 1
    return [request.state.pool, request.state.count]
"""
INVOKE = f"""
handler = make_handler(app)
print("init is over")
for _ in range(2):
    print(handler({GUIDE!r}, None)["body"])
"""


def run(code: str, **environment: str) -> list[str]:
    """The lines that some code prints."""
    process = run_forked(code, **{"LOG_LEVEL": "ERROR"} | environment)
    assert (process.returncode, process.stderr) == (0, "")
    return process.stdout.splitlines()


def test_lifespan_runs_once_and_during_the_init_phase_on_lambda() -> None:
    """Each request gets a copy of its state."""
    lines = run(POOL + INVOKE, **ON_LAMBDA)
    assert lines == ["open", "init is over", '["a pool",1]', '["a pool",1]', "close"]


def test_lifespan_starts_with_the_first_event_elsewhere() -> None:
    """uvicorn imports the same module, and starts the lifespan itself."""
    assert run(POOL + INVOKE) == ["init is over", "open", '["a pool",1]', '["a pool",1]', "close"]


@pytest.mark.parametrize("module", ["app.app", "app.cold_start"])
def test_startup_that_fails_ends_the_init_with_one_line_that_holds_the_traceback(module: str) -> None:
    code = f"""
import fastapi
from contextlib import asynccontextmanager

@asynccontextmanager
async def open_pool(app):
    raise ConnectionError("the database does not answer")
    yield

start = fastapi.FastAPI.__init__
fastapi.FastAPI.__init__ = lambda app, **settings: start(app, **{{**settings, "lifespan": open_pool}})
import {module}
"""
    process = run_forked(code, **ON_LAMBDA)
    assert process.returncode == 1
    (line,) = map(json.loads, process.stdout.splitlines())
    assert (line["level"], line["message"]) == ("CRITICAL", "The application failed to start")
    assert line["exception"].startswith("Traceback (most recent call last):\n")
    assert line["exception"].endswith("ConnectionError: the database does not answer\n")
    assert process.stderr.splitlines()[-1] == (
        "mangum.exceptions.LifespanFailure: The application failed to start. The log has the traceback."
    )


def make_bare(how: str) -> Any:
    """An ASGI function that does not know the lifespan, in one of the ways there are."""

    async def bare(scope: Any, receive: Any, send: Any) -> None:
        if how == "it fails" and scope["type"] != "http":
            raise NotImplementedError
        if how == "it returns" and scope["type"] != "http":
            return
        if how == "it receives":
            await receive()
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"hello"})

    return bare


@pytest.mark.parametrize("how", ["it fails", "it returns", "it receives", "it sends"])
def test_application_without_a_lifespan_is_served(how: str) -> None:
    answer = make_handler(make_bare(how))(GUIDE, None)
    assert (answer["statusCode"], answer["isBase64Encoded"], answer["body"]) == (200, True, "aGVsbG8=")


def test_application_without_a_lifespan_ends_quietly() -> None:
    code = """
from behind_lambda import make_handler
async def bare(scope, receive, send):
    await receive()
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body"})
make_handler(bare)
"""
    assert run(code, **ON_LAMBDA) == []


def test_lifespan_that_raises_leaves_a_line_in_the_log() -> None:
    code = f"""
from behind_lambda import make_handler

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        raise NotImplementedError
    await send({{"type": "http.response.start", "status": 204}})
    await send({{"type": "http.response.body"}})

make_handler(app)({GUIDE!r}, None)
"""
    failed, request = map(json.loads, run(code, **ON_LAMBDA | {"LOG_LEVEL": "INFO"}))
    assert (failed["level"], failed["exception"].splitlines()[-1]) == ("ERROR", "NotImplementedError")
    assert request["message"] == "GET /hello/ 204"
