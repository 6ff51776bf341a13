"""Serves the guide's call: a POST to the function's own name, whose body is the event of another request."""

import base64
import json
import os
from collections.abc import Callable
from typing import Any

Handler = Callable[[Any, Any], dict[str, Any]]


def serve_events_in_bodies(serve: Handler) -> Handler:
    own_path = "/" + os.environ.get("AWS_LAMBDA_FUNCTION_NAME", "")

    def unwrap(event: Any) -> Any:
        body = event["body"] or ""
        inner = json.loads(base64.b64decode(body) if event.get("isBase64Encoded") else body)
        # API Gateway says who the caller is, and not the caller.
        context = {**inner["requestContext"], "identity": event["requestContext"]["identity"]}
        return {**inner, "pathParameters": None, "requestContext": context}

    def handler(event: Any, context: Any) -> dict[str, Any]:
        if not (isinstance(event, dict) and event.get("httpMethod") == "POST" and event.get("path") == own_path):
            return serve(event, context)
        try:
            inner = unwrap(event)
        except Exception:
            inner = None
        answer = serve(inner, context)
        if inner is None or answer["statusCode"] == 400:
            return answer
        headers = {"content-type": "application/json"}
        return {"statusCode": 200, "headers": headers, "body": json.dumps(answer), "isBase64Encoded": False}

    return handler
