"""Checks an event. The caller may have written it, and Mangum trusts it."""

from typing import Any

# All that the guide's event has. A REST API's own event has more:
# https://docs.aws.amazon.com/lambda/latest/dg/services-apigateway.html
FIELDS = {"resource": str, "path": str, "httpMethod": str, "requestContext": dict}
# An event of another service has one of these fields, or its first record has one.
MARKS = {
    *("eventSource", "EventSource", "detail-type", "awslogs", "deliveryStreamArn", "triggerSource", "ResponseURL"),
    *("CodePipeline.job", "SecretId", "configRuleName", "invocationSchemaVersion"),
}


class EventError(ValueError):
    """The event is no request."""


class OtherServiceError(TypeError):
    """The event is from a service that sends no requests. The failure lets AWS count it, and repeat the event."""


def check_event(event: Any) -> None:
    """Raises EventError or OtherServiceError. Events of format 2.0 and of load balancers are not checked further."""
    fields = event if isinstance(event, dict) else {}
    context, records = fields.get("requestContext"), fields.get("Records", event)
    if isinstance(context, dict) and "resource" not in fields and ("elb" in context or fields.get("version") == "2.0"):
        return
    first = records[0] if isinstance(records, list) and records else fields
    if context is None and isinstance(first, dict) and MARKS & first.keys():
        raise OtherServiceError("This function answers HTTP requests. Remove the trigger of the other service")
    check_rest_event(event)


def check_rest_event(event: Any) -> None:
    """Raises EventError, which names each missing or wrong field."""
    event = event if isinstance(event, dict) else {}
    names = {str: "a string", dict: "an object"}
    wrong = [
        f"{name}: should be {names[kind]}" for name, kind in FIELDS.items() if not isinstance(event.get(name), kind)
    ]
    if not isinstance(event.get("multiValueQueryStringParameters", ""), dict | None):  # null: there is no query
        wrong.append("multiValueQueryStringParameters: should be an object or null")
    if wrong:
        raise EventError(f"Not an event of API Gateway, a function URL or a load balancer: {'; '.join(wrong)}")
