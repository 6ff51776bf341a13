"""The example, against a gateway that recomputes each signature."""

import hmac
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from behind_lambda import make_handler
from fastapi import FastAPI
from helpers import CLEAN_ENVIRONMENT, ROOT, run_python
from rehearse import REGION, find_free_port

APP = FastAPI()
APP.get("/hello/")(lambda: {"message": "Hello, World"})
APP.get("/goodbye/")(lambda: {"message": "Goodbye, World"})
HANDLER = make_handler(APP)

ACCESS_KEY = "AKIAIOSFODNN7EXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
TOKEN = "FwoGZXIvYXdzEXAMPLETOKEN"
AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/]+)/\d{8}/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request, ?"
    r"SignedHeaders=(?P<headers>[^,]+), ?Signature=(?P<signature>[0-9a-f]{64})"
)

Answer = tuple[int, Any]


class Gateway(ThreadingHTTPServer):
    """Answers POST /default/hello-lambda as a REST API with AWS_IAM does."""

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Request)
        self.token: str | None = None
        # The answer to every signed or unsigned request, instead of the usual one.
        self.signed_answer: Answer | None = None
        self.unsigned_answer: Answer | None = None
        # The answers to the first signed requests.
        self.first_answers: list[Answer] = []
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
        if self.server.first_answers:
            return self.server.first_answers.pop(0)
        if self.server.signed_answer:
            return self.server.signed_answer
        claim = AUTHORIZATION.fullmatch(self.headers["Authorization"])
        assert claim
        if (claim["region"], claim["service"]) != (REGION, "execute-api"):
            return 403, {"message": f"Credential should be scoped to a valid region, not '{claim['region']}'. "}
        if claim["key"] != ACCESS_KEY or self.headers["X-Amz-Security-Token"] != self.server.token:
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
        return 200, HANDLER(json.loads(body), None)

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


EXAMPLE = "examples/invoke_secure_routes.py"
# Forks for each run, and so imports the libraries once: they take 0.4 s. Some runs shorten a constant.
FORKING_PYTHON = """
import json, os, pathlib, re, sys
import argparse, dotenv, loguru, requests, requests_aws4auth
for line in sys.stdin:
    run = json.loads(line)
    if child := os.fork():
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
        continue
    os.dup2(os.open(run["output"], os.O_WRONLY), 1)
    os.dup2(os.open(run["errors"], os.O_WRONLY), 2)
    os.environ.clear()
    os.environ.update(run["environment"])
    sys.argv = run["command"]
    source = pathlib.Path(sys.argv[0]).read_text()
    for name, value in run["constants"].items():
        source, count = re.subn(f"^{name} = .*$", f"{name} = {value}", source, flags=re.MULTILINE)
        assert count == 1
    exec(compile(source, sys.argv[0], "exec"), {"__name__": "__main__", "__file__": os.path.abspath(sys.argv[0])})
    break
"""
RunExample = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def forking_python() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", FORKING_PYTHON],
        cwd=ROOT,
        env=CLEAN_ENVIRONMENT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process


@pytest.fixture
def run_example(forking_python: subprocess.Popen[str], tmp_path: Path) -> RunExample:
    """Runs the example in a process of its own, and checks that it prints no secret."""

    def run(
        env_file: Path | str, *arguments: str, constants: dict[str, str] | None = None, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        output, errors = tmp_path / "output", tmp_path / "errors"
        output.write_text("")
        errors.write_text("")
        run = {
            "command": [EXAMPLE, *arguments],
            "constants": constants or {},
            "environment": {**CLEAN_ENVIRONMENT, "ENV_FILE": str(env_file), "LOG_LEVEL": "DEBUG", **environment},
            "errors": str(errors),
            "output": str(output),
        }
        assert forking_python.stdin
        assert forking_python.stdout
        print(json.dumps(run), file=forking_python.stdin, flush=True)
        code = int(forking_python.stdout.readline())
        process = subprocess.CompletedProcess(arguments, code, output.read_text(), errors.read_text())
        assert [secret for secret in (SECRET, TOKEN) if secret in process.stdout + process.stderr] == []
        return process

    return run


@pytest.fixture
def env_file(tmp_path: Path, gateway: Gateway) -> Path:
    """The `.env` of a user who has followed the guide."""
    path = tmp_path / ".env"
    path.write_text(
        f"AWS_REGION={REGION}\nAWS_ACCESS_KEY={ACCESS_KEY}\nAWS_SECRET_ACCESS_KEY='{SECRET}'\n"
        f"API_SECURE_ENDPOINT={gateway.endpoint}\n"
    )
    return path


def add_line(env_file: Path, line: str) -> None:
    """Adds a line to a `.env`, where it wins over an earlier one of the same name."""
    env_file.write_text(f"{env_file.read_text()}{line}\n")


def test_example_logs_as_the_guide_does(gateway: Gateway, env_file: Path) -> None:
    process = subprocess.run(
        [sys.executable, EXAMPLE],
        cwd=ROOT,
        env={**CLEAN_ENVIRONMENT, "ENV_FILE": str(env_file)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert process.returncode == 0, process.stderr
    stamp = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} \| INFO     \| __main__:main:\d+ - "
    expected = "".join(
        rf"{stamp}\nInvoking route: {route}\n\n"
        rf"{stamp}Authorized request: {route}\n"
        rf"{stamp}\{{'statusCode': 200, 'headers': \{{'content-length': '\d+', 'content-type': 'application/json', "
        rf"'x-correlation-id': '[0-9a-f-]{{36}}'\}}, 'multiValueHeaders': \{{\}}, "
        rf"'body': '\{{\"message\":\"{message}\"\}}', 'isBase64Encoded': False\}}\n"
        rf"{stamp}Unauthorized request: {route}\n"
        rf"{stamp}\{{'message': 'Missing Authentication Token'\}}\n"
        for route, message in (("hello", "Hello, World"), ("goodbye", "Goodbye, World"))
    )
    assert re.fullmatch(expected, process.stderr), process.stderr


def test_example_sends_the_five_fields(run_example: RunExample, gateway: Gateway, env_file: Path) -> None:
    run_example(env_file)
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
        (["/items/1?a=b", "--method", "DELETE"], "DELETE /default/items/1?a=b "),
        (["/items/", "--method", "POST", "--json", '{"name": "x"}'], 'POST /default/items/ {"name": "x"}'),
    ],
)
def test_example_calls_a_route_of_ones_own(
    run_example: RunExample, env_file: Path, arguments: list[str], received: str
) -> None:
    process = run_example(env_file, *arguments)
    assert process.returncode == 0, process.stderr
    assert f"{{'received': {received!r}}}" in process.stderr
    assert process.stderr.count("{'message': 'Missing Authentication Token'}") == 1


def test_example_refuses_a_body_that_is_no_json(run_example: RunExample, env_file: Path) -> None:
    process = run_example(env_file, "/items/", "--json", "{")
    assert process.returncode == 2
    assert "argument --json: invalid loads value: '{'" in process.stderr


def test_example_signs_with_the_session_token(run_example: RunExample, gateway: Gateway, env_file: Path) -> None:
    gateway.token = TOKEN
    add_line(env_file, f"AWS_SESSION_TOKEN={TOKEN}")
    assert run_example(env_file).returncode == 0


def test_example_takes_everything_from_the_environment(run_example: RunExample, gateway: Gateway) -> None:
    process = run_example(
        "/dev/null",
        AWS_REGION=REGION,
        AWS_ACCESS_KEY_ID=ACCESS_KEY,
        AWS_SECRET_ACCESS_KEY=SECRET,
        API_SECURE_ENDPOINT=gateway.endpoint,
    )
    assert process.returncode == 0, process.stderr


def test_example_does_not_mix_the_deployers_credentials_with_the_invokers(
    run_example: RunExample, gateway: Gateway, env_file: Path
) -> None:
    process = run_example(
        env_file, AWS_ACCESS_KEY_ID="AKIADEPLOYER", AWS_SECRET_ACCESS_KEY="deployers", AWS_SESSION_TOKEN=TOKEN
    )
    assert process.returncode == 0, process.stderr


def test_example_names_every_missing_variable(run_example: RunExample) -> None:
    process = run_example("/dev/null")
    assert (process.returncode, process.stderr) == (
        1,
        "Not set, or not plain characters: API_SECURE_ENDPOINT, AWS_REGION, AWS_ACCESS_KEY, AWS_SECRET_ACCESS_KEY. "
        "Set each in /dev/null. See .env.example.\n",
    )


def test_example_names_a_secret_missing_beside_its_key(run_example: RunExample, env_file: Path) -> None:
    process = run_example(env_file, AWS_ACCESS_KEY=ACCESS_KEY)
    assert process.returncode == 1
    assert process.stderr == (
        "Not set, or not plain characters: AWS_SECRET_ACCESS_KEY. "
        "Set each in the environment, next to AWS_ACCESS_KEY. See .env.example.\n"
    )


def test_example_asks_for_the_token_of_a_temporary_key(run_example: RunExample, env_file: Path) -> None:
    add_line(env_file, "AWS_ACCESS_KEY=ASIATEMPORARY")
    process = run_example(env_file)
    assert process.returncode == 1
    assert process.stderr == (
        f"Not set, or not plain characters: AWS_SESSION_TOKEN. Set each in {env_file}. See .env.example.\n"
    )


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("AWS_ACCESS_KEY=AKIAUNKNOWN", "AWS_ACCESS_KEY is unknown: it was deleted or mistyped"),
        ("AWS_SECRET_ACCESS_KEY=wrong", "AWS_SECRET_ACCESS_KEY does not belong to AWS_ACCESS_KEY"),
        ("AWS_REGION=us-east-1", "API_SECURE_ENDPOINT is not the address of an API in AWS_REGION"),
    ],
)
def test_example_explains_a_wrong_setting(run_example: RunExample, env_file: Path, line: str, cause: str) -> None:
    add_line(env_file, line)
    process = run_example(env_file)
    assert (process.returncode, process.stderr.splitlines()[-1]) == (1, f"Most likely: {cause}.")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((403, {"message": "Missing Authentication Token"}), "no such path, stage or method"),
        ((403, {"message": "The security token included in the request is expired"}), "AWS_SESSION_TOKEN has expired"),
        (
            (403, {"message": "Signature expired: 20260102T030405Z is now earlier than …"}),
            "clock is more than 5 minutes off",
        ),
        (
            (403, {"message": "Signature not yet current: 20260102T030405Z is still later than …"}),
            "clock is more than 5 minutes off",
        ),
        (
            (403, {"message": "Credential should be scoped to correct service: 'execute-api'. "}),
            "not the address of an API",
        ),
        ((403, {"message": "'a' not a valid key=value pair (missing equal-sign) in Authorization header"}), "a proxy"),
        (
            (403, {"Message": "User: … is not authorized to perform: execute-api:Invoke on …"}),
            "no policy lets this user",
        ),
        ((403, {"message": "Forbidden"}), "a resource policy or a firewall"),
        ((400, {"message": "Invalid request body"}), "the API or the function refused the event"),
        ((429, {"message": "Too Many Requests"}), "more requests than it lets through"),
        ((502, {"message": "Internal server error"}), "the function failed"),
        ((504, {"message": "Endpoint request timed out"}), "took too long"),
        ((200, {"errorMessage": "x", "errorType": "y", "stackTrace": []}), "the function failed"),
        ((200, {"errorMessage": "User: … is not authorized to perform: s3:GetObject"}), "the function failed"),
        ((200, {"statusCode": 400, "body": '{"detail": "Not an event of …"}'}), "the function refused the event"),
        ((200, {"statusCode": 500, "body": '{"detail":"Internal Server Error"}'}), "the function failed"),
        ((404, {"detail": "Not Found"}), "the app has no such route"),
        ((200, "<html>log in to this network</html>"), "see Troubleshooting"),
        ((200, [1]), "see Troubleshooting"),
        ((418, "<html>a teapot</html>"), "see Troubleshooting"),
    ],
)
def test_example_explains_every_other_answer(
    run_example: RunExample, gateway: Gateway, env_file: Path, answer: tuple[int, Any], said: str
) -> None:
    gateway.signed_answer = answer
    process = run_example(env_file)
    assert process.returncode == 1
    last = process.stderr.splitlines()[-1]
    assert last.startswith("Most likely: ")
    assert said in last
    assert "Traceback" not in process.stderr


def test_example_explains_a_route_that_is_open_to_everybody(
    run_example: RunExample, gateway: Gateway, env_file: Path
) -> None:
    gateway.unsigned_answer = (200, {"statusCode": 200, "body": '{"message":"Hello, World"}'})
    process = run_example(env_file)
    assert process.returncode == 1
    assert "expected 403, got 200" in process.stderr
    assert "the method is open to everybody" in process.stderr


def test_example_prints_no_secret_and_no_signature(run_example: RunExample, gateway: Gateway, env_file: Path) -> None:
    gateway.token = TOKEN
    add_line(env_file, f"AWS_SESSION_TOKEN={TOKEN}\nAWS_SECRET_ACCESS_KEY=another-secret")
    process = run_example(env_file)
    assert "does not match the signature you provided" in process.stderr
    assert [text for text in ("another-secret", TOKEN, SECRET) if text in process.stdout + process.stderr] == []
    assert re.search("[0-9a-f]{64}", process.stderr) is None


def test_example_prints_no_signature_that_an_answer_repeats(
    run_example: RunExample, gateway: Gateway, env_file: Path
) -> None:
    signature = "0123456789abcdef" * 4
    gateway.signed_answer = (200, {"statusCode": 200, "body": f"Signature={signature} {SECRET}"})
    process = run_example(env_file)
    assert process.returncode == 0
    assert "Signature=… …" in process.stderr
    assert signature not in process.stderr


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION"])
def test_example_names_a_setting_that_no_header_can_hold_without_its_value(
    run_example: RunExample, env_file: Path, name: str
) -> None:
    add_line(env_file, f"{name}='in two words'")
    process = run_example(env_file)
    assert (process.returncode, process.stderr) == (
        1,
        f"Not set, or not plain characters: {name}. Set each in {env_file}. See .env.example.\n",
    )


@pytest.mark.parametrize(
    "endpoint", ["http://127.0.0.1:{port}/default/hello-lambda", "hello-lambda", "http://", "http://a..b/"]
)
def test_example_says_in_one_line_that_nothing_answers(run_example: RunExample, env_file: Path, endpoint: str) -> None:
    add_line(env_file, f"API_SECURE_ENDPOINT={endpoint.format(port=find_free_port())}")
    process = run_example(env_file)
    assert process.returncode == 1
    assert "No usable answer from API_SECURE_ENDPOINT: " in process.stderr.splitlines()[-1]
    assert "Traceback" not in process.stderr


def test_example_gives_up_on_a_gateway_that_says_nothing(
    run_example: RunExample, gateway: Gateway, env_file: Path
) -> None:
    silence = threading.Event()
    gateway.RequestHandlerClass = type("Silent", (_Request,), {"do_POST": lambda _: silence.wait(10)})
    process = run_example(env_file, constants={"TIMEOUT": "(1, 0.1)"})
    silence.set()
    assert process.returncode == 1
    assert "Read timed out" in process.stderr.splitlines()[-1]


def test_example_says_in_one_line_that_an_answer_is_broken_json(
    run_example: RunExample, gateway: Gateway, env_file: Path
) -> None:
    gateway.signed_answer = (200, "{broken")
    process = run_example(env_file)
    assert process.returncode == 1
    assert process.stderr.splitlines()[-1].startswith("No usable answer from API_SECURE_ENDPOINT: ")


# API Gateway may answer like this for up to a minute after an API, an access key or a policy was created.
TEMPORARY_REFUSALS: list[Answer] = [
    (403, {"message": "Missing Authentication Token"}),
    (403, {"message": "The security token included in the request is invalid."}),
    (403, {"Message": "User: … is not authorized to perform: execute-api:Invoke on …"}),
    (403, {"message": "Forbidden"}),
    (500, {"message": "Internal server error"}),
]
SHORT_PAUSE = {"PAUSE": "0.05"}


def test_wait_repeats_a_call_until_a_temporary_refusal_ends(
    run_example: RunExample, gateway: Gateway, env_file: Path
) -> None:
    gateway.first_answers = [*TEMPORARY_REFUSALS]
    process = run_example(env_file, "--wait", "60", constants=SHORT_PAUSE)
    assert process.returncode == 0, process.stderr
    assert re.findall(r"Not yet: '(.*)'\. .* Next try in 0.05 s$", process.stderr, re.MULTILINE) == [
        "Missing Authentication Token",
        "token included in the request is invalid",
        "not authorized to",
        "Forbidden",
        "Internal server error",
    ]
    assert len(gateway.events) == 4  # each route twice


def test_wait_goes_on_when_a_refusal_follows_the_first_answer(
    run_example: RunExample, gateway: Gateway, env_file: Path
) -> None:
    gateway.first_answers = [(200, {"statusCode": 200}), TEMPORARY_REFUSALS[0]]
    process = run_example(env_file, "--wait", "60", constants=SHORT_PAUSE)
    assert process.returncode == 0, process.stderr
    assert len(gateway.events) == 4


def test_wait_repeats_a_call_until_the_api_can_be_reached(run_example: RunExample, env_file: Path) -> None:
    port = find_free_port()
    add_line(env_file, f"API_SECURE_ENDPOINT=http://127.0.0.1:{port}/default/hello-lambda")

    def start_later() -> None:
        time.sleep(1)
        gateway = Gateway(port)
        threading.Thread(target=gateway.serve_forever, kwargs={"poll_interval": 0.01}).start()
        gateways.append(gateway)

    gateways: list[Gateway] = []
    thread = threading.Thread(target=start_later)
    thread.start()
    process = run_example(env_file, "--wait", "60", constants=SHORT_PAUSE)
    thread.join()
    for gateway in gateways:
        gateway.shutdown()
        gateway.server_close()
    assert process.returncode == 0, process.stderr
    assert "Not yet: 'no connection'" in process.stderr


def test_wait_gives_up_after_its_seconds(run_example: RunExample, gateway: Gateway, env_file: Path) -> None:
    gateway.signed_answer = TEMPORARY_REFUSALS[1]
    started = time.monotonic()
    process = run_example(env_file, "--wait", "2", constants={"PAUSE": "0.5"})
    assert time.monotonic() - started >= 2
    assert process.returncode == 1
    assert 1 <= process.stderr.count("Next try in") <= 4  # fewer on a slow machine
    assert process.stderr.splitlines()[-1].startswith("Most likely: AWS_ACCESS_KEY is unknown")


def test_example_repeats_no_call_without_wait(run_example: RunExample, gateway: Gateway, env_file: Path) -> None:
    gateway.first_answers = TEMPORARY_REFUSALS[:1]
    process = run_example(env_file)
    assert (process.returncode, gateway.first_answers) == (1, [])
    assert "Next try in" not in process.stderr


@pytest.mark.parametrize(
    "answer",
    [
        (403, {"message": "The request signature we calculated does not match the signature you provided. "}),
        (403, {"message": "The security token included in the request is expired"}),
        (429, {"message": "Too Many Requests"}),
        (502, {"message": "Internal server error"}),
        (500, {"detail": "Internal Server Error"}),
    ],
)
def test_wait_repeats_no_call_after_a_refusal_that_will_stay(
    run_example: RunExample, gateway: Gateway, env_file: Path, answer: Answer
) -> None:
    gateway.first_answers = [answer]
    process = run_example(env_file, "--wait", "60", constants=SHORT_PAUSE)
    assert (process.returncode, gateway.events) == (1, [])
    assert "Next try in" not in process.stderr


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:{port}/default/hello-lambda", "http://nowhere.invalid/"])
def test_wait_ends_after_its_seconds_if_no_server_is_reached(
    run_example: RunExample, env_file: Path, endpoint: str
) -> None:
    add_line(env_file, f"API_SECURE_ENDPOINT={endpoint.format(port=find_free_port())}")
    process = run_example(env_file, "--wait", "1", constants=SHORT_PAUSE)
    assert process.returncode == 1
    assert "No usable answer from API_SECURE_ENDPOINT: " in process.stderr.splitlines()[-1]
    assert "Next try in" in process.stderr


def test_wait_refuses_what_is_no_number(run_example: RunExample, env_file: Path) -> None:
    process = run_example(env_file, "--wait", "long")
    assert process.returncode == 2
    assert "argument --wait: invalid int value: 'long'" in process.stderr


@pytest.mark.parametrize("no_color", ["", "1"])
def test_example_has_colour_on_a_terminal_unless_no_color_is_set(no_color: str) -> None:
    settings = {"API_SECURE_ENDPOINT": "http://127.0.0.1:9/default/a", "AWS_REGION": REGION}
    keys = {"AWS_ACCESS_KEY": "AKIA", "AWS_SECRET_ACCESS_KEY": "secret", "ENV_FILE": os.devnull}
    code = f"import pty; pty.spawn({[sys.executable, EXAMPLE]})"
    process = run_python(code, **settings, **keys, NO_COLOR=no_color, TERM="xterm")
    assert "Invoking route: hello" in process.stdout
    assert ("\x1b" in process.stdout) == (not no_color)
