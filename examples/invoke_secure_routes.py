"""Calls each route of the deployed API twice, signed (200) and unsigned (403), and checks the answers."""

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import requests
from dotenv import dotenv_values
from loguru import logger
from requests_aws4auth import AWS4Auth
from urllib3.exceptions import HTTPError

ENV_FILE = Path(os.environ.get("ENV_FILE") or Path(__file__).parent.parent / ".env")

# Seconds to connect and to wait. API Gateway itself gives up after 29.
TIMEOUT = (5, 35)

# What API Gateway says, and what it most likely means. The first that matches is taken.
CAUSES = (
    ("Missing Authentication Token", "no such path, stage or method: check API_SECURE_ENDPOINT, and deploy the API"),
    ("security token included in the request is invalid", "AWS_ACCESS_KEY is unknown: it was deleted or mistyped"),
    ("security token included in the request is expired", "AWS_SESSION_TOKEN has expired: get new credentials"),
    ("does not match the signature you provided", "AWS_SECRET_ACCESS_KEY does not belong to AWS_ACCESS_KEY"),
    ("Signature expired", "this machine's clock is more than 5 minutes slow: set it"),
    ("Signature not yet current", "this machine's clock is more than 5 minutes fast: set it"),
    ("valid region", "AWS_REGION is not the region in API_SECURE_ENDPOINT"),
    ("correct service", "the request was not signed for execute-api: check API_SECURE_ENDPOINT"),
    ("not authorized to perform", "no policy lets this user invoke the API: see the invoker in README.md"),
    ("key=value", "something on the way changed the Authorization header: look for a proxy"),
    ("Invalid request body", "the API's request validator refused the event"),
    ("errorMessage", "the function failed: read its log in CloudWatch"),
    (
        "Internal server error",
        "the function failed, or the method has a proxy integration: read the log, see README.md",
    ),
    ("Too Many Requests", "more requests than the stage lets through: wait a little, and try again"),
    ("timed out", "the function took longer than API Gateway waits: read its log in CloudWatch"),
    ("Not an event of", "the function refused the event: compare it with the guide's five fields"),
    ("Not Found", "the method has a proxy integration, or the app has no such route: see README.md"),
    ("Internal Server Error", "the app failed: read its log in CloudWatch"),
    ("Forbidden", "a resource policy or a firewall in front of the API refused the request"),
    ("Hello, World", "the method is open to everybody: set its authorization to AWS_IAM and deploy the API again"),
    ("Goodbye, World", "the method is open to everybody: set its authorization to AWS_IAM and deploy the API again"),
)


class Settings(NamedTuple):
    endpoint: str
    region: str
    access_key: str
    secret_access_key: str
    session_token: str


def read_settings(environment: Mapping[str, str], env_file: Mapping[str, str | None]) -> Settings:
    """Takes each setting from the environment, else from the `.env` file.

    The credentials all come from one place: a key id from the file with a secret or a session token
    that happens to be in the shell would sign as nobody.

    Raises:
        SystemExit: one is missing; the message names every one that is.
    """
    settings = {**env_file, **{name: value for name, value in environment.items() if value}}
    for credentials, key_name in (
        (environment, "AWS_ACCESS_KEY"),
        (env_file, "AWS_ACCESS_KEY"),
        (env_file, "AWS_ACCESS_KEY_ID"),
        (environment, "AWS_ACCESS_KEY_ID"),
    ):
        if credentials.get(key_name):
            break
    else:
        credentials, key_name = env_file, "AWS_ACCESS_KEY"

    found = {
        "API_SECURE_ENDPOINT": settings.get("API_SECURE_ENDPOINT"),
        "AWS_REGION": settings.get("AWS_REGION"),
        "AWS_ACCESS_KEY": credentials.get(key_name),
        "AWS_SECRET_ACCESS_KEY": credentials.get("AWS_SECRET_ACCESS_KEY"),
    }
    missing = [name for name, value in found.items() if not value]
    if missing:
        where = f"the environment, where {key_name} is" if credentials is environment else str(ENV_FILE)
        sys.exit(f"Missing: {', '.join(missing)}. Set them in {where}; .env.example says where each comes from.")
    found["AWS_SESSION_TOKEN"] = credentials.get("AWS_SESSION_TOKEN")
    stripped = {name: (value or "").strip() for name, value in found.items()}
    unusable = [name for name, value in stripped.items() if not re.fullmatch("[!-~]*", value)]
    if unusable:
        sys.exit(f"Unusable: {', '.join(unusable)}. Each is one word of plain ASCII characters; copy it again.")
    return Settings(*stripped.values())


def invoke_route(route: str, settings: Settings, *, signed: bool) -> requests.Response:
    """POSTs the event for a route: five fields, all of them required.

    Raises:
        requests.RequestException: no answer.
    """
    event = {
        "resource": f"/{route}",
        "path": f"/{route}/",
        "httpMethod": "GET",
        "multiValueQueryStringParameters": {},
        "requestContext": {},
    }
    auth = AWS4Auth(
        settings.access_key,
        settings.secret_access_key,
        settings.region,
        "execute-api",
        session_token=settings.session_token or None,
    )
    return requests.post(
        settings.endpoint, json=event, auth=auth if signed else None, timeout=TIMEOUT, allow_redirects=False
    )


def check_response(response: requests.Response, expected_status: int, settings: Settings) -> Any:
    """The answer, parsed where it is JSON.

    Raises:
        AssertionError: another status than the expected one, or a failure inside an answer of 200.
    """
    try:
        answer = response.json()
    except ValueError:
        answer = response.text
    status: Any = response.status_code
    # The non-proxy integration answers 200 with whatever the function returned, its failure too.
    if status == 200:
        status = answer.get("statusCode") if isinstance(answer, dict) else None
    if status != expected_status:
        text = redact(response.text, settings)
        cause = next((cause for sign, cause in CAUSES if sign in text), "see Troubleshooting in README.md")
        raise AssertionError(
            f"expected {expected_status}, got {status or '200 with something else'}: {text}\nMost likely: {cause}."
        )
    return answer


def redact(text: str, settings: Settings) -> str:
    """Takes out the signature and the secrets that API Gateway repeats when a signature is wrong."""
    for secret in (settings.secret_access_key, settings.session_token):
        text = text.replace(secret, "…") if secret else text
    return re.sub(r"[0-9a-f]{64}", "…", text)


def main() -> None:
    settings = read_settings(os.environ, dotenv_values(ENV_FILE))
    for route in ("hello", "goodbye"):
        logger.info(f"\nInvoking route: {route}\n")
        for name, signed, expected_status in (("Authorized", True, 200), ("Unauthorized", False, 403)):
            logger.info(f"{name} request: {route}")
            response = invoke_route(route, settings, signed=signed)
            logger.info(redact(str(check_response(response, expected_status, settings)), settings))


if __name__ == "__main__":
    try:
        main()
    except AssertionError as failure:
        logger.error(failure)
        sys.exit(1)
    except (requests.RequestException, HTTPError) as failure:  # requests lets some of urllib3's through
        logger.error(f"No answer from API_SECURE_ENDPOINT: check it, and whether the API is still there. {failure}")
        sys.exit(1)
