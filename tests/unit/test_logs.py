"""The lines on stdout, of processes of their own: on Lambda, under uvicorn, and at start."""

import json
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from helpers import load_event, run_python, running, wait_for
from rehearse import find_free_port

GUIDE = load_event("guide")
# In a file of its own: of code that has no source nothing could print the values.
FAILING_ROUTE = """
from app.app import app

@app.get("/fail")
async def fail():
    password = "hunter" + str(2)
    raise RuntimeError("failed with a password of %d letters" % len(password))
"""


def invoke(*events: Any, setup: str = "", **environment: str) -> str:
    """Returns the lines that an execution environment of Lambda writes while it handles the events."""
    code = f"""
import json, logging
from types import SimpleNamespace
from loguru import logger
from app.app import app, handler
{setup}
context = SimpleNamespace(aws_request_id="8f5c0d9e-33c5-4a0c-9e5b-4d5c1c0a7f10")
for event in json.loads({json.dumps(events)!r}):
    handler(event, context)
"""
    process = run_python(code, AWS_LAMBDA_FUNCTION_NAME="hello-lambda", **environment)
    assert (process.returncode, process.stderr) == (0, "")
    return process.stdout


def invoke_and_parse(*events: Any, setup: str = "", **environment: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in invoke(*events, setup=setup, **environment).splitlines()]


def test_lambda_log_is_one_flat_json_line_per_request() -> None:
    rest_event = load_event("rest_api")
    first, second = invoke_and_parse(
        {**GUIDE, "headers": {"x-correlation-id": "mine"}},
        {**rest_event, "multiValueHeaders": {"x-correlation-id": ["yours"]}, "path": "/nothing"},
    )
    for line in (first, second):
        assert datetime.fromisoformat(line.pop("timestamp")).utcoffset() == timedelta(0)
        assert 0 <= line.pop("duration_ms") < 10_000
    assert first == {
        "level": "INFO",
        "message": "GET /hello/ 200",
        "correlation_id": "mine",
        "aws_request_id": "8f5c0d9e-33c5-4a0c-9e5b-4d5c1c0a7f10",
        "method": "GET",
        "path": "/hello/",
        "status": 200,
        "cold_start": True,
    }
    assert second == {
        "level": "INFO",
        "message": "GET /nothing 404",
        "correlation_id": "yours",
        "aws_request_id": "8f5c0d9e-33c5-4a0c-9e5b-4d5c1c0a7f10",
        "api_gateway_request_id": rest_event["requestContext"]["requestId"],
        "method": "GET",
        "path": "/nothing",
        "status": 404,
        "cold_start": False,
        "caller": "arn:aws:iam::123456789012:user/hello-lambda-invoker",
    }


def test_lambda_log_has_the_timestamp_in_utc_wherever_it_runs() -> None:
    (line,) = invoke_and_parse(GUIDE, TZ="Asia/Tokyo")
    assert abs(datetime.fromisoformat(line["timestamp"]).timestamp() - datetime.now().timestamp()) < 60


def test_lambda_log_of_a_refused_event_is_one_line() -> None:
    (line,) = invoke_and_parse({"headers": {"x-correlation-id": "mine"}, "requestContext": {"requestId": "theirs"}})
    assert (line["level"], line["status"], line["correlation_id"]) == ("WARNING", 400, "mine")
    assert (line["method"], line["path"], line["api_gateway_request_id"]) == (None, None, "theirs")


def test_log_of_an_exception_is_one_line_without_values(tmp_path: Path) -> None:
    (tmp_path / "failing.py").write_text(FAILING_ROUTE)
    setup = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import failing"
    event = {**GUIDE, "path": "/fail", "headers": {"x-correlation-id": "mine"}}
    output = invoke(event, setup=setup)
    (line,) = (json.loads(line) for line in output.splitlines())
    assert (line["level"], line["status"], line["correlation_id"]) == ("ERROR", 500, "mine")
    assert line["exception"].startswith("Traceback (most recent call last):\n")
    assert "len(password)" in line["exception"]
    assert line["exception"].endswith("RuntimeError: failed with a password of 7 letters\n")
    assert "hunter2" not in output

    code = f"{setup}\nfrom app.app import handler\nhandler({event!r}, None)"
    elsewhere = run_python(code).stdout
    assert "len(password)" in elsewhere
    assert "hunter2" not in elsewhere


def test_log_of_an_exception_that_the_application_answers_itself_has_the_traceback() -> None:
    setup = """
from fastapi import FastAPI
from fastapi.responses import JSONResponse
from app.aws_lambda import create_handler
app = FastAPI()

@app.get("/fail")
async def fail():
    raise RuntimeError("failed")

@app.exception_handler(Exception)
async def answer(request, error):
    return JSONResponse({"mine": True}, status_code=503)

handler = create_handler(app)
"""
    (line,) = invoke_and_parse({**GUIDE, "path": "/fail"}, setup=setup)
    assert (line["level"], line["status"]) == ("ERROR", 503)
    assert line["exception"].endswith("RuntimeError: failed\n")


def test_log_of_a_long_exception_is_cut() -> None:
    setup = """
@app.get("/fail")
async def fail():
    raise RuntimeError("a" * 5_000_000)
"""
    (line,) = invoke_and_parse({**GUIDE, "path": "/fail"}, setup=setup)
    assert len(line["exception"]) == 64 * 1024


def test_log_of_a_background_task_that_fails_has_the_status_that_the_client_got() -> None:
    setup = """
from fastapi import BackgroundTasks

@app.get("/later")
async def work_later(tasks: BackgroundTasks):
    tasks.add_task(lambda: 1 / 0)
"""
    (line,) = invoke_and_parse({**GUIDE, "path": "/later"}, setup=setup)
    assert (line["level"], line["status"]) == ("ERROR", 200)
    assert line["exception"].endswith("ZeroDivisionError: division by zero\n")


def test_log_of_an_answer_that_is_too_large_is_one_line() -> None:
    setup = """
@app.get("/large")
async def read():
    return "a" * 7_000_000
"""
    (line,) = invoke_and_parse({**GUIDE, "path": "/large"}, setup=setup)
    assert (line["level"], line["status"], line["message"]) == ("ERROR", 500, "GET /large 500")
    assert "Lambda returns at most 6291456." in line["exception"]


def test_lambda_log_names_the_caller_of_a_proxy_integration_only() -> None:
    """In the event of POST the caller would write it."""
    forged = {**GUIDE, "requestContext": {"identity": {"userArn": "arn:forged"}}}
    proxied, posted = invoke_and_parse(load_event("rest_api"), forged)
    assert proxied["caller"] == "arn:aws:iam::123456789012:user/hello-lambda-invoker"
    assert "caller" not in posted


def test_lambda_log_has_the_path_without_the_stage() -> None:
    (line,) = invoke_and_parse(load_event("rest_api"))
    assert (line["path"], line["message"]) == ("/hello/", "GET /hello/ 200")


def test_lambda_log_holds_no_header_no_query_and_no_body_at_any_level() -> None:
    headers = {"authorization": "hunter2", "x-amz-security-token": "hunter2"}
    query = {"multiValueQueryStringParameters": {"key": ["hunter2"]}, "queryStringParameters": {"key": "hunter2"}}
    output = invoke({**load_event("rest_api"), **query, "headers": headers, "body": "hunter2"}, LOG_LEVEL="TRACE")
    assert '"message": "GET /hello/ 200"' in output
    assert "hunter2" not in output


def test_lambda_log_keeps_a_long_path_short() -> None:
    (line,) = invoke_and_parse({**GUIDE, "path": "/" + "a" * 50_000})
    assert (len(line["path"]), line["status"]) == (1024, 404)


def test_lambda_log_cannot_be_forged_by_a_newline() -> None:
    forged = '/a\n{"level": "ERROR"}\r\u2028\x85b'
    event = {**GUIDE, "path": forged, "headers": {"user-agent": "a\nb", "x-correlation-id": "a\nb"}}
    (line,) = invoke_and_parse(event)
    assert line["path"] == forged
    assert "\n" not in line["correlation_id"]


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
"""
    event = {**GUIDE, "path": "/talk", "headers": {"x-correlation-id": "mine"}}
    lines = invoke_and_parse(event, setup=setup)
    assert [(line["level"], line["message"], line["correlation_id"]) for line in lines] == [
        ("WARNING", "from logging", "mine"),
        ("ERROR", "from an exception", "mine"),
        ("INFO", "from loguru {not a field}", "mine"),
        ("INFO", "GET /talk 200", "mine"),
    ]
    assert ["exception" in line for line in lines] == [False, True, False, False]


def test_lambda_log_takes_a_value_that_json_has_no_word_for() -> None:
    setup = """
@app.get("/bind")
async def bind():
    logger.bind(size={1}).info("bound")
"""
    line, _ = invoke_and_parse({**GUIDE, "path": "/bind"}, setup=setup)
    assert (line["message"], line["size"]) == ("bound", "{1}")


def test_log_call_that_is_wrong_fails_no_request() -> None:
    setup = """
@app.get("/mistake")
async def mistake():
    logging.raiseExceptions = False
    logging.getLogger("a.library").warning("%d of them", "x")
"""
    (line,) = invoke_and_parse({**GUIDE, "path": "/mistake"}, setup=setup)
    assert (line["message"], line["status"]) == ("GET /mistake 200", 200)


@pytest.mark.parametrize(("level", "lines"), [("debug", 1), ("INFO", 1), ("", 1), ("WARNING", 0)])
def test_log_level_is_read_from_the_environment(level: str, lines: int) -> None:
    messages = [line["message"] for line in invoke_and_parse(GUIDE, LOG_LEVEL=level)]
    assert messages.count("GET /hello/ 200") == lines


def test_log_level_that_is_wrong_fails_at_start_with_the_right_ones() -> None:
    process = run_python("import app.app", LOG_LEVEL="chatty")
    assert process.returncode == 1
    assert process.stderr.splitlines()[-1] == (
        "ValueError: LOG_LEVEL=CHATTY is not a log level: "
        "set it to one of TRACE, DEBUG, INFO, SUCCESS, WARNING, ERROR, CRITICAL"
    )


def test_uvicorn_log_is_readable_with_one_line_per_request(tmp_path: Path) -> None:
    port = find_free_port()
    log = tmp_path / "log"
    with running([sys.executable, "-m", "uvicorn", "app.app:app", "--port", str(port)], log=log):
        wait_for(f"http://127.0.0.1:{port}/hello/")
        httpx.get(f"http://127.0.0.1:{port}/a%0aINFO%1b[31m", headers={"x-correlation-id": "mine"})
    lines = [line for line in log.read_text().splitlines() if "mine" in line]
    assert [line.split(" | ")[1:] for line in lines] == [["INFO    ", r"mine - GET /a\nINFO\x1b[31m 404"]]
    assert "| INFO     | - - Application startup complete." in log.read_text()


def test_application_that_is_mounted_in_another_logs_one_line(tmp_path: Path) -> None:
    code = """
import httpx, asyncio
from fastapi import FastAPI
from app.app import app
from app.aws_lambda import log_requests
outer = FastAPI()
outer.mount("/inner", app)
log_requests(outer)

async def call():
    async with httpx.AsyncClient(transport=httpx.ASGITransport(outer), base_url="http://test") as client:
        return await client.get("/inner/hello/")

response = asyncio.run(call())
assert response.status_code == 200
assert len(response.headers.get_list("x-correlation-id")) == 1
"""
    process = run_python(code)
    assert process.returncode == 0, process.stderr
    assert process.stdout.count(" - GET /inner/hello/ 200\n") == 1


@pytest.mark.parametrize(("no_color", "shown"), [("", "\x1b[1mERROR"), ("1", "ERROR    | - - 1\n")])
def test_log_has_colour_on_a_terminal_unless_no_color_is_set(no_color: str, shown: str) -> None:
    command = [sys.executable, "-c", "import app.app; from loguru import logger; logger.error(1)"]
    process = run_python(f"import pty; pty.spawn({command})", TERM="xterm", NO_COLOR=no_color)
    assert shown in process.stdout
    assert ("\x1b" in process.stdout) == (not no_color)
