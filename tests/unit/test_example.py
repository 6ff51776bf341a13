"""The examples, against a gateway that recomputes each signature."""

import hmac
import json
import re
import subprocess
import threading
from collections.abc import Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from forked_python import run_forked
from rehearse import REGION, find_free_port

ACCESS_KEY = "AKIAIOSFODNN7EXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
TOKEN = "FwoGZXIvYXdzEXAMPLETOKEN"
ENVELOPE = {"statusCode": 200, "headers": {}, "body": '{"message":"hi"}', "isBase64Encoded": False}
Answer = tuple[int, Any]


class Gateway(ThreadingHTTPServer):
    """Answers as a REST API with AWS_IAM does, and notes each request whose signature is right."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Request)
        self.endpoint = f"http://127.0.0.1:{self.server_port}/default/hello-lambda"
        self.key = ACCESS_KEY
        self.token: str | None = None
        self.received: list[str] = []
        self.answers: dict[str, Answer] = {
            "signed": (200, ENVELOPE),
            "unsigned": (403, {"message": "Missing Authentication Token"}),
            "refused": (403, {"message": "The request signature we calculated does not match"}),
        }


class Request(BaseHTTPRequestHandler):
    server: Gateway

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        given = (self.headers["Authorization"], self.headers["X-Amz-Security-Token"])
        kind = "unsigned" if not given[0] else "refused"
        if given[0] and given == (self.sign(given[0], body), self.server.token):
            kind = "signed"
            self.server.received.append(f"{self.command} {self.path} {body.decode()}")
        status, answer = self.server.answers[kind]
        content = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_DELETE = do_POST  # noqa: N815

    def sign(self, authorization: str, body: bytes) -> str:
        """As AWS documents it: https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html"""
        (names,) = re.findall("SignedHeaders=([^,]+)", authorization)
        path, _, query = self.path.partition("?")
        headers = "".join(f"{name}:{' '.join(self.headers[name].split())}\n" for name in names.split(";"))
        parameters = "&".join(sorted(query.split("&")))
        request = (self.command, quote(path), parameters, headers, names, sha256(body).hexdigest())
        date = self.headers["X-Amz-Date"]
        scope = [date[:8], REGION, "execute-api", "aws4_request"]
        text = ("AWS4-HMAC-SHA256", date, "/".join(scope), sha256("\n".join(request).encode()).hexdigest())
        key = f"AWS4{SECRET}".encode()
        for word in [*scope, "\n".join(text)]:
            key = hmac.digest(key, word.encode(), "sha256")
        credential = "/".join([self.server.key, *scope])
        return f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={key.hex()}"

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with Gateway() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


ROUTES, CALL = "examples/invoke_secure_routes.py", "examples/call_route.py"


def run_example(env_file: Path | str, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs an example in a process of its own, and checks that it prints no secret."""
    command = command or (ROUTES,)
    code = f"import runpy, sys; sys.argv = {[*command]}; sys.path.insert(0, 'examples'); runpy.run_path(sys.argv[0], run_name='__main__')"
    process = run_forked(code, ENV_FILE=str(env_file), **environment)
    assert [secret for secret in (SECRET, TOKEN, "another-secret") if secret in process.stdout + process.stderr] == []
    return process


@pytest.fixture
def env_file(tmp_path: Path, gateway: Gateway) -> Path:
    """The `.env` of a user who has followed the guide."""
    path = tmp_path / ".env"
    path.write_text(
        f"AWS_REGION={REGION}\nAWS_ACCESS_KEY={ACCESS_KEY}\nAWS_SECRET_ACCESS_KEY='{SECRET}'\n"
        f"API_SECURE_ENDPOINT={gateway.endpoint}\n"
    )
    return path


def add_lines(env_file: Path, *lines: str) -> None:
    """Adds lines to a `.env`, where each wins over an earlier one of the same name."""
    env_file.write_text("\n".join([env_file.read_text(), *lines, ""]))


def read_log(process: subprocess.CompletedProcess[str]) -> list[str]:
    """The messages in the log."""
    lines = re.split(r"(?=^\d{4}-\d\d-\d\d )", process.stderr, flags=re.MULTILINE)[1:]
    return [line.split(" | ", 2)[2].strip() for line in lines]


def test_example_logs_as_the_guide_does(gateway: Gateway, env_file: Path) -> None:
    process = run_example(env_file)
    assert process.returncode == 0, process.stderr
    routes = re.findall("Invoking route: (.+)", process.stderr)
    logged, received = [], []
    for route in routes:
        logged += [f"Invoking route: {route}", f"Authorized request: {route}", json.dumps(ENVELOPE)]
        logged += [f"Unauthorized request: {route}", '{"message": "Missing Authentication Token"}']
        event: dict[str, Any] = {"resource": f"/{route}", "path": f"/{route}/", "httpMethod": "GET"}
        event |= {"multiValueQueryStringParameters": {}, "requestContext": {}}
        received.append(f"POST /default/hello-lambda {json.dumps(event)}")
    assert routes
    assert (read_log(process), gateway.received) == (logged, received)


@pytest.mark.parametrize(
    ("arguments", "received"),
    [
        (["/items/"], "GET /default/items/ "),
        (["items"], "GET /default/items "),
        (["/items/1?a=b", "--method", "DELETE"], "DELETE /default/items/1?a=b "),
        (["/items/", "--method", "POST", "--json", '{"name": "x"}'], 'POST /default/items/ {"name": "x"}'),
        (["/items/", "--method", "POST", "--json", "null"], "POST /default/items/ null"),
    ],
)
def test_call_route_sends_a_signed_request_and_shows_the_answer(
    gateway: Gateway, env_file: Path, arguments: list[str], received: str
) -> None:
    gateway.answers["signed"] = (422, {"detail": [{"type": "missing"}]})
    process = run_example(env_file, CALL, *arguments)
    assert (process.returncode, gateway.received) == (0, [received])
    assert process.stdout == '422 {"detail": [{"type": "missing"}]}\n'


def test_call_route_refuses_a_body_that_is_no_json(env_file: Path) -> None:
    process = run_example(env_file, CALL, "/items/", "--json", "{")
    assert process.returncode == 2
    assert "argument --json: invalid " in process.stderr


def test_example_does_not_mix_the_deployers_credentials_with_the_invokers(env_file: Path) -> None:
    deployer = {"AWS_ACCESS_KEY_ID": "AKIADEPLOYER", "AWS_SECRET_ACCESS_KEY": "another-secret"}
    assert run_example(env_file, AWS_SESSION_TOKEN=TOKEN, **deployer).returncode == 0


@pytest.mark.parametrize("value", ["", "'in two words'", "größe"])
@pytest.mark.parametrize("name", ["API_SECURE_ENDPOINT", "AWS_REGION", "AWS_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY"])
def test_example_names_a_setting_that_is_missing_or_wrong_without_its_value(
    env_file: Path, name: str, value: str
) -> None:
    add_lines(env_file, f"{name}={value}")
    process = run_example(env_file)
    message = f"{name} is not set, or has other than plain characters. Set it in {env_file}: see .env.example\n"
    assert (process.returncode, process.stderr) == (1, message)


@pytest.mark.parametrize(
    "line", ["AWS_ACCESS_KEY=UNKNOWN", "AWS_SECRET_ACCESS_KEY=another-secret", "AWS_REGION=us-east-1"]
)
def test_example_shows_a_refusal_and_where_its_cause_is_explained(gateway: Gateway, env_file: Path, line: str) -> None:
    add_lines(env_file, line)
    process = run_example(env_file)
    assert (process.returncode, gateway.received) == (1, [])
    assert json.dumps(gateway.answers["refused"][1]) in read_log(process)[-1]
    assert process.stderr.splitlines()[-1] == "AssertionError: got 403: see aws/troubleshooting.md"


UNUSABLE = "No usable answer from API_SECURE_ENDPOINT: "


@pytest.mark.parametrize(
    ("kind", "answer", "cause"),
    [
        ("signed", {"statusCode": 500, "body": "Internal Server Error"}, "AssertionError: the route failed: "),
        ("signed", "<html>log in to this network</html>", UNUSABLE),
        ("signed", "{broken", UNUSABLE),
        ("unsigned", ENVELOPE, "AssertionError: everybody can call the method: "),
    ],
)
def test_example_says_in_its_last_line_why_it_fails(
    gateway: Gateway, env_file: Path, kind: str, answer: Any, cause: str
) -> None:
    gateway.answers[kind] = (200, answer)
    process = run_example(env_file)
    assert process.returncode == 1
    assert process.stderr.splitlines()[-1].startswith(cause)


@pytest.mark.parametrize(
    ("endpoint", "command", "cause"),
    [
        ("{stage}/hello-lambda", (CALL, "/items/"), "No answer from {stage}/items/: "),
        *((endpoint, (ROUTES,), UNUSABLE) for endpoint in ("{stage}/hello-lambda", "hello-lambda", "http://a..b/")),
    ],
)
def test_example_says_in_one_line_that_nothing_answers(
    env_file: Path, endpoint: str, command: tuple[str, ...], cause: str
) -> None:
    stage = f"http://127.0.0.1:{find_free_port()}/default"
    add_lines(env_file, f"API_SECURE_ENDPOINT={endpoint.format(stage=stage)}")
    process = run_example(env_file, *command)
    assert process.returncode == 1
    assert process.stderr.splitlines()[-1].startswith(cause.format(stage=stage))
    assert "Traceback" not in process.stderr


def test_example_prints_no_secret_and_no_signature_that_an_answer_repeats(gateway: Gateway, env_file: Path) -> None:
    gateway.key, gateway.token = "ASIAIOSFODNN7EXAMPLE", TOKEN
    add_lines(env_file, f"AWS_ACCESS_KEY={gateway.key}", f"AWS_SESSION_TOKEN={TOKEN}")
    gateway.answers["signed"] = (200, {"statusCode": 200, "body": f"POST {TOKEN} {SECRET} " + "0123456789abcdef" * 4})
    process = run_example(env_file)
    assert process.returncode == 0
    assert "POST … … …" in process.stderr
