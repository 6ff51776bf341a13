"""The Makefile: what it needs, what it reads, and what it hands on. Stand-ins note how they were called."""

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from dotenv import dotenv_values
from helpers import ROOT, run_make, write_program
from rehearse import find_free_port

Stub = Callable[..., dict[str, str]]
Calls = Callable[[], str]
Process = subprocess.CompletedProcess[str]
ACCOUNT = {"AWS_ACCOUNT_ID": "123456789012", "AWS_REGION": "eu-central-1", "AWS_LAMBDA_ROLE_ARN": "arn"}
# make uses the environment that it is given, or .venv.
NO_ENVIRONMENT = {"VIRTUAL_ENV": "", "CONDA_DEFAULT_ENV": ""}


@pytest.fixture
def stub(tmp_path: Path) -> Stub:
    """Puts programs first in PATH that note their arguments and their AWS environment, and run this code."""

    def stub(*names: str, code: str = "echo 123456789012") -> dict[str, str]:
        for name in names:
            note = f'{{ echo "{name} $*"; env | grep -E "^(AWS|BUILDX)_" | sort; }} >>"{tmp_path}/calls"'
            write_program(tmp_path / name, f"{note}\n{code}")
        return {"PATH": f"{tmp_path}:{os.environ['PATH']}", "ENV_FILE": str(tmp_path / ".env")}

    return stub


@pytest.fixture
def calls(tmp_path: Path) -> Calls:
    """The notes of the stand-ins so far."""
    (tmp_path / "calls").touch()
    return (tmp_path / "calls").read_text


@pytest.fixture
def bare_path(tmp_path: Path) -> str:
    """A PATH with the ordinary programs, and neither docker, aws nor conda."""
    directory = tmp_path / "bare"
    directory.mkdir()
    ordinary = ("sh", "make", "awk", "sed", "git", "date", "cat", "cksum", "tr", "tail", "ls", "dirname", "python3")
    for name in ordinary:
        (directory / name).symlink_to(shutil.which(name) or f"/bin/{name}")
    return str(directory)


def test_make_alone_shows_the_guide_on_a_bare_machine_and_help_all_every_target(bare_path: str) -> None:
    shown = []
    for arguments in ([], ["help_all"]):
        process = run_make(*arguments, PATH=bare_path)
        assert (process.returncode, process.stderr) == (0, "")
        lines = process.stdout.splitlines()
        assert max(map(len, lines)) <= 105
        shown.append({line.split()[0] for line in lines if line.startswith("  ")})
    guide, every = shown
    assert guide >= {"help_all", "run_api", "test", "run_container", "deploy_to_ecr", "invoke", "deploy", "destroy"}
    assert len(guide) <= 25
    assert every - guide >= {"delete_api", "create_deployer", "rename", "lint", "rehearse", "clean"}


def test_make_settings_shows_each_setting_with_its_default(bare_path: str) -> None:
    process = run_make("settings", PATH=bare_path)
    assert (process.returncode, process.stderr) == (0, "")
    settings = dict(line.split()[0].split("=", 1) for line in process.stdout.splitlines())
    assert settings.items() >= {"ENV_FILE": ".env", "IMAGE_TAG": "latest"}.items()
    assert settings.keys() >= {"ARCHITECTURE", "LAMBDA_MEMORY", "API_PORT"}


@pytest.mark.parametrize(
    ("target", "variables"),
    [
        *((target, {"AWS_ACCOUNT_ID", "AWS_REGION"}) for target in ("deploy", "deploy_to_ecr", "destroy", "logs")),
        *((f"{verb}_lambda_function", ACCOUNT.keys()) for verb in ("create", "update")),
    ],
)
def test_target_names_every_missing_variable_and_does_nothing(
    target: str, variables: set[str], stub: Stub, calls: Calls
) -> None:
    process = run_make(target, **stub("aws", "docker"))
    assert process.returncode == 2
    assert {line.split(" is not set: ")[0] for line in process.stderr.splitlines()[:-1]} == variables
    assert [line for line in calls().splitlines() if re.match("(aws|docker) (?!version)", line)] == []


@pytest.mark.parametrize(("target", "tools"), [("deploy_to_ecr", ["docker", "aws"]), ("create_environment", ["conda"])])
def test_target_names_every_missing_tool(target: str, tools: list[str], bare_path: str) -> None:
    process = run_make(target, PATH=bare_path, ENV_FILE=f"{bare_path}/.env", **ACCOUNT)
    assert process.returncode == 2
    assert sorted(re.findall("^(.*) is not installed: ", process.stderr, re.MULTILINE)) == sorted(tools)


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("Cannot connect to the Docker daemon", "No Docker engine answers: start Docker, or "),
        ("permission denied while trying to connect", "You may not use Docker: ask for the right, for example sudo "),
    ],
)
def test_target_says_why_docker_does_not_answer(said: str, advice: str, stub: Stub) -> None:
    process = run_make("deploy", **ACCOUNT, **(stub("aws") | stub("docker", code=f"echo '{said}' >&2; exit 1")))
    assert process.returncode == 2
    assert process.stderr.startswith(advice)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("build_image ARCHITECTURE=sparc", "ARCHITECTURE=sparc is neither x86_64 nor arm64"),
        *((f"fuzz CASES={cases}", f"CASES={cases} is not a number of events") for cases in ("abc", "0", "-1", "")),
        ("create_deployer GITHUB_REPOSITORY=me/hello", 'the "id" in https://api.github.com/repos/me/hello'),
    ],
)
def test_target_refuses_an_argument_before_it_does_anything(arguments: str, message: str, stub: Stub) -> None:
    process = run_make(*arguments.split(), **ACCOUNT, **stub("aws", "docker"))
    assert (process.returncode, process.stdout) == (2, "")
    assert message in process.stderr


def test_create_deployer_takes_no_repository_from_the_shell() -> None:
    process = run_make("--dry-run", "create_deployer", GITHUB_REPOSITORY="somebody/hello", **ACCOUNT)
    assert (process.returncode, "GithubRepository" in process.stdout) == (0, False)


def show(folder: Path, variable: str, *arguments: str, **environment: str) -> Process:
    """Prints a variable of a recipe. The folder has the .env."""
    (folder / "show.mk").write_text(f'show: ; @printf %s "{variable}"\n')
    files = ("--makefile=Makefile", f"--makefile={folder}/show.mk")
    return run_make(*files, "show", *arguments, ENV_FILE=str(folder / ".env"), **environment)


@pytest.mark.parametrize(
    "text",
    [
        *("AWS_REGION=eu-west-1", "AWS_REGION='eu-west-1'", 'AWS_REGION="eu-west-1"', "AWS_REGION=eu-west-1\r"),
        *("export AWS_REGION = eu-west-1  ", "export\tAWS_REGION=eu-west-1", "\tAWS_REGION\t=\teu-west-1"),
        *("AWS_REGION=eu-west-1 # Ireland", "AWS_REGION= # to be filled in", "AWS_REGION=us-east-1\nAWS_REGION="),
        *("AWS_REGION=us-east-1\nAWS_REGION=eu-west-1", "#AWS_REGION=a\nMY_AWS_REGION=b\nAWS_REGION=eu-west-1"),
    ],
)
def test_env_file_is_read_as_dotenv_reads_it(tmp_path: Path, text: str) -> None:
    (tmp_path / ".env").write_bytes(f"{text}\n".encode())
    process = show(tmp_path, "$(AWS_REGION)")
    assert (process.stdout, process.stderr) == (dotenv_values(tmp_path / ".env")["AWS_REGION"], "")


@pytest.mark.parametrize(
    "value",
    [
        *("a$(touch {})b", "`touch {}`", "a;touch {}", "'a;touch {}'", '"$(touch {})"', "a|touch {}", "a&touch {}"),
        *("$(shell touch {})", "${{HOME}}", "a b", "a\\b", "a>{}", '"a', "a'b", "eu#west"),
    ],
)
def test_value_that_a_shell_could_execute_is_refused(tmp_path: Path, value: str) -> None:
    (tmp_path / ".env").write_text(f"AWS_REGION={value.format(tmp_path / 'executed')}\n")
    process = show(tmp_path, "$(AWS_REGION)")
    assert (process.returncode, process.stdout, (tmp_path / "executed").exists()) == (2, "", False)
    assert f"AWS_REGION in {tmp_path}/.env has characters that no such value has" in process.stderr


@pytest.mark.parametrize(
    ("arguments", "environment", "region"),
    [
        ([], {}, "from-file"),
        ([], {"AWS_REGION": ""}, "from-file"),
        ([], {"AWS_REGION": "from-shell"}, "from-shell"),
        (["AWS_REGION=from-make"], {"AWS_REGION": "from-shell"}, "from-make"),
    ],
)
def test_command_line_wins_over_environment_and_env_file(
    tmp_path: Path, arguments: list[str], environment: dict[str, str], region: str
) -> None:
    (tmp_path / ".env").write_text("AWS_REGION=from-file\n")
    assert show(tmp_path, "$$AWS_REGION", *arguments, **environment).stdout == region


INVOKER = {"AWS_ACCESS_KEY": "AKIAINVOKER", "AWS_SECRET_ACCESS_KEY": "invokers", "AWS_SESSION_TOKEN": "invokers"}


@pytest.mark.parametrize("environment", [{}, INVOKER], ids=["from the file", "from the shell"])
def test_the_invokers_credentials_never_reach_the_aws_cli(
    tmp_path: Path, stub: Stub, calls: Calls, environment: dict[str, str]
) -> None:
    (tmp_path / ".env").write_text("".join(f"{name}={value}\n" for name, value in (ACCOUNT | INVOKER).items()))
    targets = ("create_ecr_repository", "deploy_to_ecr", "create_lambda_function")
    run_make("--keep-going", *targets, **environment, **stub("aws", "docker"))
    operations = set(re.findall("^aws [a-z]+ ([a-z-]+)", calls(), re.MULTILINE))
    assert operations >= {"get-caller-identity", "describe-stacks", "get-login-password", "list-functions"}
    assert [text for text in ("AKIAINVOKER", "invokers") if text in calls()] == []


def test_one_secret_for_two_keys_stops_before_the_aws_cli_gets_it(stub: Stub, calls: Calls) -> None:
    """The shell's variables after `set -a; . .env`, beside the deployer's own key."""
    keys = {**INVOKER, "AWS_ACCESS_KEY_ID": "AKIADEPLOYER"}
    process = run_make("create_ecr_repository", **ACCOUNT, **keys, **stub("aws"))
    assert (process.returncode, calls()) == (2, "")
    assert "unset AWS_ACCESS_KEY" in process.stderr


def test_the_deployers_credentials_reach_the_aws_cli_and_no_pager_does(stub: Stub, calls: Calls) -> None:
    keys = {"AWS_ACCESS_KEY_ID": "AKIADEPLOYER", "AWS_SECRET_ACCESS_KEY": "deployers", "AWS_SESSION_TOKEN": "token"}
    run_make("create_ecr_repository", AWS_PROFILE="mine", **keys, **ACCOUNT, **stub("aws"))
    expected = {"AWS_PAGER=", "AWS_PROFILE=mine", *(f"{name}={value}" for name, value in keys.items())}
    assert set(calls().splitlines()) >= expected


def get_new_tag(checkout: Path, architecture: str = "x86_64") -> str:
    """The tag that a push would have now, without its time."""
    arguments = ("--directory", str(checkout), f"ARCHITECTURE={architecture}")
    shown = run_make("--dry-run", "deploy_to_ecr", *arguments).stdout
    (tag,) = re.findall(r"docker push \S+/hello-lambda:\d{8}T\d{6}Z-(\S+)", shown)
    return str(tag)


def test_push_has_a_tag_of_its_time_and_commit(checkout: Path) -> None:
    command = ["git", "rev-parse", "--short=12", "HEAD"]
    commit = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=True).stdout.strip()
    (checkout / "README.md").write_text("not in the image")
    assert get_new_tag(checkout) == commit
    assert get_new_tag(checkout, "arm64") == f"{commit}-arm64"
    (checkout / "app/new.py").touch()
    assert get_new_tag(checkout) == f"{commit}-dirty"
    shutil.rmtree(checkout / ".git")
    assert get_new_tag(checkout) == "no-commit"


@pytest.mark.parametrize(
    ("arguments", "environment", "command"),
    [
        ("build_image ARCHITECTURE=x86_64", {}, "docker build --platform linux/amd64 "),
        ("build_image ARCHITECTURE=arm64", {}, "docker build --platform linux/arm64 "),
        ("create_lambda_function ARCHITECTURE=arm64", {}, "--architectures arm64 --memory-size"),
        ("deploy_to_ecr", {"AWS_REGION": "cn-north-1"}, "dkr.ecr.cn-north-1.amazonaws.com.cn/hello-lambda:latest"),
        ("deploy_to_ecr", {"AWS_REGION": "us-gov-west-1"}, "dkr.ecr.us-gov-west-1.amazonaws.com/hello-lambda:latest"),
        ("lock", {}, "--python-version 3.11 --upgrade "),
        ("lock PACKAGE=loguru", {}, "--python-version 3.11 --upgrade-package loguru "),
        ("test", {}, '".venv/bin/python" -m pytest'),
        ("test", {"VIRTUAL_ENV": "/my envs/one"}, '"/my envs/one/bin/python" -m pytest'),
        ("test", {"CONDA_PREFIX": "/conda/two", "CONDA_DEFAULT_ENV": "two"}, '"/conda/two/bin/python" -m pytest'),
        ("test", {"CONDA_PREFIX": "/conda", "CONDA_DEFAULT_ENV": "base"}, '".venv/bin/python" -m pytest'),
    ],
)
def test_setting_changes_the_command(arguments: str, environment: dict[str, str], command: str) -> None:
    process = run_make("--dry-run", *arguments.split(), **{**ACCOUNT, **NO_ENVIRONMENT, **environment})
    assert command in process.stdout


def test_python_keeps_its_caches_also_where_the_shell_forbids_it(tmp_path: Path) -> None:
    process = show(tmp_path, "$${PYTHONDONTWRITEBYTECODE-unset}", PYTHONDONTWRITEBYTECODE="1")
    assert process.stdout == "unset"


@pytest.fixture
def fake_python(tmp_path: Path) -> Path:
    """It is new enough, makes environments with itself as their Python, and notes what is installed."""
    code = f"""case $* in
"-c "*) exit ${{TOO_OLD:-0}} ;;
"-m venv --clear "*) mkdir -p "$4/bin" && cp "$0" "$4/bin/python" ;;
*) echo "$*" >>"{tmp_path}/installed" ;;
esac"""
    return write_program(tmp_path / "python", code)


def install(checkout: Path, python: Path, **environment: str) -> Process:
    own = {"PYTHON": str(python), **NO_ENVIRONMENT, **environment}
    return run_make("requirements", "--directory", str(checkout), **own)


@pytest.mark.parametrize("active", ["", "an environment"], ids=["without an environment", "with an active environment"])
def test_requirements_are_installed_again_only_when_they_change(
    checkout: Path, tmp_path: Path, fake_python: Path, active: str
) -> None:
    if active:
        (tmp_path / active / "bin").mkdir(parents=True)
        shutil.copy(fake_python, tmp_path / active / "bin/python")
    locks = "--requirement requirements.lock --requirement tests/requirements/dev.lock"
    line = f"-m pip install --no-compile --require-hashes {locks}\n"
    for lines in (1, 1, 2):
        if lines == 2:
            (checkout / "tests/requirements/dev.lock").write_text("another==1\n")
        process = install(checkout, fake_python, VIRTUAL_ENV=active and str(tmp_path / active))
        assert process.returncode == 0, process.stderr
        assert (tmp_path / "installed").read_text() == line * lines
    assert (checkout / ".venv").exists() == (not active)


@pytest.mark.parametrize("damage", ["lib", "pyvenv.cfg"])
def test_environment_of_a_stopped_installation_is_made_again(checkout: Path, tmp_path: Path, damage: str) -> None:
    """Ctrl-C leaves it without pip. Without pyvenv.cfg its Python is the machine's, which must get no packages."""
    # Its environments take pip from this Python: a copy of pip takes 4 s.
    quick_venv = '"-m venv "*) shift 2; set -- -m venv --without-pip --system-site-packages "$@" ;;'
    python = write_program(tmp_path / "python", f'case $* in {quick_venv} esac\nexec "{sys.executable}" "$@"')
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", checkout / ".venv"], check=True, timeout=60)
    (checkout / ".venv" / damage).rename(tmp_path / damage)
    process = install(checkout, python, PIP_INDEX_URL="http://127.0.0.1:1", PIP_RETRIES="0")
    assert "No module named pip" not in process.stderr
    assert (checkout / ".venv/pyvenv.cfg").exists()


def test_active_environment_without_pip_is_named(checkout: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "own"], check=True, timeout=60)
    process = run_make("requirements", "--directory", str(checkout), VIRTUAL_ENV=str(tmp_path / "own"))
    refusal = f"The environment {tmp_path}/own has no pip: install it there, or deactivate the environment"
    assert process.stderr.splitlines()[0] == refusal


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"TOO_OLD": "1"}, "{fake_python}"),
        ({"PYTHON": "/nowhere/python"}, "/nowhere/python"),
        ({"VIRTUAL_ENV": "/nowhere"}, "/nowhere/bin/python"),
    ],
)
def test_make_names_a_python_that_is_too_old_or_missing(
    checkout: Path, fake_python: Path, environment: dict[str, str], named: str
) -> None:
    process = install(checkout, fake_python, **environment)
    assert process.returncode == 2
    message = f"{named.format(fake_python=fake_python)} is missing or older than 3.11: name a newer one"
    assert process.stderr.startswith(message)
    assert not (checkout / ".venv").exists()


def test_dry_run_of_deploy_prints_the_commands_that_one_would_type() -> None:
    lines = run_make("--dry-run", "deploy", "LAMBDA_MEMORY=512", **ACCOUNT).stdout.splitlines()
    shown = [line for line in lines if not line.startswith(("aws/require ", "echo "))]
    typed = ("docker build", "docker push", "aws lambda create-function", "examples/invoke_secure_routes.py")
    assert [command for command in typed if command not in "".join(shown)] == []
    assert [line for line in shown if "make " in line] == []
    assert len(lines) <= 30
    assert max(len(line.replace(sys.prefix, ".venv")) for line in lines) <= 160
    own_scripts = [line for line in shown if re.search(r"(^| )aws/(?!\w+\.yaml)", line)]
    assert len(own_scripts) <= 7  # with aws/wait_for_api


def test_workflow_deploys_every_stack_but_the_invokers() -> None:
    (target,) = re.findall(r"run: make (\w+)$", (ROOT / ".github/workflows/deploy.yaml").read_text(), re.MULTILINE)
    shown = [run_make("--dry-run", each, **ACCOUNT).stdout for each in (target, "deploy")]
    stacks, all_stacks = (re.findall(r"--stack-name (\S+)", text) for text in shown)
    assert [*stacks, "hello-lambda-invoker"] == all_stacks


@pytest.mark.parametrize(("target", "setting"), [("run_container", "LAMBDA_PORT"), ("run_app", "APP_PORT")])
def test_target_names_a_taken_port_and_the_setting(stub: Stub, target: str, setting: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        process = run_make(target, f"{setting}={port}", **stub("docker"))
    message = f"Port {port} cannot be used (Address already in use). Name another: {setting}=…"
    assert (process.returncode, process.stderr.splitlines()[0]) == (2, message)
    assert re.findall("docker run|uvicorn", process.stdout) == []


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (2, "It crashed: it takes one request at a time. Run the target again\n"),
        (125, "If the name is in use, take another one: LAMBDA_CONTAINER_NAME=…\n"),
        (1, "make: "),
        (0, ""),
    ],
)
def test_run_container_explains_a_crash_and_a_name_in_use(stub: Stub, code: int, message: str) -> None:
    docker = stub("docker", code=f"[ $1 != run ] || exit {code}")
    process = run_make("run_container", f"LAMBDA_PORT={find_free_port()}", **docker)
    assert bool(process.returncode) == bool(code)
    assert process.stderr.startswith(message)
    assert len(process.stderr.splitlines()) == bool(code) + message.endswith("\n")


def test_rename_without_git_is_refused(checkout: Path) -> None:
    shutil.rmtree(checkout / ".git")
    outside = {"GIT_CEILING_DIRECTORIES": str(checkout.parent)}
    process = run_make("rename", "NAME=my-api", "--directory", str(checkout), **outside)
    assert process.returncode == 2
    assert process.stderr.startswith("make rename needs git, and a clone")


def test_clean_deletes_what_make_made_and_nothing_else(checkout: Path) -> None:
    for made in (".venv", ".rie", ".uv", ".scanners", "app/__pycache__", "aws/__pycache__", ".pytest_cache"):
        (checkout / made).mkdir()
        (checkout / made / "a file").touch()
    (checkout / ".env").write_text("AWS_REGION=eu-central-1\n")
    process = run_make("clean", "--directory", str(checkout))
    assert process.returncode == 0, process.stderr
    status = ["git", "status", "--porcelain", "--ignored"]
    assert subprocess.check_output(status, cwd=checkout, text=True) == "!! .env\n"
