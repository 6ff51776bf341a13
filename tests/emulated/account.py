"""An AWS account on this machine, and what is in it."""

import json
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import botocore.session
from docker_leftovers import delete_images
from helpers import CLEAN_ENVIRONMENT, ROOT, require, run_make, running, wait_for
from rehearse import ACCOUNT_ID, HEALTH, REGION, describe_emulator, find_free_port
from requests_aws4auth import AWS4Auth
from roles import ADMINISTRATOR, assume_role, create_deployer


@contextmanager
def running_emulator(folder: Path, *, as_deployer: bool = True) -> Iterator[dict[str, str]]:
    """An AWS account on this machine; gives the environment in which the Makefile deploys to it."""
    require("aws")
    port = find_free_port()
    command, settings = describe_emulator(port, folder, sys.executable)
    with running(command, log=folder / "emulator.log", **settings):
        wait_for(f"http://127.0.0.1:{port}{HEALTH}")
        try:
            emulator = {
                "PATH": f"{ROOT}/tests/programs:{CLEAN_ENVIRONMENT['PATH']}",
                "REAL_AWS": str(shutil.which("aws", path=CLEAN_ENVIRONMENT["PATH"])),
                "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
                "AWS_ACCOUNT_ID": ACCOUNT_ID,
                "AWS_REGION": REGION,
                "ECR_REGISTRY": f"127.0.0.1:{port}",
                "ENV_FILE": str(folder / ".env"),
            }
            yield emulator | (become_deployer(emulator) if as_deployer else ADMINISTRATOR)
        finally:
            delete_images(f"127.0.0.1:{port}")


def become_deployer(emulator: dict[str, str]) -> dict[str, str]:
    """Returns the credentials of a role with the policies of aws/deployer.yaml. `make create_deployer` takes longer."""
    from policies import read_template  # cfn-lint takes a second to import, and most tests need no account

    iam, resources = connect(emulator, "iam"), read_template("deployer")["Resources"]
    for each in (resources["Deployer"]["Properties"], resources["InvokerDeployer"]["Properties"]):
        document = json.dumps(each["PolicyDocument"])
        iam.create_policy(PolicyName=each["ManagedPolicyName"], PolicyDocument=document)
    return assume_role(connect(emulator, "sts"), create_deployer(iam))


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
        aws_access_key_id=ADMINISTRATOR["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=ADMINISTRATOR["AWS_SECRET_ACCESS_KEY"],
    )


def sign() -> AWS4Auth:
    """Signs requests to the API as the owner of the account."""
    return AWS4Auth(ADMINISTRATOR["AWS_ACCESS_KEY_ID"], ADMINISTRATOR["AWS_SECRET_ACCESS_KEY"], REGION, "execute-api")


def run_steps(settings: dict[str, str], *steps: str, checkout: Path = ROOT) -> str:
    """Runs targets that all succeed, and returns the output of the last one."""
    for step in steps:
        process = run_make(step, "--directory", str(checkout), **settings)
        assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


def find_api(emulator: dict[str, str]) -> str:
    """The id of the one API in the emulated account."""
    (api,) = connect(emulator, "apigateway").get_rest_apis()["items"]
    return str(api["id"])


def find_stage(emulator: dict[str, str]) -> str:
    """The URL at which the emulator serves that API's stage."""
    return f"{emulator['AWS_ENDPOINT_URL']}/_aws/execute-api/{find_api(emulator)}/default"


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
