"""tests/programs/load.py, against a server that answers one of many requests differently."""

import re
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import load
import pytest

HELLO = '{"message":"Hello, World"}'
Answer = tuple[int, str, str] | None
SendLoad = Callable[[Answer], None]


class Server(ThreadingHTTPServer):
    request_queue_size = 16
    # The status, correlation id and body that answer request-7. None closes the connection without an answer.
    seventh: Answer = (200, "request-7", HELLO)


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


@pytest.fixture
def send_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SendLoad:
    """Sends 64 requests, and has the server answer request-7 as told."""

    def send_load(seventh: Answer) -> None:
        with Server(("127.0.0.1", 0), _Request) as server:
            server.seventh = seventh
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            env_file = tmp_path / ".env"
            env_file.write_text(
                f"AWS_REGION=eu-central-1\nAWS_ACCESS_KEY=AKIAIOSFODNN7EXAMPLE\nAWS_SECRET_ACCESS_KEY=hunter2\n"
                f"API_SECURE_ENDPOINT=http://127.0.0.1:{server.server_port}/default/hello-lambda\n"
            )
            monkeypatch.setattr("sys.argv", ["load.py", "64", "/hello/", HELLO])
            monkeypatch.setenv("ENV_FILE", str(env_file))
            monkeypatch.setenv("NO_PROXY", "127.0.0.1")
            try:
                load.main()
            finally:
                server.shutdown()
                thread.join()

    return send_load


def test_load_prints_clients_rate_and_times(send_load: SendLoad, capsys: pytest.CaptureFixture[str]) -> None:
    send_load((200, "request-7", HELLO))
    rate = r"16 clients, \d+ a second, 50 % within \d+ ms, 99 % within \d+ ms\n"
    assert re.fullmatch(rate, capsys.readouterr().out)


@pytest.mark.parametrize(
    ("seventh", "problem"),
    [
        ((200, "request-8", HELLO), "the correlation id of another request"),
        ((200, "request-7", "{}"), "200: {}"),
        ((429, "request-7", '{"message":"Too Many Requests"}'), '429: {"message":"Too Many Requests"}'),
        (None, "no answer: ConnectionError"),
    ],
)
def test_load_fails_for_one_wrong_answer(
    send_load: SendLoad,
    capsys: pytest.CaptureFixture[str],
    seventh: Answer,
    problem: str,
) -> None:
    with pytest.raises(SystemExit) as failure:
        send_load(seventh)
    assert failure.value.code == f"1 of 64 requests: {problem}"
    assert capsys.readouterr().out == ""
