"""A reader's first changes: another name, and a route of one's own. Every check and test passes, with none edited."""

import re
import subprocess
from pathlib import Path

import pytest
from helpers import ROOT, run_make
from test_rehearse import NO_ENGINE

ROUTER = '''"""Keeps items."""

from collections.abc import Iterator
from typing import Annotated

from fastapi import APIRouter, Body, HTTPException
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

router = APIRouter(prefix="/items")


class Item(BaseModel):
    name: str
    price: float = 0


@router.get("", include_in_schema=False)
@router.get("/")
async def list_items() -> list[Item]:
    return []


@router.post("/", status_code=201)
async def create_item(item: Item, notify: bool = False) -> Item:
    return item


@router.get("/{number}")
async def read_item(number: int, word: str | None = None) -> Item:
    if number < 0:
        raise HTTPException(404, "no such item")
    return Item(name=word or "an item")


@router.put("/{number}/picture")
async def upload(number: int, picture: Annotated[bytes, Body(media_type="image/png")]) -> int:
    return len(picture)


@router.get("/{number}/stream")
async def stream(number: int) -> StreamingResponse:
    def count() -> Iterator[str]:
        yield from ("one", "two")

    return StreamingResponse(count(), media_type="text/plain")
'''


# README's example. A name that stands in these files already is refused, so it stands only behind NAME= in them.
(NAME,) = re.findall(r"`make rename NAME=(\S+)`", (ROOT / "README.md").read_text())
MYPY_CACHE = {"MYPY_CACHE_DIR": str(ROOT / ".mypy_cache")}  # without it, mypy takes most of the time of `make lint`


@pytest.fixture
def own_checkout(checkout: Path) -> Path:
    """A checkout that has the environments of `make lint`, which take a minute to install."""
    assert run_make(".tests", ".scanners", ".emulator").returncode == 0
    for folder in (".tests", ".scanners", ".emulator"):
        (checkout / folder).symlink_to(ROOT / folder)
    return checkout


def test_renamed_application_with_own_routes_alone_passes_lint_tests_and_rehearsal(own_checkout: Path) -> None:
    """As README.md says under "Make it yours"."""
    folder = ["--directory", str(own_checkout)]
    process = run_make("rename", f"NAME={NAME}", *folder)
    assert process.returncode == 0, process.stderr
    (own_checkout / "app/routers/items.py").write_text(ROUTER)
    for name, changes in {
        "app/app.py": {
            "goodbye, hello": "items",
            "(hello.router)": "(items.router)",
            "app.include_router(goodbye.router)\n": "",
        },
        "examples/invoke_secure_routes.py": {'("hello", "goodbye")': '("items",)'},
        "examples/event.json": {"/hello": "/items"},
    }.items():
        text = (own_checkout / name).read_text()
        for old, new in changes.items():
            assert old in text
            text = text.replace(old, new)
        (own_checkout / name).write_text(text)
    for name in ("app/routers/hello.py", "app/routers/goodbye.py", "tests/unit/test_hello_and_goodbye.py"):
        (own_checkout / name).unlink()

    found = subprocess.run(["git", "grep", "-i", "hello-lambda"], cwd=own_checkout, capture_output=True, text=True)
    assert found.stdout == "LICENSE:Copyright (c) 2026 The hello-lambda authors\n"  # MIT wants it kept
    for target in ("format", "lint", "test", "rehearse"):
        process = run_make(target, *folder, **MYPY_CACHE, **NO_ENGINE)
        assert process.returncode == 0, process.stdout + process.stderr
    assert f"APP_NAME := {NAME}\n" in (own_checkout / "Makefile").read_text()
    assert f"make rename NAME={NAME}" in (own_checkout / "README.md").read_text()


def test_lint_refuses_a_word_and_an_error_of_grammar(own_checkout: Path) -> None:
    (own_checkout / "tests/README.md").write_text("# A page\n\nWe utilize it in an table.\n")
    (own_checkout / "app/routers/items.py").write_text("# We utilize it.\n")
    process = run_make("lint", "--directory", str(own_checkout), **MYPY_CACHE)
    assert process.returncode == 2
    found = re.findall(r"^(README.md|items.py)(:\d+:\d+): .*::(\w+): ", process.stdout, re.MULTILINE)
    assert found == [
        ("README.md", ":3:18", "AnA"),
        ("README.md", ":3:4", "PlainWords"),
        ("items.py", ":1:6", "PlainWords"),
    ]


@pytest.mark.parametrize(
    "name", ["", "x", "My-Api", "my_api", "-api", "my--api", "my-", "1api", "a" * 41, "a b", "a;b"]
)
def test_name_that_a_service_refuses_is_refused_with_the_rule(checkout: Path, name: str) -> None:
    process = run_make("rename", f"NAME={name}", "--directory", str(checkout))
    assert process.returncode == 2
    assert "take 2 to 40 small letters, digits and single hyphens, with a letter first" in process.stderr


def test_name_that_stands_for_something_else_is_refused(checkout: Path) -> None:
    process = run_make("rename", "NAME=api", "--directory", str(checkout))
    assert process.returncode == 2
    assert "NAME=api stands in these files already" in process.stderr
    assert "\n.env.example:" in process.stderr
