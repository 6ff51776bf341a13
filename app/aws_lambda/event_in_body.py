"""The guide's call: a POST to the function's own name, whose body is the event of another request."""

import json
import os
from functools import cached_property
from typing import Any
from urllib.parse import quote

from mangum.types import LambdaConfig, LambdaContext, LambdaEvent, Response, Scope

from app.aws_lambda.events import EventError, check_rest_event
from app.aws_lambda.paths import SAFE, split_rest_path
from app.aws_lambda.request_log import HEADER
from app.aws_lambda.sources import RestApi

FUNCTION_NAME = os.environ.get("AWS_LAMBDA_FUNCTION_NAME")
OWN_PATH = FUNCTION_NAME and f"/{FUNCTION_NAME}"
# API Gateway's own limit for a request line with its headers:
# https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-execution-service-limits-table.html
MOST_BYTES = 10_240


class EventInBody(RestApi):
    """Serves the inner event, and puts its whole answer into the body of the outer answer."""

    @classmethod
    def infer(cls, event: LambdaEvent, context: LambdaContext, config: LambdaConfig) -> bool:
        is_post = super().infer(event, context, config) and event["httpMethod"] == "POST"
        return is_post and split_rest_path(event)[1].rstrip("/") == OWN_PATH

    def __init__(self, event: LambdaEvent, context: LambdaContext, config: LambdaConfig) -> None:
        self.outer = RestApi(event, context, config)
        super().__init__(read_inner_event(self.outer), context, config)

    @cached_property
    def scope(self) -> Scope:
        scope, outer = super().scope, self.outer.scope
        # The first id counts: the outer one only where the inner event has none.
        scope["headers"] += [pair for pair in outer["headers"] if pair[0] == HEADER.encode()]
        root_path, path = outer["root_path"], outer["root_path"] + scope["path"]
        raw_path = quote(root_path, SAFE).encode() + scope["raw_path"]
        return {**scope, "root_path": root_path, "path": path, "raw_path": raw_path, "aws.event_in_body": True}

    def __call__(self, response: Response) -> dict[str, Any]:
        answer = super().__call__(response)
        headers = {"content-type": "application/json", HEADER: answer["headers"].get(HEADER, "")}
        return {"statusCode": 200, "headers": headers, "body": json.dumps(answer), "isBase64Encoded": False}


def read_inner_event(outer: RestApi) -> LambdaEvent:
    try:
        event = json.loads(outer.body)
    except (ValueError, RecursionError):
        raise EventError("body: should be an event in JSON") from None
    check_rest_event(event)
    if (size := len(json.dumps({**event, "body": None, "requestContext": None}))) > MOST_BYTES:
        raise EventError(f"event: should have at most {MOST_BYTES} bytes without its body, and has {size}")
    if event["path"].rstrip("/") == OWN_PATH:
        raise EventError(f"path: should be a route of the application, and not {OWN_PATH}")
    # API Gateway says who the caller is, and not the caller.
    context = {**outer.event["requestContext"], "path": None}
    return {**event, "requestContext": context, "stageVariables": outer.event.get("stageVariables")}
