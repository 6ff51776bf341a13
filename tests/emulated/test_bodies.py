"""Bodies and paths through the emulated API Gateway to an application that uses every feature, with no Docker."""

import zipfile
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from account import connect, find_api, running_emulator
from helpers import ROOT, run_make
from rehearse import REGION
from requests_aws4auth import AWS4Auth

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
FUNCTION = """
from every_feature import make_app
from app.aws_lambda import create_handler

handler = create_handler(make_app())
"""


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a stage, as on AWS, with the application behind it as a zip function."""
    folder = tmp_path_factory.mktemp("bodies")
    with running_emulator(folder) as emulator:
        archive = folder / "function.zip"
        with zipfile.ZipFile(archive, "w") as file:
            for path in (ROOT / "app").rglob("*.py"):
                file.write(path, path.relative_to(ROOT))
            file.write(ROOT / "tests/unit/every_feature.py", "every_feature.py")
            file.writestr("function.py", FUNCTION)
        role = connect(emulator, "iam").create_role(RoleName="bodies", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
        functions = connect(emulator, "lambda")
        functions.create_function(
            FunctionName="hello-lambda",
            Runtime="python3.11",
            Handler="function.handler",
            Code={"ZipFile": archive.read_bytes()},
            Role=role,
            Timeout=28,
        )
        functions.get_waiter("function_active_v2").wait(FunctionName="hello-lambda")
        process = run_make("create_api", **emulator)
        assert process.returncode == 0, process.stderr
        port = emulator["AWS_ENDPOINT_URL"].rsplit(":", 1)[1]
        yield f"http://{find_api(emulator)}.execute-api.localhost:{port}/default"


def call(method: str, url: str, **arguments: Any) -> requests.Response:
    auth = AWS4Auth("test", "test", REGION, "execute-api")
    return requests.request(method, url, auth=auth, timeout=30, allow_redirects=False, **arguments)


def test_image_arrives_byte_for_byte(stage: str) -> None:
    response = call("GET", f"{stage}/image")
    assert (response.status_code, response.headers["content-type"], response.content) == (200, "image/png", PNG)
