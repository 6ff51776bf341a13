"""The deployer in the emulated account: an administrator creates it, its boundary holds, and its attacks are refused."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import botocore.session
import pytest
from account import connect, find_api, running_emulator
from botocore.exceptions import ClientError
from helpers import run_make
from rehearse import ACCOUNT_ID, REGION
from roles import assume_role, create_deployer

IAM = f"arn:aws:iam::{ACCOUNT_ID}"
POLICIES = ("boundary", "deployer", "invoker-deployer", "invoke")
BOUNDARY, DEPLOYER, INVOKER_DEPLOYER, INVOKE = (f"{IAM}:policy/hello-lambda-{each}" for each in POLICIES)
PROVIDER = f"{IAM}:oidc-provider/token.actions.githubusercontent.com"
TRUST = json.dumps({"Version": "2012-10-17", "Statement": []})


@pytest.fixture(scope="module")
def administrator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """An account with a deployer, and with GitHub's identity provider, which somebody created earlier."""
    with running_emulator(tmp_path_factory.mktemp("account"), as_deployer=False) as settings:
        provider = {"Url": "https://token.actions.githubusercontent.com", "ClientIDList": ["sts.amazonaws.com"]}
        connect(settings, "iam").create_open_id_connect_provider(**provider)
        run("create_deployer", settings)
        yield settings


@pytest.fixture(scope="module")
def deployer(administrator: dict[str, str]) -> dict[str, str]:
    """The settings of a deployer who entered the boundary in .env."""
    role = create_deployer(connect(administrator, "iam"))
    return administrator | assume_role(connect(administrator, "sts"), role) | {"AWS_PERMISSIONS_BOUNDARY": BOUNDARY}


def run(target: str, settings: dict[str, str], *arguments: str) -> str:
    process = run_make(target, *arguments, **settings)
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


def get_stages(settings: dict[str, str]) -> list[dict[str, Any]]:
    return list(connect(settings, "apigateway").get_stages(restApiId=find_api(settings))["item"])


def read_lines(output: str) -> dict[str, str]:
    return dict(line.split("\t") for line in output.splitlines() if "\t" in line)


def test_create_deployer_prints_the_policy_and_can_be_run_again(administrator: dict[str, str]) -> None:
    output = run("create_deployer", administrator)
    assert "No changes to deploy" in output
    assert read_lines(output) == {
        "Attach this policy to the role or permission set that deploys:": DEPLOYER,
        "Attach this policy as well, to create the invoker:": INVOKER_DEPLOYER,
        "Set in the .env of each deployer: AWS_PERMISSIONS_BOUNDARY =": BOUNDARY,
    }


def test_create_deployer_gives_github_a_role_behind_the_provider_of_the_account(administrator: dict[str, str]) -> None:
    arguments = ("GITHUB_REPOSITORY=octo/hello", "GITHUB_REPOSITORY_ID=1296269", "GITHUB_ENVIRONMENT=production")
    lines = read_lines(run("create_deployer", administrator, *arguments))
    iam = connect(administrator, "iam")
    (role,) = [each for each in iam.list_roles()["Roles"] if "GithubRole" in each["RoleName"]]
    assert {name: value for name, value in lines.items() if name.startswith("Set in the GitHub")} == {
        "Set in the GitHub environment: AWS_DEPLOYER_ROLE_ARN =": role["Arn"],
        "Set in the GitHub environment: AWS_PERMISSIONS_BOUNDARY =": BOUNDARY,
        "Set in the GitHub environment: AWS_ACCOUNT_ID =": ACCOUNT_ID,
        "Set in the GitHub environment: AWS_REGION =": REGION,
    }
    (statement,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Principal"] == {"Federated": PROVIDER}
    subject = "token.actions.githubusercontent.com:sub"
    assert statement["Condition"]["StringLike"][subject][0] == "repo:octo/hello:environment:production"
    repository = "token.actions.githubusercontent.com:repository_id"
    assert statement["Condition"]["StringEquals"][repository] == "1296269"
    (attached,) = iam.list_attached_role_policies(RoleName=role["RoleName"])["AttachedPolicies"]
    assert attached["PolicyArn"] == DEPLOYER
    assert [each["Arn"] for each in iam.list_open_id_connect_providers()["OpenIDConnectProviderList"]] == [PROVIDER]
    # Without the argument, the role stays.
    assert lines == read_lines(run("create_deployer", administrator))


def test_deployer_deploys_within_the_boundary_and_delete_deployer_waits_for_destroy(
    administrator: dict[str, str], deployer: dict[str, str]
) -> None:
    for target in ("create_lambda_role", "create_api", "create_invoker"):
        run(target, deployer)
    user = connect(deployer, "iam").get_user(UserName="hello-lambda-invoker")["User"]
    assert user["PermissionsBoundary"]["PermissionsBoundaryArn"] == BOUNDARY
    # The boundary allows the stage with this name only.
    assert [stage["stageName"] for stage in get_stages(deployer)] == ["hello-lambda"]
    # The emulator gives a role of CloudFormation no boundary.
    (stack,) = connect(deployer, "cloudformation").describe_stacks(StackName="hello-lambda-role")["Stacks"]
    assert {"ParameterKey": "Boundary", "ParameterValue": BOUNDARY} in stack["Parameters"]

    process = run_make("delete_deployer", **administrator)
    assert process.returncode == 2
    assert "hello-lambda-invoker" in process.stderr
    assert "Run make destroy first" in process.stderr
    assert run("destroy", deployer, "CONFIRM=yes").endswith(">> nothing is left\n")


# The service, and what the deployer tries to do.
ATTACKS: dict[str, tuple[str, Callable[[Any], object]]] = {
    "a role without the boundary": (
        "iam",
        lambda iam: iam.create_role(RoleName="hello-lambda-role-Role-1", AssumeRolePolicyDocument=TRUST),
    ),
    "a user without the boundary": ("iam", lambda iam: iam.create_user(UserName="hello-lambda-invoker")),
    "AdministratorAccess for a role": (
        "iam",
        lambda iam: iam.attach_role_policy(
            RoleName="hello-lambda-role-Role-1", PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess"
        ),
    ),
    "AdministratorAccess for itself": (
        "iam",
        lambda iam: iam.attach_role_policy(
            RoleName="a-deployer", PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess"
        ),
    ),
    "another boundary": (
        "iam",
        lambda iam: iam.create_policy_version(PolicyArn=BOUNDARY, PolicyDocument=TRUST, SetAsDefault=True),
    ),
    "no boundary": ("iam", lambda iam: iam.delete_user_permissions_boundary(UserName="hello-lambda-invoker")),
    "the end of the boundary": ("iam", lambda iam: iam.delete_policy(PolicyArn=BOUNDARY)),
    "other rights of its own": (
        "iam",
        lambda iam: iam.create_policy_version(PolicyArn=DEPLOYER, PolicyDocument=TRUST, SetAsDefault=True),
    ),
    "other rights of the callers": (
        "iam",
        lambda iam: iam.create_policy_version(PolicyArn=INVOKE, PolicyDocument=TRUST, SetAsDefault=True),
    ),
    "its own stack": ("cloudformation", lambda it: it.delete_stack(StackName="hello-lambda-deployer")),
    "another application's stack": ("cloudformation", lambda it: it.delete_stack(StackName="hello-lambda-two-api")),
    "another application's repository": (
        "ecr",
        lambda ecr: ecr.delete_repository(repositoryName="hello-lambda-two", force=True),
    ),
    "another application's function": ("lambda", lambda it: it.delete_function(FunctionName="hello-lambda-two")),
    # The emulator evaluates no tag of an API. test_deployer_policy.py does.
    "another application's API": ("apigateway", lambda it: it.delete_rest_api(restApiId="a1b2c3")),
    "another application's log": ("logs", lambda it: it.delete_log_group(logGroupName="/aws/lambda/hello-lambda-two")),
}


def connect_as(settings: dict[str, str], service: str) -> Any:
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
    credentials = {name.lower(): settings[name] for name in names}
    endpoint = settings["AWS_ENDPOINT_URL"]
    session = botocore.session.get_session()
    return session.create_client(service, endpoint_url=endpoint, region_name=REGION, **credentials)


@pytest.mark.parametrize("attack", ATTACKS)
def test_emulated_account_refuses_an_attack_of_the_deployer(deployer: dict[str, str], attack: str) -> None:
    service, call = ATTACKS[attack]
    with pytest.raises(ClientError) as refusal:
        call(connect_as(deployer, service))
    assert refusal.value.response["Error"]["Code"] in ("AccessDenied", "AccessDeniedException")
