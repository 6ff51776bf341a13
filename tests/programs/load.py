"""Sends signed requests from many clients at once, and checks that each is answered, and with its own answer.

The rehearsal calls it with the number of requests, their path, and the body of the answer. The address and the key it
reads from ENV_FILE.
"""

import os
import sys
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import requests
from dotenv import dotenv_values
from requests_aws4auth import AWS4Auth

CLIENTS = 16
# In seconds: longer than API Gateway waits.
TIMEOUT = 35


class Answer(NamedTuple):
    seconds: float
    problem: str  # empty where there is none


def run_client(settings: Mapping[str, str], path: str, body: str, numbers: range) -> list[Answer]:
    """Sends the requests of these numbers, one after the other, over one connection."""
    url = f"{settings['API_SECURE_ENDPOINT'].rsplit('/', 1)[0]}{path}"
    with requests.Session() as session:
        session.auth = AWS4Auth(
            settings["AWS_ACCESS_KEY"], settings["AWS_SECRET_ACCESS_KEY"], settings["AWS_REGION"], "execute-api"
        )
        return [send(session, url, body, f"request-{number}") for number in numbers]


def send(session: requests.Session, url: str, body: str, correlation_id: str) -> Answer:
    started = time.perf_counter()
    try:
        response = session.get(url, headers={"x-correlation-id": correlation_id}, timeout=TIMEOUT)
    except requests.RequestException as error:
        problem = f"no answer: {type(error).__name__}"
    else:
        problem = find_problem(response, body, correlation_id)
    return Answer(time.perf_counter() - started, problem)


def find_problem(response: requests.Response, body: str, correlation_id: str) -> str:
    if (response.status_code, response.text) != (200, body):
        return f"{response.status_code}: {response.text}"
    if response.headers.get("x-correlation-id") != correlation_id:
        return "the correlation id of another request"
    return ""


def main() -> None:
    total, path, body = int(sys.argv[1]), *sys.argv[2:]
    settings = {name: value or "" for name, value in dotenv_values(os.environ["ENV_FILE"]).items()}
    started = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as clients:
        shares = [
            clients.submit(run_client, settings, path, body, range(first, total, CLIENTS)) for first in range(CLIENTS)
        ]
        answers = [answer for share in shares for answer in share.result()]
    rate = total / (time.perf_counter() - started)
    problems = Counter(answer.problem for answer in answers if answer.problem)
    if problems:
        sys.exit("\n".join(f"{count} of {total} requests: {problem}" for problem, count in problems.most_common(10)))
    times = sorted(answer.seconds * 1000 for answer in answers)
    print(
        f"{CLIENTS} clients, {rate:.0f} a second, "
        f"50 % within {times[total // 2]:.0f} ms, 99 % within {times[total * 99 // 100]:.0f} ms"
    )


if __name__ == "__main__":
    main()
