"""The deployer's policy allows what make and CloudFormation call, and nothing else."""

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from cfnlint.schema import PROVIDER_SCHEMA_MANAGER
from helpers import ROOT
from policies import APP, Statement, is_allowed, read_template
from rehearse import ACCOUNT_ID, REGION

IAM, LOCAL = f"arn:aws:iam::{ACCOUNT_ID}", f"{REGION}:{ACCOUNT_ID}"
STACKS = [f"arn:aws:cloudformation:{LOCAL}:stack/{APP}-{each}/1" for each in ("api", "invoker", "repository", "role")]
REPOSITORY = f"arn:aws:ecr:{LOCAL}:repository/{APP}"
FUNCTION = f"arn:aws:lambda:{LOCAL}:function:{APP}"
LOG = f"arn:aws:logs:{LOCAL}:log-group:/aws/lambda/{APP}"
ROLE, USER = f"{IAM}:role/{APP}-role-Role-1A2B3C4D5E6F", f"{IAM}:user/{APP}-invoker"
BOUNDARY, DEPLOYER, INVOKE = (f"{IAM}:policy/{APP}-{each}" for each in ("boundary", "deployer", "invoke"))
API = f"arn:aws:apigateway:{REGION}::/restapis/a1b2c3"
# AWS asks for this right, with this asterisk, when an API is created with a tag.
TAGS_OF_NEW_API = f"arn:aws:apigateway:{REGION}::/tags/arn%3Aaws%3Aapigateway%3A{REGION}%3A%3A%2Frestapis%2F*"
NEW, OWN = {"aws:RequestTag/application": APP}, {"aws:ResourceTag/application": APP}
TO_LAMBDA = {"iam:PassedToService": "lambda.amazonaws.com"}
# The condition keys of iam, as CloudFormation sets them for aws/role.yaml and aws/invoker.yaml.
WITHIN = {"iam:PermissionsBoundary": BOUNDARY, "iam:PolicyARN": INVOKE}

# The calls that make and docker make themselves.
CALLS = {
    "*": [
        *("cloudformation:DescribeStacks", "ecr:GetAuthorizationToken", "lambda:ListFunctions"),
        "cloudformation:ListStacks",  # for describe-stacks without a name
    ],
    REPOSITORY: [
        *("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:CompleteLayerUpload"),
        *("ecr:InitiateLayerUpload", "ecr:PutImage", "ecr:UploadLayerPart", "ecr:DescribeImages"),
        "ecr:DescribeImageScanFindings",
        "ecr:GetDownloadUrlForLayer",  # Lambda lets only those who may pull the image make a function of it
    ],
    FUNCTION: [
        *("lambda:CreateFunction", "lambda:GetFunction", "lambda:GetFunctionConfiguration"),
        *("lambda:UpdateFunctionCode", "lambda:UpdateFunctionConfiguration", "lambda:DeleteFunction"),
    ],
    f"{API}/deployments": ["apigateway:POST"],
    f"{LOG}:*": ["logs:FilterLogEvents"],
    ROLE: ["iam:PassRole"],
    USER: ["iam:ListAccessKeys", "iam:CreateAccessKey", "iam:DeleteAccessKey"],
}
STACK_CALLS = (
    *("CreateChangeSet", "DescribeChangeSet", "ExecuteChangeSet", "DeleteStack"),
    *("DescribeEvents", "DescribeStackEvents"),  # an older aws CLI knows the second only
    "GetTemplateSummary",  # the aws CLI calls it before it updates a stack
)

# CloudFormation needs these only for a property that no template uses.
UNUSED = {
    "AWS::ECR::Repository": {
        "EncryptionConfiguration": ["kms:CreateGrant", "kms:DescribeKey", "kms:RetireGrant"],
        "Tags": ["ecr:UntagResource"],
    },
    "AWS::Logs::LogGroup": {
        "BearerTokenAuthenticationEnabled": ["logs:PutBearerTokenAuthentication"],
        "DataProtectionPolicy": ["logs:PutDataProtectionPolicy", "logs:DeleteDataProtectionPolicy"],
        "DeletionProtectionEnabled": ["logs:PutLogGroupDeletionProtection"],
        "FieldIndexPolicies": ["logs:PutIndexPolicy", "logs:DeleteIndexPolicy"],
        "KmsKeyId": ["logs:AssociateKmsKey", "logs:DisassociateKmsKey"],
        "ResourcePolicyDocument": ["logs:PutResourcePolicy", "logs:DeleteResourcePolicy"],
        "Tags": ["logs:UntagResource"],
    },
    "AWS::IAM::Role": {
        "Description": ["iam:UpdateRoleDescription"],
        "ManagedPolicyArns": ["iam:AttachRolePolicy", "iam:DetachRolePolicy"],
        "MaxSessionDuration": ["iam:UpdateRole"],
        "Tags": ["iam:TagRole", "iam:UntagRole"],
    },
    "AWS::IAM::User": {
        "Groups": ["iam:AddUserToGroup", "iam:RemoveUserFromGroup"],
        "LoginProfile": ["iam:CreateLoginProfile", "iam:UpdateLoginProfile", "iam:DeleteLoginProfile"],
        "Path": ["iam:UpdateUser"],
        "Policies": ["iam:PutUserPolicy", "iam:GetUserPolicy", "iam:DeleteUserPolicy"],
        "Tags": ["iam:TagUser", "iam:UntagUser", "iam:ListUserTags"],
    },
    "AWS::IAM::ManagedPolicy": {
        "Groups": ["iam:AttachGroupPolicy", "iam:DetachGroupPolicy"],
        "Roles": ["iam:AttachRolePolicy", "iam:DetachRolePolicy"],
    },
    "AWS::ApiGateway::RestApi": {
        "Body": ["iam:PassRole"],
        "BodyS3Location": ["s3:GetObject"],
        "Policy": ["apigateway:UpdateRestApiPolicy"],
    },
    "AWS::ApiGateway::Method": {"Credentials": ["iam:PassRole"]},
}
# CloudFormation needs these only for another change than those of this repository.
REFUSED = {
    "ecr:DeleteLifecyclePolicy": "the template would lose a property",
    "ecr:DeleteRepositoryPolicy": "the template would lose a property",
    "logs:DeleteRetentionPolicy": "the template would lose a property",
    "logs:CreateLogDelivery": "for a delivery of the log, which no template has",
    "firehose:TagDeliveryStream": "for a delivery of the log, which no template has",
    "s3:REST.PUT.OBJECT": "for a delivery of the log, which no template has",
    "iam:DeleteRolePermissionsBoundary": "the role would get all that its policy says",
    "iam:DeleteUserPermissionsBoundary": "the invoker would get all that its policy says",
    "iam:CreatePolicyVersion": "everybody who has the policy to invoke would get what the deployer writes into it",
}

Need = tuple[str, str, dict[str, str]]


@cache
def read_policy(*names: str) -> list[Statement]:
    """The statements of these policies, or of both that a deployer has."""
    resources = read_template("deployer")["Resources"]
    documents = [resources[name]["Properties"]["PolicyDocument"] for name in names or ("Deployer", "InvokerDeployer")]
    return [statement for document in documents for statement in document["Statement"]]


def list_calls() -> Iterator[Need]:
    for resource, actions in CALLS.items():
        for action in actions:
            yield action, resource, {"aws:RequestedRegion": REGION} if resource == "*" else TO_LAMBDA | OWN
    for stack in STACKS:
        yield from ((f"cloudformation:{call}", stack, {}) for call in STACK_CALLS)


def read_handlers(kind: str) -> dict[str, list[str]]:
    """AWS's list of the actions that each of CloudFormation's operations calls for a resource type."""
    handlers = PROVIDER_SCHEMA_MANAGER.get_resource_schema(REGION, kind).schema["handlers"]
    return {operation: each["permissions"] for operation, each in handlers.items()}


def list_resources() -> Iterator[tuple[str, dict[str, Any]]]:
    """The type and the properties of each resource that the deployer creates."""
    for path in sorted((ROOT / "aws").glob("*.yaml")):
        if path.stem != "deployer":
            parameters = {} if path.stem in ("api", "repository") else {"Boundary": BOUNDARY}
            for resource in read_template(path.stem, **parameters)["Resources"].values():
                yield resource["Type"], resource["Properties"]


def list_cloudformation_needs() -> Iterator[tuple[str, Need]]:
    """The calls of CloudFormation for the deployer's templates, each with the resource type."""
    for kind in sorted({kind for kind, _ in list_resources()}):
        handlers = read_handlers(kind)
        for operation in ("create", "read", "update", "delete"):
            for action in handlers.get(operation, []):
                for resource, context in find_resources(kind, action):
                    yield kind, (action, resource, context)


def find_resources(kind: str, action: str) -> list[tuple[str, dict[str, str]]]:
    """The resources that AWS checks an action on, and the condition keys that it then knows."""
    service, name = action.split(":")
    if name in ("DescribeLogGroups", "DescribeIndexPolicies", "DescribeResourcePolicies"):
        return [("*", {"aws:RequestedRegion": REGION})]
    if service == "apigateway":
        return find_api_resources(kind.split("::")[2], name)
    if service == "iam":
        attaches_to = {"AttachUserPolicy": USER, "DetachUserPolicy": USER, "PassRole": ROLE}
        of_kind = {"User": USER, "Role": ROLE}.get(kind.split("::")[2], INVOKE)
        return [(attaches_to.get(name, of_kind), WITHIN | {"iam:PassedToService": "apigateway.amazonaws.com"})]
    # AWS checks some actions on the log group, and others on all that is in it. Its documentation does not tell them apart.
    return [(each, {}) for each in {"ecr": [REPOSITORY], "lambda": [FUNCTION]}.get(service, [LOG, f"{LOG}:*"])]


def find_api_resources(kind: str, verb: str) -> list[tuple[str, dict[str, str]]]:
    collections = {"RestApi": "", "Method": "/resources/x/methods/POST"}
    path = API + collections.get(kind, f"/{kind.lower()}s/x")
    if verb == "POST":
        return [(path.rpartition("/")[0], NEW if kind == "RestApi" else OWN)]
    tags = {"RestApi": TAGS_OF_NEW_API, "Stage": f"{TAGS_OF_NEW_API[:-1]}a1b2c3%2Fstages%2Fdefault"}
    new_tags = [(tags[kind], NEW)] if verb == "PUT" and kind in tags else []
    return [(path, OWN), *new_tags]


@cache
def list_needs() -> list[Need]:
    """Every call that the policy has to allow."""
    left_out = {(kind, action) for kind, each in UNUSED.items() for actions in each.values() for action in actions}
    needs = [need for kind, need in list_cloudformation_needs() if (kind, need[0]) not in left_out]
    return [*list_calls(), *(need for need in needs if need[0] not in REFUSED)]


def test_policy_allows_what_make_and_cloudformation_call() -> None:
    assert [need[:2] for need in list_needs() if not is_allowed(read_policy(), *need)] == []


def test_each_action_that_is_left_out_is_refused_and_has_its_reason() -> None:
    properties = {kind: "" for kind, _ in list_resources()}
    for kind, each in list_resources():
        properties[kind] += json.dumps(each)
    used = [(kind, name) for kind, each in UNUSED.items() for name in each if f'"{name}":' in properties[kind]]
    assert used == []
    needs = list(list_cloudformation_needs())
    named = {(kind, action) for kind, each in UNUSED.items() for actions in each.values() for action in actions}
    refused = {(kind, need[0]) for kind, need in needs if not is_allowed(read_policy(), *need)}
    assert refused == named | {(kind, need[0]) for kind, need in needs if need[0] in REFUSED}
    assert {action for _, action in refused} >= REFUSED.keys()


@pytest.mark.parametrize("statement", read_policy(), ids=lambda statement: statement["Sid"])
def test_no_statement_and_no_action_of_it_is_superfluous(statement: Statement) -> None:
    others = [each for each in read_policy() if each is not statement]
    actions = [statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"]
    for action in actions:
        smaller = [*others, {**statement, "Action": [each for each in actions if each != action]}]
        assert not all(is_allowed(smaller, *need) for need in list_needs()), action


@pytest.mark.parametrize("statement", read_policy(), ids=lambda statement: statement["Sid"])
def test_no_resource_of_a_statement_is_superfluous(statement: Statement) -> None:
    others = [each for each in read_policy() if each is not statement]
    resources = [statement["Resource"]] if isinstance(statement["Resource"], str) else statement["Resource"]
    for resource in resources:
        smaller = [*others, {**statement, "Resource": [each for each in resources if each != resource]}]
        assert not all(is_allowed(smaller, *need) for need in list_needs()), resource


FOREIGN_STACK = f"arn:aws:cloudformation:{LOCAL}:stack/{APP}-two-role/1"
FOREIGN_ROLE = f"{IAM}:role/{APP}-two-role-Role-1A2B3C4D5E6F"
GITHUB_ROLE = f"{IAM}:role/{APP}-deployer-GithubRole-1A2B3C4D5E6F"
ADMINISTRATOR = {"iam:PolicyARN": "arn:aws:iam::aws:policy/AdministratorAccess"}
FOREIGN = {"aws:ResourceTag/application": "another"}
# The calls of an attacker: the action, the resource, and the difference from a deployment.
ATTACKS: list[Need] = [
    # A role or a user with more rights than the boundary has.
    ("iam:CreateRole", ROLE, {}),
    ("iam:CreateRole", ROLE, {"iam:PermissionsBoundary": INVOKE}),
    ("iam:CreateUser", USER, {}),
    ("iam:CreateUser", USER, {"iam:PermissionsBoundary": "arn:aws:iam::aws:policy/AdministratorAccess"}),
    ("iam:CreateRole", FOREIGN_ROLE, WITHIN),
    ("iam:CreateUser", f"{IAM}:user/{APP}-second", WITHIN),
    ("iam:PutRolePolicy", ROLE, {}),
    ("iam:PutUserPolicy", USER, WITHIN),
    ("iam:AttachRolePolicy", ROLE, WITHIN | ADMINISTRATOR),
    ("iam:AttachUserPolicy", USER, WITHIN | ADMINISTRATOR),
    ("iam:AttachUserPolicy", USER, {"iam:PolicyARN": INVOKE}),
    ("iam:AddUserToGroup", f"{IAM}:group/administrators", WITHIN),
    ("iam:CreateLoginProfile", USER, WITHIN),
    # The boundary, taken off, replaced or rewritten.
    ("iam:DeleteRolePermissionsBoundary", ROLE, WITHIN),
    ("iam:DeleteUserPermissionsBoundary", USER, WITHIN),
    ("iam:PutRolePermissionsBoundary", ROLE, {"iam:PermissionsBoundary": DEPLOYER}),
    ("iam:PutUserPermissionsBoundary", USER, {"iam:PermissionsBoundary": DEPLOYER}),
    # Each of the three policies, rewritten, or deleted and created again.
    *[
        (f"iam:{call}", policy, WITHIN)
        for policy in (BOUNDARY, DEPLOYER)
        for call in ("CreatePolicy", "CreatePolicyVersion", "SetDefaultPolicyVersion", "DeletePolicy")
    ],
    ("iam:CreatePolicyVersion", INVOKE, WITHIN),
    ("iam:SetDefaultPolicyVersion", INVOKE, WITHIN),
    ("iam:DetachRolePolicy", FOREIGN_ROLE, {"iam:PolicyARN": INVOKE}),
    *[(f"cloudformation:{call}", f"arn:aws:cloudformation:{LOCAL}:stack/{APP}-deployer/1", {}) for call in STACK_CALLS],
    # A role that somebody else made, and that may do more.
    ("iam:PassRole", FOREIGN_ROLE, TO_LAMBDA),
    ("iam:PassRole", GITHUB_ROLE, TO_LAMBDA),
    ("iam:PassRole", f"{IAM}:role/Admin", TO_LAMBDA),
    ("iam:PassRole", ROLE, {"iam:PassedToService": "ec2.amazonaws.com"}),
    ("iam:UpdateAssumeRolePolicy", GITHUB_ROLE, WITHIN),
    ("iam:UpdateAssumeRolePolicy", ROLE, {}),
    ("iam:PutRolePolicy", GITHUB_ROLE, WITHIN),
    ("iam:CreateAccessKey", f"{IAM}:user/administrator", {}),
    ("sts:AssumeRole", FOREIGN_ROLE, {}),
    # Another application.
    *[(f"cloudformation:{call}", FOREIGN_STACK, {}) for call in STACK_CALLS],
    ("ecr:PutImage", f"{REPOSITORY}-two", {}),
    ("ecr:DeleteRepository", f"{REPOSITORY}-two", {}),
    ("lambda:UpdateFunctionCode", f"{FUNCTION}-two", {}),
    ("lambda:GetFunction", f"{FUNCTION}-two", {}),
    ("lambda:InvokeFunction", FUNCTION, {}),
    ("logs:FilterLogEvents", f"{LOG}-two:*", {}),
    *[(f"apigateway:{verb}", API, FOREIGN) for verb in ("GET", "POST", "PUT", "PATCH", "DELETE")],
    ("apigateway:PATCH", f"{API}/stages/default", {}),
    # Its tag on a foreign API takes both of these.
    ("apigateway:PATCH", API, NEW),
    ("apigateway:POST", API.rpartition("/")[0], {}),
    # Another region.
    ("lambda:ListFunctions", "*", {"aws:RequestedRegion": "us-east-1"}),
    ("lambda:UpdateFunctionCode", FUNCTION.replace(REGION, "us-east-1"), {}),
]


@pytest.mark.parametrize(("action", "resource", "context"), ATTACKS)
def test_policy_refuses_an_attack(action: str, resource: str, context: dict[str, str]) -> None:
    assert not is_allowed(read_policy(), action, resource, context)


def test_every_role_and_user_of_the_deployer_has_the_boundary() -> None:
    principals = [each for kind, each in list_resources() if kind in ("AWS::IAM::Role", "AWS::IAM::User")]
    assert [each["PermissionsBoundary"] for each in principals] == [BOUNDARY] * 2
    assert read_template("deployer")["Outputs"]["Boundary"]["Value"] == BOUNDARY


@pytest.mark.parametrize(("name", "resource"), [("role", "Role"), ("invoker", "Invoker")])
def test_no_boundary_is_set_where_there_is_no_deployer(name: str, resource: str) -> None:
    assert "PermissionsBoundary" not in read_template(name)["Resources"][resource]["Properties"]


def test_boundary_leaves_the_function_its_log_and_the_invoker_the_api() -> None:
    boundary = read_policy("Boundary")
    invoker = read_template("invoker", StageName=APP)["Resources"]
    invoke = invoker["InvokePolicy"]["Properties"]["PolicyDocument"]["Statement"]
    own = f"arn:aws:execute-api:{LOCAL}:an-api-id/{APP}/GET/hello/"
    other_stage = own.replace(f"/{APP}/", "/other/")
    assert [is_allowed(each, "execute-api:Invoke", own, {}) for each in (boundary, invoke)] == [True, True]
    assert [is_allowed(each, "execute-api:Invoke", other_stage, {}) for each in (boundary, invoke)] == [False, False]
    stream = f"{LOG}:log-stream:a"
    assert [is_allowed(boundary, f"logs:{each}", stream, {}) for each in ("PutLogEvents", "GetLogEvents")] == [
        True,
        False,
    ]
    assert not is_allowed(boundary, "iam:CreateUser", USER, WITHIN)


def test_boundary_refuses_the_foreign_api_that_a_deployer_writes_into_the_policy_to_invoke() -> None:
    """A deployer may create the policy with any content, and a user with a key for it."""
    assert is_allowed(read_policy(), "iam:CreatePolicy", INVOKE, {})
    assert is_allowed(read_policy(), "iam:CreateAccessKey", USER, {})
    for stage in ("default", "prod", f"{APP}-two"):
        foreign = f"arn:aws:execute-api:{LOCAL}:foreign/{stage}/POST/payments"
        assert not is_allowed(read_policy("Boundary"), "execute-api:Invoke", foreign, {})


def test_githubs_role_can_make_no_permanent_key() -> None:
    github = read_policy("Deployer")
    calls = [f"iam:{each}" for each in ("CreateUser", "CreateAccessKey", "AttachUserPolicy")]
    calls += ["iam:CreatePolicy", "cloudformation:CreateChangeSet"]
    resources = [*[USER] * 3, INVOKE, *[each for each in STACKS if "invoker" in each]]
    for call, resource in zip(calls, resources, strict=True):
        assert is_allowed(read_policy(), call, resource, WITHIN)
        assert not is_allowed(github, call, resource, WITHIN)


@pytest.mark.parametrize("name", ["hello-lambda", "a" * 40])
@pytest.mark.parametrize("policy", ["Boundary", "Deployer", "InvokerDeployer"])
def test_policy_is_not_longer_than_iam_allows(name: str, policy: str) -> None:
    """6,144 characters without whitespace."""
    longest = {"AWS::Partition": "aws-us-gov", "AWS::Region": "us-gov-west-1"}
    resources = read_template("deployer", AppName=name, **longest)["Resources"]
    document = json.dumps(resources[policy]["Properties"]["PolicyDocument"])
    assert len(re.sub(r"\s", "", document)) <= 6144


SUBJECTS = {
    "repo:octo/hello:environment:production": True,
    "repo:octo@1/hello@2:environment:production": True,
    "repo:octo/hello:environment:staging": False,
    "repo:octo/hello:ref:refs/heads/main": False,
    "repo:octo@1/hello@2:ref:refs/heads/production": False,
    "repo:octo/other:environment:production": False,
    "repo:octo@1/other@2:environment:production": False,
    "repo:octo-2/hello:environment:production": False,
    "repo:octo-2@1/hello@2:environment:production": False,
    # GitHub writes a colon in the name of an environment as %3A.
    "repo:octo@1/other@2:environment:x/hello@2%3Aenvironment%3Aproduction": False,
}


@pytest.mark.parametrize(("subject", "trusted"), SUBJECTS.items())
def test_githubs_role_trusts_one_environment_of_one_repository(subject: str, trusted: bool) -> None:
    parameters = {"GithubRepository": "octo/hello", "GithubRepositoryId": "1296269"}
    role = read_template("deployer", **parameters)["Resources"]["GithubRole"]["Properties"]
    (statement,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert statement.pop("Principal") == {"Federated": "Provider"}
    prefix, action = "token.actions.githubusercontent.com:", "sts:AssumeRoleWithWebIdentity"
    claims = {f"{prefix}sub": subject, f"{prefix}aud": "sts.amazonaws.com", f"{prefix}repository_id": "1296269"}
    trust = [{**statement, "Resource": "*"}]
    assert is_allowed(trust, action, "*", claims) is trusted
    # Somebody else made a repository of the same name, after this one was deleted or renamed.
    assert not is_allowed(trust, action, "*", claims | {f"{prefix}repository_id": "1296270"})
    for claim in claims:
        assert not is_allowed(trust, action, "*", {name: text for name, text in claims.items() if name != claim})
    assert role["ManagedPolicyArns"] == [DEPLOYER]


def test_github_gets_no_role_and_no_provider_unless_a_repository_is_named() -> None:
    names = read_template("deployer")["Resources"].keys()
    with_provider = read_template("deployer", GithubRepository="octo/hello")["Resources"].keys()
    provider = f"{IAM}:oidc-provider/token.actions.githubusercontent.com"
    existing = read_template("deployer", GithubRepository="octo/hello", GithubProvider=provider)["Resources"]
    assert with_provider - names == {"GithubRole", "Provider"}
    assert existing.keys() - names == {"GithubRole"}
    trust = existing["GithubRole"]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    assert trust[0]["Principal"] == {"Federated": provider}
