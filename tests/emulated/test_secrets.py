"""No command prints a secret, or puts one on a command line, where everybody on the machine can read it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from dotenv import dotenv_values
from helpers import CLEAN_ENVIRONMENT, REGISTRY_PASSWORD, ROOT, run_make

MAKEFILES = "".join(
    (ROOT / name).read_text() for name in ("Makefile", "aws/destroy.mk", "aws/deployer.mk", "tests/tools.mk")
)
TARGETS = re.findall(r"^([a-z_]+):", MAKEFILES, re.MULTILINE)
# Variables that the shell may have, and variables of .env.
SHELL = {
    "AWS_ACCESS_KEY_ID": "AKIADEPLOYER",
    "AWS_SECRET_ACCESS_KEY": "the-deployers-hunter2",
    "AWS_SESSION_TOKEN": "the-deployers-token-hunter2",
}
ENV_FILE = """
AWS_ACCOUNT_ID=123456789012
AWS_REGION=eu-central-1
AWS_LAMBDA_ROLE_ARN=arn
AWS_ACCESS_KEY=AKIAINVOKER
AWS_SECRET_ACCESS_KEY=the-invokers-hunter2
AWS_SESSION_TOKEN=the-invokers-token-hunter2
"""
# Notes its arguments, and goes on as the real one, or as a docker that does nothing.
RECORDER = """#!/bin/sh
echo "{name} $*" >>"{folder}/calls"
{program}
"""


@pytest.mark.parametrize("options", [["--dry-run"], ["--dry-run", "--debug"]])
def test_make_shows_every_recipe_without_a_secret(tmp_path: Path, options: list[str]) -> None:
    (tmp_path / ".env").write_text(ENV_FILE)
    process = run_make(*options, *TARGETS, ENV_FILE=str(tmp_path / ".env"), **SHELL)
    assert process.returncode == 0, process.stderr
    assert "lambda create-function" in process.stdout
    assert "hunter2" not in process.stdout + process.stderr


def test_steps_neither_print_a_secret_nor_put_it_on_a_command_line(tmp_path: Path, emulator: dict[str, str]) -> None:
    for name, program in (
        ("real-aws", f'exec "{emulator["REAL_AWS"]}" "$@"'),
        ("docker", "[ $1 != login ] || cat >/dev/null"),
    ):
        (tmp_path / name).write_text(RECORDER.format(name=name, folder=tmp_path, program=program))
        (tmp_path / name).chmod(0o755)
    settings = {**emulator, "PATH": f"{tmp_path}:{emulator['PATH']}", "REAL_AWS": str(tmp_path / "real-aws")}
    deploy = run_make("--debug", "deploy_to_ecr", "create_api", "create_invoker", **settings)
    assert deploy.returncode == 0, deploy.stderr
    secret = dotenv_values(emulator["ENV_FILE"])["AWS_SECRET_ACCESS_KEY"]
    assert secret
    again = run_make("--debug", "create_invoker", "delete_invoker", **settings)
    assert again.returncode == 0, again.stderr

    printed = "".join(process.stdout + process.stderr for process in (deploy, again))
    called = (tmp_path / "calls").read_text()
    assert "iam create-access-key" in called
    assert "docker login" in called
    for text in (secret, REGISTRY_PASSWORD):
        assert text not in printed + called


def test_failing_test_does_not_print_the_secrets_of_whoever_runs_it(tmp_path: Path) -> None:
    (tmp_path / "test_make.py").write_text(
        "from helpers import run_make\n\ndef test_make() -> None:\n    run_make('help', PATH='/nowhere')\n"
    )
    command = [sys.executable, "-m", "pytest", "-vv", "--showlocals", f"--config-file={ROOT}/.pytest.toml"]
    secrets = {**SHELL, "GITHUB_TOKEN": "hunter2", "DB_PASSWORD": "hunter2", "PYTHONPATH": str(ROOT / "tests")}
    process = subprocess.run(
        [*command, str(tmp_path)],
        cwd=ROOT,
        env={**CLEAN_ENVIRONMENT, **secrets},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert process.returncode == 1
    assert "'ENV_FILE': '/dev/null'" in process.stdout  # it does print what make was called with
    assert "hunter2" not in process.stdout + process.stderr
