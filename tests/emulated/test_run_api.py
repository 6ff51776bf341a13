"""`make run_api`: called by every client, with changed code, killed, and two at once. No test needs Docker."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import pytest
import requests
from dotenv import dotenv_values
from helpers import CLEAN_ENVIRONMENT, OWN_PYTHON, ROOT, load_event, require
from rehearse import REGION, find_free_port
from requests_aws4auth import AWS4Auth

USER = {"AWS_PROFILE": "real", "AWS_ACCESS_KEY_ID": "AKIAREAL", "AWS_SECRET_ACCESS_KEY": "real"}
READY = "a change under app/ is deployed when it is saved"
BROKEN = "\nimport a_module_that_is_not_there\n"


class Api(NamedTuple):
    checkout: Path
    port: int
    folder: Path  # for temporary files
    make: subprocess.Popen[bytes]

    @property
    def output(self) -> str:
        return (self.folder.parent / f"output-{self.port}").read_text()

    @property
    def env_file(self) -> Path:
        return self.checkout / f".env.local.{self.port}"

    @property
    def settings(self) -> dict[str, str]:
        return {name: value or "" for name, value in dotenv_values(self.env_file).items()}

    @property
    def account(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def administrator(self) -> tuple[str, str]:
        """The key of the account's owner, from the environment of the emulator."""
        environment = Path(f"/proc/{find_processes(self)['emulator']}/environ").read_text()
        found = dict(re.findall(r"\b(AWS_(?:ACCESS_KEY_ID|SECRET_ACCESS_KEY))=(\w+)", environment))
        return found["AWS_ACCESS_KEY_ID"], found["AWS_SECRET_ACCESS_KEY"]

    def call(self, method: str, path: str, *, event: object = None) -> requests.Response:
        """A signed request to a path of the stage."""
        settings = self.settings
        auth = AWS4Auth(settings["AWS_ACCESS_KEY"], settings["AWS_SECRET_ACCESS_KEY"], REGION, "execute-api")
        url = settings["API_SECURE_ENDPOINT"].rsplit("/", 1)[0] + path
        return requests.request(method, url, auth=auth, json=event, timeout=30)

    def wait(self, is_true: Callable[[], bool], seconds: float = 30) -> float:
        started = time.monotonic()
        while not is_true():
            assert time.monotonic() < started + seconds, self.output
            time.sleep(0.05)
        return time.monotonic() - started


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of this tree, in a path with a space. The tests change its app/."""
    copy = tmp_path_factory.mktemp("run_api") / "a checkout"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "__pycache__"))
    (copy / ".emulator").symlink_to(ROOT / ".emulator")
    return copy


@contextmanager
def running_api(checkout: Path, port: int, folder: Path) -> Iterator[Api]:
    """`make run_api` from the shell of a user who has a real account. Ends it by Ctrl-C."""
    require("aws", "curl")
    (folder / "temporary").mkdir()
    with (folder / f"output-{port}").open("wb") as output:
        make = subprocess.Popen(
            ["make", "--no-print-directory", "run_api", f"API_PORT={port}"],
            cwd=checkout,
            env={**CLEAN_ENVIRONMENT, **OWN_PYTHON, **USER, "TMPDIR": str(folder / "temporary")},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    api = Api(checkout, port, folder / "temporary", make)
    try:
        api.wait(lambda: READY in api.output or make.poll() is not None, 120)
        assert make.poll() is None, api.output
        yield api
    finally:
        if make.poll() is None:
            os.killpg(make.pid, signal.SIGINT)
        make.wait(timeout=30)
        api.wait(lambda: find_leftovers(api) == [], 30)


def find_leftovers(api: Api) -> list[str]:
    """The processes and files that a run has left."""
    with socket.socket() as client:
        listens = client.connect_ex(("127.0.0.1", api.port)) == 0
    processes = subprocess.run(["ps", "-ewwo", "args"], capture_output=True, text=True, check=True).stdout.splitlines()
    return [
        *(["the port"] if listens else []),
        *(line for line in processes if str(api.folder) in line or f"run_api.py {api.port}" in line),
        *map(str, api.folder.iterdir()),
        # The files of other ports belong to other runs.
        *(str(path) for path in api.checkout.glob(".env.local*") if not path.suffix[1:].isdecimal()),
        *([str(api.env_file)] if api.env_file.exists() else []),
    ]


@pytest.fixture(scope="module")
def api(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with running_api(checkout, find_free_port(), tmp_path_factory.mktemp("api")) as api:
        yield api


@pytest.fixture
def changed(api: Api) -> Iterator[Callable[[str, str, str], None]]:
    """Changes a file of app/ for one test. Afterwards the API has the old code again."""
    before = {path: path.read_text() for path in (api.checkout / "app").rglob("*.py")}

    def change(name: str, old: str, new: str) -> None:
        path = api.checkout / "app" / name
        path.write_text(before[path].replace(old, new))

    yield change
    for path, content in before.items():
        if path.read_text() != content:
            path.write_text(content)
    api.wait(lambda: api.call("GET", "/hello/").text == '{"message":"Hello, World"}')


def test_printed_calls_are_answered_signed_and_refused_unsigned(api: Api) -> None:
    """They are pasted into the shell of a user who has a real account."""
    (calls,) = [paragraph for paragraph in api.output.split("\n\n") if "examples/call_route.py" in paragraph]
    environment = {**CLEAN_ENVIRONMENT, **USER}
    process = subprocess.run(
        ["sh", "-c", calls], cwd=api.checkout, env=environment, capture_output=True, text=True, timeout=60
    )
    assert process.stdout == '200 {"message":"Hello, World"}\n{"message":"Missing Authentication Token"}', process


def test_unsigned_request_is_refused(api: Api) -> None:
    response = requests.get(api.settings["API_SECURE_ENDPOINT"].rsplit("/", 1)[0] + "/hello/", timeout=30)
    assert (response.status_code, response.json()) == (403, {"message": "Missing Authentication Token"})


def test_request_that_botocore_signs_is_answered(api: Api) -> None:
    settings = api.settings
    keys = botocore.credentials.Credentials(settings["AWS_ACCESS_KEY"], settings["AWS_SECRET_ACCESS_KEY"])
    event, url = json.dumps(load_event("guide")), settings["API_SECURE_ENDPOINT"]
    request = botocore.awsrequest.AWSRequest("POST", url, {"Content-Type": "application/json"}, event)
    botocore.auth.SigV4Auth(keys, "execute-api", REGION).add_auth(request)
    response = requests.post(url, event, headers=dict(request.headers), timeout=30)
    assert (response.status_code, response.json()["statusCode"]) == (200, 200)


def test_address_stays_the_same_from_run_to_run(api: Api) -> None:
    stage = f"http://127.0.0.1:{api.port}/_aws/execute-api/10ca1a91/default/"
    assert api.settings["API_SECURE_ENDPOINT"] == f"{stage}hello-lambda"
    assert f"The API runs until Ctrl-C, at {stage}\n" in api.output


def test_settings_are_readable_by_their_owner_alone(api: Api) -> None:
    assert api.env_file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in api.checkout.glob(".env.local*")] == [api.env_file.name]
    ignored = subprocess.run(["git", "check-ignore", "--quiet", api.env_file.name], cwd=ROOT, timeout=30)
    assert ignored.returncode == 0


def test_request_and_the_functions_line_are_shown(api: Api) -> None:
    api.call("GET", "/no-such-route")
    api.wait(lambda: re.search(r"^GET /default/no-such-route 404 \d+ ms$", api.output, re.MULTILINE) is not None)
    (line,) = [line for line in api.output.splitlines() if "no-such-route" in line and line.startswith("{")]
    assert json.loads(line)["message"] == "GET /no-such-route 404"


def test_events_of_many_clients_at_once_get_their_own_answers(api: Api) -> None:
    numbers = [f"request-{number}" for number in range(96)]
    events = [load_event("guide") | {"headers": {"x-correlation-id": number}} for number in numbers]
    with ThreadPoolExecutor(16) as clients:
        answers = list(clients.map(lambda event: api.call("POST", "/hello-lambda", event=event).json(), events))
    assert [answer["headers"]["x-correlation-id"] for answer in answers] == numbers


SCOPE = "20261127/eu-central-1/execute-api/aws4_request"
FORGED = [
    {"headers": {"Authorization": f"AWS4-HMAC-SHA256 Credential={key}/{SCOPE}, SignedHeaders=host, Signature=00"}}
    for key in ("test", "123456789012", "999999999999")
] + [
    {"params": {"X-Amz-Algorithm": "AWS4-HMAC-SHA256", "X-Amz-Credential": f"{key}/{SCOPE}", "X-Amz-Signature": "00"}}
    for key in ("test", "123456789012")
]
INVALID = {"message": "The security token included in the request is invalid."}


@pytest.mark.parametrize("path", ["/default/hello/", "/default/hello-lambda"])
@pytest.mark.parametrize("forged", FORGED)
def test_key_that_the_emulator_would_not_check_is_refused_by_the_api(
    api: Api, path: str, forged: dict[str, dict[str, str]]
) -> None:
    response = requests.get(f"{api.account}/_aws/execute-api/10ca1a91{path}", **forged, timeout=30)  # type: ignore[arg-type]
    assert (response.status_code, response.json()) == (403, INVALID)


@pytest.mark.parametrize("headers", [{}, {"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"}])
@pytest.mark.parametrize("forged", [*FORGED, {}])
def test_function_of_a_stranger_is_not_created(
    api: Api, headers: dict[str, str], forged: dict[str, dict[str, str]]
) -> None:
    code = {"FunctionName": "stranger", "Role": "arn:aws:iam::123456789012:role/any", "Code": {"ZipFile": ""}}
    response = requests.post(
        f"{api.account}/2015-03-31/functions",
        json.dumps(code),
        headers={"Content-Type": "text/plain"} | headers | forged.get("headers", {}),
        params=forged.get("params"),
        timeout=30,
    )
    assert response.status_code == 403
    assert "Access-Control-Allow-Origin" not in response.headers


def test_web_page_may_not_use_even_a_signed_request_of_the_account(api: Api) -> None:
    def ask(**headers: str) -> int:
        data = {"Action": "GetCallerIdentity", "Version": "2011-06-15"}
        auth = AWS4Auth(*api.administrator, REGION, "sts")
        return requests.post(api.account, data, auth=auth, headers=headers, timeout=30).status_code

    assert [ask(), ask(Origin="http://evil.example"), ask(**{"Sec-Fetch-Site": "same-origin"})] == [200, 403, 403]


@pytest.mark.parametrize("path", ["/_ministack/reset", "/_aws/execute-api/10ca1a91/default/hello/", "/"])
def test_host_name_of_somebody_else_is_refused(api: Api, path: str) -> None:
    response = requests.post(api.account + path, headers={"Host": f"evil.example:{api.port}"}, timeout=30)
    assert (response.status_code, response.json()) == (403, {"message": "The emulated account has no such host name"})


@pytest.mark.parametrize("path", ["/", "/2015-03-31/functions", "/_aws/execute-api/10ca1a91/default/hello/"])
def test_preflight_of_another_origin_is_refused(api: Api, path: str) -> None:
    headers = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    response = requests.options(api.account + path, headers=headers, timeout=30)
    assert response.status_code == 403
    assert "Access-Control-Allow-Origin" not in response.headers


@pytest.mark.parametrize("forged", [*FORGED, {}])
def test_reset_of_the_account_is_refused(api: Api, forged: dict[str, dict[str, str]]) -> None:
    url = f"{api.account}/_ministack/reset"
    assert requests.post(url, **forged, timeout=30).status_code == 403  # type: ignore[arg-type]
    assert api.call("GET", "/hello/").status_code == 200


def test_registry_asks_for_its_password(api: Api) -> None:
    for auth in (None, ("AWS", "ministack-auth-token")):
        response = requests.get(f"{api.account}/v2/", auth=auth, timeout=30)
        assert (response.status_code, response.headers["WWW-Authenticate"]) == (401, "Basic")


def test_path_cannot_control_the_terminal_or_forge_a_line(api: Api) -> None:
    path = "/_aws/execute-api/10ca1a91/default/\x1b[2J%1b[2J%0aGET%20/default/forged%20200%201%20ms"
    with socket.create_connection(("127.0.0.1", api.port)) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        assert client.recv(1000).startswith(b"HTTP/1.1 400 ")
    requests.get(api.account + path.replace("\x1b", ""), timeout=30)
    api.wait(lambda: "%0aget" in api.output.lower())
    assert "\x1b" not in api.output
    assert not re.search("^GET /default/forged", api.output, re.MULTILINE)


def test_function_cannot_control_the_terminal(api: Api, changed: Callable[[str, str, str], None]) -> None:
    changed("routers/hello.py", "    return", "    print('\\x1b[2J printed \\u202e')\n    return")
    api.wait(lambda: api.call("GET", "/hello/").ok and r"\x1b[2J printed \u202e" in api.output)
    assert "\x1b" not in api.output


@pytest.mark.parametrize("event", [[], {"resource": "/hello"}, load_event("guide") | {"path": 1}])
def test_body_that_is_not_the_guides_event_is_refused(api: Api, event: object) -> None:
    response = api.call("POST", "/hello-lambda", event=event)
    assert (response.status_code, list(response.json())) == (400, ["detail"])


def test_caller_who_forges_an_identity_is_logged_under_the_true_one(api: Api) -> None:
    context = {"identity": {"userArn": "arn:aws:iam::1:user/somebody"}}
    event = load_event("guide") | {"requestContext": context, "headers": {"x-correlation-id": "forged"}}
    response = api.call("POST", "/hello-lambda", event=event)
    assert (response.status_code, response.json()["statusCode"]) == (200, 200)
    api.wait(lambda: '"correlation_id": "forged"' in api.output)
    (line,) = [line for line in api.output.splitlines() if '"correlation_id": "forged"' in line]
    assert json.loads(line)["caller"] == "arn:aws:iam::123456789012:user/hello-lambda-invoker"


def test_change_is_answered_within_seconds(api: Api, changed: Callable[[str, str, str], None]) -> None:
    changed("routers/hello.py", "Hello, World", "Hello, Moon")
    assert api.wait(lambda: "Moon" in api.call("GET", "/hello/").text, 30) < 15  # 1 s on an idle machine
    assert "Moon" in api.call("POST", "/hello-lambda", event=load_event("guide")).json()["body"]


def test_code_that_does_not_import_is_shown_and_the_old_code_goes_on(
    api: Api, changed: Callable[[str, str, str], None]
) -> None:
    changed("routers/goodbye.py", '"""Says goodbye."""\n', BROKEN)
    api.wait(lambda: "app/ does not start" in api.output)
    assert "ModuleNotFoundError: No module named 'a_module_that_is_not_there'" in api.output
    assert '\n  File "app/routers/goodbye.py", line 2, in <module>\n' in api.output
    assert api.call("GET", "/goodbye/").text == '{"message":"Goodbye, World"}'
    changed("routers/goodbye.py", "Goodbye, World", "Goodbye, Moon")
    api.wait(lambda: api.call("GET", "/goodbye/").text == '{"message":"Goodbye, Moon"}')


LIFESPAN = """
@contextlib.asynccontextmanager
async def fail(app: FastAPI):
    raise RuntimeError("no database today")
    yield

app = FastAPI(
    lifespan=fail,
"""


def test_lifespan_that_fails_is_shown_and_the_old_code_goes_on(
    api: Api, changed: Callable[[str, str, str], None]
) -> None:
    changed("app.py", "\napp = FastAPI(\n", f"\nimport contextlib\n{LIFESPAN}")
    api.wait(lambda: "\nRuntimeError: no database today\n" in api.output)
    api.wait(lambda: ">> app/ does not start" in api.output.rpartition("no database today")[2])
    assert api.call("GET", "/hello/").text == '{"message":"Hello, World"}'


def test_exception_of_a_route_is_shown_as_lines_with_its_cause_last(
    api: Api, changed: Callable[[str, str, str], None]
) -> None:
    changed("routers/hello.py", "    return", "    1 / 0\n    return")
    api.wait(lambda: api.call("GET", "/hello/").status_code == 500)
    api.wait(
        lambda: (
            re.search(r"\nZeroDivisionError: .*\n(GET /default/hello/ .*\n)*GET /default/hello/ 500 ", api.output)
            is not None
        )
    )
    assert '"exception"' not in api.output


def test_package_that_the_lock_does_not_name_is_not_found(api: Api, changed: Callable[[str, str, str], None]) -> None:
    changed("routers/hello.py", '"""Says hello."""\n', "import pytest\n")
    api.wait(lambda: "ModuleNotFoundError: No module named 'pytest'" in api.output)


def test_failing_function_is_a_502(api: Api, changed: Callable[[str, str, str], None]) -> None:
    changed("app.py", "\nhandler = ", "\nhandler = len  # ")
    api.wait(lambda: api.call("POST", "/hello-lambda", event=load_event("guide")).status_code == 502)
    assert api.call("GET", "/hello/").status_code == 502


def test_second_run_on_another_port_does_not_disturb_the_first(api: Api, tmp_path: Path) -> None:
    port = find_free_port()
    copy = tmp_path / "another checkout"
    shutil.copytree(api.checkout, copy, ignore=shutil.ignore_patterns(".env*", "__pycache__"), symlinks=True)
    with running_api(copy, port, tmp_path) as second:
        assert second.call("GET", "/hello/").status_code == 200
        assert second.settings["AWS_ACCESS_KEY"] != api.settings["AWS_ACCESS_KEY"]
        assert api.call("GET", "/hello/").status_code == 200
    assert api.call("GET", "/hello/").status_code == 200


def run_refused(checkout: Path, port: object) -> str:
    process = subprocess.run(
        ["make", "--no-print-directory", "run_api", f"API_PORT={port}"],
        cwd=checkout,
        env={**CLEAN_ENVIRONMENT, **OWN_PYTHON},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (process.returncode, process.stdout) == (2, "")
    return process.stderr.splitlines()[0]


def test_taken_port_is_one_clear_line(api: Api) -> None:
    refusal = "cannot be used (Address already in use). Name another: make run_api API_PORT=8001"
    assert run_refused(api.checkout, api.port) == f"API_PORT={api.port} {refusal}"


@pytest.mark.parametrize("port", ["abc", "0", "65536", ""])
def test_port_that_is_none_is_refused(checkout: Path, port: str) -> None:
    assert run_refused(checkout, port) == f"API_PORT={port} is not a port: 8000, for example"


def test_setting_of_the_image_that_is_neither_yes_nor_no_is_refused(checkout: Path) -> None:
    process = subprocess.run(
        ["make", "--no-print-directory", "run_api", f"API_PORT={find_free_port()}", "IMAGE=ja"],
        cwd=checkout,
        env={**CLEAN_ENVIRONMENT, **OWN_PYTHON},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert process.stderr.splitlines()[0] == "IMAGE=ja is neither yes nor no"


def test_file_of_the_users_is_not_overwritten(checkout: Path) -> None:
    port = find_free_port()
    file = checkout / f".env.local.{port}"
    file.write_text("MY=own\n")
    refusal = "is not a file of make run_api. Move it, or name another port: make run_api API_PORT=8001"
    assert run_refused(checkout, port) == f"{file.name} {refusal}"
    assert file.read_text() == "MY=own\n"
    file.unlink()


def find_processes(api: Api) -> dict[str, int]:
    """The process id of make, of the script and of the emulated account."""
    listing = subprocess.run(["ps", "-ewwo", "pid,args"], capture_output=True, text=True, check=True).stdout
    patterns = {"script": f"python tests/programs/run_api.py {api.port} ", "emulator": f"--bind 127.0.0.1:{api.port}"}
    found = {
        name: int(line.split()[0])
        for line in listing.splitlines()
        for name, pattern in patterns.items()
        if pattern in line
    }
    return found | {"make": api.make.pid}


@pytest.mark.parametrize("victim", ["make", "script", "emulator"])
def test_killed_run_leaves_nothing(checkout: Path, tmp_path: Path, victim: str) -> None:
    user_file = checkout / ".env"
    user_file.write_text("AWS_REGION=eu-west-1\n")
    state = user_file.read_bytes(), user_file.stat().st_mtime_ns
    with running_api(checkout, find_free_port(), tmp_path) as api:
        os.kill(find_processes(api)[victim], signal.SIGKILL)
        api.wait(lambda: api.make.poll() is not None)
        assert api.make.returncode != 0
    assert (user_file.read_bytes(), user_file.stat().st_mtime_ns) == state
    user_file.unlink()


def test_lost_account_ends_the_run_with_one_sentence(checkout: Path, tmp_path: Path) -> None:
    with running_api(checkout, find_free_port(), tmp_path) as api:
        auth = AWS4Auth(*api.administrator, REGION, "logs")
        headers = {"X-Amz-Target": "Logs_20140328.DeleteLogGroup", "Content-Type": "application/x-amz-json-1.1"}
        group = json.dumps({"logGroupName": "/aws/lambda/hello-lambda"})
        assert requests.post(api.account, group, auth=auth, headers=headers, timeout=30).ok
        with contextlib.suppress(requests.ConnectionError):
            requests.get(f"{api.account}/_aws/execute-api/10ca1a91/default/hello/", timeout=30)
        api.wait(lambda: api.make.poll() is not None)
    assert "the emulated AWS account has lost the function's log: run make run_api again\n" in api.output
    assert "Traceback" not in api.output


def test_ctrl_c_leaves_nothing_within_seconds(checkout: Path, tmp_path: Path) -> None:
    with running_api(checkout, find_free_port(), tmp_path) as api:
        started = time.monotonic()
        for _ in range(3):  # people press it again
            with contextlib.suppress(ProcessLookupError):
                os.killpg(api.make.pid, signal.SIGINT)
            time.sleep(0.2)
        api.make.wait(timeout=30)
        assert time.monotonic() - started < 10  # 1.2 s on an idle machine
        assert find_leftovers(api) == []
        assert api.output.splitlines()[-1].endswith(">> stopped everything")
        assert "Traceback" not in api.output
