"""The Makefile's way to AWS: the real aws CLI against an emulated account, a real docker push."""

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from account import NOTHING, connect, find_api, list_everything, run_steps
from docker_leftovers import delete_images
from helpers import (
    CLEAN_ENVIRONMENT,
    REGISTRY_PASSWORD,
    ROOT,
    require,
    run_make,
    running,
    skip_or_fail,
    wait_for,
)
from rehearse import ACCOUNT_ID, REGION, find_free_port
from roles import ADMINISTRATOR

# Lambda takes these, and refuses an index of several manifests.
# https://docs.aws.amazon.com/lambda/latest/dg/images-create.html
ACCEPTED = ("application/vnd.docker.distribution.manifest.v2+json", "application/vnd.oci.image.manifest.v1+json")


@pytest.fixture
def docker_config(tmp_path: Path) -> dict[str, str]:
    """Keeps `docker login` from the user's own configuration."""
    return {"DOCKER_CONFIG": str(tmp_path / "docker")}


@pytest.fixture
def registry(tmp_path: Path, docker_engine: None) -> Iterator[str]:
    """A registry that lets in the user AWS with the password, and nobody else."""
    require("docker-registry", "htpasswd")
    port = find_free_port()
    entry = subprocess.run(
        ["htpasswd", "-Bbn", "AWS", REGISTRY_PASSWORD], capture_output=True, text=True, check=True
    ).stdout
    (tmp_path / "htpasswd").write_text(entry)
    (tmp_path / "registry.yml").write_text(
        json.dumps(
            {
                "version": 0.1,
                "storage": {"filesystem": {"rootdirectory": str(tmp_path / "registry")}},
                "http": {"addr": f"127.0.0.1:{port}"},
                "auth": {"htpasswd": {"realm": "test", "path": str(tmp_path / "htpasswd")}},
            }
        )
    )
    command = ["docker-registry", "serve", str(tmp_path / "registry.yml")]
    with running(command, log=tmp_path / "registry.log"):
        wait_for(f"http://127.0.0.1:{port}/v2/")
        assert httpx.get(f"http://127.0.0.1:{port}/v2/").status_code == 401
        yield f"127.0.0.1:{port}"
    delete_images(f"127.0.0.1:{port}")


def get_manifest(registry: str, tag: str) -> tuple[str, dict[str, Any]]:
    """A pushed image's digest and manifest."""
    response = httpx.get(
        f"http://{registry}/v2/hello-lambda/manifests/{tag}",
        headers={"Accept": ", ".join(ACCEPTED)},
        auth=("AWS", REGISTRY_PASSWORD),
    )
    assert response.status_code == 200, response.text
    return response.headers["Docker-Content-Digest"], response.json()


def list_tags(registry: str) -> list[str]:
    """Every tag that stays where it was pushed, the oldest first."""
    answer = httpx.get(f"http://{registry}/v2/hello-lambda/tags/list", auth=("AWS", REGISTRY_PASSWORD)).json()
    return sorted(set(answer["tags"] or []) - {"latest"})


def test_deploy_to_ecr_logs_in_and_pushes_what_lambda_accepts(
    image: str, emulator: dict[str, str], registry: str, checkout: Path, docker_config: dict[str, str]
) -> None:
    settings = {**emulator, **docker_config, "ECR_REGISTRY": registry}
    process = run_make("deploy_to_ecr", "--directory", str(checkout), **settings)
    assert process.returncode == 0, process.stderr
    assert "Login Succeeded" in process.stdout
    assert REGISTRY_PASSWORD not in process.stdout + process.stderr

    (tag,) = list_tags(registry)
    digest, manifest = get_manifest(registry, tag)
    assert get_manifest(registry, "latest")[0] == digest
    assert manifest["mediaType"] in ACCEPTED
    assert "manifests" not in manifest


def test_deploy_to_ecr_gives_each_push_a_tag_and_moves_latest(
    image: str, emulator: dict[str, str], registry: str, checkout: Path, docker_config: dict[str, str]
) -> None:
    settings = {**emulator, **docker_config, "ECR_REGISTRY": registry}
    run_steps(settings, "deploy_to_ecr", checkout=checkout)
    before = get_manifest(registry, "latest")[0]
    (checkout / "app/new.py").write_text("NEW = True\n")
    run_steps(settings, "deploy_to_ecr", checkout=checkout)
    first, second = list_tags(registry)
    assert second.endswith("-dirty")
    assert get_manifest(registry, first)[0] == before
    assert get_manifest(registry, second)[0] == get_manifest(registry, "latest")[0] != before


@pytest.mark.parametrize("refusal", ["registry", "aws"])
def test_deploy_to_ecr_stops_without_the_password(
    image: str,
    emulator: dict[str, str],
    registry: str,
    checkout: Path,
    docker_config: dict[str, str],
    tmp_path: Path,
    refusal: str,
) -> None:
    """The registry refuses it, or the aws CLI gets none."""
    settings = {**emulator, **docker_config, "ECR_REGISTRY": registry}
    if refusal == "registry":
        htpasswd = subprocess.run(["htpasswd", "-Bbn", "AWS", "another"], capture_output=True, text=True, check=True)
        (tmp_path / "htpasswd").write_text(htpasswd.stdout)
    else:
        aws = tmp_path / "aws"
        aws.write_text(
            f'#!/bin/sh\ncase "$*" in *get-login-password*) exit 254 ;; esac\nexec {settings["REAL_AWS"]} "$@"\n'
        )
        aws.chmod(0o755)
        settings["REAL_AWS"] = str(aws)
    process = run_make("deploy_to_ecr", "--directory", str(checkout), **settings)
    assert process.returncode == 2
    assert "docker push" not in process.stdout


def test_create_ecr_repository_can_be_run_again_and_deleted(emulator: dict[str, str]) -> None:
    assert "Successfully created/updated stack" in run_steps(emulator, "create_ecr_repository")
    assert "No changes to deploy" in run_steps(emulator, "create_ecr_repository")
    ecr = connect(emulator, "ecr")
    (repository,) = ecr.describe_repositories()["repositories"]
    assert repository["imageScanningConfiguration"] == {"scanOnPush": True}
    assert repository["imageTagMutability"] == "IMMUTABLE_WITH_EXCLUSION"
    rules = json.loads(ecr.get_lifecycle_policy(repositoryName="hello-lambda")["lifecyclePolicyText"])["rules"]
    newest = {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 100}
    assert [rule["selection"] for rule in rules] == [newest]
    policy = json.loads(ecr.get_repository_policy(repositoryName="hello-lambda")["policyText"])
    assert policy["Statement"][0]["Principal"] == {"Service": "lambda.amazonaws.com"}
    assert policy["Statement"][0]["Action"] == ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    run_steps(emulator, "delete_ecr_repository")
    assert list_everything(emulator) == NOTHING


def test_function_is_made_updated_and_rolled_back(
    image: str, emulator: dict[str, str], checkout: Path, docker_config: dict[str, str]
) -> None:
    """The emulator keeps the tag that the function was given; Lambda keeps the tag's digest."""
    settings, registry = {**emulator, **docker_config}, emulator["ECR_REGISTRY"]
    functions = connect(emulator, "lambda")

    def get_function() -> dict[str, Any]:
        function = functions.get_function(FunctionName="hello-lambda")
        return {**function["Configuration"], "ImageUri": function["Code"]["ImageUri"]}

    creation = ("create_ecr_repository", "deploy_to_ecr", "create_lambda_role", "create_lambda_function")
    run_steps(settings, *creation, checkout=checkout)
    wanted = {
        **{"ImageUri": f"{registry}/hello-lambda:latest", "PackageType": "Image", "Architectures": ["x86_64"]},
        **{"MemorySize": 512, "Timeout": 28, "State": "Active"},
    }
    assert get_function().items() >= wanted.items()

    memory = {"LAMBDA_MEMORY": "1024", "LAMBDA_TIMEOUT": "20"}
    run_steps({**settings, **memory}, "create_lambda_function", checkout=checkout)
    assert get_function().items() >= wanted.items()  # it exists, and is left as it is

    (tag,) = list_tags(registry)
    run_steps({**settings, **memory, "IMAGE_TAG": tag}, "update_lambda_function", checkout=checkout)
    rolled_back = {"ImageUri": f"{registry}/hello-lambda:{tag}", "MemorySize": 1024, "Timeout": 20}
    assert get_function().items() >= rolled_back.items()
    run_steps(settings, "update_lambda_function", checkout=checkout)
    assert get_function().items() >= wanted.items()

    run_steps(settings, "create_api")
    process = run_make("delete_lambda_function", **settings)
    assert process.returncode == 2
    assert "make delete_invoker delete_api first" in process.stderr
    status = read_status(settings)
    assert ["hello-lambda", "Successful", "Active"] in status
    assert [row[0].split(":")[0] for row in status if row[1] == "hello-lambda-api"] == ["https"]


def push_empty_image(emulator: dict[str, str], *tags: str, size: int = 0) -> str:
    """Puts a manifest into the repository, and gives its digest."""
    manifest = json.dumps({"schemaVersion": 2, "layers": [], "config": {"size": size}})
    ecr = connect(emulator, "ecr")
    images = [ecr.put_image(repositoryName="hello-lambda", imageManifest=manifest, imageTag=tag) for tag in tags]
    return str(images[0]["image"]["imageId"]["imageDigest"])


def test_images_are_listed_newest_first_and_the_one_that_runs_is_marked(emulator: dict[str, str]) -> None:
    run_steps(emulator, "create_ecr_repository", "create_lambda_role")
    old = push_empty_image(emulator, "20260101T000000Z-old", size=1)
    time.sleep(1.1)  # the emulator counts in seconds
    new = push_empty_image(emulator, "20260102T000000Z-new", "latest", size=2)
    assert_listed = [["20260102T000000Z-new latest", new, ""], ["20260101T000000Z-old", old, ""]]
    assert list_images(emulator) == assert_listed

    run_steps(emulator, "create_lambda_function")
    uri = f"{emulator['ECR_REGISTRY']}/hello-lambda@{old}"
    connect(emulator, "lambda").update_function_code(FunctionName="hello-lambda", ImageUri=uri)
    assert_listed[1][-1] = "runs"
    assert list_images(emulator) == assert_listed


def list_images(emulator: dict[str, str]) -> list[list[str]]:
    """The columns of `make images`: tags, digest, and whether it runs."""
    lines = [line.split("\t") for line in run_steps(emulator, "images").splitlines()]
    return [[tags, digest, runs] for tags, _, digest, runs, _ in (line for line in lines if len(line) == 5)]


def test_create_lambda_function_stops_with_awss_message(emulator: dict[str, str]) -> None:
    role = "arn:aws:iam::123456789012:role/none"
    process = run_make("create_lambda_function", AWS_LAMBDA_ROLE_ARN=role, **emulator)
    assert process.returncode == 2
    assert "An error occurred (InvalidParameterValueException) when calling the CreateFunction" in process.stderr
    assert "function-active-v2" not in process.stdout


def list_methods(emulator: dict[str, str]) -> dict[tuple[str, str], dict[str, Any]]:
    """Each method of the API, by path and name."""
    apis = connect(emulator, "apigateway")
    resources = apis.get_resources(restApiId=find_api(emulator), embed=["methods"])["items"]
    return {
        (resource["path"], name): method
        for resource in resources
        for name, method in resource.get("resourceMethods", {}).items()
    }


def get_stage(emulator: dict[str, str]) -> dict[str, Any]:
    (stage,) = connect(emulator, "apigateway").get_stages(restApiId=find_api(emulator))["item"]
    return dict(stage)


def test_api_is_secured_and_throttled(emulator: dict[str, str]) -> None:
    run_steps(emulator, "create_api")
    methods = list_methods(emulator)
    assert {
        key: (method["authorizationType"], method["methodIntegration"]["type"]) for key, method in methods.items()
    } == {("/{proxy+}", "ANY"): ("AWS_IAM", "AWS_PROXY"), ("/", "ANY"): ("AWS_IAM", "AWS_PROXY")}
    # The emulator has no TLS: the template is all there is to see.
    template = (ROOT / "aws/api.yaml").read_text()
    assert "SecurityPolicy: SecurityPolicy_TLS13_1_2_PFS_PQ_2025_09\n      EndpointAccessMode: STRICT\n" in template
    assert get_stage(emulator)["methodSettings"]["*/*"]["throttlingRateLimit"] == 50


def test_api_waits_one_second_longer_than_the_function(emulator: dict[str, str]) -> None:
    for arguments, timeout in (({}, 29_000), ({"LAMBDA_TIMEOUT": "60"}, 61_000)):
        run_steps({**emulator, **arguments}, "create_api")
        integrations = [method["methodIntegration"] for method in list_methods(emulator).values()]
        assert [each["timeoutInMillis"] for each in integrations] == [timeout] * 2


def test_create_api_moves_the_stage_to_a_new_deployment_each_time(emulator: dict[str, str]) -> None:
    """Also when the stack has nothing to change, since the step may have been interrupted behind the stack."""
    run_steps(emulator, "create_api")
    deployments = [get_stage(emulator)["deploymentId"]]
    for arguments in ({}, {"LAMBDA_TIMEOUT": "20"}):
        run_steps({**emulator, **arguments}, "create_api")
        deployments.append(get_stage(emulator)["deploymentId"])
    assert len(set(deployments)) == 3
    existing = connect(emulator, "apigateway").get_deployments(restApiId=find_api(emulator))["items"]
    assert {each["id"] for each in existing} > set(deployments)  # the stack's own, at which the stage began
    assert get_stage(emulator)["methodSettings"]["*/*"]["throttlingRateLimit"] == 50


def test_change_of_the_stage_leaves_it_at_a_deployment_with_the_whole_api(
    emulator: dict[str, str], checkout: Path
) -> None:
    run_steps(emulator, "create_api", checkout=checkout)
    template = checkout / "aws/api.yaml"
    template.write_text(template.read_text().replace("ThrottlingRateLimit: 50", "ThrottlingRateLimit: 20"))
    before = get_stage(emulator)
    run_steps(emulator, "create_api", checkout=checkout)
    after = get_stage(emulator)
    assert after["methodSettings"]["*/*"]["throttlingRateLimit"] == 20
    assert after["deploymentId"] != before["deploymentId"]
    run_steps(emulator, "delete_api")
    assert list_everything(emulator) == NOTHING


def test_invoker_may_invoke_this_api_and_nothing_else(emulator: dict[str, str]) -> None:
    run_steps(emulator, "create_api", "create_invoker")
    iam = connect(emulator, "iam")
    (attached,) = iam.list_attached_user_policies(UserName="hello-lambda-invoker")["AttachedPolicies"]
    assert attached["PolicyName"] == "hello-lambda-invoke"
    policy = iam.get_policy_version(PolicyArn=attached["PolicyArn"], VersionId="v1")["PolicyVersion"]["Document"]
    arn = f"arn:aws:execute-api:{REGION}:{ACCOUNT_ID}:{find_api(emulator)}/default/*"
    assert policy["Statement"] == [{"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": arn}]
    assert iam.list_user_policies(UserName="hello-lambda-invoker")["PolicyNames"] == []


def test_role_trusts_lambda_and_writes_its_own_log(emulator: dict[str, str]) -> None:
    run_steps(emulator, "create_lambda_role")
    iam = connect(emulator, "iam")
    (role,) = [role for role in iam.list_roles()["Roles"] if "hello-lambda" in role["RoleName"]]
    (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert (trust["Principal"], trust["Action"]) == ({"Service": "lambda.amazonaws.com"}, "sts:AssumeRole")
    policy = iam.get_role_policy(RoleName=role["RoleName"], PolicyName="write-own-log")["PolicyDocument"]
    arn = f"arn:aws:logs:{REGION}:{ACCOUNT_ID}:log-group:/aws/lambda/hello-lambda:*"
    assert [(each["Action"], each["Resource"]) for each in policy["Statement"]] == [
        (["logs:CreateLogStream", "logs:PutLogEvents"], arn)
    ]
    (group,) = connect(emulator, "logs").describe_log_groups()["logGroups"]
    assert group["retentionInDays"] == 14


def test_second_create_invoker_makes_no_second_key(emulator: dict[str, str]) -> None:
    run_steps(emulator, "create_api", "create_invoker")
    before = Path(emulator["ENV_FILE"]).read_text()
    assert "hello-lambda-invoker has an access key" in run_steps(emulator, "create_invoker")
    assert (list_everything(emulator)["keys"], Path(emulator["ENV_FILE"]).read_text()) == (
        ["hello-lambda-invoker"],
        before,
    )


def test_create_invoker_leaves_a_key_alone_whose_secret_it_does_not_have(emulator: dict[str, str]) -> None:
    run_steps(emulator, "create_api", "create_invoker")
    Path(emulator["ENV_FILE"]).unlink()
    process = run_make("create_invoker", **emulator)
    assert process.returncode == 2
    assert "make delete_invoker create_invoker" in process.stderr
    assert list_everything(emulator)["keys"] == ["hello-lambda-invoker"]


def test_create_invoker_leaves_somebody_elses_key_in_the_env_file(emulator: dict[str, str]) -> None:
    run_steps(emulator, "create_api")
    iam = connect(emulator, "iam")
    iam.create_user(UserName="somebody")
    key = iam.create_access_key(UserName="somebody")["AccessKey"]
    text = f"AWS_ACCESS_KEY={key['AccessKeyId']}\nAWS_SECRET_ACCESS_KEY={key['SecretAccessKey']}\n"
    Path(emulator["ENV_FILE"]).write_text(text)
    process = run_make("create_invoker", **emulator)
    assert process.returncode == 2
    assert "a key of somebody else" in process.stderr
    assert Path(emulator["ENV_FILE"]).read_text() == text


def test_destroy_in_another_region_leaves_the_invoker_its_key(emulator: dict[str, str]) -> None:
    """Users have no region: the key of a deployment elsewhere is not this one's to delete."""
    run_steps(emulator, "create_api", "create_invoker")
    before = Path(emulator["ENV_FILE"]).read_text()
    elsewhere = run_steps({**emulator, **ADMINISTRATOR, "AWS_REGION": "us-east-1", "CONFIRM": "yes"}, "destroy")
    assert ">> there is no stack hello-lambda-invoker in us-east-1" in elsewhere
    assert elsewhere.endswith(">> nothing is left\n")
    assert (list_everything(emulator)["keys"], Path(emulator["ENV_FILE"]).read_text()) == (
        ["hello-lambda-invoker"],
        before,
    )


def test_destroy_leaves_a_user_made_by_hand_alone(emulator: dict[str, str]) -> None:
    iam = connect(emulator, "iam")
    iam.create_user(UserName="hello-lambda-invoker")
    iam.create_access_key(UserName="hello-lambda-invoker")
    run_steps({**emulator, "CONFIRM": "yes"}, "destroy")
    assert list_everything(emulator)["keys"] == ["hello-lambda-invoker"]


@pytest.mark.parametrize("target", ["deploy", "destroy"])
def test_nothing_is_done_in_another_account(emulator: dict[str, str], docker_engine: None, target: str) -> None:
    process = run_make(target, **{**emulator, "AWS_ACCOUNT_ID": "999999999999", "CONFIRM": "yes"})
    assert process.returncode == 2
    assert "logged in to account 123456789012, and AWS_ACCOUNT_ID is 999999999999" in process.stderr
    assert list_everything(emulator) == NOTHING


def test_destroy_asks_first(emulator: dict[str, str]) -> None:
    run_steps(emulator, "create_ecr_repository")
    process = run_make("destroy", **emulator)
    assert (process.returncode, process.stderr.splitlines()[0]) == (2, "nothing was deleted")
    assert list_everything(emulator)["repositories"] == ["hello-lambda"]


def test_status_shows_what_exists(emulator: dict[str, str]) -> None:
    assert run_steps(emulator, "status") == ">> there is no function hello-lambda\n"
    run_steps(emulator, "create_ecr_repository", "create_lambda_role")
    repository = f"{ACCOUNT_ID}.dkr.ecr.{REGION}.amazonaws.com/hello-lambda"
    stacks = {name: (holds, state) for holds, name, state in read_status(emulator)}
    assert stacks["hello-lambda-repository"] == (repository, "CREATE_COMPLETE")
    assert stacks["hello-lambda-role"][0].startswith(f"arn:aws:iam::{ACCOUNT_ID}:role/hello-lambda-role")


def read_status(settings: dict[str, str]) -> list[list[str]]:
    """The rows of the tables that `make status` shows."""
    rows = [line.strip("| ").split("|") for line in run_steps(settings, "status").splitlines() if "|" in line]
    return [[cell.strip() for cell in row] for row in rows if len(row) == 3]


def test_delete_names_the_target_that_goes_first_and_changes_nothing(emulator: dict[str, str]) -> None:
    run_steps(emulator, "create_api", "create_invoker")
    before, settings = list_everything(emulator), Path(emulator["ENV_FILE"]).read_text()
    process = run_make("delete_api", **emulator)
    assert process.returncode == 2
    assert process.stderr.splitlines()[0].endswith("Run make delete_invoker first")
    assert (list_everything(emulator), Path(emulator["ENV_FILE"]).read_text()) == (before, settings)


def test_steps_say_what_cloudformation_says(emulator: dict[str, str], checkout: Path) -> None:
    template = checkout / "aws/invoker.yaml"
    template.write_text(template.read_text().replace("${AppName}-api-id", "no-such-export"))
    process = run_make("create_invoker", "--directory", str(checkout), **emulator)
    assert process.returncode == 2
    assert "no-such-export" in process.stderr


def test_logs_shows_what_the_function_wrote(emulator: dict[str, str], tmp_path: Path) -> None:
    """It follows the log until it is stopped. The emulated account has one line in it."""
    run_steps(emulator, "create_lambda_role")
    logs = connect(emulator, "logs")
    logs.create_log_stream(logGroupName="/aws/lambda/hello-lambda", logStreamName="a")
    event = {"timestamp": int(time.time() * 1000), "message": "GET /hello/ 200"}
    logs.put_log_events(logGroupName="/aws/lambda/hello-lambda", logStreamName="a", logEvents=[event])
    settings = {**emulator, "REAL_AWS": str(find_aws()), "PYTHONUNBUFFERED": "1"}
    with running(["make", "logs"], log=tmp_path / "log", **settings):
        deadline = time.monotonic() + 30
        while "GET /hello/ 200" not in (tmp_path / "log").read_text():
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()
            time.sleep(0.1)


def find_aws() -> Path:
    """Version 2 of the aws CLI, wherever it is in PATH."""
    for aws in (Path(folder, "aws") for folder in CLEAN_ENVIRONMENT["PATH"].split(":")):
        if aws.exists():
            process = subprocess.run([aws, "--version"], capture_output=True, text=True, timeout=60)
            if process.stdout.startswith("aws-cli/2."):
                return aws
    skip_or_fail("needs version 2 of the AWS CLI")
