"""The API's answers to a client when the function fails, takes too long, or gets too many requests.

aws/troubleshooting.md has a table of these answers, on AWS and in the rehearsal. These tests check its column for the rehearsal.
"""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests
from account import connect, find_stage, run_steps, running_emulator, sign
from helpers import load_event

DOCKERFILE = """
FROM {image}
COPY failing.py ./
CMD ["failing.handler"]
"""
FAILING = """
import os, time
from app.app import app, handler

@app.get("/exit")
def exit() -> None:
    os._exit(1)

@app.get("/sleep")
def sleep() -> None:
    time.sleep(60)
"""
# Seconds, for the function. On a busy machine it starts in two.
TIMEOUT = 4


def deploy_api(emulator: dict[str, str]) -> str:
    """Deploys the API, and returns the URL of its stage."""
    run_steps(emulator, "create_api")
    return find_stage(emulator)


def call(url: str, event: dict[str, Any] | None = None) -> requests.Response:
    return requests.request("POST" if event else "GET", url, json=event, auth=sign(), timeout=60)


def read(response: requests.Response) -> tuple[int, Any]:
    return response.status_code, response.json()


@pytest.mark.parametrize(("path", "event"), [("/hello/", None), ("/hello-lambda", load_event("guide"))])
def test_stage_answers_429_to_more_requests_than_its_burst(
    emulator: dict[str, str], path: str, event: dict[str, Any] | None
) -> None:
    url = deploy_api(emulator) + path
    answered = 0
    while (answer := call(url, event)).status_code != 429 and answered < 1000:
        answered += 1
    assert read(answer) == (429, {"message": "Too Many Requests"})
    assert answer.headers["x-amzn-ErrorType"] == "TooManyRequestsException"
    assert answered >= 100


def test_gateway_answers_500_if_there_is_no_function(emulator: dict[str, str]) -> None:
    answer = call(f"{deploy_api(emulator)}/hello/")
    assert read(answer) == (500, {"message": "Internal server error"})
    assert answer.headers["x-amzn-ErrorType"] == "InternalServerErrorException"


@pytest.fixture(scope="module")
def failing_image(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The image, with a route that ends the process and one that takes a minute."""
    name = f"{image}-failing"
    folder = tmp_path_factory.mktemp("image")
    (folder / "Dockerfile").write_text(DOCKERFILE.format(image=image))
    (folder / "failing.py").write_text(FAILING)
    build = ["docker", "build", "--force-rm", "--tag", name, str(folder)]
    subprocess.run(build, check=True, capture_output=True, timeout=120)
    yield name
    subprocess.run(["docker", "rmi", name], check=True, capture_output=True, timeout=60)


@contextmanager
def running_function(emulator: dict[str, str], image: str, handler: str) -> Iterator[None]:
    """The function in the emulated account. The emulator deletes its containers at the end."""
    iam, functions = connect(emulator, "iam"), connect(emulator, "lambda")
    role = iam.create_role(RoleName="failing", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    functions.create_function(
        FunctionName="hello-lambda",
        PackageType="Image",
        Code={"ImageUri": image},
        Role=role,
        Timeout=TIMEOUT,
        ImageConfig={"Command": [handler]},
    )
    functions.get_waiter("function_active_v2").wait(FunctionName="hello-lambda")
    try:
        yield
    finally:
        functions.delete_function(FunctionName="hello-lambda")


def test_gateway_answers_502_if_the_function_cannot_start(failing_image: str, emulator: dict[str, str]) -> None:
    stage = deploy_api(emulator)
    with running_function(emulator, failing_image, "app.nothing.handler"):
        status, answer = read(call(f"{stage}/hello/"))
    assert (status, list(answer)) == (502, ["message"])
    assert "Unable to import module 'app.nothing'" in answer["message"]


def test_gateway_of_the_rehearsal_answers_429_if_lambda_throttles(failing_image: str, emulator: dict[str, str]) -> None:
    stage = deploy_api(emulator)
    with running_function(emulator, failing_image, "failing.handler"):
        concurrency = {"FunctionName": "hello-lambda", "ReservedConcurrentExecutions": 0}
        connect(emulator, "lambda").put_function_concurrency(**concurrency)
        status, answer = read(call(f"{stage}/hello/"))
    assert (status, answer["Reason"]) == (429, "ReservedFunctionConcurrentInvocationLimitExceeded")


@pytest.fixture(scope="module")
def failing_stage(failing_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a stage with the failing function behind it."""
    folder = tmp_path_factory.mktemp("emulator")
    with running_emulator(folder) as emulator, running_function(emulator, failing_image, "failing.handler"):
        yield deploy_api(emulator)


@pytest.mark.parametrize("by", ["GET", "POST"])
@pytest.mark.parametrize(
    ("path", "said"), [("/exit", "Runtime exited"), ("/sleep", f"Task timed out after {TIMEOUT}.00 seconds")]
)
def test_gateway_answers_502_if_the_function_fails(failing_stage: str, by: str, path: str, said: str) -> None:
    """By its own path, or by the event in the body of a POST."""
    event = load_event("guide") | {"path": path}
    url = failing_stage + (path if by == "GET" else "/hello-lambda")
    status, answer = read(call(url, event if by == "POST" else None))
    assert (status, list(answer)) == (502, ["message"])
    assert said in answer["message"]
    assert read(call(f"{failing_stage}/hello/")) == (200, {"message": "Hello, World"})
