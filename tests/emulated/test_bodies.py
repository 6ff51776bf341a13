"""Bodies and paths through the emulated API Gateway to an application that uses every feature, with no Docker."""

import re
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from account import connect, find_api, running_emulator, sign
from helpers import ROOT, run_make

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
FUNCTION = """
from every_feature import make_app
from behind_lambda import make_handler

handler = make_handler(make_app())
"""


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The host of an API, named as on AWS, with the application behind it as a zip function."""
    folder = tmp_path_factory.mktemp("bodies")
    with running_emulator(folder) as emulator:
        archive = folder / "function.zip"
        with zipfile.ZipFile(archive, "w") as file:
            for path in (ROOT / "app").rglob("*.py"):
                file.write(path, path.relative_to(ROOT))
            file.write(ROOT / "tests/unit/every_feature.py", "every_feature.py")
            file.write(ROOT / "tests/behind_lambda.py", "behind_lambda.py")
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
        yield f"{find_api(emulator)}.execute-api.localhost:{port}"


def call(method: str, host: str, path: str, headers: dict[str, str] | None = None, **more: Any) -> requests.Response:
    """Sends a signed request to the stage. No resolver knows the host, so the Host header names it."""
    url = f"http://127.0.0.1:{host.rsplit(':', 1)[1]}/default{path}"
    headers = {"Host": host, **(headers or {})}
    return requests.request(method, url, auth=sign(), headers=headers, timeout=30, allow_redirects=False, **more)


def test_image_arrives_byte_for_byte(host: str) -> None:
    response = call("GET", host, "/image")
    assert (response.status_code, response.headers["content-type"], response.content) == (200, "image/png", PNG)


def test_compressed_answer_is_unpacked_by_the_client(host: str) -> None:
    response = call("GET", host, "/gzip")
    assert (response.status_code, response.headers["content-encoding"], response.text) == (200, "gzip", "hello")


def test_bytes_are_uploaded_byte_for_byte(host: str) -> None:
    response = call("PUT", host, "/echo", {"Content-Type": "application/octet-stream"}, data=PNG)
    assert (response.status_code, response.json()["body"].encode("latin-1")) == (200, PNG)


def test_form_with_a_file_is_uploaded(host: str) -> None:
    files = {"file": ("a.png", PNG, "image/png")}
    response = call("POST", host, "/files", files=files, data={"note": "größe"})
    assert response.json() == {"name": "a.png", "type": "image/png", "note": "größe", "same": True}


def test_cookies_arrive_one_by_one(host: str) -> None:
    response = call("GET", host, "/cookies", {"Cookie": "a=1; b=2"})
    assert response.json() == {"a": "1", "b": "2"}
    assert response.cookies.get_dict() == {"first": "1", "second": "2"}


def test_root_of_the_stage_reaches_the_application(host: str) -> None:
    response = call("GET", host, "/")
    assert response.json() == {
        "url": f"https://{host}/default/",
        "base_url": f"https://{host}/default/",
        "item": f"https://{host}/default/items/a",
    }


def test_documentation_loads_its_openapi_document_behind_the_stage(host: str) -> None:
    page = call("GET", host, "/docs")
    assert page.status_code == 200
    (address,) = re.findall(r"url: '/default(/.*?)'", page.text)
    document = call("GET", host, address).json()
    assert document["servers"] == [{"url": "/default"}]
    assert "/items/" in document["paths"]


def test_redirect_keeps_the_stage(host: str) -> None:
    response = call("GET", host, "/redirect")
    assert (response.status_code, response.headers["location"]) == (307, f"https://{host}/default/state")


def test_lifespan_has_started(host: str) -> None:
    assert call("GET", host, "/state").json() == {"pool": "a pool of connections", "session": "a session"}


def test_encoded_path_reaches_the_application(host: str) -> None:
    response = call("GET", host, "/items/a%20%C3%BC")
    assert response.json()["name"] == "a ü"
