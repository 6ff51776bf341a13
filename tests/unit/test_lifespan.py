"""The lifespan of an application: it starts once per execution environment, and stops when the environment ends."""

import json
import signal
import subprocess
import sys
import time
from typing import Any

import pytest
from helpers import CLEAN_ENVIRONMENT, ROOT, load_event, run_python

from app.aws_lambda import create_handler

GUIDE = load_event("guide")
ON_LAMBDA = {"AWS_LAMBDA_FUNCTION_NAME": "hello-lambda"}
POOL = """
import sys
from contextlib import asynccontextmanager
from fastapi import FastAPI, Request
from app.aws_lambda import create_handler

@asynccontextmanager
async def open_pool(app):
    print("open", flush=True)
    yield {"pool": "a pool"}
    print("close", flush=True)

app = FastAPI(lifespan=open_pool)

@app.get("/hello/")
async def read(request: Request):
    return request.state.pool
"""
INVOKE = f"""
print("init is over", flush=True)
for _ in range(2):
    print(handler({GUIDE!r}, None)["body"])
"""


def run(code: str, **environment: str) -> list[str]:
    """The lines that some code prints, without those of the log."""
    process = run_python(code, LOG_LEVEL="ERROR", **environment)
    assert (process.returncode, process.stderr) == (0, "")
    return process.stdout.splitlines()


def test_lifespan_runs_once_and_during_the_init_phase_on_lambda() -> None:
    lines = run(f"{POOL}\nhandler = create_handler(app)\n{INVOKE}", **ON_LAMBDA)
    assert lines == ["open", "init is over", '"a pool"', '"a pool"', "close"]


def test_lifespan_starts_with_the_first_event_elsewhere() -> None:
    """uvicorn imports the same module, and starts the lifespan itself."""
    lines = run(f"{POOL}\nhandler = create_handler(app)\n{INVOKE}")
    assert lines == ["init is over", "open", '"a pool"', '"a pool"', "close"]


def test_state_is_copied_for_each_request() -> None:
    code = f"""
{POOL}
@app.middleware("http")
async def change(request, call_next):
    request.state.count = getattr(request.state, "count", 0) + 1
    response = await call_next(request)
    print(request.state.count)
    return response
handler = create_handler(app)
{INVOKE}"""
    assert [line for line in run(code) if line.isdecimal()] == ["1", "1"]


def test_startup_and_shutdown_handlers_run_as_well() -> None:
    code = """
from fastapi import FastAPI
from app.aws_lambda import create_handler
app = FastAPI(on_startup=[lambda: print("open")], on_shutdown=[lambda: print("close")])
handler = create_handler(app)
print("init is over")
"""
    assert run(code, **ON_LAMBDA) == ["open", "init is over", "close"]


FAILING = """
from contextlib import asynccontextmanager
from fastapi import FastAPI
from app.aws_lambda import create_handler

@asynccontextmanager
async def open_pool(app):
    raise ConnectionError("the database does not answer")
    yield

handler = create_handler(FastAPI(lifespan=open_pool))
"""


def test_startup_that_fails_ends_the_init_with_one_line_that_holds_the_traceback() -> None:
    process = run_python(FAILING, **ON_LAMBDA)
    assert process.returncode == 1
    (line,) = map(json.loads, process.stdout.splitlines())
    assert (line["level"], line["message"]) == ("CRITICAL", "The application failed to start")
    assert line["exception"].startswith("Traceback (most recent call last):\n")
    assert line["exception"].endswith("ConnectionError: the database does not answer\n")
    assert process.stderr.splitlines()[-1] == (
        "mangum.exceptions.LifespanFailure: The application failed to start. The log has the traceback."
    )


def test_shutdown_that_fails_is_one_line_in_the_log() -> None:
    code = POOL.replace('print("close", flush=True)', 'raise ConnectionError("too late")')
    process = run_python(f"{code}\nhandler = create_handler(app)", **ON_LAMBDA)
    assert (process.returncode, process.stderr) == (0, "")
    opened, line = process.stdout.splitlines()
    assert opened == "open"
    assert json.loads(line)["message"] == "The application failed to stop"
    assert json.loads(line)["exception"].endswith("ConnectionError: too late\n")


@pytest.mark.parametrize("blocked_in", ["time.sleep(60)", "threading.Thread(target=time.sleep, args=(60,)).start()"])
def test_lifespan_stops_on_sigterm_at_once(blocked_in: str) -> None:
    code = f"{POOL}\nhandler = create_handler(app)\nimport threading, time\n{blocked_in}"
    environment = CLEAN_ENVIRONMENT | ON_LAMBDA
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "open\n"
        time.sleep(0.2)
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=30)[0] == "close\n"
        assert (process.returncode, time.monotonic() - started < 10) == (0, True)


def test_child_process_ends_on_sigterm_and_leaves_the_lifespan_alone() -> None:
    code = f"""
{POOL}
handler = create_handler(app)
import os, signal, time, warnings
warnings.simplefilter("ignore")  # Python 3.12 and newer warn of a fork beside a thread.
child = os.fork()
if not child:
    time.sleep(60)
time.sleep(0.2)
os.kill(child, signal.SIGTERM)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
time.sleep(0.2)
print("still here")
"""
    assert run(code, **ON_LAMBDA) == ["open", "-15", "still here", "close"]


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
    answer = create_handler(make_bare(how))(GUIDE, None)
    assert (answer["statusCode"], answer["isBase64Encoded"], answer["body"]) == (200, True, "aGVsbG8=")
