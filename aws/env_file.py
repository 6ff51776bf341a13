"""Writes settings into the file ENV_FILE: all of them or none, and no other line changes.

python aws/env_file.py NAME=VALUE …            saves each
python aws/env_file.py --forget NAME=VALUE …   empties each that still has this value
"""

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
    """From then on only the file's owner may read it (mode 600)."""
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
    current = read_settings()
    stale = {name: "" for name, value in settings.items() if value and current.get(name) == value}
    if stale:
        save_settings(stale)


if __name__ == "__main__":
    forget = sys.argv[1] == "--forget"
    settings = dict(argument.split("=", 1) for argument in sys.argv[1 + forget :])
    if forget:
        forget_settings(settings)
    elif unusable := [name for name, value in settings.items() if not re.fullmatch(r"[\w./:+=@-]+", value, re.ASCII)]:
        sys.exit(f"{', '.join(unusable)}: AWS returned no value that {ENV_FILE} can hold. See make status")
    else:
        save_settings(settings)
