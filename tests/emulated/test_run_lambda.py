"""`make run_lambda`: the handler on the real Lambda emulator, without a container."""

from pathlib import Path

import httpx
import pytest
from helpers import INVOCATIONS, OWN_PYTHON, load_event, running, wait_for
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
