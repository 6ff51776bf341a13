"""The least there could be: no framework, and an answer that is a constant."""

from typing import Any

ANSWER = {
    "isBase64Encoded": False,
    "statusCode": 200,
    "headers": {"content-length": "26", "content-type": "application/json"},
    "body": '{"message":"Hello, World"}',
}


def handler(event: Any, context: Any) -> dict[str, Any]:
    return ANSWER
