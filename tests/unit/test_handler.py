"""The handler as Lambda calls it, on the events that AWS sends and on others."""

import asyncio
import gc
import json
import sys
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from behind_lambda import make_handler
from fastapi import FastAPI
from helpers import EVENTS, load_event
from loguru import logger
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from app.aws_lambda.events import OtherServiceError

GUIDE = load_event("guide")


def make_app() -> FastAPI:
    app = FastAPI()

    @app.get("/hello/")
    async def say_hello() -> str:
        return "hello"

    @app.get("/fail")
    async def fail() -> None:
        raise RuntimeError("hunter2")

    return app


handler = make_handler(make_app())


@pytest.mark.parametrize("name", EVENTS)
def test_handler_answers_every_kind_of_event(name: str) -> None:
    answer = handler(load_event(name), None)
    assert (answer["statusCode"], answer["body"], answer["isBase64Encoded"]) == (200, '"hello"', False)


def test_handler_answers_the_guides_envelope() -> None:
    assert handler({**GUIDE, "headers": {"x-correlation-id": "mine"}}, None) == {
        "isBase64Encoded": False,
        "statusCode": 200,
        "headers": {"content-length": "7", "content-type": "application/json", "x-correlation-id": "mine"},
        "multiValueHeaders": {},
        "body": '"hello"',
    }


async def bare(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"hello"})


@pytest.mark.parametrize("app", [Starlette(routes=[Route("/hello/", lambda _: PlainTextResponse("hello"))]), bare])
def test_handler_serves_any_asgi_application(app: Any) -> None:
    answer = make_handler(app)({**GUIDE, "headers": {"x-correlation-id": "mine"}}, None)
    assert (answer["statusCode"], answer["body"], answer["headers"]["x-correlation-id"]) == (200, "hello", "mine")


def refuse(event: Any) -> str:
    """The detail of the 400 that an event gets, once everything else about the answer is right."""
    answer = handler(event, None)
    correlation_id = answer["headers"].pop("x-correlation-id")
    assert answer == {
        "isBase64Encoded": False,
        "statusCode": 400,
        "headers": {"content-length": str(len(answer["body"])), "content-type": "application/json"},
        "body": answer["body"],
    }
    assert len(correlation_id) == 36
    body = json.loads(answer["body"])
    assert list(body) == ["detail"]
    return str(body["detail"])


@pytest.mark.parametrize(
    "event",
    [
        *([], None, "text", "", 3, 1.5, True, {}, {"source": "warm-up"}, {"Records": []}, {"version": "1.0"}),
        {"Records": ["text"]},
        {"requestContext": {"connectionId": "a websocket's", "routeKey": "$connect"}},
    ],
)
def test_event_that_is_no_request_gets_400_with_the_missing_fields(event: Any) -> None:
    detail = refuse(event)
    assert [name for name in GUIDE if f"{name}: " not in detail] == (
        ["requestContext"] if "connection" in str(event) else []
    )


@pytest.mark.parametrize("name", list(GUIDE))
def test_400_names_the_missing_field(name: str) -> None:
    detail = refuse({key: value for key, value in GUIDE.items() if key != name})
    assert [field for field in GUIDE if f"{field}: " in detail] == [name]


@pytest.mark.parametrize("value", [3, [], ["a"], True])
@pytest.mark.parametrize("name", list(GUIDE))
def test_400_names_the_field_of_the_wrong_type(name: str, value: Any) -> None:
    detail = refuse({**GUIDE, name: value})
    assert [field for field in GUIDE if f"{field}: " in detail] == [name]


@pytest.mark.parametrize(
    ("name", "change"),
    [
        *(("guide", {"headers": headers}) for headers in (["a"], {"a": None}, {"a": "\ud800"})),
        *(("guide", {"multiValueHeaders": headers}) for headers in ({"a": 1}, {"a": [1]})),
        *(("guide", {"multiValueQueryStringParameters": query}) for query in ({"a": 1}, {"a": ["\ud800"]})),
        *(("guide", {"requestContext": context}) for context in ({"identity": None}, {"path": 1})),
        *(("guide", {"body": body, "isBase64Encoded": True}) for body in ("a", {"a": 1}, "ä")),
        ("guide", {"body": "\ud800"}),
        ("guide", {"path": "\ud800"}),
        *(("http_api", {"requestContext": {"http": http}}) for http in ({}, {"method": "GET", "path": "/"})),
        *(("http_api", {"headers": None}), ("http_api", {"cookies": [1]}), ("alb", {"path": None})),
    ],
)
def test_event_that_cannot_be_read_gets_400(name: str, change: dict[str, Any]) -> None:
    assert refuse({**load_event(name), **change}) == "A field of the event is missing, or has a value of a wrong type"


@pytest.mark.parametrize(
    "event",
    [
        *({"Records": [{"eventSource": f"aws:{name}"}]} for name in ("sqs", "s3", "kinesis", "dynamodb", "ses")),
        {"Records": [{"EventSource": "aws:sns", "Sns": {}}]},
        {"version": "0", "detail-type": "Scheduled Event", "source": "aws.events", "detail": {}},
        {"eventSource": "aws:kafka", "records": {}},
        {"awslogs": {"data": "H4sI"}},
        {"deliveryStreamArn": "arn:aws:firehose:…", "records": []},
        {"triggerSource": "PreSignUp_SignUp", "userPoolId": "eu-central-1_a"},
        {"RequestType": "Create", "ResponseURL": "https://…"},
        {"CodePipeline.job": {"id": "…"}},
        [{"eventSource": "aws:sqs", "body": "x"}],  # EventBridge Pipes
    ],
)
def test_event_of_another_service_fails_so_that_aws_repeats_it(event: Any) -> None:
    with pytest.raises(OtherServiceError, match=r"^This function answers HTTP requests\. Remove"):
        handler(event, None)


def test_caller_cannot_make_the_function_fail_with_the_mark_of_another_service() -> None:
    assert "path: " in refuse({**GUIDE, "path": None, "eventSource": "aws:sqs", "Records": [{"eventSource": "a"}]})


def fail(how: str) -> Any:
    async def endpoint() -> Response:
        if how == "an exception":
            raise RuntimeError("hunter2")
        if how == "the end of the program":
            raise SystemExit("hunter2")
        if how == "a cancellation":
            raise asyncio.CancelledError
        task = asyncio.current_task()
        assert task
        task.cancel()
        return Response()

    return endpoint


@pytest.mark.parametrize("how", ["an exception", "the end of the program", "a cancellation", "its own cancellation"])
@pytest.mark.parametrize("behind_middleware", [False, True])
def test_failure_of_a_route_gets_500(how: str, behind_middleware: bool) -> None:
    app = FastAPI()
    app.get("/fail")(fail(how))
    if behind_middleware:
        app.middleware("http")(lambda request, call_next: call_next(request))
    answer = make_handler(app)({**GUIDE, "path": "/fail", "headers": {"x-correlation-id": "mine"}}, None)
    assert (answer["statusCode"], answer["headers"]["x-correlation-id"]) == (500, "mine")
    assert "hunter2" not in str(answer)


def test_task_of_one_request_cannot_end_the_next_one() -> None:
    app, tasks = FastAPI(), []

    async def end_the_program() -> None:
        await asyncio.sleep(0)
        raise SystemExit

    @app.get("/leave")
    async def leave() -> None:
        tasks.append(asyncio.create_task(end_the_program()))

    @app.get("/wait")
    async def wait() -> None:
        await asyncio.sleep(0.01)

    handler = make_handler(app)
    statuses = [handler({**GUIDE, "path": path}, None)["statusCode"] for path in ("/leave", "/wait", "/wait")]
    assert statuses == [200, 200, 200]
    assert isinstance(tasks[0].exception(), SystemExit)


def test_asyncio_run_in_the_application_harms_no_later_request() -> None:
    asyncio.run(asyncio.sleep(0))
    assert handler(GUIDE, None)["statusCode"] == 200


@pytest.fixture
def log_without_values() -> Iterator[None]:
    """A log handler as in app/aws_lambda/logs.py. loguru's own one keeps the values of variables for a while."""
    logger.remove()
    number = logger.add(lambda _: None, backtrace=False, diagnose=False)
    yield
    logger.remove(number)
    logger.add(sys.stderr)


def test_failed_request_leaves_no_body_in_memory(log_without_values: None) -> None:
    class Body(str):
        """A text whose end can be seen."""

    def fail() -> weakref.ref[Body]:
        body = Body("a" * 1000)
        assert handler({**GUIDE, "path": "/fail", "body": body}, None)["statusCode"] == 500
        return weakref.ref(body)

    gc.disable()
    try:
        assert fail()() is None
    finally:
        gc.enable()
