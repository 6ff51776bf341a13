"""`make run_lambda`: the handler on the real Lambda emulator, without a container."""

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from helpers import INVOCATIONS, OWN_PYTHON, load_event, run_make, running, wait_for
from rehearse import find_free_port


def test_run_lambda_answers_the_guides_call(tmp_path: Path) -> None:
    port = find_free_port()
    log = tmp_path / "log"
    with running(["make", "run_lambda", f"LAMBDA_PORT={port}"], log=log, **OWN_PYTHON) as make:
        try:
            wait_for(f"http://127.0.0.1:{port}/", seconds=120)
        except httpx.TransportError:
            pytest.fail(f"make: {make.poll()}, {log.read_text()}")
        for _ in range(2):
            answer = httpx.post(f"http://127.0.0.1:{port}/{INVOCATIONS}", json=load_event("guide"), timeout=30).json()
            assert (answer["statusCode"], answer["body"]) == (200, '{"message":"Hello, World"}')
    assert '"message": "GET /hello/ 200"' in log.read_text()


@pytest.mark.parametrize("offset", [0, 1])
def test_run_lambda_names_a_taken_port_and_the_setting(offset: int) -> None:
    """The emulator listens on the next port, too."""
    port = find_free_port()
    with socket.socket() as server:
        server.bind(("127.0.0.1", port + offset))
        server.listen()
        process = run_make("run_lambda", f"LAMBDA_PORT={port}")
    message = f"Port {port + offset} cannot be used (Address already in use). Name another: LAMBDA_PORT=…"
    assert (process.returncode, process.stderr.splitlines()[0]) == (2, message)


def test_run_lambda_explains_a_crash_by_requests_at_once(tmp_path: Path) -> None:
    port, log = find_free_port(), tmp_path / "log"
    message = "It crashed: it takes one request at a time. Run the target again\n"

    def call(_: int) -> None:
        with suppress(httpx.HTTPError):
            httpx.post(f"http://127.0.0.1:{port}/{INVOCATIONS}", json=load_event("guide"), timeout=5)

    with running(["make", "run_lambda", f"LAMBDA_PORT={port}"], log=log, **OWN_PYTHON) as make:
        wait_for(f"http://127.0.0.1:{port}/", seconds=120)
        deadline = time.monotonic() + 120
        with ThreadPoolExecutor(8) as pool:
            while message not in log.read_text():
                assert time.monotonic() < deadline
                list(pool.map(call, range(8)))
    assert make.returncode == 2
