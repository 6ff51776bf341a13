"""Ends and deletes what a rehearsal started, also after the rehearsal was killed.

Reads `watch KIND NAME` and `forget KIND NAME` from standard input, and acts at the end of it. Ended processes must be
forgotten, since others may get their numbers. The guard runs in a session of its own, which a Ctrl-C does not reach.
"""

import contextlib
import os
import shutil
import signal
import socket
import sys
import time
from collections import defaultdict
from pathlib import Path

from docker_leftovers import ask_docker, delete_build_steps, delete_images

# The first line of a file that is deleted. The user may have a file of the same name.
MARK = "# Written by make run_api, which deletes this file when it ends.\n"


def main() -> None:
    watched: dict[str, list[str]] = defaultdict(list)
    for line in sys.stdin:
        action, kind, name = line.rstrip("\n").split(" ", 2)
        (watched[kind].append if action == "watch" else watched[kind].remove)(name)
    # Each group gets a second to end by itself.
    deadline = time.monotonic() + 1
    signal_groups(watched["group"], signal.SIGTERM)
    while signal_groups(watched["group"], 0) and time.monotonic() < deadline:
        time.sleep(0.05)
    signal_groups(watched["group"], signal.SIGKILL)
    for file in map(Path, watched["file"]):
        if is_own(file):
            file.unlink()
    for registry in watched["registry"]:
        label = f"label=ministack.instance={socket.gethostname()}:{registry.split(':')[1]}"
        for container in [*watched["container"], *ask_docker("ps", "-aq", "--filter", label).split()]:
            ask_docker("rm", "--force", "--volumes", container)
        delete_images(registry)
        ask_docker("logout", registry)
    for image in watched["image"]:
        ask_docker("rmi", image)
    for folder in watched["folder"]:
        for log in Path(folder).glob("*.log"):
            delete_build_steps(log.read_text(errors="replace"))
        shutil.rmtree(folder, ignore_errors=True)


def is_own(file: Path) -> bool:
    """Whether `make run_api` wrote this file."""
    return file.is_file() and file.read_text(errors="replace").startswith(MARK)


def signal_groups(groups: list[str], number: int) -> bool:
    """Returns whether a group still has a process."""
    left = False
    for group in groups:
        # macOS refuses to signal a group of ended processes.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(int(group), number)
            left = True
    return left


if __name__ == "__main__":
    main()
