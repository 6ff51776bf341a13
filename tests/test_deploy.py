"""The Makefile's way to AWS: the real aws CLI against an emulated account, a real docker push."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import CLEAN_ENVIRONMENT, find_free_port, require, run_make, running, wait_for

# An AWS CLI, asked for a registry's password, gets this one from the emulator.
PASSWORD = "ministack-auth-token"
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
    entry = subprocess.run(["htpasswd", "-Bbn", "AWS", PASSWORD], capture_output=True, text=True, check=True).stdout
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


def get_manifest(registry: str, tag: str) -> tuple[str, dict[str, Any]]:
    """A pushed image's digest and manifest."""
    response = httpx.get(
        f"http://{registry}/v2/hello-lambda/manifests/{tag}",
        headers={"Accept": ", ".join(ACCEPTED)},
        auth=("AWS", PASSWORD),
    )
    assert response.status_code == 200, response.text
    return response.headers["Docker-Content-Digest"], response.json()


def run_aws(emulator: dict[str, str], *arguments: str) -> Any:
    command = ["aws", "--endpoint-url", emulator["AWS_ENDPOINT_URL"], "--region", emulator["AWS_REGION"], *arguments]
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_PAGER": ""}
    process = subprocess.run(command, env={**CLEAN_ENVIRONMENT, **keys}, capture_output=True, text=True, timeout=60)
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout) if process.stdout else None


def test_deploy_to_ecr_logs_in_and_pushes_what_lambda_accepts(
    image: str, emulator: dict[str, str], registry: str, checkout: Path, docker_config: dict[str, str]
) -> None:
    settings = {**emulator, **docker_config, "ECR_REGISTRY": registry}
    process = run_make("deploy_to_ecr", "--directory", str(checkout), **settings)
    assert process.returncode == 0, process.stderr
    assert "Login Succeeded" in process.stdout
    assert PASSWORD not in process.stdout + process.stderr

    commit = subprocess.run(
        ["git", "rev-parse", "--short=12", "HEAD"], cwd=checkout, capture_output=True, text=True
    ).stdout.strip()
    digest, manifest = get_manifest(registry, commit)
    assert get_manifest(registry, "latest")[0] == digest
    assert manifest["mediaType"] in ACCEPTED
    assert "manifests" not in manifest


def test_deploy_to_ecr_never_pushes_another_image_under_the_same_commit(
    image: str, emulator: dict[str, str], registry: str, checkout: Path, docker_config: dict[str, str]
) -> None:
    settings = {**emulator, **docker_config, "ECR_REGISTRY": registry}
    assert run_make("deploy_to_ecr", "--directory", str(checkout), **settings).returncode == 0
    before = get_manifest(registry, "latest")[0]

    again = run_make("deploy_to_ecr", "--directory", str(checkout), **settings)
    assert (again.returncode, get_manifest(registry, "latest")[0]) == (0, before)
    assert "was pushed before, and is left as it is" in again.stdout

    (checkout / "app/new.py").write_text("NEW = True\n")
    assert run_make("deploy_to_ecr", "--directory", str(checkout), **settings).returncode == 0
    tags = httpx.get(f"http://{registry}/v2/hello-lambda/tags/list", auth=("AWS", PASSWORD)).json()["tags"]
    assert get_manifest(registry, "latest")[0] != before
    commit, dirty = sorted(set(tags) - {"latest"}, key=len)
    assert dirty.startswith(f"{commit}-2")
    assert get_manifest(registry, commit)[0] == before


def test_deploy_to_ecr_stops_where_the_registry_refuses_the_password(
    image: str, emulator: dict[str, str], registry: str, checkout: Path, docker_config: dict[str, str], tmp_path: Path
) -> None:
    htpasswd = subprocess.run(["htpasswd", "-Bbn", "AWS", "another"], capture_output=True, text=True, check=True)
    (tmp_path / "htpasswd").write_text(htpasswd.stdout)
    process = run_make(
        "deploy_to_ecr", "--directory", str(checkout), **{**emulator, **docker_config, "ECR_REGISTRY": registry}
    )
    assert process.returncode == 2
    assert "docker push" not in process.stdout


def test_create_ecr_repository_can_be_run_again_and_deleted(emulator: dict[str, str]) -> None:
    first = run_make("create_ecr_repository", **emulator)
    assert first.returncode == 0, first.stderr
    again = run_make("create_ecr_repository", **emulator)
    assert (again.returncode, again.stdout) == (
        0,
        ">> the repository hello-lambda exists already, and is left as it is\n",
    )
    (repository,) = run_aws(emulator, "ecr", "describe-repositories")["repositories"]
    assert (repository["repositoryName"], repository["imageScanningConfiguration"]) == (
        "hello-lambda",
        {"scanOnPush": True},
    )
    assert run_make("delete_ecr_repository", **emulator).returncode == 0
    assert run_aws(emulator, "ecr", "describe-repositories")["repositories"] == []


def test_create_lambda_function_from_the_digest(
    image: str, emulator: dict[str, str], checkout: Path, docker_config: dict[str, str]
) -> None:
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
    role = run_aws(
        emulator, "iam", "create-role", "--role-name", "lambda-role", "--assume-role-policy-document", json.dumps(trust)
    )
    settings = {**emulator, **docker_config, "AWS_LAMBDA_ROLE_ARN": role["Role"]["Arn"]}
    for target in ("create_ecr_repository", "deploy_to_ecr", "create_lambda_function"):
        process = run_make(target, "--directory", str(checkout), **settings)
        assert process.returncode == 0, process.stderr

    function = run_aws(emulator, "lambda", "get-function", "--function-name", "hello-lambda")
    (pushed,) = run_aws(emulator, "ecr", "describe-images", "--repository-name", "hello-lambda")["imageDetails"]
    assert function["Code"]["ImageUri"] == f"{emulator['ECR_REGISTRY']}/hello-lambda@{pushed['imageDigest']}"
    configuration = function["Configuration"]
    wanted = {"Architectures": ["x86_64"], "MemorySize": 512, "Timeout": 28, "State": "Active", "PackageType": "Image"}
    assert {name: configuration[name] for name in wanted} == wanted

    again = run_make("create_lambda_function", "--directory", str(checkout), **settings)
    assert again.returncode == 0, again.stderr
    assert again.stdout.startswith(">> the function hello-lambda exists already, and is left as it is\n")
    for target in ("delete_lambda_function", "delete_ecr_repository"):
        assert run_make(target, **settings).returncode == 0
    assert run_aws(emulator, "lambda", "list-functions")["Functions"] == []


def test_create_lambda_function_stops_with_awss_message(emulator: dict[str, str]) -> None:
    process = run_make("create_lambda_function", AWS_LAMBDA_ROLE_ARN="arn:aws:iam::123456789012:role/none", **emulator)
    assert process.returncode == 2
    assert "RepositoryNotFoundException" in process.stderr
    assert "create-function" not in process.stderr
