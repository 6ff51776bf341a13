"""The scripts in aws/ that a recipe cannot do without. A stand-in for the aws CLI answers as it is told."""

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from dotenv import dotenv_values
from forked_python import run_forked
from helpers import CLEAN_ENVIRONMENT, ROOT

SCRIPT = """
import runpy, sys, time
time.sleep = lambda seconds: None
sys.argv = [*{command!r}]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
STACK = ("aws/stack.py", "aws", "cloudformation")
DEPLOY = (*STACK, "deploy", "--stack-name", "a-stack", "--template-file", "a.yaml")
DELETE = (*STACK, "delete-stack", "--stack-name", "a-stack")
CREATE_KEY = ("aws/access_key.py", "create", "a-user")
# Takes the first answer to the operation from the folder of answers: its exit code, then what it prints, by stream.
AWS = """#!{python} -IS
import json, pathlib, sys
folder = pathlib.Path({folder!r})
with (folder / "calls").open("a") as calls:
    print(sys.argv[2], file=calls)
file = folder / f"{{sys.argv[2]}}.json"
code, stdout, stderr = (json.loads(file.read_text()) or [[0, "", ""]])[0]
file.write_text(json.dumps(json.loads(file.read_text())[1:]))
sys.stdout.write(stdout)
sys.stderr.write(stderr)
sys.exit(code)
"""
Answer = tuple[int, str, str]
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs a command with an aws CLI that gives these answers to each operation, in turn. Nothing sleeps."""

    def run(command: tuple[str, ...], **answers: list[Answer]) -> subprocess.CompletedProcess[str]:
        (tmp_path / "aws").write_text(AWS.format(python=sys.executable, folder=str(tmp_path)))
        (tmp_path / "sleep").write_text("#!/bin/sh\n")
        for name in ("aws", "sleep"):
            (tmp_path / name).chmod(0o755)
        for operation, each in answers.items():
            (tmp_path / f"{operation.replace('_', '-')}.json").write_text(json.dumps(each))
        environment = {
            "PATH": f"{tmp_path}:{CLEAN_ENVIRONMENT['PATH']}",
            "ENV_FILE": str(tmp_path / ".env"),
            "AWS_REGION": "eu-central-1",
        }
        if command[0].endswith(".py"):
            return run_forked(SCRIPT.format(command=command), **environment)
        return subprocess.run(
            command, cwd=ROOT, env=CLEAN_ENVIRONMENT | environment, capture_output=True, text=True, timeout=60
        )

    return run


@pytest.fixture
def calls(tmp_path: Path) -> Callable[[], list[str]]:
    """The operations that were called so far."""
    return lambda: (tmp_path / "calls").read_text().splitlines()


NO_STACK = (254, "", "An error occurred (ValidationError): Stack with id a-stack does not exist\n")
THROTTLED = (254, "", "An error occurred (Throttling) when calling the DescribeStacks operation: Rate exceeded\n")
OLD_CLI = (252, "", "aws: error: argument operation: Invalid choice\n")
DONE = (0, "", "")


def status(*statuses: str, **outputs: str) -> list[Answer]:
    """Answers of describe-stacks. A warning on stderr does not belong to them."""
    each_output = [{"Description": f"Saved to .env as {name}", "OutputValue": value} for name, value in outputs.items()]
    stacks = [{"Stacks": [{"StackStatus": each, "Outputs": each_output}]} for each in statuses]
    return [(0, json.dumps(stack), "urllib3 is old\n") for stack in stacks]


def events(*reasons: str, kind: str = "OperationEvents", key: str = "ResourceStatus", age: int = 0) -> list[Answer]:
    """One answer of describe-events, or of describe-stack-events, with these failures."""
    time = (datetime.now(UTC) - timedelta(seconds=age)).isoformat()
    failures = [
        {"Timestamp": time, "LogicalResourceId": "Role", key: "CREATE_FAILED", f"{key}Reason": each} for each in reasons
    ]
    return [(0, json.dumps({kind: failures}), "")]


@pytest.mark.parametrize("settled", ["CREATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "REVIEW_IN_PROGRESS"])
def test_deploy_waits_until_the_stack_is_settled(run: Run, calls: Callable[[], list[str]], settled: str) -> None:
    looks = status("CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS", settled, "CREATE_COMPLETE")
    process = run(DEPLOY, describe_stacks=looks, deploy=[])
    assert process.returncode == 0, process.stderr
    assert calls() == ["describe-stacks"] * 3 + ["deploy", "describe-stacks"]


def test_wait_survives_throttling(run: Run, calls: Callable[[], list[str]]) -> None:
    looks = [THROTTLED, NO_STACK, THROTTLED, *status("CREATE_COMPLETE")]
    assert run(DEPLOY, describe_stacks=looks, deploy=[]).returncode == 0
    assert calls() == ["describe-stacks", "describe-stacks", "deploy", "describe-stacks", "describe-stacks"]


def test_deploy_saves_the_outputs_that_are_settings(run: Run, tmp_path: Path) -> None:
    looks = [NO_STACK, *status("CREATE_COMPLETE", AWS_LAMBDA_ROLE_ARN="arn:aws:iam::1:role/a")]
    process = run(DEPLOY, describe_stacks=looks, deploy=[])
    assert process.returncode == 0, process.stderr
    assert dotenv_values(tmp_path / ".env") == {"AWS_LAMBDA_ROLE_ARN": "arn:aws:iam::1:role/a"}


@pytest.mark.parametrize("failed", ["CREATE_FAILED", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "DELETE_FAILED"])
def test_stack_that_could_not_be_created_makes_room(run: Run, calls: Callable[[], list[str]], failed: str) -> None:
    looks = [*status(failed, "DELETE_IN_PROGRESS"), NO_STACK, *status("CREATE_COMPLETE")]
    process = run(DEPLOY, describe_stacks=looks, delete_stack=[], deploy=[])
    assert process.returncode == 0, process.stderr
    look = "describe-stacks"
    assert calls() == [look, "delete-stack", look, look, "deploy", look]


@pytest.mark.parametrize("command", [DEPLOY, DELETE])
def test_failing_call_is_not_taken_for_no_stack(
    run: Run, calls: Callable[[], list[str]], command: tuple[str, ...]
) -> None:
    process = run(command, describe_stacks=[(254, "", "ExpiredToken")])
    assert (process.returncode, process.stderr, calls()) == (1, "ExpiredToken\n", ["describe-stacks"])


FAILED = (255, "", "Failed to create\n")


@pytest.mark.parametrize(
    "answers",
    [
        {"describe_events": events("because")},
        # The check before any resource, whose reasons only describe-events has.
        {"describe_events": events("because", key="ValidationStatus")},
        {"describe_events": [OLD_CLI], "describe_stack_events": events("because", kind="StackEvents")},
        {"describe_events": events(), "describe_stack_events": events("because", kind="StackEvents")},
    ],
)
def test_failing_deploy_gives_the_reasons(run: Run, answers: dict[str, list[Answer]]) -> None:
    process = run(DEPLOY, describe_stacks=[NO_STACK], deploy=[FAILED], **answers)
    assert process.returncode == 1
    assert process.stderr == "Failed to create\nThe stack a-stack could not be deployed:\nRole: because\n"


def test_reasons_of_an_earlier_deployment_are_not_shown(run: Run) -> None:
    process = run(DEPLOY, describe_stacks=[NO_STACK], deploy=[FAILED], describe_events=events("long ago", age=900))
    assert "long ago" not in process.stderr


BUSY = "Resource handler returned message: There is already an update in progress for this API"


def test_api_that_is_being_updated_is_waited_for(run: Run, calls: Callable[[], list[str]]) -> None:
    looks = status(*["UPDATE_ROLLBACK_COMPLETE"] * 2, "UPDATE_COMPLETE")
    process = run(DEPLOY, describe_stacks=looks, deploy=[FAILED, DONE], describe_events=events(BUSY))
    assert process.returncode == 0, process.stderr
    assert ">> API Gateway still applies the last change of the API. Once more in 30 s\n" in process.stdout
    assert calls().count("deploy") == 2


def test_delete_waits_until_the_stack_is_gone(run: Run, calls: Callable[[], list[str]]) -> None:
    looks = [*status("UPDATE_IN_PROGRESS", "UPDATE_COMPLETE", "DELETE_IN_PROGRESS"), NO_STACK]
    process = run(DELETE, describe_stacks=looks, delete_stack=[])
    assert (process.returncode, process.stdout) == (0, ">> there is no stack a-stack in eu-central-1\n")
    assert calls() == ["describe-stacks", "describe-stacks", "delete-stack", "describe-stacks", "describe-stacks"]


def test_delete_forgets_a_setting_that_was_the_stacks_output(run: Run, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("API_SECURE_ENDPOINT=https://a\nAWS_LAMBDA_ROLE_ARN=mine\n")
    outputs = {"API_SECURE_ENDPOINT": "https://a", "AWS_LAMBDA_ROLE_ARN": "arn:aws:iam::1:role/a"}
    run(DELETE, describe_stacks=[*status("CREATE_COMPLETE", **outputs), NO_STACK], delete_stack=[])
    assert dotenv_values(tmp_path / ".env") == {"API_SECURE_ENDPOINT": "", "AWS_LAMBDA_ROLE_ARN": "mine"}


def test_delete_that_fails_at_once_is_not_repeated(run: Run, calls: Callable[[], list[str]]) -> None:
    process = run(DELETE, describe_stacks=status("CREATE_COMPLETE"), delete_stack=[(254, "", "AccessDenied\n")])
    assert (process.returncode, process.stderr) == (1, "AccessDenied\n")
    assert calls() == ["describe-stacks", "delete-stack"]


def test_delete_of_a_second_api_within_30_seconds_is_repeated(run: Run, calls: Callable[[], list[str]]) -> None:
    looks = [*status("CREATE_COMPLETE", "DELETE_FAILED"), NO_STACK]
    process = run(DELETE, describe_stacks=looks, delete_stack=[], describe_events=events("Too Many Requests"))
    assert process.returncode == 0, process.stderr
    assert calls().count("delete-stack") == 2


@pytest.mark.parametrize("left", ["DELETE_FAILED", "CREATE_COMPLETE"])
def test_delete_fails_with_the_reasons_while_the_stack_is_there(run: Run, left: str) -> None:
    looks = status("CREATE_COMPLETE", "DELETE_IN_PROGRESS", left)
    process = run(DELETE, describe_stacks=looks, delete_stack=[], describe_events=events("has a key"))
    assert (process.returncode, process.stdout) == (1, "")
    assert process.stderr == f"The stack a-stack could not be deleted: it is in {left}\nRole: has a key\n"


NOT_SPREAD = "The role defined for the function cannot be assumed by Lambda."
NO_ACCESS = "Lambda does not have permission to access the ECR image. Check the ECR permissions."


@pytest.mark.parametrize(
    ("message", "attempts", "code"),
    [(NOT_SPREAD, 2, 0), (NO_ACCESS, 2, 0), ("Source image does not exist.", 1, 254)],
)
def test_only_a_new_role_or_repository_is_waited_for(
    run: Run, calls: Callable[[], list[str]], message: str, attempts: int, code: int
) -> None:
    command = ("aws/retry_while_new", "aws", "lambda", "create-function")
    process = run(command, create_function=[(254, "", message), (0, "arn\n", "a warning\n")])
    assert (process.returncode, len(calls())) == (code, attempts)
    assert message in process.stderr
    assert process.stdout == ("arn\n" if attempts == 2 else "")


EXAMPLE = ("aws/wait_for_api", "aws", "lambda", "an-example")
TEMPORARY = [
    '{"message":"Missing Authentication Token"}\nAssertionError: got 403: see Troubleshooting',
    '{"message":"The security token included in the request is invalid."}\nAssertionError: got 403: see Troubleshooting',
    '{"Message":"User: … is not authorized to perform: execute-api:Invoke"}\nAssertionError: got 403: see Troubleshooting',
    '{"message":"Forbidden"}\nAssertionError: got 403: see Troubleshooting',
    '{"message": "Internal server error"}\nAssertionError: got 500: see Troubleshooting',
    "No usable answer from API_SECURE_ENDPOINT: … NameResolutionError …",
    "No usable answer from API_SECURE_ENDPOINT: … NewConnectionError … Connection refused …",
    "No usable answer from API_SECURE_ENDPOINT: … ('Connection aborted.', ConnectionResetError(104, 'Connection reset by peer'))",
]


@pytest.mark.parametrize("failure", TEMPORARY)
def test_first_calls_are_repeated_until_two_succeed_in_a_row(
    run: Run, calls: Callable[[], list[str]], failure: str
) -> None:
    """AWS may answer once, and then refuse again."""
    refused, answered = (1, "", failure), (0, "", "Invoking route: hello")
    process = run(EXAMPLE, an_example=[refused, answered, refused, answered, answered])
    assert (process.returncode, process.stdout, len(calls())) == (0, "Invoking route: hello\n", 5)
    assert process.stderr.count("everywhere yet: once more in 5 s") == 2


@pytest.mark.parametrize(
    "failure",
    [
        '{"message":"The request signature we calculated does not match …"}\nAssertionError: got 403: see Troubleshooting',
        '{"message": "Internal server error"}\nAssertionError: got 502: see Troubleshooting',
        '{"message": "Internal server error"}\nAssertionError: the route failed: see the message above, and make logs',
        "AssertionError: everybody can call the method: set its authorization to AWS_IAM",
        "No usable answer from API_SECURE_ENDPOINT: HTTPSConnectionPool(host=…): Read timed out.",
        "No usable answer from API_SECURE_ENDPOINT: HTTPSConnectionPool(host=…): … SSLError …",
        "AWS_ACCESS_KEY is not set, or has other than plain characters.",
    ],
)
def test_first_calls_are_not_repeated_after_a_failure_that_stays(
    run: Run, calls: Callable[[], list[str]], failure: str
) -> None:
    process = run(EXAMPLE, an_example=[(1, "", failure)])
    assert (process.returncode, process.stdout, process.stderr, len(calls())) == (1, "", f"{failure}\n", 1)


@pytest.mark.parametrize(("account", "code"), [("123456789012", 0), ("999999999999", 1)])
def test_require_stops_in_another_account(run: Run, account: str, code: int) -> None:
    command = ("env", "AWS_ACCOUNT_ID=123456789012", "aws/require", "aws", "AWS_ACCOUNT_ID")
    process = run(command, get_caller_identity=[(0, f"{account}\n", "a warning\n")])
    assert process.returncode == code
    assert ("logged in to account 999999999999, and AWS_ACCOUNT_ID is 123456789012" in process.stderr) == bool(code)


def test_require_says_that_a_region_has_no_address(run: Run) -> None:
    command = ("env", "AWS_ACCOUNT_ID=123456789012", "AWS_REGION=Frankfurt", "aws/require", "aws", "AWS_ACCOUNT_ID")
    unknown = 'Could not connect to the endpoint URL: "https://sts.Frankfurt.amazonaws.com/"\n'
    process = run(command, get_caller_identity=[(255, "", unknown), (255, "", unknown)])
    assert process.returncode == 1
    assert process.stderr.splitlines()[1].startswith("AWS_REGION=Frankfurt has no address. Take a region")
    assert "not logged in" not in process.stderr


def test_require_says_how_to_log_in(run: Run) -> None:
    command = ("env", "AWS_ACCOUNT_ID=123456789012", "aws/require", "aws", "AWS_ACCOUNT_ID")
    process = run(command, get_caller_identity=[(253, "", "Unable to locate credentials\n")] * 2)
    assert process.returncode == 1
    assert process.stderr.startswith("Unable to locate credentials\nThe aws CLI is not logged in: run aws login")


def make_read_only(env_file: Path) -> None:
    env_file.touch(mode=0o400)


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        (make_read_only, " is no file that can be written: chmod u+w it"),
        (Path.mkdir, " is no file that can be written"),
        (Path.touch, ""),
        (Path.exists, ""),
    ],
)
def test_require_names_an_env_file_that_cannot_be_written(
    run: Run, tmp_path: Path, prepare: Callable[[Path], object], said: str
) -> None:
    prepare(tmp_path / ".env")
    process = run(("aws/require", "ENV_FILE"))
    assert process.returncode == bool(said)
    assert process.stderr.startswith(f"{tmp_path}/.env{said}" if said else "")


def test_require_names_a_folder_that_is_not_there(run: Run) -> None:
    process = run(("env", "ENV_FILE=/nowhere/.env", "aws/require", "ENV_FILE"))
    assert (process.returncode, process.stderr.split(":")[0]) == (1, "The folder /nowhere cannot be written to")


def list_keys(*keys: str) -> list[Answer]:
    return [(0, json.dumps({"AccessKeyMetadata": [{"AccessKeyId": key} for key in keys]}), "")]


KEY = [(0, json.dumps({"AccessKey": {"AccessKeyId": "AKIA", "SecretAccessKey": "hunter2"}}), "")]
UNKNOWN = (254, "", "An error occurred (InvalidClientTokenId)")


def test_access_key_is_saved_and_waited_for(run: Run, calls: Callable[[], list[str]], tmp_path: Path) -> None:
    identity = [UNKNOWN, (0, "{}", "")]
    process = run(CREATE_KEY, list_access_keys=list_keys(), create_access_key=KEY, get_caller_identity=identity)
    assert (process.returncode, process.stderr) == (0, "")
    assert dotenv_values(tmp_path / ".env") == {"AWS_ACCESS_KEY": "AKIA", "AWS_SECRET_ACCESS_KEY": "hunter2"}
    assert calls() == ["list-access-keys", "create-access-key", "get-caller-identity", "get-caller-identity"]
    assert "hunter2" not in process.stdout


@pytest.mark.parametrize("operation", ["list_access_keys", "create_access_key"])
def test_failing_call_saves_no_access_key(run: Run, tmp_path: Path, operation: str) -> None:
    answers = {"list_access_keys": list_keys(), operation: [(254, "", "AccessDenied")]}
    process = run(CREATE_KEY, **answers)
    assert (process.returncode, process.stderr, (tmp_path / ".env").exists()) == (254, "AccessDenied", False)


@pytest.mark.parametrize("text", ["", "AWS_ACCESS_KEY=AKIA\n", "AWS_ACCESS_KEY=OTHER\nAWS_SECRET_ACCESS_KEY=s\n"])
def test_key_whose_secret_is_lost_is_named_with_the_way_out(
    run: Run, calls: Callable[[], list[str]], tmp_path: Path, text: str
) -> None:
    (tmp_path / ".env").write_text(text)
    process = run(CREATE_KEY, list_access_keys=list_keys("AKIA"))
    assert (process.returncode, calls(), (tmp_path / ".env").read_text()) == (1, ["list-access-keys"], text)
    assert "lacks the secret of a-user's key AKIA. Run make delete_invoker create_invoker" in process.stderr


def test_working_key_of_somebody_else_is_left_alone(run: Run, calls: Callable[[], list[str]], tmp_path: Path) -> None:
    text = "AWS_ACCESS_KEY=OTHER\nAWS_SECRET_ACCESS_KEY=s\n"
    (tmp_path / ".env").write_text(text)
    process = run(CREATE_KEY, list_access_keys=list_keys(), get_caller_identity=[(0, "{}", "")])
    assert (process.returncode, (tmp_path / ".env").read_text()) == (1, text)
    assert "OTHER, a key of somebody else. Move it elsewhere" in process.stderr
    assert calls() == ["list-access-keys", "get-caller-identity"]


def test_old_key_that_no_longer_works_is_replaced(run: Run, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("AWS_ACCESS_KEY=OLD\nAWS_SECRET_ACCESS_KEY=s\n")
    identity = [UNKNOWN, (0, "{}", "")]
    process = run(CREATE_KEY, list_access_keys=list_keys(), create_access_key=KEY, get_caller_identity=identity)
    assert process.returncode == 0
    assert dotenv_values(tmp_path / ".env") == {"AWS_ACCESS_KEY": "AKIA", "AWS_SECRET_ACCESS_KEY": "hunter2"}


@pytest.mark.parametrize(("current", "left"), [("AKIA", ""), ("OTHER", "OTHER")])
def test_deleted_key_is_forgotten_and_another_one_is_not(
    run: Run, calls: Callable[[], list[str]], tmp_path: Path, current: str, left: str
) -> None:
    (tmp_path / ".env").write_text(f"AWS_ACCESS_KEY={current}\nAWS_SECRET_ACCESS_KEY=s\n")
    command = ("aws/access_key.py", "delete", "a-user")
    process = run(command, list_access_keys=list_keys("AKIA"), delete_access_key=[])
    assert (process.returncode, calls()) == (0, ["list-access-keys", "delete-access-key"])
    assert dotenv_values(tmp_path / ".env")["AWS_ACCESS_KEY"] == left
