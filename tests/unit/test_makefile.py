"""The Makefile: what it needs, what it reads, and what it hands on. Stand-ins note how they were called."""

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from dotenv import dotenv_values
from helpers import LOCAL_IMAGE, PYTHON_VERSION, ROOT, run_make
from rehearse import find_free_port

Stub = Callable[..., dict[str, str]]
ACCOUNT = {"AWS_ACCOUNT_ID": "123456789012", "AWS_REGION": "eu-central-1", "AWS_LAMBDA_ROLE_ARN": "arn"}


@pytest.fixture
def stub(tmp_path: Path) -> Stub:
    """Puts programs first in PATH that note their arguments and their AWS environment, and print the account."""
    directory = tmp_path / "bin"
    directory.mkdir()

    def stub(*names: str, exit_code: int = 0) -> dict[str, str]:
        for name in names:
            program = directory / name
            program.write_text(
                f'#!/bin/sh\necho "{name} $*" >>"{tmp_path}/calls"\n'
                f'env | grep -E "^(AWS|BUILDX)_" | sort >>"{tmp_path}/calls"\necho 123456789012\nexit {exit_code}\n'
            )
            program.chmod(0o755)
        return {"PATH": f"{directory}:{os.environ['PATH']}", "ENV_FILE": str(tmp_path / ".env")}

    return stub


@pytest.fixture
def calls(tmp_path: Path) -> Callable[[], str]:
    """The notes of the stand-ins so far."""
    return lambda: (tmp_path / "calls").read_text() if (tmp_path / "calls").exists() else ""


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
        command, environment = ["make", *arguments], {"PATH": bare_path}
        process = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=30)
        assert (process.returncode, process.stderr) == (0, "")
        lines = process.stdout.splitlines()
        assert max(len(line) for line in lines) <= 105
        shown.append({line.split()[0] for line in lines if line.startswith("  ")})
    guide, every = shown
    assert guide >= {"help_all", "run_api", "test", "run_container", "deploy_to_ecr", "invoke", "deploy", "destroy"}
    assert len(guide) <= 25
    assert every - guide >= {"delete_api", "create_deployer", "rename", "lint", "rehearse", "clean"}


def test_make_settings_shows_each_setting_with_its_default(bare_path: str) -> None:
    command = ["make", "settings"]
    process = subprocess.run(command, cwd=ROOT, env={"PATH": bare_path}, capture_output=True, text=True, timeout=30)
    assert (process.returncode, process.stderr) == (0, "")
    settings = dict(line.split()[0].split("=", 1) for line in process.stdout.splitlines())
    assert settings.items() >= {"ENV_FILE": ".env", "IMAGE_TAG": "latest"}.items()
    assert settings.keys() >= {"ARCHITECTURE", "LAMBDA_MEMORY", "API_PORT"}


@pytest.mark.parametrize(
    ("target", "variables"),
    [
        ("create_ecr_repository", ["AWS_ACCOUNT_ID", "AWS_REGION"]),
        ("deploy", ["AWS_ACCOUNT_ID", "AWS_REGION"]),
        ("destroy", ["AWS_ACCOUNT_ID", "AWS_REGION"]),
        ("update_lambda_function", ["AWS_ACCOUNT_ID", "AWS_REGION", "AWS_LAMBDA_ROLE_ARN"]),
        ("deploy_to_ecr", ["AWS_ACCOUNT_ID", "AWS_REGION"]),
        ("create_lambda_function", ["AWS_ACCOUNT_ID", "AWS_REGION", "AWS_LAMBDA_ROLE_ARN"]),
        ("delete_lambda_function", ["AWS_ACCOUNT_ID", "AWS_REGION"]),
        ("delete_ecr_repository", ["AWS_ACCOUNT_ID", "AWS_REGION"]),
        ("logs", ["AWS_ACCOUNT_ID", "AWS_REGION"]),
    ],
)
def test_target_names_every_missing_variable_and_does_nothing(
    target: str, variables: list[str], stub: Stub, calls: Callable[[], str]
) -> None:
    process = run_make(target, **stub("aws", "docker"))
    assert process.returncode == 2
    assert sorted(line.split()[0] for line in process.stderr.splitlines()[:-1]) == sorted(variables)
    assert all(" is not set: " in line for line in process.stderr.splitlines()[:-1])
    assert [
        line for line in calls().splitlines() if line.split()[0] in ("aws", "docker") and line[:14] != "docker version"
    ] == []


@pytest.mark.parametrize(
    ("target", "tools"),
    [
        ("create_ecr_repository", ["aws"]),
        ("deploy_to_ecr", ["aws", "docker"]),
        ("create_lambda_function", ["aws"]),
        ("create_environment", ["conda"]),
    ],
)
def test_target_names_every_missing_tool(target: str, tools: list[str], bare_path: str) -> None:
    process = run_make(target, PATH=bare_path, ENV_FILE=f"{bare_path}/.env", **ACCOUNT)
    assert process.returncode == 2
    said = [line for line in process.stderr.splitlines() if "is not installed" in line]
    assert [line.split()[0] for line in said] == tools


def test_target_names_a_docker_engine_that_does_not_answer(stub: Stub) -> None:
    process = run_make("deploy", **ACCOUNT, **(stub("aws") | stub("docker", exit_code=1)))
    assert process.returncode == 2
    assert process.stderr.startswith("No Docker engine answers: start Docker, or ")


@pytest.mark.parametrize("target", ["build_image", "create_lambda_function"])
def test_target_refuses_an_unknown_architecture(target: str, stub: Stub) -> None:
    process = run_make(target, "ARCHITECTURE=sparc", **stub("docker", "aws"))
    assert "ARCHITECTURE=sparc is neither x86_64 nor arm64" in process.stderr
    assert process.returncode == 2


@pytest.mark.parametrize(("architecture", "platform"), [("x86_64", "linux/amd64"), ("arm64", "linux/arm64")])
def test_architecture_drives_image_and_function(
    architecture: str, platform: str, stub: Stub, calls: Callable[[], str]
) -> None:
    assert run_make("build_image", f"ARCHITECTURE={architecture}", **stub("docker")).returncode == 0
    assert f"docker build --platform {platform} --tag {LOCAL_IMAGE} .\n" in calls()
    assert "BUILDX_NO_DEFAULT_ATTESTATIONS=1\n" in calls()
    process = run_make("create_lambda_function", "--dry-run", f"ARCHITECTURE={architecture}", **ACCOUNT)
    assert f"--architectures {architecture} " in process.stdout


@pytest.mark.parametrize(
    ("line", "region"),
    [
        ("AWS_REGION=eu-west-1", "eu-west-1"),
        ("AWS_REGION='eu-west-1'", "eu-west-1"),
        ('AWS_REGION="eu-west-1"', "eu-west-1"),
        ("export AWS_REGION = eu-west-1  ", "eu-west-1"),
        ("AWS_REGION=eu-west-1 # Ireland", "eu-west-1"),
        ("AWS_REGION=eu-west-1\r", "eu-west-1"),
        ("AWS_REGION= # to be filled in", ""),
        ("export\tAWS_REGION=eu-west-1", "eu-west-1"),
        ("\tAWS_REGION\t=\teu-west-1", "eu-west-1"),
        ("AWS_REGION=us-east-1\nAWS_REGION=eu-west-1", "eu-west-1"),
        ("AWS_REGION=us-east-1\nAWS_REGION=", ""),
        ("#AWS_REGION=us-east-1\nMY_AWS_REGION=us-east-1\nAWS_REGION=eu-west-1", "eu-west-1"),
    ],
)
def test_env_file_is_read_as_dotenv_reads_it(tmp_path: Path, line: str, region: str) -> None:
    process = show_region(tmp_path, line)
    assert (process.stdout, process.stderr) == (region, "")
    assert dotenv_values(tmp_path / ".env", interpolate=False)["AWS_REGION"] == region


def show_region(folder: Path, line: str) -> subprocess.CompletedProcess[str]:
    """Prints what make reads from a .env with this line."""
    (folder / ".env").write_bytes(f"{line}\n".encode())
    (folder / "show.mk").write_text("show: ; @printf '%s' \"$(AWS_REGION)\"\n")
    files = ["--makefile", "Makefile", "--makefile", str(folder / "show.mk")]
    return run_make(*files, "show", ENV_FILE=str(folder / ".env"))


@pytest.mark.parametrize(
    "value",
    [
        *("a$(touch {})b", "`touch {}`", "a;touch {}", "'a;touch {}'", '"$(touch {})"', "a|touch {}", "a&touch {}"),
        *("$(shell touch {})", "${{HOME}}", "a b", "a\\b", "a>{}", '"a', "a'b", "eu#west"),
    ],
)
def test_value_that_a_shell_could_execute_is_refused(tmp_path: Path, value: str) -> None:
    process = show_region(tmp_path, "AWS_REGION=" + value.format(tmp_path / "executed"))
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
    tmp_path: Path, stub: Stub, calls: Callable[[], str], arguments: list[str], environment: dict[str, str], region: str
) -> None:
    (tmp_path / ".env").write_text("AWS_REGION=from-file\n")
    run_make("create_ecr_repository", *arguments, "AWS_ACCOUNT_ID=123456789012", **environment, **stub("aws"))
    assert set(re.findall("AWS_.*REGION=.*", calls())) == {f"AWS_REGION={region}"}


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"AWS_ACCESS_KEY": "AKIAINVOKER", "AWS_SECRET_ACCESS_KEY": "invokers", "AWS_SESSION_TOKEN": "invokers"},
    ],
    ids=["from the file", "from the shell"],
)
@pytest.mark.parametrize("target", ["create_ecr_repository", "deploy_to_ecr", "create_lambda_function"])
def test_the_invokers_credentials_never_reach_the_aws_cli(
    tmp_path: Path, stub: Stub, calls: Callable[[], str], environment: dict[str, str], target: str
) -> None:
    (tmp_path / ".env").write_text(
        "AWS_REGION=eu-central-1\nAWS_ACCOUNT_ID=123456789012\nAWS_LAMBDA_ROLE_ARN=arn\n"
        "AWS_ACCESS_KEY=AKIAINVOKER\nAWS_SECRET_ACCESS_KEY=invokers\nAWS_SESSION_TOKEN=invokers\n"
    )
    run_make(target, **environment, **stub("aws", "docker"))
    assert "\naws " in f"\n{calls()}"
    assert [text for text in ("AKIAINVOKER", "invokers") if text in calls()] == []


def test_one_secret_for_two_keys_stops_before_the_aws_cli_gets_it(stub: Stub, calls: Callable[[], str]) -> None:
    """The shell's variables after `set -a; . .env`, beside the deployer's own key."""
    keys = {"AWS_ACCESS_KEY": "AKIAINVOKER", "AWS_SECRET_ACCESS_KEY": "invokers", "AWS_ACCESS_KEY_ID": "AKIADEPLOYER"}
    process = run_make("create_ecr_repository", **{**ACCOUNT, **keys}, **stub("aws"))
    assert (process.returncode, calls()) == (2, "")
    assert "unset AWS_ACCESS_KEY" in process.stderr


def test_the_deployers_credentials_reach_the_aws_cli_and_no_pager_does(
    tmp_path: Path, stub: Stub, calls: Callable[[], str]
) -> None:
    environment = {
        "AWS_ACCESS_KEY_ID": "AKIADEPLOYER",
        "AWS_SECRET_ACCESS_KEY": "deployers",
        "AWS_SESSION_TOKEN": "token",
        "AWS_PROFILE": "profile",
    }
    arguments = ["AWS_ACCOUNT_ID=123456789012", "AWS_REGION=eu-central-1"]
    run_make("create_ecr_repository", *arguments, **environment, **stub("aws"))
    noted = set(calls().splitlines())
    assert noted >= {f"{name}={value}" for name, value in environment.items()} | {"AWS_PAGER="}


def get_new_tag(*arguments: str, **environment: str) -> str:
    """The tag that a push would have now."""
    pushed = re.findall(
        r"docker push \S+/hello-lambda:(\S+)", run_make("--dry-run", "deploy_to_ecr", *arguments).stdout
    )
    assert pushed[1:] == ["latest"]
    return str(pushed[0])


def test_push_has_a_tag_of_its_time_and_commit(checkout: Path) -> None:
    command = ["git", "rev-parse", "--short=12", "HEAD"]
    commit = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=True).stdout.strip()
    here = ["--directory", str(checkout), "ARCHITECTURE=x86_64"]
    assert re.fullmatch(rf"\d{{8}}T\d{{6}}Z-{commit}", get_new_tag(*here))
    assert re.fullmatch(rf"\d{{8}}T\d{{6}}Z-{commit}-arm64", get_new_tag(*here[:2], "ARCHITECTURE=arm64"))
    (checkout / "README.md").write_text("not in the image")
    assert get_new_tag(*here).endswith(f"Z-{commit}")
    (checkout / "app/new.py").touch()
    assert get_new_tag(*here).endswith(f"Z-{commit}-dirty")
    shutil.rmtree(checkout / ".git")
    assert get_new_tag(*here).endswith("Z-no-commit")


@pytest.mark.parametrize(
    ("region", "registry"),
    [
        ("eu-central-1", "123456789012.dkr.ecr.eu-central-1.amazonaws.com"),
        ("cn-north-1", "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn"),
        ("us-gov-west-1", "123456789012.dkr.ecr.us-gov-west-1.amazonaws.com"),
    ],
)
def test_registry_is_ecrs_in_each_partition(region: str, registry: str) -> None:
    arguments = ["AWS_ACCOUNT_ID=123456789012", f"AWS_REGION={region}"]
    process = run_make("--dry-run", "deploy_to_ecr", *arguments)
    assert f"docker push {registry}/hello-lambda:latest\n" in process.stdout


@pytest.mark.parametrize(
    ("environment", "python"),
    [
        ({}, ".venv/bin/python"),
        ({"VIRTUAL_ENV": "/my envs/one"}, "/my envs/one/bin/python"),
        ({"CONDA_PREFIX": "/conda/envs/two", "CONDA_DEFAULT_ENV": "two"}, "/conda/envs/two/bin/python"),
        ({"CONDA_PREFIX": "/conda", "CONDA_DEFAULT_ENV": "base"}, ".venv/bin/python"),
    ],
)
def test_make_uses_the_active_environment(environment: dict[str, str], python: str) -> None:
    process = run_make("--dry-run", "test", **{"VIRTUAL_ENV": "", "CONDA_DEFAULT_ENV": "", **environment})
    assert process.stdout.splitlines()[-1] == f'"{python}" -m pytest'


def test_python_keeps_its_caches_also_where_the_shell_forbids_it(tmp_path: Path) -> None:
    (tmp_path / "show.mk").write_text("show: ; @echo $${PYTHONDONTWRITEBYTECODE-unset}\n")
    files = ["--makefile", "Makefile", "--makefile", str(tmp_path / "show.mk")]
    assert run_make(*files, "show", PYTHONDONTWRITEBYTECODE="1").stdout == "unset\n"


# It is new enough, it makes environments with itself as their Python, and it notes what is installed.
PYTHON = """#!/bin/sh
case $* in
"-c "*) exit ${{TOO_OLD:-0}} ;;
"-m venv --clear "*) mkdir -p "$4/bin" && cp "$0" "$4/bin/python" && exit ${{BROKEN:-0}} ;;
*) echo "$*" >>"{folder}/installed" ;;
esac
"""


@pytest.fixture
def fake_python(tmp_path: Path) -> Path:
    program = tmp_path / "python"
    program.write_text(PYTHON.format(folder=tmp_path))
    program.chmod(0o755)
    return program


def install(checkout: Path, python: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    own = {"PYTHON": str(python), "VIRTUAL_ENV": "", "CONDA_DEFAULT_ENV": "", **environment}
    return run_make("requirements", "--directory", str(checkout), **own)


def test_requirements_are_installed_again_only_when_they_change(checkout: Path, fake_python: Path) -> None:
    installed = fake_python.parent / "installed"
    first = install(checkout, fake_python)
    locks = "--requirement requirements.lock --requirement tests/requirements/dev.lock"
    line = f"-m pip install --no-compile --require-hashes {locks}\n"
    assert (first.returncode, installed.read_text()) == (0, line), first.stderr
    assert install(checkout, fake_python).returncode == 0
    assert installed.read_text() == line
    (checkout / "tests/requirements/dev.lock").write_text("another==1\n")
    assert install(checkout, fake_python).returncode == 0
    assert installed.read_text() == line * 2


def test_requirements_go_into_an_active_environment_whose_path_has_a_space(checkout: Path, fake_python: Path) -> None:
    active = fake_python.parent / "an environment"
    (active / "bin").mkdir(parents=True)
    shutil.copy(fake_python, active / "bin/python")
    for _ in range(2):
        process = install(checkout, fake_python, VIRTUAL_ENV=str(active))
        assert process.returncode == 0, process.stderr
    assert len((fake_python.parent / "installed").read_text().splitlines()) == 1
    assert not (checkout / ".venv").exists()


def test_environment_that_could_not_be_made_is_made_again(checkout: Path, fake_python: Path) -> None:
    assert install(checkout, fake_python, BROKEN="1").returncode == 2
    assert install(checkout, fake_python).returncode == 0


# Makes environments that take pip from this Python: a copy of pip takes 4 s.
QUICK_VENV = f"""#!/bin/sh
case $* in
"-m venv "*) shift 2; set -- -m venv --without-pip --system-site-packages "$@" ;;
esac
exec "{sys.executable}" "$@"
"""


def test_environment_of_a_stopped_installation_is_made_again(checkout: Path, tmp_path: Path) -> None:
    """Ctrl-C leaves it without pip. Without pyvenv.cfg its Python is the machine's, which must get no packages."""
    (tmp_path / "python").write_text(QUICK_VENV)
    (tmp_path / "python").chmod(0o755)
    for damage in ("lib", "pyvenv.cfg"):
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", checkout / ".venv"], check=True, timeout=60)
        path = checkout / ".venv" / damage
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        settings = {
            "VIRTUAL_ENV": "",
            "CONDA_DEFAULT_ENV": "",
            "PIP_INDEX_URL": "http://127.0.0.1:1",
            "PIP_RETRIES": "0",
        }
        process = run_make("requirements", "--directory", str(checkout), **settings, PYTHON=str(tmp_path / "python"))
        assert "No module named pip" not in process.stderr
        assert (checkout / ".venv/pyvenv.cfg").exists()


def test_active_environment_without_pip_is_named(checkout: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "own"], check=True, timeout=60)
    process = run_make("requirements", "--directory", str(checkout), VIRTUAL_ENV=str(tmp_path / "own"))
    refusal = f"The environment {tmp_path}/own has no pip: install it there, or deactivate the environment"
    assert process.stderr.splitlines()[0] == refusal


@pytest.mark.parametrize("environment", [{"TOO_OLD": "1"}, {"PYTHON": "/nowhere/python"}, {"VIRTUAL_ENV": "/nowhere"}])
def test_make_names_a_python_that_is_too_old_or_missing(
    checkout: Path, fake_python: Path, environment: dict[str, str]
) -> None:
    process = install(checkout, fake_python, **environment)
    assert process.returncode == 2
    named = {"TOO_OLD": str(fake_python), "PYTHON": "/nowhere/python", "VIRTUAL_ENV": "/nowhere/bin/python"}
    (name,) = environment
    assert process.stderr.startswith(f"{named[name]} is missing or older than 3.11: name a newer one")
    assert not (checkout / ".venv").exists()


def test_dry_run_of_deploy_prints_the_commands_that_one_would_type() -> None:
    process = run_make("--dry-run", "deploy", "LAMBDA_MEMORY=512", **ACCOUNT)
    lines = process.stdout.splitlines()
    shown = re.sub("^(aws/require|echo) .*", "", process.stdout, flags=re.MULTILINE)
    commands = re.findall(r"\b(aws (?!cloudformation describe)[a-z]+ [a-z-]+|docker [a-z]+) ", shown)
    assert commands == [
        *("aws cloudformation deploy", "docker pull", "docker build", "aws ecr get-login-password", "docker login"),
        *("docker tag", "docker push", "docker tag", "docker push", "aws cloudformation deploy"),
        *("aws lambda list-functions", "aws lambda create-function", "aws lambda wait"),
        *("aws lambda wait", "aws lambda update-function-code", "aws lambda wait"),
        *("aws lambda update-function-configuration", "aws lambda wait"),
        *("aws cloudformation deploy", "aws apigateway create-deployment", "aws cloudformation deploy"),
    ]
    assert "make " not in shown
    assert lines[-2].endswith("examples/invoke_secure_routes.py")
    assert lines[-1].startswith('echo ">> deployed. ')
    assert len(lines) <= 30
    assert max(len(line.replace(sys.prefix, ".venv")) for line in lines) <= 160
    own = [line for line in lines if re.search(r"(^| )aws/(?!\w+\.yaml)", line) and not line.startswith("aws/require")]
    assert len(own) <= 7  # with aws/wait_for_api


def test_recipes_of_a_deployment_use_no_variable_of_the_tools() -> None:
    """The files that deploy and delete define every name that they use."""
    tools = (ROOT / "tests/tools.mk").read_text()
    defined = set(re.findall(r"^(\w+) *[:?]?=", tools, re.MULTILINE))
    for name in ("Makefile", "aws/destroy.mk", "aws/deployer.mk"):
        used = set(re.findall(r"\$\((?:call )?(\w+)[,)]", (ROOT / name).read_text()))
        assert used & defined == set()


def test_stage_is_default_without_a_boundary_and_has_the_applications_name_with_one() -> None:
    """A deployer's boundary allows only the stage of this name."""
    for boundary, stage in (
        ("", "default"),
        ("arn:aws:iam::123456789012:policy/hello-lambda-boundary", "hello-lambda"),
    ):
        for target in ("create_api", "create_invoker"):
            shown = run_make("--dry-run", target, **ACCOUNT, AWS_PERMISSIONS_BOUNDARY=boundary).stdout
            assert f" StageName={stage} " in shown
    assert f" Boundary={boundary}\n" in shown


def test_destroy_deletes_in_an_order_that_lets_each_go() -> None:
    """The invoker imports the API's id, and the API's permission goes before its function."""
    shown = run_make("--dry-run", "destroy", **ACCOUNT).stdout
    deleted = re.findall(r"delete-stack --stack-name hello-lambda-(\w+)|aws lambda (delete-function)", shown)
    assert ["".join(each) for each in deleted] == ["invoker", "api", "delete-function", "role", "repository"]


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def test_run_container_names_a_taken_port_and_the_setting(
    stub: Stub, calls: Callable[[], str], taken_port: int
) -> None:
    process = run_make("run_container", f"LAMBDA_PORT={taken_port}", **stub("docker"))
    message = f"Port {taken_port} cannot be used (Address already in use). Name another: LAMBDA_PORT=…"
    assert (process.returncode, process.stderr.splitlines()[0]) == (2, message)
    assert "docker run" not in calls()


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (2, "It crashed: it takes one request at a time. Run the target again\n"),
        (125, "If the name is in use, take another one: LAMBDA_CONTAINER_NAME=…\n"),
        (1, "make: "),
        (0, ""),
    ],
)
def test_run_container_explains_a_crash_and_a_name_in_use(tmp_path: Path, stub: Stub, code: int, message: str) -> None:
    settings = stub("docker")
    (tmp_path / "bin/docker").write_text(f"#!/bin/sh\n[ $1 != run ] || exit {code}\n")
    process = run_make("run_container", f"LAMBDA_PORT={find_free_port()}", **settings)
    assert bool(process.returncode) == bool(code)
    assert process.stderr.startswith(message)
    assert len(process.stderr.splitlines()) == bool(code) + message.endswith("\n")


def test_run_app_names_a_taken_port_and_the_setting(taken_port: int) -> None:
    process = run_make("run_app", f"APP_PORT={taken_port}")
    message = f"Port {taken_port} cannot be used (Address already in use). Name another: APP_PORT=…"
    assert (process.returncode, process.stderr.splitlines()[0]) == (2, message)


def test_missing_right_to_use_docker_is_no_missing_engine(tmp_path: Path, stub: Stub) -> None:
    settings = stub("docker", "aws")
    (tmp_path / "bin/docker").write_text("#!/bin/sh\necho 'permission denied while trying to connect' >&2\nexit 1\n")
    process = run_make("deploy_to_ecr", **settings, **ACCOUNT)
    assert process.stderr.startswith("You may not use Docker: ask for the right, for example sudo usermod -aG docker ")


def test_rename_without_git_is_refused(checkout: Path) -> None:
    shutil.rmtree(checkout / ".git")
    process = run_make(
        "rename", "NAME=my-api", "--directory", str(checkout), GIT_CEILING_DIRECTORIES=str(checkout.parent)
    )
    assert process.returncode == 2
    assert process.stderr.startswith("make rename needs git, and a clone")


def test_lint_runs_every_check_and_fails_if_one_did(checkout: Path, fake_python: Path) -> None:
    """Each check is a stand-in that notes its name, and mypy's fails."""
    noted = fake_python.parent / "noted"
    programs = ("ruff", "mypy", "codespell", "cfn-lint", "hadolint", "shellcheck", "jactionlint", "python")
    scanners = ("checkov", "cfripper", "harper")
    for folder, names in ((checkout / ".tests/bin", programs), (checkout / ".scanners/bin", scanners)):
        folder.mkdir(parents=True)
        for name in names:
            result = "$FAILS" if name == "mypy" else "0"
            (folder / name).write_text(f'#!/bin/sh\necho "{name} $*" >>"{noted}"\nexit {result}\n')
            (folder / name).chmod(0o755)
    shown = run_make("--dry-run", ".tests", ".scanners", "--directory", str(checkout)).stdout
    for file in re.findall(r"^touch (\S+)", shown, re.MULTILINE):
        (checkout / file).touch()
    runs = []
    for code in (0, 1):
        noted.unlink(missing_ok=True)
        assert bool(run_make("lint", "--directory", str(checkout), FAILS=str(code)).returncode) == bool(code)
        runs.append(noted.read_text())
    assert runs[0] == runs[1]  # the checks after one that failed run as well
    assert {line.split()[0] for line in runs[0].splitlines()} == {*programs, *scanners}
    files = (
        " ./README.md",
        " aws/README.md",
        " app/app.py ",
        " aws/api.yaml",
        " aws/require ",
        " tests/programs/aws",
        " Dockerfile",
    )
    assert [each for each in (*files, f"mypy --python-version {PYTHON_VERSION} app") if each not in runs[0]] == []


@pytest.mark.parametrize(("package", "option"), [("", "--upgrade "), ("PACKAGE=loguru", "--upgrade-package loguru ")])
def test_lock_renews_one_package_or_all(package: str, option: str) -> None:
    commands = re.findall(r"uv pip compile.*", run_make("--dry-run", "lock", *package.split()).stdout)
    assert len(commands) == 6
    assert all(option in command for command in commands)


@pytest.mark.parametrize("cases", ["abc", "0", "-1", ""])
def test_fuzz_refuses_what_is_no_number_of_events(cases: str) -> None:
    process = run_make("fuzz", f"CASES={cases}")
    assert (process.returncode, "pytest" in process.stdout) == (2, False)
    assert f"CASES={cases} is not a number of events" in process.stderr


def test_create_environment_can_be_run_again(stub: Stub, calls: Callable[[], str]) -> None:
    path = stub("conda")
    assert [run_make("create_environment", **path).returncode for _ in range(2)] == [0, 0]
    assert calls().count("conda env update --name hello-lambda --file environment.yml --prune\n") == 2


def test_clean_deletes_what_make_made_and_nothing_else(checkout: Path) -> None:
    for made in (
        ".venv",
        ".rie",
        ".uv",
        ".scanners",
        "app/__pycache__",
        "aws/__pycache__",
        "tests/__pycache__",
        ".pytest_cache",
    ):
        (checkout / made).mkdir()
    (checkout / ".env").write_text("AWS_REGION=eu-central-1\n")
    process = run_make("clean", "--directory", str(checkout))
    assert process.returncode == 0, process.stderr
    status = ["git", "status", "--porcelain", "--ignored"]
    left = subprocess.run(status, cwd=checkout, capture_output=True, text=True, timeout=60).stdout
    assert left == "!! .env\n"


def test_create_deployer_takes_the_repository_from_its_arguments_only() -> None:
    command = ("--dry-run", "create_deployer")
    by_shell = run_make(*command, GITHUB_REPOSITORY="somebody/hello", **ACCOUNT)
    assert (by_shell.returncode, "GithubRepository" in by_shell.stdout) == (0, False)
    by_argument = run_make(*command, "GITHUB_REPOSITORY=octo/hello", "GITHUB_REPOSITORY_ID=1296269", **ACCOUNT)
    assert 'GithubRepository="octo/hello" ' in by_argument.stdout
    assert 'GithubRepositoryId="1296269" ' in by_argument.stdout


def test_create_deployer_says_where_the_repositorys_id_is() -> None:
    process = run_make("create_deployer", "GITHUB_REPOSITORY=octo/hello", "--dry-run", **ACCOUNT)
    assert process.returncode == 2
    assert 'GITHUB_REPOSITORY_ID=…, the "id" in https://api.github.com/repos/octo/hello' in process.stderr
