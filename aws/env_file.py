"""Writes settings into the file ENV_FILE: all of them or none, and no other line changes.

Python alone runs this file and its neighbours: no other people's package runs beside the credentials of a deployment.
"""

import os
import re
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

ENV_FILE = os.environ["ENV_FILE"]
NAME = r"[ \t]*(?:export[ \t]+)?{}[ \t]*="
LINE = re.compile(NAME.format(r"(\w+)") + r"""\s*(?:'([^']*)'|"([^"]*)"|(.*?))\s*(?:(?<!\S)\#.*)?""")


def read_text() -> str:
    """Without the mark that some editors write before the first line."""
    return Path(ENV_FILE).read_bytes().decode("utf-8-sig") if Path(ENV_FILE).exists() else ""


def read_settings() -> dict[str, str]:
    found = filter(None, map(LINE.fullmatch, read_text().splitlines()))
    return {line[1]: line[2] or line[3] or line[4] or "" for line in found}


def save_settings(settings: Mapping[str, str]) -> None:
    """From then on only the file's owner may read it (mode 600). Exits if .env cannot hold a value."""
    if unusable := [name for name, value in settings.items() if not re.fullmatch(r"[\w./:+=@-]*", value, re.ASCII)]:
        sys.exit(f"{', '.join(unusable)}: AWS returned no value that {ENV_FILE} can hold. See make status")
    text = read_text()
    for name, value in settings.items():
        text, count = re.subn(f"(?m)^{NAME.format(name)}.*", f"{name}={value}", text)
        if not count:
            text = re.sub(r"(?<=[^\n])\Z", "\n", text) + f"{name}={value}\n"
    path = Path(ENV_FILE).resolve()
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f"{path.name}.") as folder:
        draft = Path(folder) / path.name
        draft.touch(mode=0o600)
        draft.write_bytes(text.encode())
        draft.replace(path)
    print(f">> {ENV_FILE}: {', '.join(settings)}", flush=True)


def forget_settings(settings: Mapping[str, str]) -> None:
    """Empties each setting that still has this value."""
    current = read_settings()
    stale = {name: "" for name, value in settings.items() if value and current.get(name) == value}
    if stale:
        save_settings(stale)
