"""Rehearses a whole deployment on this machine: the same make targets, against an emulated AWS account.

The emulator (ministack) verifies signatures and evaluates policies. Nothing here can reach a real account: the
steps get an environment of their own, with dummy credentials, no profile, and an explicit endpoint, and they go on
only if the endpoint says that it is the emulator's account. `make rehearse` calls it with LOAD and the steps of
`make deploy`.
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
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
# The account that AWS's documentation uses.
ACCOUNT_ID = "123456789012"
REGION = "eu-central-1"
STEP_PATIENCE = 900
# What the guard ends: process groups, a registry's images and the emulator's containers, and so on.
KINDS = ("group", "registry", "container", "image", "folder")


class StepError(Exception):
    """What a step said before it failed."""


class Guard:
    """Ends whatever the rehearsal started, once the rehearsal has ended: of itself, or killed.

    It is a process in a session of its own, that hears of each thing to end over a pipe, and acts when the
    pipe breaks. It also hears of what has ended by itself: another process may have that number by then.
    """

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--guard"], stdin=subprocess.PIPE, text=True, start_new_session=True
        )

    def watch(self, kind: str, name: str | int) -> None:
        self._tell(f"watch {kind} {name}")

    def forget(self, kind: str, name: str | int) -> None:
        self._tell(f"forget {kind} {name}")

    def _tell(self, line: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def finish(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(timeout=120)


def guard() -> None:
    """Reads what to watch and what to forget, and ends what is watched when there is no more to read."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    names: dict[str, list[str]] = {kind: [] for kind in KINDS}
    for line in sys.stdin:
        word, kind, name = line.rstrip("\n").split(" ", 2)
        if word == "watch":
            names[kind].append(name)
        else:
            names[kind].remove(name)
    for number in (signal.SIGTERM, signal.SIGKILL):
        for group in names["group"]:
            try:
                os.killpg(int(group), number)
            except ProcessLookupError:
                continue
        time.sleep(1)

    def run_docker(*arguments: str) -> str:
        return subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=60).stdout

    for registry in names["registry"]:
        port = registry.split(":")[1]
        containers = run_docker("ps", "-aq", "--filter", f"label=ministack.instance={socket.gethostname()}:{port}")
        for container in [*containers.split(), *names["container"]]:
            run_docker("rm", "--force", "--volumes", container)
        run_docker("logout", registry)
        images = run_docker("images", "--format", "{{.Repository}}:{{.Tag}}", f"{registry}/*")
        for image in [*images.split(), *names["image"]]:
            run_docker("rmi", image)
    for folder in names["folder"]:
        shutil.rmtree(folder, ignore_errors=True)


class Rehearsal:
    def __init__(self, guard: Guard) -> None:
        self.guard = guard
        self.started = time.monotonic()
        self.skipped = 0
        self.folder = Path(tempfile.mkdtemp(prefix="rehearsal-"))
        guard.watch("folder", str(self.folder))
        self.port, self.lambda_port = find_free_port(), find_free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.registry = f"127.0.0.1:{self.port}"
        self.image = f"hello-lambda:rehearsal-{self.port}"
        self.container = f"hello-lambda-rehearsal-{self.port}"
        self.env_file = self.folder / ".env"
        self.env_file.write_text(f"AWS_ACCOUNT_ID={ACCOUNT_ID}\nAWS_REGION={REGION}\n")
        self.environment = self.make_environment()
        self.has_engine = self.succeeds("docker", "version")
        # An engine in a virtual machine cannot push to this machine's loopback address.
        self.has_function = self.has_engine and sys.platform == "linux"
        if self.has_engine:
            guard.watch("registry", self.registry)
            guard.watch("container", self.container)
            guard.watch("image", self.image)

    def make_environment(self) -> dict[str, str]:
        """The environment of every step: nothing in it leads to a real account, nor to the user's own .env."""
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("AWS_", "MAKE", "MFLAGS", "LAMBDA_", "IMAGE", "LOCAL_"))
        }
        return environment | {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_PAGER": "",
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
            "ENV_FILE": str(self.env_file),
            "ECR_REGISTRY": self.registry,
            "LOCAL_IMAGE": self.image,
            "EMULATOR_URL": f"http://127.0.0.1:{self.lambda_port}/2015-03-31/functions/function/invocations",
            "LAMBDA_PORT": str(self.lambda_port),
            "LAMBDA_CONTAINER_NAME": self.container,
            "CONFIRM": "yes",
            "PYTHON": sys.executable,
            "LOGURU_COLORIZE": "no",
        }

    # Steps

    def step(self, name: str, action: Callable[[], str | None]) -> None:
        """Takes a step, and prints how it went; the action returns what is worth telling, or raises."""
        started = time.monotonic()
        try:
            told = action()
        except (StepError, subprocess.TimeoutExpired) as error:
            print(f"✗ {name}\n{error}", flush=True)
            raise SystemExit(1) from None
        seconds = time.monotonic() - started
        text = f": {textwrap.shorten(told, 90, placeholder=' …')}" if told else ""
        print(f"✓ {name}{text} ({seconds:.1f} s)", flush=True)

    def step_with_function(self, name: str, action: Callable[[], str | None]) -> None:
        """Takes a step that the function, or its image, is needed for."""
        if self.has_function:
            self.step(name, action)
        else:
            self.skip(name, "the function needs a Docker engine, on Linux")

    def skip(self, name: str, reason: str) -> None:
        self.skipped += 1
        print(f"- {name}: skipped, {reason}", flush=True)

    def start(self, *command: str, url: str, **settings: str) -> None:
        """Starts a program in the background, and waits until it answers at a URL."""
        log = self.folder / f"{command[-1]}.log"
        with log.open("w") as output:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=self.environment | settings,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.guard.watch("group", process.pid)
        deadline = time.monotonic() + STEP_PATIENCE
        while not answers(url):
            if process.poll() is not None or time.monotonic() > deadline:
                raise StepError(log.read_text())
            time.sleep(0.1)
        if process.poll() is not None:
            raise StepError(f"another program answers at {url}\n{log.read_text()}")

    def run(self, *command: str, stdin: str = "", patience: float = STEP_PATIENCE) -> str:
        """The output of a command that succeeds."""
        with tempfile.TemporaryFile("w+") as output:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
            self.guard.watch("group", process.pid)
            process.communicate(stdin, timeout=patience)
            self.guard.forget("group", process.pid)
            output.seek(0)
            text = output.read()
        if process.returncode:
            raise StepError(text)
        return text

    def succeeds(self, *command: str) -> bool:
        try:
            self.run(*command)
        except (StepError, FileNotFoundError):
            return False
        return True

    def run_aws(self, *arguments: str) -> str:
        return self.run("aws", "--endpoint-url", self.endpoint, "--region", REGION, *arguments, "--output", "text")

    # What there is to rehearse

    def bring_aws_cli(self) -> str | None:
        """An aws CLI for the rehearsal alone where the machine has none; behind whatever else is in PATH."""
        own = ROOT / ".aws-cli/bin"
        self.environment["PATH"] += f"{os.pathsep}{own}"
        found = shutil.which("aws", path=self.environment["PATH"])
        if not found:
            folder = os.open(ROOT, os.O_RDONLY)
            fcntl.flock(folder, fcntl.LOCK_EX)  # another rehearsal waits
            self.make(".aws-cli/bin/aws")
            os.close(folder)
        return self.run("aws", "--version").split()[0]

    def start_emulator(self) -> None:
        self.start(
            *(sys.executable, "-m", "ministack"),
            url=f"{self.endpoint}/_ministack/health",
            AUTH="true",
            BIND_HOST="127.0.0.1",
            GATEWAY_PORT=str(self.port),
            MINISTACK_ACCOUNT_ID=ACCOUNT_ID,
            # Under LOAD a container for each client starts at once. Where Docker needs more than the 10 s
            # that it gives it by itself, requests are lost.
            MINISTACK_DOCKER_TIMEOUT="60",
        )

    def check_account(self) -> str:
        account = self.run_aws("sts", "get-caller-identity", "--query", "Account").strip()
        if account != ACCOUNT_ID:
            raise StepError(f"this is account {account}, and not the emulator's {ACCOUNT_ID}: not a step further")
        return account

    def start_lambda(self) -> None:
        target = "run_container" if self.has_engine else "run_lambda"
        self.start("make", target, url=f"http://127.0.0.1:{self.lambda_port}/")

    def point_at_emulator(self) -> None:
        """AWS's address of the API leads to AWS: the emulator has it under its own."""
        text = self.env_file.read_text()
        stage = rf"{self.endpoint.replace('127.0.0.1', 'localhost')}/restapis/\1/\2/_user_request_"
        self.env_file.write_text(re.sub(r"https://([^.]+)\.execute-api\.[^/]+/([^/]+)", stage, text))

    def read_setting(self, name: str) -> str:
        return dict(line.split("=", 1) for line in self.env_file.read_text().splitlines())[name]

    def call(self, access_key: str, secret: str, path: str, *, expect: int) -> str:
        """Calls a path of the API's stage with curl, signed, and returns the answer's body."""
        url = self.read_setting("API_SECURE_ENDPOINT").rsplit("/", 1)[0] + path
        options = ["--silent", "--show-error", "--max-time", "60", "--write-out", "\n%{http_code}"]
        # The secret goes in by standard input: what is on the command line, everybody on the machine can read.
        sign = f'user = "{access_key}:{secret}"\naws-sigv4 = "aws:amz:{REGION}:execute-api"\n' if access_key else ""
        answer, status = self.run("curl", *options, "--config", "-", url, stdin=sign).rsplit("\n", 1)
        if int(status) != expect:
            raise StepError(f"expected {expect}, got {status}: {answer}")
        return answer

    def call_as_stranger(self) -> str:
        name = "a-stranger"
        self.run_aws("iam", "create-user", "--user-name", name)
        query = ["--query", "AccessKey.[AccessKeyId, SecretAccessKey]"]
        key, secret = self.run_aws("iam", "create-access-key", "--user-name", name, *query).split()
        answer = self.call(key, secret, "/hello/", expect=403)
        self.run_aws("iam", "delete-access-key", "--user-name", name, "--access-key-id", key)
        self.run_aws("iam", "delete-user", "--user-name", name)
        return answer

    def check_nothing_is_left(self) -> None:
        for service, operation, query in (
            ("cloudformation", "describe-stacks", "Stacks[].StackName"),
            ("apigateway", "get-rest-apis", "items[].name"),
            ("lambda", "list-functions", "Functions[].FunctionName"),
            ("iam", "list-users", "Users[].UserName"),
            ("iam", "list-roles", "Roles[?Path=='/'].RoleName"),
            ("ecr", "describe-repositories", "repositories[].repositoryName"),
            ("logs", "describe-log-groups", "logGroups[].logGroupName"),
        ):
            left = self.run_aws(service, operation, "--query", query).strip()
            if left:
                raise StepError(f"{service} {operation} still shows {left}")

    def send_load(self, load: int) -> str:
        # The stage throttles, and a fast machine would come to that.
        api = self.read_setting("API_SECURE_ENDPOINT").split("/")[4]
        limits = [f"op=replace,path=/*/*/throttling/{limit},value={load}" for limit in ("rateLimit", "burstLimit")]
        update = ["update-stage", "--rest-api-id", api, "--stage-name", "default"]
        self.run_aws("apigateway", *update, "--patch-operations", *limits)
        return self.run(sys.executable, "tests/rehearse/load.py", str(load), patience=STEP_PATIENCE + load).strip()

    def rehearse(self, deploy_steps: list[str], load: int) -> None:
        self.step("an aws CLI", self.bring_aws_cli)
        self.step(f"an emulated AWS account on 127.0.0.1:{self.port}", self.start_emulator)
        self.step("it is the emulator's account", self.check_account)
        where = "in its container" if self.has_engine else "without a container"
        self.step(f"the Lambda runtime on 127.0.0.1:{self.lambda_port}, {where}", self.start_lambda)
        need_function = {"deploy_to_ecr", "create_lambda_function", "update_lambda_function"}
        for target in deploy_steps:
            take = self.step_with_function if target in need_function else self.step
            take(f"make {target}", partial(self.make, target))
        self.point_at_emulator()
        self.step("make invoke", self.invoke)

        key, secret = self.read_setting("AWS_ACCESS_KEY"), self.read_setting("AWS_SECRET_ACCESS_KEY")
        if "--aws-sigv4" not in self.run("curl", "--help", "all"):
            self.skip("curl --aws-sigv4", "curl is older than 7.75")
        else:
            self.rehearse_curl(key, secret)
        if load:
            self.step_with_function(f"each of {load} requests gets its own answer", partial(self.send_load, load))
        self.step("make destroy", partial(self.make, "destroy"))
        self.step("nothing is left", self.check_nothing_is_left)

    def make(self, target: str) -> None:
        self.run("make", target)

    def invoke(self) -> str:
        output = self.run("make", "invoke")
        return f"{output.count('Authorized')} routes signed, {output.count('Unauthorized')} unsigned"

    def rehearse_curl(self, key: str, secret: str) -> None:
        for path in ("/hello/", "/goodbye", "/nothing"):
            expected = 404 if path == "/nothing" else 200
            action = partial(self.call, key, secret, path, expect=expected)
            self.step_with_function(f"curl --aws-sigv4 GET {path}", action)
        self.step("curl unsigned: 403", partial(self.call, "", "", "/hello/", expect=403))
        self.step("curl with a wrong secret: 403", partial(self.call, key, "wrong", "/hello/", expect=403))
        self.step(
            "curl with an unknown key: 403", partial(self.call, "AKIAIOSFODNN7EXAMPLE", secret, "/hello/", expect=403)
        )
        self.step("curl as a user whom no policy allows: 403", self.call_as_stranger)


def find_free_port() -> int:
    """A port that is free now, with the one above it free too: the Lambda emulator takes that for itself."""
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
    load, *deploy_steps = sys.argv[1:]
    if not load.isdecimal():
        sys.exit(f"LOAD={load} is not a number of requests: 10000, for example")
    guard = Guard()
    try:
        rehearsal = Rehearsal(guard)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
        rehearsal.rehearse(deploy_steps, int(load))
    except KeyboardInterrupt:
        sys.exit("interrupted")
    finally:
        guard.finish()
    seconds = time.monotonic() - rehearsal.started
    print(f"✓ stopped everything. {rehearsal.skipped} skipped, {seconds:.0f} s in all", flush=True)


if __name__ == "__main__":
    guard() if sys.argv[1:] == ["--guard"] else main()
