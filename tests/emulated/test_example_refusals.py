"""The example calls the emulated API Gateway as a user and as a role, and explains each refusal."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from account import connect, find_api, find_stage, run_steps, running_emulator
from function import Function
from helpers import CLEAN_ENVIRONMENT, ROOT, require
from rehearse import ACCOUNT_ID, REGION
from requests_aws4auth import AWS4Auth
from roles import assume_role, create_role


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The settings of a deployment to the emulated account, and the keys of a role that may call, and a user who may not."""
    folder = tmp_path_factory.mktemp("deployed")
    with running_emulator(folder) as emulator:
        iam = connect(emulator, "iam")
        function = Function(emulator["AWS_ENDPOINT_URL"], REGION, folder, Path(sys.executable))
        function.create_from_zip(iam.create_role(RoleName="function", AssumeRolePolicyDocument="{}")["Role"]["Arn"])
        run_steps(emulator, "create_api", "create_invoker")
        iam.create_user(UserName="stranger")
        stranger = iam.create_access_key(UserName="stranger")["AccessKey"]
        role = create_role(iam, "a-caller", f"arn:aws:iam::{ACCOUNT_ID}:policy/hello-lambda-invoke")
        written = dict(line.split("=", 1) for line in Path(emulator["ENV_FILE"]).read_text().splitlines())
        yield {
            **written,
            "AWS_REGION": REGION,
            "API_SECURE_ENDPOINT": f"{find_stage(emulator)}/hello-lambda",
            "stage": find_stage(emulator),
            "api": find_api(emulator),
            "AWS_ENDPOINT_URL": emulator["AWS_ENDPOINT_URL"],
            "stranger": stranger["AccessKeyId"],
            "stranger_secret": stranger["SecretAccessKey"],
            **{f"role_{name}": value for name, value in assume_role(connect(emulator, "sts"), role).items()},
        }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, '{"message":"Missing Authentication Token"}'),
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "The request signature we calculated does not match"),
        ({"AWS_ACCESS_KEY": "AKIAUNKNOWN"}, "The security token included in the request is invalid"),
        ({"API_SECURE_ENDPOINT": "{stage}/nothing/here"}, '{"detail":"Not Found"}'),
        ({"API_SECURE_ENDPOINT": "{stage}/"}, '{"detail":"Not Found"}'),
        (
            {"AWS_ACCESS_KEY": "{stranger}", "AWS_SECRET_ACCESS_KEY": "{stranger_secret}"},
            "is not authorized to perform: execute-api:Invoke",
        ),
    ],
)
def test_example_shows_each_refusal_of_the_emulated_api_gateway(
    deployed: dict[str, str], tmp_path: Path, changes: dict[str, str], message: str
) -> None:
    settings = deployed | {name: value.format(**deployed) for name, value in changes.items()}
    env_file = tmp_path / ".env"
    env_file.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    process = subprocess.run(
        [sys.executable, "examples/invoke_secure_routes.py"],
        cwd=ROOT,
        env={**CLEAN_ENVIRONMENT, "ENV_FILE": str(env_file)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert process.returncode == (1 if changes else 0), process.stderr
    assert message in process.stderr
    assert ("aws/troubleshooting.md" in process.stderr.splitlines()[-1]) == bool(changes)


@pytest.fixture
def role(deployed: dict[str, str]) -> dict[str, str]:
    """The environment of a caller who has a role, and no key in a file."""
    credentials = {name.removeprefix("role_"): value for name, value in deployed.items() if name.startswith("role_")}
    settings = {name: deployed[name] for name in ("AWS_REGION", "API_SECURE_ENDPOINT")}
    return {**CLEAN_ENVIRONMENT, **credentials, **settings, "ENV_FILE": "/dev/null"}


@pytest.mark.parametrize(("without", "last_words"), [("", "Missing Authentication Token"), ("AWS_SESSION_TOKEN", "")])
def test_role_calls_with_its_session_token_and_is_told_if_it_is_missing(
    role: dict[str, str], without: str, last_words: str
) -> None:
    role.pop(without, None)
    command = [sys.executable, "examples/invoke_secure_routes.py"]
    process = subprocess.run(command, cwd=ROOT, env=role, capture_output=True, text=True, timeout=60)
    assert process.returncode == bool(without), process.stderr
    assert last_words in process.stderr.splitlines()[-1]
    assert without in process.stderr


# As README.md advises, so that the process list does not show the secret.
CURL = r"""
curl --silent --show-error --aws-sigv4 "aws:amz:$AWS_REGION:execute-api" \
  -K <(echo "user = $AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY") -H "x-amz-security-token: $AWS_SESSION_TOKEN" \
  -H 'Content-Type: application/json' -d @examples/event.json "$API_SECURE_ENDPOINT"
"""


@pytest.mark.parametrize(("change", "said"), [({}, "Hello, World"), ({"AWS_SESSION_TOKEN": "another"}, "token")])
def test_curl_calls_with_a_roles_session_token(role: dict[str, str], change: dict[str, str], said: str) -> None:
    require("curl", "bash")
    process = subprocess.run(
        ["bash", "-c", CURL], cwd=ROOT, env=role | change, capture_output=True, text=True, timeout=60
    )
    assert process.returncode == 0, process.stderr
    assert said in process.stdout


def test_policy_of_the_readme_allows_one_route_alone(deployed: dict[str, str]) -> None:
    """aws/README.md shows it, with the address of another API."""
    (shown,) = re.findall(r"```json\n(.*?\n)```", (ROOT / "aws/README.md").read_text(), re.DOTALL)[:1]
    policy = re.sub(r"execute-api:.*?/", f"execute-api:{REGION}:{ACCOUNT_ID}:{deployed['api']}/", shown)
    iam = connect(deployed, "iam")
    iam.create_user(UserName="one-route")
    iam.put_user_policy(UserName="one-route", PolicyName="one-route", PolicyDocument=policy)
    key = iam.create_access_key(UserName="one-route")["AccessKey"]
    auth = AWS4Auth(key["AccessKeyId"], key["SecretAccessKey"], REGION, "execute-api")
    calls = {
        ("GET", "/hello/"): 200,
        ("GET", "/hello"): 200,
        ("GET", "/goodbye/"): 403,
        ("POST", "/hello/"): 403,
        ("POST", "/hello-lambda"): 403,
        ("GET", "/"): 403,
    }
    statuses = {
        call: requests.request(call[0], deployed["stage"] + call[1], auth=auth, json={}, timeout=30).status_code
        for call in calls
    }
    assert statuses == calls
