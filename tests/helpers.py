"""Settings, processes and make, for all tests. The fixtures are in conftest.py."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import httpx
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from roles import ADMINISTRATOR

ROOT = Path(__file__).parent.parent
EVENTS = sorted(path.stem for path in (ROOT / "tests/events").glob("*.json"))
INVOCATIONS = "2015-03-31/functions/function/invocations"
(PYTHON_VERSION,) = re.findall(r"^ARG PYTHON_VERSION=(\S+)", (ROOT / "Dockerfile").read_text())
BASE_IMAGE = f"public.ecr.aws/lambda/python:{PYTHON_VERSION}"
# Each run of the tests builds an image of its own: another run, or the user, may build the usual one meanwhile.
LOCAL_IMAGE = f"hello-lambda:test-{uuid.uuid4().hex[:8]}"
# The output of each `docker build` names the untagged images that it leaves.
BUILD_OUTPUTS: list[str] = []
# An AWS CLI, asked for a registry's password, gets this one from the emulated account.
REGISTRY_PASSWORD = ADMINISTRATOR["AWS_SECRET_ACCESS_KEY"]

# make gives the recipes it runs its own flags, and pytest may run under make; PYTHONUNBUFFERED would hide what nobody
# flushes. And where a test fails, pytest prints what its functions were called with: not its user's secrets.
CLEAN_ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if not re.search("KEY|PASS|SECRET|TOKEN", name)
    and not name.startswith(
        (
            *("API_", "APP_", "ARCHITECTURE", "AWS_", "ECR_", "ENV_FILE", "IMAGE", "LAMBDA_", "LOAD"),
            *("LOCAL_", "LOG_", "MAKE", "MFLAGS", "PYTHON"),
        )
    )
} | {"LOCAL_IMAGE": LOCAL_IMAGE}

# make uses the environment that the tests run in, and makes none of its own.
OWN_PYTHON = {"PYTHON": sys.executable, "VIRTUAL_ENV": sys.prefix}


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


def call(app: Any, method: str, path: str, **arguments: Any) -> httpx.Response:
    """Sends a request to an application, without a server between."""

    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
            return await client.request(method, path, **arguments)

    return asyncio.run(send())


def run_make(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs make as a user would from a shell that holds nothing of AWS but what is given."""
    process = subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=ROOT,
        env={**CLEAN_ENVIRONMENT, **OWN_PYTHON, "ENV_FILE": os.devnull, **environment},
        capture_output=True,
        text=True,
        timeout=900,
        stdin=subprocess.DEVNULL,
    )
    if "docker build" in process.stdout:
        BUILD_OUTPUTS.append(process.stdout)
    return process


def write_program(path: Path, code: str) -> Path:
    """A program of the shell, which stands in for another one."""
    path.write_text(f"#!/bin/sh\n{code}\n")
    path.chmod(0o755)
    return path


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
