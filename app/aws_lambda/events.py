"""Checks an event. The caller may have written it, and Mangum trusts it."""

from typing import Any

# All that the guide's event has. A REST API's own event has more:
# https://docs.aws.amazon.com/lambda/latest/dg/services-apigateway.html
TEXTS, OBJECTS = ("resource", "path", "httpMethod"), ("multiValueQueryStringParameters", "requestContext")
# AWS marks the events of its other services so, in the event or in its first record.
MARKS = {"eventSource", "EventSource", "detail-type", "awslogs", "deliveryStreamArn", "triggerSource", "ResponseURL"}


class EventError(ValueError):
    """The event is no request."""


class OtherServiceError(TypeError):
    """The event is from a service that sends no requests. AWS has to see the failure, and repeats the event."""


def check_event(event: Any) -> None:
    """Raises EventError or OtherServiceError. No caller writes an event of format 2.0 or of a load balancer."""
    fields = event if isinstance(event, dict) else {}
    context, records = fields.get("requestContext"), fields.get("Records")
    if isinstance(context, dict) and "resource" not in fields and ("elb" in context or fields.get("version") == "2.0"):
        return
    first = records[0] if isinstance(records, list) and records else fields
    if context is None and isinstance(first, dict) and MARKS & first.keys():
        raise OtherServiceError("This function answers HTTP requests. The event is from another service of AWS")
    check_rest_event(event)


def check_rest_event(event: Any) -> None:
    """Raises EventError, which names each missing or wrong field."""
    event = event if isinstance(event, dict) else {}
    wrong = [f"{name}: should be a string" for name in TEXTS if not isinstance(event.get(name), str)]
    # A request without a query has null there.
    wrong += [f"{name}: should be an object" for name in OBJECTS if not isinstance(event.get(name, ""), dict | None)]
    if wrong:
        raise EventError(f"Not an event of API Gateway, a function URL or a load balancer: {'; '.join(wrong)}")
