"""Rehearses a whole deployment on this machine: the targets of `make deploy`, against an emulated AWS account.

The emulator (ministack) verifies signatures and evaluates policies. No step can reach a real account: each runs in an
environment with dummy credentials, no profile, and an `aws` in PATH that always names the emulator as its endpoint.
The steps after the first three run only if that endpoint is the emulator's account.
"""

import fcntl
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from checks import call_with_curl, check_nothing_is_left, invoke, send_load
from roles import ADMINISTRATOR, BOUNDARY, assume_role, create_deployer, delete_role

ROOT = Path(__file__).resolve().parent.parent.parent
# The Python of the environment that make uses. Its packages are apart from those of this process and the emulator.
APP_PYTHON = str(ROOT / os.environ.get("APP_PYTHON", sys.executable))
ACCOUNT_ID = "123456789012"  # as in AWS's documentation
REGION = "eu-central-1"
HEALTH = "/_ministack/health"
TIMEOUT = 900  # seconds for one step
NEED_IMAGE = ("deploy_to_ecr", "create_lambda_function", "update_lambda_function")


class Rehearsal:
    """An emulated account, an environment for commands that use it, and a guard that ends what they start."""

    def __init__(self, port: int = 0, *, in_image: bool = True) -> None:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            del os.environ[name]
        os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull
        guard = [sys.executable, str(Path(__file__).with_name("guard.py"))]
        self.guard = subprocess.Popen(guard, stdin=subprocess.PIPE, text=True, start_new_session=True)
        self.skipped = 0
        threading.Thread(target=end_with_parent, args=[os.getppid()], daemon=True).start()
        self.folder = Path(tempfile.mkdtemp(prefix="rehearsal-"))
        self.tell_guard("watch folder", self.folder)
        self.function_python = self.folder / "python/bin/python"
        self.port = port or find_free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.env_file = self.folder / ".env"
        self.env_file.write_text(f"AWS_ACCOUNT_ID={ACCOUNT_ID}\nAWS_REGION={REGION}\n")
        self.environment = self.make_environment()
        has_docker = shutil.which("docker") is not None
        self.has_engine = has_docker and not subprocess.run(["docker", "version"], capture_output=True).returncode
        # Docker Desktop's engine runs in a virtual machine, and cannot push to 127.0.0.1 of this machine.
        self.in_image = in_image and self.has_engine and sys.platform == "linux"
        if self.in_image:
            self.tell_guard("watch registry", self.environment["ECR_REGISTRY"])
            self.tell_guard("watch image", self.environment["LOCAL_IMAGE"])

    def make_environment(self) -> dict[str, str]:
        """The environment of every step. Nothing in it leads to a real account or to the user's own .env."""
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("MAKE", "MFLAGS", "LAMBDA_", "IMAGE", "LOCAL_"))
        }
        # .aws-cli comes last: only a machine without an aws CLI uses it.
        path = os.pathsep.join([inherited["PATH"], str(ROOT / ".aws-cli/bin")])
        return inherited | {
            "PATH": os.pathsep.join([str(ROOT / "tests/programs"), path]),
            "REAL_AWS": shutil.which("aws", path=path) or str(ROOT / ".aws-cli/bin/aws"),
            "AWS_ENDPOINT_URL": self.endpoint,
            **ADMINISTRATOR,
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
            "ENV_FILE": str(self.env_file),
            "ECR_REGISTRY": f"127.0.0.1:{self.port}",
            "LOCAL_IMAGE": f"hello-lambda:rehearsal-{self.port}",
            "CONFIRM": "yes",
            "PYTHON": APP_PYTHON,
        }

    def tell_guard(self, action: str, name: object) -> None:
        print(action, name, file=self.guard.stdin, flush=True)

    def end_everything(self) -> None:
        assert self.guard.stdin
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # people press Ctrl-C again
        # The guard waits for what it ends. It cannot tell a zombie from a process that runs.
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        self.guard.stdin.close()
        self.guard.wait(timeout=120)

    def spawn(self, *command: str, stdin: int, settings: dict[str, str]) -> tuple[subprocess.Popen[str], Path]:
        """Starts a command, and returns it with the file that gets its output. The guard reads that file, too."""
        output, log = tempfile.mkstemp(".log", dir=self.folder)
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=self.environment | settings,
            stdin=stdin,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.tell_guard("watch group", process.pid)
        os.close(output)
        return process, Path(log)

    def start(self, *command: str, url: str, **settings: str) -> tuple[subprocess.Popen[str], Path]:
        """Starts a program in the background, waits until it answers at a URL, and returns it with its output's file."""
        process, log = self.spawn(*command, stdin=subprocess.DEVNULL, settings=settings)
        deadline = time.monotonic() + TIMEOUT
        while not answers(url):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(log.read_text())
            time.sleep(0.1)
        if process.poll() is not None:
            raise RuntimeError(f"another program answers at {url}\n{log.read_text()}")
        return process, log

    def run(self, *command: str, stdin: str = "", timeout: float = TIMEOUT) -> str:
        """Runs a command, and returns its output. Raises RuntimeError with the output if the command fails."""
        process, log = self.spawn(*command, stdin=subprocess.PIPE, settings={})
        process.communicate(stdin, timeout=timeout)
        self.tell_guard("forget group", process.pid)
        if process.returncode:
            raise RuntimeError(log.read_text())
        return log.read_text()

    def run_aws(self, *arguments: str) -> str:
        return self.run("aws", "--region", REGION, *arguments, "--output", "text")

    def make(self, target: str) -> None:
        self.run("make", target)

    def step(self, name: str, action: Callable[[], str | None]) -> None:
        """Runs an action, and prints its result and time in one line. Exits if the action raises RuntimeError."""
        started = time.monotonic()
        try:
            with shown_while_running(name):
                result = action()
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            print(f"✗ {name}\n{error}", flush=True)
            sys.exit(1)
        text = f": {textwrap.shorten(result, 90, placeholder=' …')}" if result else ""
        print(f"✓ {name}{text} ({time.monotonic() - started:.1f} s)", flush=True)

    def skip(self, name: str, reason: str) -> None:
        self.skipped += 1
        print(f"- {name}: skipped, {reason}", flush=True)

    def start_account(self) -> None:
        self.connect()
        self.step("an aws CLI", self.find_aws_cli)
        self.step(f"an emulated AWS account on 127.0.0.1:{self.port}", self.start_emulator)
        self.step("it is the emulator's account", self.check_account)

    def connect(self) -> None:
        from function import (  # imports botocore, which takes a while, and which `make bench` lacks
            Function,
            make_environment,
        )

        make_environment(APP_PYTHON, self.folder / "python")
        self.function = Function(self.endpoint, REGION, self.folder, self.function_python)

    def find_aws_cli(self) -> str:
        """Installs an aws CLI in .aws-cli on a machine that has none."""
        if not Path(self.environment["REAL_AWS"]).exists():
            print("\n>> installing an aws CLI into .aws-cli, since this machine has none: about 140 MB", flush=True)
            with locked():
                self.make(".aws-cli")
        self.fork_aws_cli()
        return self.run("aws", "--version").split()[0]

    def fork_aws_cli(self) -> None:
        """Starts tests/programs/forked_aws.py, if the aws CLI is a Python package. AWS's bundled version 2 is none."""
        python, program = find_package(self.environment["REAL_AWS"])
        # macOS does not promise that a forked process can use its networking.
        if not python or sys.platform != "linux":
            return
        server = [python, str(ROOT / "tests/programs/forked_aws.py"), "serve", program, str(self.folder)]
        process, _ = self.spawn(*server, stdin=subprocess.DEVNULL, settings={})
        while process.poll() is None:
            if (self.folder / "aws").exists():
                self.environment["FORKED_AWS"] = str(self.folder)
                return
            time.sleep(0.05)

    def start_emulator(self) -> None:
        command, settings = describe_emulator(self.port, self.folder, self.function_python)
        self.emulator, self.emulator_log = self.start(*command, url=f"{self.endpoint}{HEALTH}", **settings)

    def check_account(self) -> str:
        account = self.run_aws("sts", "get-caller-identity", "--query", "Account").strip()
        if account != ACCOUNT_ID:
            raise RuntimeError(f"this is account {account}, and not the emulator's {ACCOUNT_ID}: not a step further")
        return account

    def create_deployer(self) -> None:
        """Creates the deployer's policy as an administrator, and takes every later step with a role that has no other."""
        self.step("make create_deployer", partial(self.make, "create_deployer"))
        self.step("a role with the deployer's policy", self.become_deployer)

    def become_deployer(self) -> str:
        role = create_deployer(self.function.connect("iam"))
        self.environment |= BOUNDARY | assume_role(self.function.connect("sts"), role)
        return role

    def delete_deployer(self) -> None:
        self.environment |= ADMINISTRATOR
        delete_role(self.function.connect("iam"), "a-deployer")
        self.make("delete_deployer")

    def deploy(self, steps: Sequence[str]) -> None:
        """Takes steps of `make deploy`. Then .env has the API's address on the emulator, not on AWS."""
        for step in steps:
            if step == "create_api":
                self.step("the function answers", self.function.check)
            if self.in_image or step not in NEED_IMAGE:
                self.step(f"make {step}", self.push if step == "deploy_to_ecr" else partial(self.make, step))
            elif step == "create_lambda_function":
                self.step("the function from a zip of app/", self.create_function)
            else:
                self.skip(f"make {step}", "the image needs a Docker engine, on Linux")
        stage = rf"http://127.0.0.1:{self.port}/_aws/execute-api/\1/\2"
        address = re.compile(r"https://([^.]+)\.execute-api\.[^/]+/([^/]+)")
        self.env_file.write_text(address.sub(stage, self.env_file.read_text()))

    def push(self) -> None:
        """One rehearsal after the other: two logins at once would overwrite each other in docker's configuration."""
        with locked():
            self.make("deploy_to_ecr")

    def create_function(self) -> str:
        return self.function.create_from_zip(self.read_settings()["AWS_LAMBDA_ROLE_ARN"])

    def read_settings(self) -> dict[str, str]:
        return dict(line.split("=", 1) for line in self.env_file.read_text().splitlines())


def describe_emulator(port: int, folder: Path, function_python: str | Path) -> tuple[list[str], dict[str, str]]:
    """The command that starts an emulated account behind gate.py, and the variables for its environment."""
    settings = {
        **ADMINISTRATOR,
        "AUTH": "true",
        "FUNCTION_PYTHON": str(function_python),
        "GATEWAY_PORT": str(port),
        "MINISTACK_ACCOUNT_ID": ACCOUNT_ID,
        # The code of its functions goes there. The emulator does not delete it.
        "TMPDIR": str(folder),
        # LOAD starts 16 containers at once. With the default of 10 s a slow Docker loses requests.
        "MINISTACK_DOCKER_TIMEOUT": "60",
    }
    server = [str(ROOT / ".emulator/bin/python"), "-m", "hypercorn", f"{ROOT}/tests/programs/gate.py:app"]
    return [*server, "--workers", "0", "--bind", f"127.0.0.1:{port}"], settings


def find_package(program: str) -> tuple[str, str]:
    """The Python of an aws CLI, and its script. The Python is empty if the program is no Python script."""
    with Path(program).open(errors="replace") as file:
        script = file.read(1000)
    if "PYENV_ROOT" in script:
        return find_package(subprocess.run(["pyenv", "which", "aws"], capture_output=True, text=True).stdout.strip())
    found = re.match(r"#! *(?:/usr/bin/env +)?(\S*python\S*)", script)
    return found[1] if found else "", program


@contextmanager
def shown_while_running(name: str) -> Iterator[None]:
    """On a terminal, shows a step and its seconds in a line that disappears when the step has ended.

    It takes no escape sequence, since NO_COLOR forbids them.
    """
    if not sys.stdout.isatty():
        yield
        return
    ended, started = threading.Event(), time.monotonic()
    width = shutil.get_terminal_size().columns - 1

    def show() -> None:
        while True:
            print(f"\r  {name[: width - 9]} {time.monotonic() - started:.0f} s", end="", flush=True)
            if ended.wait(0.2):
                print(f"\r{'':{width}}\r", end="", flush=True)
                return

    thread = threading.Thread(target=show)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def end_with_parent(parent: int) -> None:
    """Ends this process when make was killed, which no signal tells."""
    while os.getppid() == parent:
        time.sleep(0.3)
    os.kill(os.getpid(), signal.SIGTERM)


@contextmanager
def locked() -> Iterator[None]:
    """Makes another rehearsal wait: make must not install the same program twice at once."""
    with (ROOT / "Makefile").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def find_free_port() -> int:
    """A free port, with the next one free, too: the Lambda emulator takes both."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
            return port


def answers(url: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        opener.open(url, timeout=5).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


def main() -> None:
    load, *steps = sys.argv[1:]
    if not load.isdecimal():
        sys.exit(f"LOAD={load} is not a number of requests: 10000, for example")
    started = time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    rehearsal = Rehearsal()
    try:
        rehearsal.start_account()
        rehearsal.create_deployer()
        rehearsal.deploy(steps)
        rehearsal.step("make invoke", partial(invoke, rehearsal))
        call_with_curl(rehearsal)
        if load != "0":
            action = partial(send_load, rehearsal, int(load))
            rehearsal.step(f"each of {load} requests gets its own answer", action)
        rehearsal.step("make destroy", partial(rehearsal.make, "destroy"))
        rehearsal.step("make delete_deployer", rehearsal.delete_deployer)
        rehearsal.step("nothing is left", partial(check_nothing_is_left, rehearsal))
    except KeyboardInterrupt:
        sys.exit("interrupted")
    finally:
        rehearsal.end_everything()
    print(f"✓ stopped everything. {rehearsal.skipped} skipped, {time.monotonic() - started:.0f} s in all", flush=True)


if __name__ == "__main__":
    main()
