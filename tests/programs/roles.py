"""Roles of the emulated account: each has one policy, and everybody in the account may assume it."""

import json
import secrets
from typing import Any

# The emulator does not check the owner's signature. So the key itself is a secret, and no command line holds it.
ADMINISTRATOR = {
    "AWS_ACCESS_KEY_ID": f"AKIA{secrets.token_hex(10).upper()}",
    "AWS_SECRET_ACCESS_KEY": secrets.token_hex(10),
    "AWS_SESSION_TOKEN": "",
}
POLICIES = "arn:aws:iam::123456789012:policy/hello-lambda-"
BOUNDARY = {"AWS_PERMISSIONS_BOUNDARY": f"{POLICIES}boundary"}
# The emulator checks the first action on "*", and AWS checks it on the function. The emulator does not know the tag of an
# API, under which the deployer's policy allows the second.
NEEDED_HERE = (
    {"Effect": "Allow", "Action": "lambda:CreateFunction", "Resource": "*"},
    {"Effect": "Allow", "Action": "apigateway:POST", "Resource": "arn:aws:apigateway:*::/restapis/*/deployments"},
)


def create_deployer(iam: Any) -> str:
    """Creates a role with the deployer's policies."""
    role = create_role(iam, "a-deployer", f"{POLICIES}deployer")
    iam.attach_role_policy(RoleName="a-deployer", PolicyArn=f"{POLICIES}invoker-deployer")
    document = json.dumps({"Version": "2012-10-17", "Statement": NEEDED_HERE})
    iam.put_role_policy(RoleName="a-deployer", PolicyName="emulator", PolicyDocument=document)
    return role


def create_role(iam: Any, name: str, policy: str) -> str:
    """Returns the role's ARN."""
    account = policy.split(":")[4]
    statement = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": f"arn:aws:iam::{account}:root"}}
    trust = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)["Role"]
    iam.attach_role_policy(RoleName=name, PolicyArn=policy)
    return str(role["Arn"])


def delete_role(iam: Any, name: str) -> None:
    for policy in iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]:
        iam.detach_role_policy(RoleName=name, PolicyArn=policy["PolicyArn"])
    for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]:
        iam.delete_role_policy(RoleName=name, PolicyName=policy)
    iam.delete_role(RoleName=name)


def assume_role(sts: Any, role: str) -> dict[str, str]:
    """Returns what `aws configure export-credentials --format env` would set for the role."""
    credentials = sts.assume_role(RoleArn=role, RoleSessionName="rehearsal")["Credentials"]
    return {
        "AWS_ACCESS_KEY_ID": credentials["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": credentials["SecretAccessKey"],
        "AWS_SESSION_TOKEN": credentials["SessionToken"],
    }
