"""Calls both routes of the deployed API, signed and unsigned. Signed it expects 200, unsigned 403."""

import os
import re
import sys
from pathlib import Path

import requests
from dotenv import dotenv_values
from loguru import logger
from requests_aws4auth import AWS4Auth

logger.configure(handlers=[{"sink": sys.stderr, "format": "{time:YYYY-MM-DD HH:mm:ss.SSS} | {level: <8} | {message}"}])
ENV_FILE = os.environ.get("ENV_FILE") or Path(__file__).parent.parent / ".env"
# A key in the file wins, since the shell may have the deployer's. Without one, everything may come from the shell.
file = dotenv_values(ENV_FILE)
settings = file if file.get("AWS_ACCESS_KEY") else {**file, **os.environ}


def read(name: str, other_name: str = "") -> str:
    value = settings.get(name) or settings.get(other_name) or ""
    if not re.fullmatch("[!-~]+", value):  # no header can hold other characters
        sys.exit(f"{name} is not set, or has other than plain characters. Set it in {ENV_FILE}: see .env.example")
    return value


endpoint, region = read("API_SECURE_ENDPOINT"), read("AWS_REGION")
key, secret = read("AWS_ACCESS_KEY", "AWS_ACCESS_KEY_ID"), read("AWS_SECRET_ACCESS_KEY")
token = read("AWS_SESSION_TOKEN") if key.startswith("ASIA") else None  # a role's key is temporary, and has a token
auth = AWS4Auth(key, secret, region, "execute-api", session_token=token)


def show(response: requests.Response) -> str:
    """The answer. API Gateway repeats a wrong signature and its token there, so they are left out."""
    hidden = "|".join(re.escape(each) for each in (secret, token) if each)
    return re.sub(f"{hidden}|[0-9a-f]{{64}}", "…", response.text)


def main() -> None:
    for route in ("hello", "goodbye"):
        logger.info(f"\nInvoking route: {route}\n")
        event: dict[str, object] = {"resource": f"/{route}", "path": f"/{route}/", "httpMethod": "GET"}
        event |= {"multiValueQueryStringParameters": {}, "requestContext": {}}
        logger.info(f"Authorized request: {route}")
        response = requests.post(endpoint, json=event, auth=auth, timeout=35)
        logger.info(show(response))
        assert response.status_code == 200, f"got {response.status_code}: see aws/troubleshooting.md"
        assert response.json().get("statusCode") == 200, "the route failed: see the message above, and make logs"

        logger.info(f"Unauthorized request: {route}")
        response = requests.post(endpoint, json=event, timeout=35)
        logger.info(show(response))
        assert response.status_code == 403, "everybody can call the method: set its authorization to AWS_IAM"


if __name__ == "__main__":
    try:
        main()
    except (requests.RequestException, ValueError) as error:
        sys.exit(f"No usable answer from API_SECURE_ENDPOINT: {error}")
