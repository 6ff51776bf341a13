"""The lines on stdout, of processes of their own: on Lambda, under uvicorn, and at start."""

import json
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from forked_python import run_forked
from helpers import load_event, running, wait_for
from rehearse import find_free_port

GUIDE = load_event("guide")
# The routes of the tests, in an application that is put together as app/app.py does.
APP = """
import json, logging
from types import SimpleNamespace
from fastapi import BackgroundTasks, FastAPI
from fastapi.responses import JSONResponse
from loguru import logger
from behind_lambda import make_handler

app = FastAPI()

@app.get("/hello/")
async def say_hello():
    pass
"""
FAILING_ROUTE = """
@app.get("/fail")
async def fail():
    password = "hunter" + str(2)
    raise RuntimeError("failed with a password of %d letters" % len(password))
"""


def invoke(*events: Any, setup: str = "", **environment: str) -> list[dict[str, Any]]:
    """The lines that an execution environment of Lambda writes while it handles the events."""
    code = f"""
{APP}
{setup}
handler = make_handler(app)
context = SimpleNamespace(aws_request_id="8f5c0d9e-33c5-4a0c-9e5b-4d5c1c0a7f10")
for event in json.loads({json.dumps(events)!r}):
    handler(event, context)
"""
    process = run_forked(code, AWS_LAMBDA_FUNCTION_NAME="hello-lambda", **environment)
    assert (process.returncode, process.stderr) == (0, "")
    return [json.loads(line) for line in process.stdout.splitlines()]


def test_lambda_log_is_one_flat_json_line_per_request() -> None:
    rest_event = load_event("rest_api")
    first, second = invoke(
        {**GUIDE, "headers": {"x-correlation-id": "mine"}, "path": "/nothing"},
        {**rest_event, "multiValueHeaders": {"x-correlation-id": ["yours"]}},
        setup="import time; time.tzset()",
        TZ="Asia/Tokyo",
    )
    for line in (first, second):
        time = datetime.fromisoformat(line.pop("timestamp"))
        assert time.utcoffset() == timedelta(0)
        assert abs(time.timestamp() - datetime.now().timestamp()) < 60
        assert 0 <= line.pop("duration_ms") < 10_000
    both = {"level": "INFO", "method": "GET", "aws_request_id": "8f5c0d9e-33c5-4a0c-9e5b-4d5c1c0a7f10"}
    assert first == both | {
        "message": "GET /nothing 404",
        "correlation_id": "mine",
        "path": "/nothing",
        "status": 404,
        "cold_start": True,
    }
    assert second == both | {
        "message": "GET /hello/ 200",
        "correlation_id": "yours",
        "api_gateway_request_id": rest_event["requestContext"]["requestId"],
        "path": "/hello/",
        "status": 200,
        "cold_start": False,
        "caller": "arn:aws:iam::123456789012:user/hello-lambda-invoker",
    }


def test_lambda_log_of_a_refused_event_is_one_line() -> None:
    (line,) = invoke({"headers": {"x-correlation-id": "mine"}, "requestContext": {"requestId": "theirs"}})
    assert (line["level"], line["status"], line["correlation_id"]) == ("WARNING", 400, "mine")
    assert line["api_gateway_request_id"] == "theirs"


OWN_ANSWER = """
@app.exception_handler(Exception)
async def answer(request, error):
    return JSONResponse({"mine": True}, status_code=503)
"""
BACKGROUND_TASK = """
@app.get("/fail")
async def work_later(tasks: BackgroundTasks):
    tasks.add_task(lambda: 1 / 0)
"""
FAIL = {**GUIDE, "path": "/fail", "headers": {"x-correlation-id": "mine"}}


@pytest.mark.parametrize(
    ("routes", "status", "end"),
    [
        (FAILING_ROUTE, 500, "RuntimeError: failed with a password of 7 letters\n"),
        (FAILING_ROUTE + OWN_ANSWER, 503, "RuntimeError: failed with a password of 7 letters\n"),
        (FAILING_ROUTE.replace("failed with", "a" * 70_000), 500, "a" * 60_000),
        (BACKGROUND_TASK, 200, "ZeroDivisionError: division by zero\n"),
    ],
    ids=["no handler", "a handler", "a long message", "a background task"],
)
def test_lambda_log_of_an_exception_is_one_line_with_the_traceback(routes: str, status: int, end: str) -> None:
    (line,) = invoke(FAIL, setup=routes)
    assert (line["level"], line["status"], line["correlation_id"]) == ("ERROR", status, "mine")
    assert line["exception"].startswith("Traceback (most recent call last):\n")
    assert line["exception"].endswith(end)
    assert len(line["exception"]) <= 64 * 1024


@pytest.mark.parametrize("environment", [{}, {"AWS_LAMBDA_FUNCTION_NAME": "hello-lambda"}], ids=["here", "on Lambda"])
def test_log_of_an_exception_has_the_code_and_no_values(environment: dict[str, str], tmp_path: Path) -> None:
    """In a file of its own: of code that has no source nothing could print the values."""
    (tmp_path / "failing.py").write_text(f"{APP}{FAILING_ROUTE}\nmake_handler(app)({FAIL}, None)")
    log = run_forked(f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import failing", **environment).stdout
    assert ("len(password)" in log, "hunter2" in log) == (True, False)


def test_lambda_log_holds_no_header_no_query_and_no_body_at_any_level() -> None:
    headers = {"authorization": "hunter2", "x-amz-security-token": "hunter2"}
    query = {"multiValueQueryStringParameters": {"key": ["hunter2"]}, "queryStringParameters": {"key": "hunter2"}}
    event = {**load_event("rest_api"), **query, "headers": headers, "body": "hunter2"}
    lines = invoke(event, {**event, "resource": None}, LOG_LEVEL="TRACE")
    assert [line["status"] for line in lines if "status" in line] == [200, 400]
    assert "hunter2" not in str(lines)


def test_lambda_log_keeps_a_long_path_short() -> None:
    (line,) = invoke({**GUIDE, "path": "/" + "a" * 50_000})
    assert (len(line["path"]), line["status"]) == (1024, 404)


def test_lambda_log_takes_the_standard_library_and_other_lines_of_the_request() -> None:
    setup = """
@app.get("/talk")
async def talk():
    logging.getLogger("a.library").warning("from %s", "logging")
    logging.getLogger("a.library").debug("not at this level")
    try:
        1 / 0
    except ZeroDivisionError:
        logging.getLogger("a.library").exception("from an exception")
    logger.info("from loguru {not a field}")
    logger.bind(size={1}, level="mine").info("no word of JSON, and no name of ours")
    logging.raiseExceptions = False
    logging.getLogger("a.library").warning("%d of them", "x")
"""
    event = {**GUIDE, "path": "/talk", "headers": {"x-correlation-id": "mine"}}
    lines = invoke(event, setup=setup)
    assert [(line["level"], line["message"], line["correlation_id"]) for line in lines] == [
        ("WARNING", "from logging", "mine"),
        ("ERROR", "from an exception", "mine"),
        ("INFO", "from loguru {not a field}", "mine"),
        ("INFO", "no word of JSON, and no name of ours", "mine"),
        ("INFO", "GET /talk 200", "mine"),
    ]
    assert ["exception" in line for line in lines] == [False, True, False, False, False]
    assert lines[3]["size"] == "{1}"


# As the runtime client and an automatic instrumentation add them, or as an application does.
LAMBDAS_HANDLER = """
from awslambdaric.bootstrap import LambdaLoggerHandler
logging.getLogger().addHandler(LambdaLoggerHandler(None))
"""
OWN_HANDLERS = """
logging.getLogger().addHandler(logging.FileHandler({file!r}))
logger.add({file!r}, format="loguru {{message}}")
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_log_handlers_of_the_application_stay_and_that_of_lambda_goes(when: str, tmp_path: Path) -> None:
    own = OWN_HANDLERS.format(file=str(tmp_path / "log"))
    code = LAMBDAS_HANDLER + own + APP if when == "before" else LAMBDAS_HANDLER + APP + own
    code = f"import logging\nfrom loguru import logger\n{code}\nmake_handler(app)\nlogging.warning('a line')"
    process = run_forked(code, AWS_LAMBDA_FUNCTION_NAME="hello-lambda")
    assert (json.loads(process.stdout)["message"], process.stderr) == ("a line", "")
    assert sorted((tmp_path / "log").read_text().splitlines()) == ["a line", "loguru a line"]


@pytest.mark.parametrize(("level", "lines"), [("debug", 1), ("", 1), ("WARNING", 0)])
def test_log_level_is_read_from_the_environment(level: str, lines: int) -> None:
    assert [line["message"] for line in invoke(GUIDE, LOG_LEVEL=level)].count("GET /hello/ 200") == lines


def test_log_level_that_is_wrong_fails_at_start_with_the_right_ones() -> None:
    process = run_forked("import app.app", LOG_LEVEL="chatty")
    right = "TRACE, DEBUG, INFO, SUCCESS, WARNING, ERROR, CRITICAL"
    message = f"ValueError: LOG_LEVEL=CHATTY is not a log level: set it to one of {right}\n"
    assert (process.returncode, process.stderr.endswith(message)) == (1, True)


def test_uvicorn_log_is_readable_with_one_line_per_request(tmp_path: Path) -> None:
    port = find_free_port()
    log = tmp_path / "log"
    with running([sys.executable, "-m", "uvicorn", "app.app:app", "--port", str(port)], log=log):
        wait_for(f"http://127.0.0.1:{port}/nothing")
        httpx.get(f"http://127.0.0.1:{port}/a%0aINFO%1b[31m", headers={"x-correlation-id": "mine"})
    lines = [line for line in log.read_text().splitlines() if "mine" in line]
    assert [line.split(" | ")[1:] for line in lines] == [["INFO    ", r"mine - GET /a\nINFO\x1b[31m 404"]]
    assert "| INFO     | - - Application startup complete." in log.read_text()


def test_client_of_uvicorn_that_leaves_a_stream_is_no_error() -> None:
    code = """
import asyncio
from app.aws_lambda import RequestLog, configure_logging

async def start_stream(scope, receive, send):
    await send({"type": "http.response.start", "status": 200})

configure_logging()
scope = {"type": "http", "method": "GET", "path": "/stream", "headers": []}
asyncio.run(RequestLog(start_stream)(scope, None, lambda message: asyncio.sleep(0)))
"""
    process = run_forked(code)
    assert process.stdout.endswith(" - GET /stream 200\n")
    assert process.stdout.split(" | ")[1:2] == ["INFO    "]


def test_application_that_is_mounted_in_another_logs_one_line() -> None:
    setup = """
inner = app
make_handler(inner)
app = FastAPI()
app.mount("/inner", inner)
"""
    (line,) = invoke({**GUIDE, "path": "/inner/hello/", "headers": {"x-correlation-id": "mine"}}, setup=setup)
    assert (line["message"], line["correlation_id"]) == ("GET /inner/hello/ 200", "mine")


@pytest.mark.parametrize(("no_color", "shown"), [("", "\x1b[1mERROR"), ("1", "ERROR    | - - 1\n")])
def test_log_has_colour_on_a_terminal_unless_no_color_is_set(no_color: str, shown: str) -> None:
    code = """
import os, pty
child, terminal = pty.fork()
if child:
    print(os.read(terminal, 1000).decode())
else:
    from loguru import logger
    import app.app
    logger.error(1)
"""
    process = run_forked(code, TERM="xterm", NO_COLOR=no_color)
    assert shown in process.stdout
    assert ("\x1b" in process.stdout) == (not no_color)
