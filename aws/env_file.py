"""Writes settings into the file ENV_FILE: all of them or none, and no other line changes."""

import os
import re
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from dotenv import dotenv_values, set_key

ENV_FILE = os.environ["ENV_FILE"]


def read_settings() -> Mapping[str, str | None]:
    return dotenv_values(ENV_FILE, interpolate=False)


def save_settings(settings: Mapping[str, str]) -> None:
    """From then on only the file's owner may read it (mode 600). Exits if .env cannot hold a value."""
    if unusable := [name for name, value in settings.items() if not re.fullmatch(r"[\w./:+=@-]*", value, re.ASCII)]:
        sys.exit(f"{', '.join(unusable)}: AWS returned no value that {ENV_FILE} can hold. See make status")
    path = Path(ENV_FILE).resolve()
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f"{path.name}.") as folder:
        draft = Path(folder) / path.name
        draft.touch(mode=0o600)
        if path.exists():
            draft.write_bytes(path.read_bytes())
        for name, value in settings.items():
            set_key(draft, name, value, quote_mode="never")
        draft.replace(path)
    print(f">> {ENV_FILE}: {', '.join(settings)}", flush=True)


def forget_settings(settings: Mapping[str, str]) -> None:
    """Empties each setting that still has this value."""
    current = read_settings()
    stale = {name: "" for name, value in settings.items() if value and current.get(name) == value}
    if stale:
        save_settings(stale)
