"""tests/rehearse/load.py, against a server that answers one request of many in another way."""

import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from helpers import CLEAN_ENVIRONMENT, ROOT

HELLO = '{"message":"Hello, World"}'


class Server(ThreadingHTTPServer):
    request_queue_size = 16
    # How request-7 is answered: with a status, a correlation id and a body, or not at all.
    seventh: tuple[int, str, str] | None = (200, "request-7", HELLO)


class _Request(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        correlation_id = self.headers["x-correlation-id"]
        answer = self.server.seventh if correlation_id == "request-7" else (200, correlation_id, HELLO)
        self.close_connection = answer is None
        if answer:
            self.send_response(answer[0])
            self.send_header("x-correlation-id", answer[1])
            self.send_header("Content-Length", str(len(answer[2])))
            self.end_headers()
            self.wfile.write(answer[2].encode())

    def log_message(self, *_: object) -> None:
        pass


def send_load(folder: Path, seventh: tuple[int, str, str] | None) -> subprocess.CompletedProcess[str]:
    with Server(("127.0.0.1", 0), _Request) as server:
        server.seventh = seventh
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        (folder / ".env").write_text(
            f"AWS_REGION=eu-central-1\nAWS_ACCESS_KEY=AKIAIOSFODNN7EXAMPLE\nAWS_SECRET_ACCESS_KEY=hunter2\n"
            f"API_SECURE_ENDPOINT=http://127.0.0.1:{server.server_port}/default/hello-lambda\n"
        )
        try:
            return subprocess.run(
                [sys.executable, "tests/rehearse/load.py", "64"],
                cwd=ROOT,
                env={**CLEAN_ENVIRONMENT, "ENV_FILE": str(folder / ".env"), "NO_PROXY": "127.0.0.1"},
                capture_output=True,
                text=True,
                timeout=60,
            )
        finally:
            server.shutdown()
            thread.join()


def test_load_tells_clients_rate_and_times(tmp_path: Path) -> None:
    process = send_load(tmp_path, (200, "request-7", HELLO))
    assert (process.returncode, process.stderr) == (0, "")
    rate = r"16 clients, \d+ a second, 50 % within \d+ ms, 99 % within \d+ ms\n"
    assert re.fullmatch(rate, process.stdout)


@pytest.mark.parametrize(
    ("seventh", "problem"),
    [
        ((200, "request-8", HELLO), "the correlation id of another request"),
        ((200, "request-7", "{}"), "200: {}"),
        ((429, "request-7", '{"message":"Too Many Requests"}'), '429: {"message":"Too Many Requests"}'),
        (None, "no answer: ConnectionError"),
    ],
)
def test_load_fails_for_one_wrong_answer(tmp_path: Path, seventh: tuple[int, str, str] | None, problem: str) -> None:
    process = send_load(tmp_path, seventh)
    assert (process.returncode, process.stdout) == (1, "")
    assert process.stderr == f"1 of 64 requests: {problem}\n"
