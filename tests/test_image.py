"""The image, built by the Makefile and run by a real Docker engine as Lambda runs it."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import INVOCATIONS, ROOT, load_event, read_requirements, running, wait_for
from packaging.utils import canonicalize_name
from rehearse import find_free_port

# What an execution environment is: nothing but /tmp can be written, and the user is nobody's.
RESTRICTIONS = ["--read-only", "--tmpfs=/tmp", "--user=993:990", "--cap-drop=ALL", "--security-opt=no-new-privileges"]


def run_in_image(image: str, *command: str, options: list[str] | None = None) -> str:
    run = ["docker", "run", "--rm", *(options or RESTRICTIONS), "--entrypoint", command[0], image, *command[1:]]
    process = subprocess.run(run, capture_output=True, text=True, timeout=120)
    assert process.returncode == 0, process.stderr
    return process.stdout


@pytest.fixture(scope="module")
def container(image: str) -> Iterator[str]:
    """The URL that invokes a container under Lambda's restrictions."""
    port = find_free_port()
    run = ["docker", "run", "--rm", "--detach", *RESTRICTIONS, f"--publish=127.0.0.1:{port}:8080", image]
    name = subprocess.run(run, capture_output=True, text=True, check=True, timeout=60).stdout.strip()
    try:
        wait_for(f"http://127.0.0.1:{port}/")
        yield f"http://127.0.0.1:{port}/{INVOCATIONS}"
    finally:
        subprocess.run(["docker", "stop", name], check=True, capture_output=True, timeout=60)


def invoke(url: str, event: Any) -> Any:
    return httpx.post(url, content=json.dumps(event), timeout=30).json()


@pytest.mark.parametrize("name", ["guide", "rest_api", "http_api", "function_url", "alb"])
def test_container_answers_under_lambdas_restrictions(container: str, name: str) -> None:
    answer = invoke(container, load_event(name))
    assert (answer["statusCode"], answer["body"]) == (200, '{"message":"Hello, World"}')


@pytest.mark.parametrize("event", [{}, [], None, "text", 3])
def test_container_refuses_what_is_no_event(container: str, event: Any) -> None:
    assert invoke(container, event)["statusCode"] == 400


def test_image_answers_where_make_runs_it(image: str, tmp_path: Path) -> None:
    port = find_free_port()
    log = tmp_path / "log"
    name = f"hello-lambda-test-{port}"
    make = ["make", "run_container", f"LAMBDA_PORT={port}", f"LAMBDA_CONTAINER_NAME={name}"]
    with running(make, log=log):
        try:
            wait_for(f"http://127.0.0.1:{port}/")
            answer = invoke(f"http://127.0.0.1:{port}/{INVOCATIONS}", load_event("guide"))
        finally:
            subprocess.run(["docker", "stop", name], capture_output=True, timeout=60)
    assert (answer["statusCode"], answer["body"]) == (200, '{"message":"Hello, World"}')
    assert '"cold_start": true' in log.read_text()


def test_image_holds_what_is_locked_and_the_app_only(image: str) -> None:
    code = "import importlib.metadata as m; [print(d.name, d.version) for d in m.distributions(path=['/var/task'])]"
    installed = [line.split() for line in run_in_image(image, "python3", "-c", code).splitlines()]
    locked = read_requirements("requirements.lock")
    assert {canonicalize_name(name): version for name, version in installed} == locked
    task = set(run_in_image(image, "ls", "-A", "/var/task").split())
    assert "app" in task
    unwanted = {"tests", "examples", "Makefile", "Dockerfile", "README.md", ".env", ".git", ".venv", "package"}
    assert task & unwanted == set()


def test_image_holds_no_cache_of_pip(image: str) -> None:
    assert run_in_image(image, "sh", "-c", "ls -A /root/.cache 2>/dev/null; ls -A /tmp", options=["--user=0"]) == ""


def test_image_has_every_module_compiled_unchecked_and_readable(image: str) -> None:
    """Flag 1: valid by a hash of the source that nobody checks (PEP 552)."""
    code = """
import importlib.util, os, pathlib, struct
for source in pathlib.Path("/var/task").rglob("*.py"):
    source.read_bytes()
    compiled = pathlib.Path(importlib.util.cache_from_source(source))
    if struct.unpack("<I", compiled.read_bytes()[4:8]) != (1,): print(source)
"""
    assert run_in_image(image, "python3", "-c", code) == ""
    count = "import pathlib; print(len([*pathlib.Path('/var/task').rglob('*.pyc')]))"
    assert int(run_in_image(image, "python3", "-c", count)) > 100


def test_image_is_the_same_for_a_builder_with_a_strict_umask(image: str, checkout: Path) -> None:
    subprocess.run(["chmod", "-R", "go-rwx", str(checkout)], check=True, timeout=60)
    build = ["docker", "build", "--quiet", "--tag", "hello-lambda-umask", "."]
    subprocess.run(build, cwd=checkout, check=True, capture_output=True, timeout=600)
    try:
        code = """
import pathlib
from app.app import app
print(app.title, [path for path in pathlib.Path("/var/task").rglob("*") if not path.stat().st_mode & 0o004])
"""
        assert run_in_image("hello-lambda-umask", "python3", "-c", code) == "hello-lambda []\n"
    finally:
        subprocess.run(["docker", "rmi", "hello-lambda-umask"], capture_output=True, timeout=60)


def test_image_is_not_built_from_a_file_that_the_lock_does_not_name(docker_engine: None, checkout: Path) -> None:
    lock = checkout / "requirements.lock"
    lock.write_text(re.sub(r"(?<=sha256:)[0-9a-f]{64}", "0" * 64, lock.read_text()))
    build = ["docker", "build", "--force-rm", "."]
    process = subprocess.run(build, cwd=checkout, capture_output=True, text=True, timeout=600)
    assert process.returncode != 0
    assert "THESE PACKAGES DO NOT MATCH THE HASHES" in process.stdout + process.stderr


def test_image_names_handler_and_architecture(image: str) -> None:
    inspect = ["docker", "image", "inspect", "--format", "{{json .Config.Cmd}} {{.Architecture}}", image]
    assert subprocess.run(inspect, capture_output=True, text=True).stdout == '["app.app.handler"] amd64\n'


def test_lock_has_wheels_for_the_other_architecture(tmp_path: Path) -> None:
    """What the build needs on arm64, where this machine cannot run the build itself."""
    for platform in ("manylinux2014_aarch64", "manylinux2014_x86_64"):
        download = [
            *(
                "python3",
                "-m",
                "pip",
                "download",
                "--quiet",
                "--no-deps",
                "--require-hashes",
                "--only-binary=:all:",
                "--python-version=3.13",
            ),
            *(f"--platform={platform}", "--platform=manylinux_2_28_" + platform.split("_", 1)[1]),
            *("--dest", str(tmp_path / platform), "--requirement", str(ROOT / "requirements.lock")),
        ]
        process = subprocess.run(download, capture_output=True, text=True, timeout=300)
        assert process.returncode == 0, process.stderr
    compiled = {path.name.split("-")[0] for path in (tmp_path / "manylinux2014_aarch64").glob("*aarch64.whl")}
    assert "pydantic_core" in compiled
