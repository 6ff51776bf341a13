"""What the tests share. What a machine lacks is skipped with the reason, and fails where CI=true."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

import botocore.session
import httpx
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from rehearse import ACCOUNT_ID, REGION, find_free_port

from app.app import app

ROOT = Path(__file__).parent.parent
EVENTS = sorted(path.stem for path in (ROOT / "tests/events").glob("*.json"))
INVOCATIONS = "2015-03-31/functions/function/invocations"
BASE_IMAGE = "public.ecr.aws/lambda/python:3.13"
# An AWS CLI, asked for a registry's password, gets this one from the emulator.
REGISTRY_PASSWORD = "ministack-auth-token"

# make gives the recipes it runs its own flags, and pytest may run under make; PYTHONUNBUFFERED would hide what nobody
# flushes. And where a test fails, pytest prints what its functions were called with: not its user's secrets.
CLEAN_ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if not re.search("KEY|PASS|SECRET|TOKEN", name)
    and not name.startswith(
        (
            *("API_", "APP_", "ARCHITECTURE", "AWS_", "ECR_", "IMAGE", "LAMBDA_", "LOAD", "LOCAL_", "LOG_"),
            *("MAKE", "MFLAGS", "PYTHON"),
        )
    )
}


def load_event(name: str) -> dict[str, Any]:
    event: dict[str, Any] = json.loads((ROOT / f"tests/events/{name}.json").read_text())
    return event


def read_requirements(name: str) -> dict[str, str]:
    """The version of each distribution that the file pins for this machine."""
    lines = [line.split("\\")[0] for line in (ROOT / name).read_text().splitlines() if re.match(r"\w", line)]
    pinned = [each for each in map(Requirement, lines) if not each.marker or each.marker.evaluate()]
    return {canonicalize_name(each.name): str(each.specifier).removeprefix("==") for each in pinned}


def skip_or_fail(reason: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def require(*tools: str) -> None:
    missing = [tool for tool in tools if not shutil.which(tool)]
    if missing:
        skip_or_fail(f"needs {', '.join(missing)}")


def wait_for(url: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            httpx.get(url, timeout=5)
            return
        except httpx.TransportError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def run_make(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs make as a user would from a shell that holds nothing of AWS but what is given."""
    return subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=ROOT,
        env={**CLEAN_ENVIRONMENT, "ENV_FILE": os.devnull, "PYTHON": sys.executable, **environment},
        capture_output=True,
        text=True,
        timeout=900,
        stdin=subprocess.DEVNULL,
    )


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**CLEAN_ENVIRONMENT, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


@contextmanager
def running(command: list[str], *, log: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a group of its own, with everything that it started ended at the end."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**CLEAN_ENVIRONMENT, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        os.killpg(process.pid, 15)
        process.wait(timeout=30)


@pytest.fixture
def call() -> Callable[..., httpx.Response]:
    """Sends a request to the app, without a server between."""

    def call(method: str, path: str, **arguments: Any) -> httpx.Response:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(app=app)
            async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
                return await client.request(method, path, **arguments)

        return asyncio.run(send())

    return call


@pytest.fixture
def own_routes() -> Iterator[None]:
    """Takes out again what a test adds to the app."""
    before = len(app.router.routes)
    yield
    del app.router.routes[before:]


@pytest.fixture
def failing_route(own_routes: None) -> str:
    """A route, for one test, that fails and holds a secret while it does."""

    @app.get("/fail")
    async def fail() -> None:
        password = "hunter2"
        raise RuntimeError(f"failed with a password of {len(password)} letters")

    return "/fail"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A clean checkout of this tree as it is now, in a path with a space."""
    require("git")
    copy = tmp_path / "a checkout"
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines():
        if (ROOT / name).exists():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy / name)
    git = ["git", "-c", "user.name=test", "-c", "user.email=test@localhost"]
    for command in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "a commit"]):
        subprocess.run([*git, *command], cwd=copy, check=True, timeout=60)
    return copy


@pytest.fixture(scope="session")
def docker_engine() -> None:
    require("docker")
    if subprocess.run(["docker", "version"], capture_output=True, timeout=60).returncode:
        skip_or_fail("needs a Docker engine that answers `docker version`")


@pytest.fixture(scope="session")
def image(docker_engine: None) -> str:
    """The image, built by the Makefile."""
    for command in (["docker", "image", "inspect", BASE_IMAGE], ["docker", "pull", BASE_IMAGE]):
        if subprocess.run(command, capture_output=True, timeout=600).returncode == 0:
            break
    else:
        skip_or_fail(f"needs {BASE_IMAGE}, which could not be pulled")
    build = run_make("build_image")
    assert build.returncode == 0, build.stderr
    return "hello-lambda"


@contextmanager
def running_emulator(folder: Path) -> Iterator[dict[str, str]]:
    """An AWS account on this machine; gives the environment in which the Makefile deploys to it."""
    require("aws")
    port = find_free_port()
    settings = {
        "AUTH": "true",
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "MINISTACK_ACCOUNT_ID": ACCOUNT_ID,
    }
    with running([sys.executable, "-m", "ministack"], log=folder / "emulator.log", **settings):
        wait_for(f"http://127.0.0.1:{port}/_ministack/health")
        yield {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_ACCOUNT_ID": ACCOUNT_ID,
            "AWS_REGION": REGION,
            "ECR_REGISTRY": f"127.0.0.1:{port}",
            "ENV_FILE": str(folder / ".env"),
        }


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[dict[str, str]]:
    with running_emulator(tmp_path) as settings:
        yield settings


def connect(emulator: dict[str, str], service: str) -> Any:
    """A client of the emulated account, to look at what is there."""
    with _CONNECTING:
        return _connect(emulator["AWS_ENDPOINT_URL"], service)


_CONNECTING = threading.Lock()
_SESSION = botocore.session.get_session()


@cache
def _connect(endpoint: str, service: str) -> Any:
    return _SESSION.create_client(
        service,
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )


def find_api(emulator: dict[str, str]) -> str:
    """The id of the one API in the emulated account."""
    (api,) = connect(emulator, "apigateway").get_rest_apis()["items"]
    return str(api["id"])


def find_stage(emulator: dict[str, str]) -> str:
    """The URL at which the emulator serves that API's stage."""
    return f"{emulator['AWS_ENDPOINT_URL']}/restapis/{find_api(emulator)}/default/_user_request_"


def list_everything(emulator: dict[str, str]) -> dict[str, list[str]]:
    """The names of all that a deployment makes."""
    iam, apis = connect(emulator, "iam"), connect(emulator, "apigateway")
    users = [user["UserName"] for user in iam.list_users()["Users"]]
    ids = [api["id"] for api in apis.get_rest_apis()["items"]]
    return {
        "apis": [api["name"] for api in apis.get_rest_apis()["items"]],
        "stages": [stage["stageName"] for api in ids for stage in apis.get_stages(restApiId=api)["item"]],
        "roles": [role["Path"] for role in iam.list_roles()["Roles"] if "hello-lambda" in role["RoleName"]],
        "functions": [each["FunctionName"] for each in connect(emulator, "lambda").list_functions()["Functions"]],
        "users": users,
        "keys": [key["UserName"] for user in users for key in iam.list_access_keys(UserName=user)["AccessKeyMetadata"]],
        "repositories": [
            each["repositoryName"] for each in connect(emulator, "ecr").describe_repositories()["repositories"]
        ],
        "logs": [each["logGroupName"] for each in connect(emulator, "logs").describe_log_groups()["logGroups"]],
    }


EVERYTHING = {
    "apis": ["hello-lambda-API"],
    "stages": ["default"],
    "roles": ["/"],
    "functions": ["hello-lambda"],
    "users": ["hello-lambda-invoker"],
    "keys": ["hello-lambda-invoker"],
    "repositories": ["hello-lambda"],
    "logs": ["/aws/lambda/hello-lambda"],
}
NOTHING: dict[str, list[str]] = {name: [] for name in EVERYTHING}
