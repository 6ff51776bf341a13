"""Calls the routes of the deployed API signed (200) and unsigned (403), and explains every other answer."""

import argparse
import json
import os
import re
import sys
import time
from pathlib import Path

import requests
from dotenv import dotenv_values
from loguru import logger
from requests_aws4auth import AWS4Auth

ENV_FILE = Path(os.environ.get("ENV_FILE") or Path(__file__).parent.parent / ".env")
TIMEOUT = (5, 35)  # seconds to connect, and to wait for an answer: API Gateway gives up after 29
PAUSE = 5  # seconds between two tries of --wait
EVENT: dict[str, object] = {"httpMethod": "GET", "multiValueQueryStringParameters": {}, "requestContext": {}}

# A pattern in the answer, and its most likely cause. The first match counts.
CAUSES = {
    "errorMessage|Internal [Ss]|timed out": "the function failed, or took too long: run make logs",
    "Missing Authentication Token": "no such path, stage or method: check API_SECURE_ENDPOINT, and deploy the API",
    "security token included in the request is invalid": "AWS_ACCESS_KEY is unknown: it was deleted or mistyped",
    "security token included in the request is expired": "AWS_SESSION_TOKEN has expired: get new credentials",
    "does not match the signature you provided": "AWS_SECRET_ACCESS_KEY does not belong to AWS_ACCESS_KEY",
    "Signature expired|Signature not yet current": "this machine's clock is more than 5 minutes off: set it",
    "valid region|correct service": "API_SECURE_ENDPOINT is not the address of an API in AWS_REGION",
    "not authorized to perform": "no policy lets this user invoke the API: run make create_invoker",
    "Invalid request body|Not an event of|should (be|have) ": "the API or the function refused the event: see tests/events/guide.json",
    "Too Many Requests": "the stage received more requests than it lets through: wait a little, and try again",
    "Not Found": "the app has no such route, or API_SECURE_ENDPOINT does not end in the function's name",
    "Forbidden|key=value": "a resource policy or a firewall refused the request, or a proxy changed it",
    ", World": "the method is open to everybody: set its authorization to AWS_IAM and deploy the API again",
    "": "this example does not know this answer: see Troubleshooting in aws/README.md",
}
# With status 403 or 500, for the first minute of an API, a key or a policy.
TEMPORARY = "Missing Authentication Token|token .* is invalid|not authorized to|Forbidden|Internal server error"


def read_settings() -> list[str]:
    """Endpoint, region, key, secret and session token, each from the environment or else from ENV_FILE."""
    env, file = os.environ, {name: value or "" for name, value in dotenv_values(ENV_FILE).items()}
    # Key, secret and token come from one place together: a key does not fit the secret of another user.
    places = (env, "AWS_ACCESS_KEY"), (file, "AWS_ACCESS_KEY"), (file, "AWS_ACCESS_KEY_ID"), (env, "AWS_ACCESS_KEY_ID")
    place, key_name = next((each for each in places if each[0].get(each[1])), places[1])
    found = {name: env.get(name) or file.get(name, "") for name in ("API_SECURE_ENDPOINT", "AWS_REGION")}
    found |= {name: place.get(name, "") for name in (key_name, "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")}
    exempt = "" if found[key_name].startswith("ASIA") else "AWS_SESSION_TOKEN"  # a temporary key needs its token
    if wrong := [name for name, text in found.items() if not re.fullmatch("[!-~]+", text) and (text or name != exempt)]:
        where = ENV_FILE if place is file else f"the environment, next to {key_name}"
        sys.exit(f"Not set, or not plain characters: {', '.join(wrong)}. Set each in {where}. See .env.example.")
    return list(found.values())


def send(call: tuple[str, str, object], auth: AWS4Auth | None, wait: int) -> requests.Response:
    """Sends a body to a URL by a method. With `wait`, repeats it for up to so many seconds, until it succeeds twice in a row."""
    (method, url, body), deadline, first = call, time.monotonic() + wait, None
    while True:
        try:
            response = requests.request(method, url, json=body, auth=auth, timeout=TIMEOUT, allow_redirects=False)
            refusal = re.search(TEMPORARY, response.text) if auth and response.status_code in (403, 500) else None
        except requests.ConnectionError:
            if time.monotonic() >= deadline:
                raise
            reason = "no connection"
        else:
            last = first or not auth or not response.ok
            if time.monotonic() >= deadline or (last and not refusal):
                return response
            if not refusal:  # AWS may answer once, and refuse the next call
                first = response
                continue
            reason = refusal[0]
        first = None
        logger.info(f"Not yet: '{reason}'. AWS may not know a new API, key or policy everywhere. Next try in {PAUSE} s")
        time.sleep(PAUSE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", nargs="?", default="", help="a route of your own, for example /items/")
    parser.add_argument("--method", default="GET", help="its method (GET)")
    parser.add_argument("--json", type=json.loads, help="its body")
    parser.add_argument("--wait", type=int, default=0, metavar="SECONDS", help="repeat a call until it succeeds twice")
    logger.configure(handlers=[{"sink": sys.stderr, "colorize": False if os.environ.get("NO_COLOR") else None}])
    options, (url, region, key, secret, token) = parser.parse_args(), read_settings()
    auth = AWS4Auth(key, secret, region, "execute-api", session_token=token or None)
    # API Gateway repeats the signature, and the token, when the signature is wrong.
    hidden = re.compile("|".join([*(re.escape(each) for each in (secret, token) if each), "[0-9a-f]{64}"]))
    # Every path of the stage is a route. The endpoint itself takes any route's event by POST, and always answers 200.
    own_call = (options.method, url.rsplit("/", 1)[0] + options.path, options.json)
    for route in [options.path] if options.path else ["hello", "goodbye"]:
        logger.info(f"\nInvoking route: {route}\n")
        event = {"resource": f"/{route}", "path": f"/{route}/", **EVENT}
        for name, signature, expected in (("Authorized", auth, range(200, 300)), ("Unauthorized", None, [403])):
            logger.info(f"{name} request: {route}")
            response = send(own_call if options.path else ("POST", url, event), signature, options.wait)
            answer = response.json() if response.text.startswith("{") else {"text": response.text}
            status = response.status_code if options.path or response.status_code != 200 else answer.get("statusCode")
            if status not in expected:
                text = hidden.sub("…", response.text)
                cause = next(cause for sign, cause in CAUSES.items() if re.search(sign, text))
                sys.exit(f"expected {expected[0]}, got {status or 'another 200'}: {text}\nMost likely: {cause}.")
            logger.info(hidden.sub("…", str(answer)))


if __name__ == "__main__":
    try:
        main()
    except (requests.RequestException, ValueError) as failure:  # ValueError: urllib3 cannot read the address
        sys.exit(f"No usable answer from API_SECURE_ENDPOINT: is the address right, and the API there? {failure}")
