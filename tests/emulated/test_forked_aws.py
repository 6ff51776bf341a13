"""tests/programs/forked_aws.py: each call does what the program itself does."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from account import connect, running_emulator
from helpers import CLEAN_ENVIRONMENT, ROOT, run_make, running
from rehearse import REGION, find_package

# The folder of the calls has the file user.json, which is their input, too.
CALLS = [
    "--version",
    "sts get-caller-identity",
    "sts get-caller-identity --output text --query Account",
    "iam get-user --cli-input-json file://user.json",
    "iam get-user --cli-input-json file:///dev/stdin --output yaml",
    "cloudformation describe-stacks --stack-name none",
    "cloudformation deploy --stack-name none --template-file none.yaml",
    "lambda wait function-active-v2 --function-name none",
    "lambda no-such-command",
    "",
]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """An account with a user, and the environment of calls through forked_aws.py."""
    folder = tmp_path_factory.mktemp("forked")
    (folder / "user.json").write_text('{"UserName": "somebody"}')
    with running_emulator(folder, as_deployer=False) as emulator:
        connect(emulator, "iam").create_user(UserName="somebody")
        if not find_package(emulator["REAL_AWS"])[0]:
            assert run_make(".aws-cli").returncode == 0
            emulator["REAL_AWS"] = str(ROOT / ".aws-cli/bin/aws")
        python, program = find_package(emulator["REAL_AWS"])
        settings = {**CLEAN_ENVIRONMENT, **emulator, "AWS_DEFAULT_REGION": REGION, "AWS_PAGER": ""}
        server = [python, str(ROOT / "tests/programs/forked_aws.py"), "serve", program, str(folder)]
        with running(server, log=folder / "log") as process:
            while not (folder / "aws").exists():
                assert process.poll() is None, (folder / "log").read_text()
                time.sleep(0.05)
            yield settings | {"FORKED_AWS": str(folder), "PYTHON": sys.executable}


def call(environment: dict[str, str], arguments: str, **settings: str) -> tuple[int, str, str]:
    folder = Path(environment["FORKED_AWS"])
    command = [str(ROOT / "tests/programs/aws"), *arguments.split()]
    with (folder / "user.json").open() as user:
        process = subprocess.run(
            command, cwd=folder, env=environment | settings, stdin=user, capture_output=True, text=True, timeout=60
        )
    return process.returncode, process.stdout, process.stderr


@pytest.mark.parametrize("arguments", CALLS)
def test_forked_call_does_what_the_program_does(environment: dict[str, str], arguments: str) -> None:
    assert call(environment, arguments) == call(environment, arguments, FORKED_AWS="")


@pytest.mark.parametrize("settings", [{"AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE"}, {"AWS_DEFAULT_OUTPUT": "text"}])
def test_forked_call_has_its_own_environment(environment: dict[str, str], settings: dict[str, str]) -> None:
    forked = call(environment, CALLS[1], **settings)
    assert forked == call(environment, CALLS[1], **settings, FORKED_AWS="")
    assert forked != call(environment, CALLS[1])
