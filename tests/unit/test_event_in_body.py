"""The guide's call through the proxy integration: a POST whose body is the event of another request."""

import base64
import json
from typing import Any

import pytest
from behind_lambda import make_handler
from fastapi import FastAPI, Request, Response
from helpers import load_event
from loguru import logger

from app.aws_lambda import event_in_body

GUIDE, REST = load_event("guide"), load_event("rest_api")
INVOKER = "arn:aws:iam::123456789012:user/hello-lambda-invoker"
JSON = "application/json"


@pytest.fixture(autouse=True)
def own_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_in_body, "OWN_PATH", "/hello-lambda")


def make_app() -> FastAPI:
    app = FastAPI()

    @app.get("/hello/")
    async def say_hello(request: Request) -> Response:
        identity = request.scope["aws.event"]["requestContext"].get("identity", {})
        response = Response(json.dumps({"caller": identity.get("userArn"), "url": str(request.url)}), media_type=JSON)
        for value in ("1", "2"):
            response.headers.append("x-a", value)
        return response

    @app.get("/items/{number}")
    async def read_item(request: Request, number: int) -> list[str | None]:
        variables = request.scope["aws.event"]["stageVariables"]
        return [str(request.url_for("read_item", number=2)), variables and variables["db"]]

    @app.post("/echo")
    async def echo(request: Request) -> Response:
        return Response(await request.body(), media_type="image/png")

    @app.get("/quotes")
    async def quote() -> Response:
        return Response('"' * 2_000_000, media_type=JSON)

    return app


HANDLER = make_handler(make_app())


def post(body: Any, content_type: str | None = JSON, base_path: str = "", **headers: str) -> dict[str, Any]:
    """The handler's answer to a POST, as API Gateway sends it with the binary type */*: the body is base64."""
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    lists = {name: [value] for name, value in headers.items()} | (
        {"Content-Type": [content_type]} if content_type else {}
    )
    public_path = (base_path or "/default") + "/hello-lambda"
    event = REST | {
        "httpMethod": "POST",
        "path": base_path + "/hello-lambda",
        "pathParameters": {"proxy": "hello-lambda"},
        "multiValueHeaders": lists,
        "headers": {name: values[-1] for name, values in lists.items()},
        "requestContext": REST["requestContext"] | {"path": public_path},
        "body": base64.b64encode(text).decode() or None,
        "isBase64Encoded": bool(text),
    }
    return HANDLER(event, None)


@pytest.mark.parametrize("content_type", [JSON, f"{JSON}; charset=utf-8", "text/plain", None])
def test_post_answers_with_the_envelope_whatever_the_content_type(content_type: str | None) -> None:
    answer = post(GUIDE, content_type, **{"x-correlation-id": "mine"})
    assert (answer["statusCode"], answer["isBase64Encoded"]) == (200, False)
    assert answer["headers"] == {"content-type": JSON, "x-correlation-id": "mine"}
    body = json.dumps({"caller": INVOKER, "url": f"https://{REST['requestContext']['domainName']}/default/hello/"})
    assert json.loads(answer["body"]) == {
        "statusCode": 200,
        "headers": {"content-length": str(len(body)), "content-type": JSON, "x-correlation-id": "mine"},
        "multiValueHeaders": {"x-a": ["1", "2"]},
        "body": body,
        "isBase64Encoded": False,
    }


def test_post_may_have_text_a_slash_and_another_resource() -> None:
    """The console's test sends text, and the trigger's own resource is the function's name."""
    resource = {"resource": "/hello-lambda", "pathParameters": None}
    for path in ("/hello-lambda", "/hello-lambda/"):
        context = REST["requestContext"] | {"path": f"/default{path}"}
        event = (
            REST | resource | {"httpMethod": "POST", "path": path, "body": json.dumps(GUIDE), "requestContext": context}
        )
        assert json.loads(HANDLER(event, None)["body"])["statusCode"] == 200


def test_post_keeps_the_base_path_of_a_custom_domain() -> None:
    answer = post(GUIDE, base_path="/shop")
    assert json.loads(json.loads(answer["body"])["body"])["url"].endswith("/shop/hello/")


def test_caller_cannot_forge_identity_or_request_id() -> None:
    """The application and the log have those of API Gateway."""
    forged = {"identity": {"userArn": "arn:forged", "sourceIp": "10.9.9.9"}, "requestId": "forged", "authorizer": {}}
    lines: list[Any] = []
    number = logger.add(lambda line: lines.append(line.record["extra"]))
    answer = post({**GUIDE, "requestContext": forged})
    logger.remove(number)
    assert json.loads(json.loads(answer["body"])["body"])["caller"] == INVOKER
    (line,) = lines
    assert (line["method"], line["path"], line["status"]) == ("GET", "/hello/", 200)
    assert (line["caller"], line["api_gateway_request_id"]) == (INVOKER, REST["requestContext"]["requestId"])


@pytest.mark.parametrize("resource", ["/items/3", "/items/{id}", "/items", "/"])
def test_link_has_the_stage_whatever_resource_the_caller_writes(resource: str) -> None:
    answer = post(GUIDE | {"resource": resource, "path": "/items/3", "stageVariables": {"db": "forged"}})
    link, variable = json.loads(json.loads(answer["body"])["body"])
    assert (link, variable) == (f"https://{REST['requestContext']['domainName']}/default/items/2", None)


def test_correlation_id_of_the_inner_event_counts_before_that_of_the_post() -> None:
    answer = post({**GUIDE, "headers": {"X-Correlation-Id": "inner"}}, **{"x-correlation-id": "outer"})
    assert json.loads(answer["body"])["headers"]["x-correlation-id"] == "inner"


def test_post_carries_bytes_both_ways() -> None:
    body = base64.b64encode(bytes(range(256))).decode()
    event = GUIDE | {"resource": "/echo", "path": "/echo", "httpMethod": "POST", "body": body, "isBase64Encoded": True}
    assert json.loads(post(event)["body"])["body"] == body


def test_status_of_the_route_stands_in_the_envelope() -> None:
    answer = post({**GUIDE, "path": "/nothing"})
    assert (answer["statusCode"], json.loads(answer["body"])["statusCode"]) == (200, 404)


@pytest.mark.parametrize(
    ("body", "named"),
    [
        *((text, ["body"]) for text in (b"", b"hello", b"\xff", b"{", b"[" * 100_000, b'{"a":')),
        *((json.loads(text), list(GUIDE)) for text in ("{}", "[]", "1", "null", '"text"')),
        *((GUIDE | {name: 3}, [name]) for name in GUIDE),
        ({**GUIDE, "path": "/hello-lambda"}, ["path"]),
        ({**GUIDE, "path": "/hello-lambda/", "httpMethod": "POST"}, ["path"]),
        ({"Records": [{"eventSource": "aws:sqs"}]}, list(GUIDE)),
        (load_event("function_url"), ["resource", "path", "httpMethod", "multiValueQueryStringParameters"]),
    ],
)
def test_body_that_is_no_event_gets_400_with_the_names_of_its_fields(body: Any, named: list[str]) -> None:
    answer = post(body, **{"x-correlation-id": "mine"})
    assert (answer["statusCode"], answer["headers"]["x-correlation-id"]) == (400, "mine")
    detail = json.loads(answer["body"])["detail"]
    assert [name for name in (*GUIDE, "body") if f"{name}: " in detail] == named


@pytest.mark.parametrize("change", [{"path": "/" + "a" * 10_240}, {"headers": {f"x-{i}": "a" for i in range(1_000)}}])
def test_event_that_is_longer_than_a_request_of_api_gateway_gets_400(change: dict[str, Any]) -> None:
    answer = post(GUIDE | change)
    assert answer["statusCode"] == 400
    assert "should have at most 10240 bytes without its body" in answer["body"]
    assert post(GUIDE | {"body": "a" * 100_000})["statusCode"] == 200


def test_refused_body_leaves_one_line_with_all_ids() -> None:
    lines: list[Any] = []
    number = logger.add(lambda line: lines.append(line.record))
    post({}, **{"x-correlation-id": "mine"})
    logger.remove(number)
    (line,) = lines
    assert (line["level"].name, line["extra"]["status"], line["extra"]["correlation_id"]) == ("WARNING", 400, "mine")
    assert line["extra"]["caller"] == INVOKER


def test_other_methods_and_other_paths_are_ordinary_requests() -> None:
    for change in ({"httpMethod": "GET"}, {"path": "/other"}, {"path": "/a/hello-lambda"}):
        path = change.get("path", "/hello-lambda")
        event = REST | {"httpMethod": "POST", "path": path, "body": json.dumps(GUIDE)} | change
        assert HANDLER(event, None)["statusCode"] == 404


def test_envelope_that_is_larger_than_lambda_returns_holds_a_500() -> None:
    """A quote of the body takes two bytes in the envelope, and four in the JSON around it."""
    answer = post({**GUIDE, "path": "/quotes"})
    assert json.loads(answer["body"])["statusCode"] == 500
    assert "Lambda returns at most 6291456." in answer["body"]
