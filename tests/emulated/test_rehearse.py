"""`make rehearse`: with a Docker engine and without, killed, twice at once, and in front of another account."""

import hashlib
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from function import Function
from helpers import CLEAN_ENVIRONMENT, ROOT, require, run_make
from pictures import REHEARSAL, read_picture

NO_ENGINE = {"DOCKER_HOST": "unix:///nowhere"}
DEPLOYER = {"AWS_PROFILE": "real", "AWS_ACCESS_KEY_ID": "AKIAREAL", "AWS_SECRET_ACCESS_KEY": "real"}
EVERYWHERE = [
    *("sh", "make", "git", "curl", "awk", "cat", "cksum", "cmp", "cp", "cut", "date", "dirname", "env", "grep", "head"),
    *("install", "ln", "ls", "mkdir", "mktemp", "mv", "rm", "sed", "sort", "tail", "touch", "tr", "uname"),
]
README_STEPS = re.compile(r"^(✓|-) (.*?)(?:: .*)?(?: \(\d+\.\d s\)|, .*)$", re.MULTILINE)


def find_ports(output: str) -> list[int]:
    """The port of each emulated account, from the line of its step."""
    return [int(port) for port in re.findall(r"127\.0\.0\.1:(\d+)[ ,]", output)]


def listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def list_processes(marker: str) -> list[str]:
    """The command lines of all processes that contain the text."""
    processes = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    return [line for line in processes.splitlines() if marker in line]


def check_nothing_runs(output: str, *, folder: Path | None = None) -> None:
    """Within a minute no process listens on the rehearsal's ports or uses its folder, and the folder is gone."""
    ports = find_ports(output)
    assert len(ports) == 1
    deadline = time.monotonic() + 60
    while any(map(listens, ports)) or (folder and (list_processes(str(folder)) or any(folder.iterdir()))):
        assert time.monotonic() < deadline
        time.sleep(0.5)


def read_steps(output: str) -> list[tuple[str, str]]:
    """The mark and the name of each step, without the port."""
    return [(mark, re.sub(r"(127.0.0.1):\d+", r"\1:…", name)) for mark, name in README_STEPS.findall(output)]


def list_docker(output: str) -> list[str]:
    """The containers and images of a rehearsal. Their names, registries and labels contain one of its ports."""
    ports = "|".join(map(str, find_ports(output)))
    listings = (
        ["ps", "--all", "--format={{.Names}} {{.Image}} {{.Labels}}"],
        ["images", "--format={{.Repository}}:{{.Tag}}"],
    )
    lines = [
        line
        for each in listings
        for line in subprocess.run(
            ["docker", *each], capture_output=True, text=True, check=True, timeout=60
        ).stdout.splitlines()
    ]
    return [line for line in lines if re.search(rf"[:-]({ports})\b", line)]


@pytest.fixture
def user_env_file() -> Iterator[None]:
    """Checks that the rehearsal neither changes nor creates the user's own .env."""
    before = read_state(ROOT / ".env")
    yield
    assert read_state(ROOT / ".env") == before


def read_state(path: Path) -> tuple[str, int] | None:
    """A file's checksum and time. A failing assertion would print the content, and so the secrets."""
    return (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns) if path.exists() else None


def test_two_rehearsals_at_once_do_not_meet_and_are_what_the_picture_shows(image: str, user_env_file: None) -> None:
    with ThreadPoolExecutor() as pool:
        first, second = pool.map(lambda load: run_make("rehearse", f"LOAD={load}", **DEPLOYER), ("200", "0"))
    load = ("✓", "each of 200 requests gets its own answer")
    assert read_steps(first.stdout).count(load) == 1, first.stdout + first.stderr
    for process in (first, second):
        assert process.returncode == 0, process.stdout + process.stderr
        assert "0 skipped" in process.stdout.splitlines()[-1]
        steps = [step for step in read_steps(process.stdout) if step != load]
        assert steps == read_steps("\n".join(read_picture(REHEARSAL)))
        assert list_docker(process.stdout) == []
        check_nothing_runs(process.stdout)
    assert find_ports(first.stdout) != find_ports(second.stdout)


@pytest.mark.parametrize("load", ["abc", "-1", "1.5", ""])
def test_rehearsal_refuses_a_load_that_is_no_number_before_it_starts(load: str) -> None:
    process = run_make("rehearse", f"LOAD={load}")
    assert process.returncode == 2
    assert "✓" not in process.stdout
    assert f"LOAD={load} is not a number of requests" in process.stderr


def test_rehearsal_on_a_machine_without_docker_and_aws(user_env_file: None, tmp_path: Path) -> None:
    """PATH has only the programs that every machine has. The rehearsal installs an aws CLI of its own."""
    require("curl")
    for name in EVERYWHERE:
        (tmp_path / name).symlink_to(str(shutil.which(name)))
    process = run_make("rehearse", PATH=str(tmp_path))
    assert process.returncode == 0, process.stdout + process.stderr
    assert "✓ an aws CLI: aws-cli/1." in process.stdout
    (said,) = re.findall(r"into \.aws-cli.*: about (\d+) MB", (ROOT / "tests/programs/rehearse.py").read_text())
    installed = sum(path.lstat().st_size for path in (ROOT / ".aws-cli").rglob("*") if not path.is_dir())
    assert 0.6 < installed / 1e6 / int(said) < 1.4
    skipped = [name for mark, name in read_steps(process.stdout) if mark == "-"]
    assert skipped == ["make deploy_to_ecr", "make update_lambda_function"]
    both = '{"message":"Hello, World"} and {"message":"Goodbye, World"} signed, 2 unsigned'
    assert f"✓ make invoke: {both}" in process.stdout
    assert ("✓", "curl --aws-sigv4 GET /hello/") in read_steps(process.stdout)
    assert "✓ nothing is left" in process.stdout
    check_nothing_runs(process.stdout)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_killed_rehearsal_leaves_nothing_running(number: signal.Signals, tmp_path: Path) -> None:
    environment = {**CLEAN_ENVIRONMENT, **NO_ENGINE, "TMPDIR": str(tmp_path), "PYTHON": sys.executable}
    output = kill_rehearsal(environment, number, "make create_ecr_repository")
    check_nothing_runs(output, folder=tmp_path)


def test_killed_rehearsal_leaves_no_container_and_no_image(image: str, tmp_path: Path) -> None:
    environment = {**CLEAN_ENVIRONMENT, "TMPDIR": str(tmp_path), "PYTHON": sys.executable}
    output = kill_rehearsal(environment, signal.SIGKILL, "GET /hello/", in_docker=True)
    check_nothing_runs(output, folder=tmp_path)
    assert list_docker(output) == []


def kill_rehearsal(environment: dict[str, str], number: signal.Signals, step: str, *, in_docker: bool = False) -> str:
    """Kills a rehearsal, and make with it, after a step. Returns the output when the guard has ended, too."""
    output = ""
    with subprocess.Popen(
        ["make", "rehearse"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout
        while step not in output:
            line = process.stdout.readline()
            assert line, output
            output += line
        assert not in_docker or list_docker(output) != []
        os.killpg(process.pid, number)
        process.communicate(timeout=60)
    assert process.returncode != 0
    return output


TWO_STAGES = """
FROM {image} AS build
COPY content ./
FROM {image}
COPY --from=build /var/task/content ./copy
"""


def test_guard_deletes_the_untagged_images_of_a_build_and_no_tagged_one(image: str, tmp_path: Path) -> None:
    """Docker's legacy builder leaves an untagged image of the first stage. BuildKit leaves none."""
    (tmp_path / "content").write_text(str(tmp_path))
    (tmp_path / "Dockerfile").write_text(TWO_STAGES.format(image=image))
    tag = f"{image}-two-stages"
    run = partial(subprocess.run, capture_output=True, text=True, timeout=120)
    build = run(["docker", "build", "--force-rm", "--tag", tag, str(tmp_path)])
    assert build.returncode == 0, build.stderr
    (tmp_path / "build.log").write_text(build.stdout)
    made = set(re.findall(r"^ ---> (\w+)$", build.stdout, re.MULTILINE))
    try:
        guard = [sys.executable, "tests/programs/guard.py"]
        run(guard, cwd=ROOT, input=f"watch folder {tmp_path}\n", check=True)
        left = [name for name in made if run(["docker", "image", "inspect", name]).returncode == 0]
        assert (len(made), len(left)) in [(3, 2), (0, 0)]
    finally:
        run(["docker", "rmi", tag])


def test_rehearsal_goes_no_step_further_with_another_account(tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    stub = tmp_path / "aws"
    stub.write_text(
        f'#!/bin/sh\necho "$AWS_ACCESS_KEY_ID $AWS_PROFILE $*" >>"{calls}"\n'
        'case "$*" in *get-caller-identity*) echo 999999999999 ;; *) echo aws-cli/2 ;; esac\n'
    )
    stub.chmod(0o755)
    path = f"{tmp_path}:{CLEAN_ENVIRONMENT['PATH']}"
    process = run_make("rehearse", PATH=path, **NO_ENGINE, **DEPLOYER)
    assert process.returncode == 2
    assert "this is account 999999999999, and not the emulator's 123456789012" in process.stdout
    version, identity = calls.read_text().splitlines()
    key, endpoint = r"AKIA[0-9A-F]{20}", r"--endpoint-url http://127.0.0.1:\d+"
    assert re.fullmatch(rf"{key}  {endpoint} --version", version)
    assert re.fullmatch(rf"{key}  {endpoint} --region \S+ sts get-caller-identity .*", identity)


def test_rehearsal_prints_the_output_of_a_failing_step(tmp_path: Path) -> None:
    require("aws")
    aws = tmp_path / "aws"
    aws.write_text(
        '#!/bin/sh\ncase "$*" in *"cloudformation deploy"*-repository*) echo "no templates today" >&2; exit 254 ;; esac\n'
        f'PATH="{CLEAN_ENVIRONMENT["PATH"]}" exec aws "$@"\n'
    )
    aws.chmod(0o755)
    process = run_make("rehearse", PATH=f"{tmp_path}:{CLEAN_ENVIRONMENT['PATH']}", **NO_ENGINE)
    assert process.returncode == 2
    assert "✗ make create_ecr_repository" in process.stdout
    assert "no templates today" in process.stdout


def check(status: int, body: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Checks a function that answers like this."""
    payload = json.dumps({"statusCode": status, "body": body}).encode()
    client = SimpleNamespace(invoke=lambda **_: {"Payload": io.BytesIO(payload)})
    monkeypatch.setattr(Function, "connect", lambda *_: client)
    return Function("http://127.0.0.1:9", "eu-central-1", ROOT, Path(sys.executable)).check()


def test_function_answers_also_if_the_app_has_no_route_of_the_event(monkeypatch: pytest.MonkeyPatch) -> None:
    assert check(200, "hello", monkeypatch) == "hello"
    without = check(404, '{"detail":"Not Found"}', monkeypatch)
    assert without == "404 to /hello/: enter a GET of app/ in examples/event.json"


def test_function_that_fails_stops_the_rehearsal(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RuntimeError, match='"body": "Internal Server Error"'):
        check(500, "Internal Server Error", monkeypatch)
