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
AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/]+)/\d{8}/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request, ?"
    r"SignedHeaders=(?P<headers>[^,]+), ?Signature=(?P<signature>[0-9a-f]{64})"
)

ENVELOPE = {
    "statusCode": 200,
    "headers": {},
    "multiValueHeaders": {},
    "body": '{"message":"hi"}',
    "isBase64Encoded": False,
}
Answer = tuple[int, Any]


class Gateway(ThreadingHTTPServer):
    """Answers POST /default/hello-lambda as a REST API with AWS_IAM does."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Request)
        self.key = ACCESS_KEY
        self.token: str | None = None
        # The answer to every signed or unsigned request, instead of the usual one.
        self.signed_answer: Answer | None = None
        self.unsigned_answer: Answer | None = None
        self.events: list[Any] = []

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/default/hello-lambda"


class _Request(BaseHTTPRequestHandler):
    server: Gateway

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        status, answer = self.answer(body)
        content = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_DELETE = do_POST  # noqa: N815

    def answer(self, body: bytes) -> Answer:
        if "Authorization" not in self.headers:
            return self.server.unsigned_answer or (403, {"message": "Missing Authentication Token"})
        if self.server.signed_answer:
            return self.server.signed_answer
        claim = AUTHORIZATION.fullmatch(self.headers["Authorization"])
        assert claim
        if (claim["region"], claim["service"]) != (REGION, "execute-api"):
            return 403, {"message": f"Credential should be scoped to a valid region, not '{claim['region']}'. "}
        if claim["key"] != self.server.key or self.headers["X-Amz-Security-Token"] != self.server.token:
            return 403, {"message": "The security token included in the request is invalid."}
        if claim["signature"] != self.sign(claim["headers"].split(";"), body):
            return 403, {
                "message": "The request signature we calculated does not match the signature you provided. "
                f"The Canonical String should have been 'POST {self.headers['X-Amz-Security-Token']}', "
                f"not {claim['signature']}"
            }
        if self.path != "/default/hello-lambda":
            return 201, {"received": f"{self.command} {self.path} {body.decode()}"}
        self.server.events.append(json.loads(body))
        return 200, ENVELOPE

    def sign(self, signed_headers: list[str], body: bytes) -> str:
        """As AWS documents it: https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html"""
        path, _, query = self.path.partition("?")
        headers = "".join(f"{name}:{' '.join(self.headers[name].split())}\n" for name in signed_headers)
        parameters = "&".join(sorted(query.split("&")))
        request = (self.command, quote(path), parameters, headers, ";".join(signed_headers), sha256(body).hexdigest())
        date = self.headers["X-Amz-Date"]
        scope = [date[:8], REGION, "execute-api", "aws4_request"]
        text = ("AWS4-HMAC-SHA256", date, "/".join(scope), sha256("\n".join(request).encode()).hexdigest())
        key = f"AWS4{SECRET}".encode()
        for word in [*scope, "\n".join(text)]:
            key = hmac.digest(key, word.encode(), "sha256")
        return key.hex()

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
    return [
        part.split(" | ", 2)[2].strip() for part in re.split(r"(?=^\d{4}-\d\d-\d\d )", process.stderr, flags=re.M)[1:]
    ]


def test_example_logs_as_the_guide_does(gateway: Gateway, env_file: Path) -> None:
    process = run_example(env_file)
    assert process.returncode == 0, process.stderr
    expected = []
    for route in ("hello", "goodbye"):
        expected += [f"Invoking route: {route}", f"Authorized request: {route}", json.dumps(ENVELOPE)]
        expected += [f"Unauthorized request: {route}", '{"message": "Missing Authentication Token"}']
    assert read_log(process) == expected
    assert gateway.events == [
        {
            "resource": f"/{route}",
            "path": f"/{route}/",
            "httpMethod": "GET",
            "multiValueQueryStringParameters": {},
            "requestContext": {},
        }
        for route in ("hello", "goodbye")
    ]


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
def test_call_route_sends_a_signed_request(env_file: Path, arguments: list[str], received: str) -> None:
    process = run_example(env_file, CALL, *arguments)
    assert process.returncode == 0, process.stderr
    assert process.stdout == f"201 {json.dumps({'received': received})}\n"


def test_call_route_shows_a_refusal_as_it_is(gateway: Gateway, env_file: Path) -> None:
    gateway.signed_answer = (422, {"detail": [{"type": "missing"}]})
    process = run_example(env_file, CALL, "/items/", "--method", "POST", "--json", "{}")
    assert (process.returncode, process.stdout) == (0, '422 {"detail": [{"type": "missing"}]}\n')


def test_call_route_says_in_one_line_that_nothing_answers(env_file: Path) -> None:
    stage = f"http://127.0.0.1:{find_free_port()}/default"
    add_lines(env_file, f"API_SECURE_ENDPOINT={stage}/hello-lambda")
    process = run_example(env_file, CALL, "/items/")
    assert process.returncode == 1
    assert process.stderr.startswith(f"No answer from {stage}/items/: ")
    assert "Traceback" not in process.stderr


def test_call_route_refuses_a_body_that_is_no_json(env_file: Path) -> None:
    process = run_example(env_file, CALL, "/items/", "--json", "{")
    assert process.returncode == 2
    assert "argument --json: invalid " in process.stderr


def test_example_signs_with_a_roles_token(gateway: Gateway, tmp_path: Path) -> None:
    """The settings of a role come from the shell. The file has no key."""
    (tmp_path / ".env").write_text(f"AWS_REGION={REGION}\nAWS_ACCESS_KEY=\n")
    gateway.key, gateway.token = "ASIAIOSFODNN7EXAMPLE", TOKEN
    credentials = {"AWS_ACCESS_KEY_ID": gateway.key, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_SESSION_TOKEN": TOKEN}
    process = run_example(tmp_path / ".env", **credentials, API_SECURE_ENDPOINT=gateway.endpoint)
    assert process.returncode == 0, process.stderr


def test_example_does_not_mix_the_deployers_credentials_with_the_invokers(env_file: Path) -> None:
    deployer = {
        "AWS_ACCESS_KEY_ID": "AKIADEPLOYER",
        "AWS_SECRET_ACCESS_KEY": "another-secret",
        "AWS_SESSION_TOKEN": TOKEN,
    }
    assert run_example(env_file, **deployer).returncode == 0


NAMES = ["API_SECURE_ENDPOINT", "AWS_REGION", "AWS_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY"]


@pytest.mark.parametrize("value", ["", "'in two words'", "größe"])
@pytest.mark.parametrize("name", NAMES)
def test_example_names_a_setting_that_is_missing_or_wrong_without_its_value(
    env_file: Path, name: str, value: str
) -> None:
    add_lines(env_file, f"{name}={value}")
    process = run_example(env_file)
    assert (process.returncode, process.stderr) == (
        1,
        f"{name} is not set, or has other than plain characters. Set it in {env_file}: see .env.example\n",
    )


def test_example_asks_for_the_token_of_a_temporary_key(env_file: Path) -> None:
    add_lines(env_file, "AWS_ACCESS_KEY=ASIATEMPORARY")
    assert run_example(env_file).stderr.startswith("AWS_SESSION_TOKEN is not set")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("AWS_ACCESS_KEY=AKIAUNKNOWN", "The security token included in the request is invalid."),
        ("AWS_SECRET_ACCESS_KEY=another-secret", "The request signature we calculated does not match"),
        ("AWS_REGION=us-east-1", "Credential should be scoped to a valid region"),
    ],
)
def test_example_shows_a_refusal_and_where_its_cause_is_explained(env_file: Path, line: str, message: str) -> None:
    add_lines(env_file, line)
    process = run_example(env_file)
    assert process.returncode == 1
    assert message in read_log(process)[-1]
    assert process.stderr.splitlines()[-1] == "AssertionError: got 403: see Troubleshooting in aws/README.md"


def test_example_fails_where_the_route_failed(gateway: Gateway, env_file: Path) -> None:
    gateway.signed_answer = (200, {"statusCode": 500, "body": "Internal Server Error"})
    process = run_example(env_file)
    assert (process.returncode, process.stderr.splitlines()[-1].split(":")[1]) == (1, " the route failed")


def test_example_fails_where_everybody_can_call(gateway: Gateway, env_file: Path) -> None:
    gateway.unsigned_answer = (200, ENVELOPE)
    process = run_example(env_file)
    assert (process.returncode, process.stderr.splitlines()[-1].split(":")[1]) == (1, " everybody can call the method")


def test_example_prints_no_secret_and_no_signature_that_an_answer_repeats(gateway: Gateway, env_file: Path) -> None:
    gateway.key, gateway.token = "ASIAIOSFODNN7EXAMPLE", "another-token"
    add_lines(env_file, f"AWS_ACCESS_KEY={gateway.key}", f"AWS_SESSION_TOKEN={TOKEN}")
    gateway.signed_answer = (200, {"statusCode": 200, "body": f"POST {TOKEN} {SECRET} " + "0123456789abcdef" * 4})
    process = run_example(env_file)
    assert process.returncode == 0
    assert "POST … … …" in process.stderr


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:{port}/default/hello-lambda", "hello-lambda", "http://a..b/"])
def test_example_says_in_one_line_that_nothing_answers(env_file: Path, endpoint: str) -> None:
    add_lines(env_file, f"API_SECURE_ENDPOINT={endpoint.format(port=find_free_port())}")
    process = run_example(env_file)
    assert process.returncode == 1
    assert process.stderr.splitlines()[-1].startswith("No usable answer from API_SECURE_ENDPOINT: ")
    assert "Traceback" not in process.stderr


@pytest.mark.parametrize("answer", ["<html>log in to this network</html>", "{broken"])
def test_example_says_in_one_line_that_an_answer_is_no_json(gateway: Gateway, env_file: Path, answer: str) -> None:
    gateway.signed_answer = (200, answer)
    assert run_example(env_file).stderr.splitlines()[-1].startswith("No usable answer from API_SECURE_ENDPOINT: ")
