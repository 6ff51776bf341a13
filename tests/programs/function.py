"""The function of the emulated account, from a zip where no image can be built.

The emulator runs a zip function as a process of a Python, which has the packages of requirements.lock and no others. So
the zip holds app/ alone.
"""

import json
import os
import re
import shutil
import subprocess
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any

import botocore.config
import botocore.session
from botocore.exceptions import BotoCoreError, ClientError
from roles import ADMINISTRATOR

ROOT = Path(__file__).resolve().parent.parent.parent
NAME = "hello-lambda"
IMPORT = "import sys, importlib; sys.path.insert(0, sys.argv[2]); importlib.import_module(sys.argv[1])"


class Function:
    def __init__(self, endpoint: str, region: str, folder: Path, python: Path) -> None:
        self.python = python
        self.endpoint, self.region = endpoint, region
        self.session = botocore.session.Session()
        self.client = self.connect("lambda")
        self.folder = folder / "function"
        # README.md sends this event, too. A reader enters a path of their own application there.
        self.event = (ROOT / "examples/event.json").read_text()
        self.path: str = json.loads(self.event)["path"]
        self.entry_point = re.findall(r'^CMD \["(.+)"\]', (ROOT / "Dockerfile").read_text(), re.MULTILINE)[0]

    def connect(self, service: str) -> Any:
        """A client of the emulated account."""
        # An invocation must not run twice. With LOAD, 16 clients send at once.
        config = botocore.config.Config(retries={"total_max_attempts": 1}, max_pool_connections=64, proxies={})
        return self.session.create_client(
            service,
            region_name=self.region,
            endpoint_url=self.endpoint,
            config=config,
            aws_access_key_id=ADMINISTRATOR["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=ADMINISTRATOR["AWS_SECRET_ACCESS_KEY"],
        )

    def create_from_zip(self, role: str) -> str:
        """Returns how large the zip is. Raises RuntimeError with the traceback if app/ does not import."""
        code = self.zip_app()
        settings = {"Runtime": "python3.14", "Handler": self.entry_point, "MemorySize": 512, "Timeout": 28}
        self.client.create_function(FunctionName=NAME, Role=role, Code={"ZipFile": code}, **settings)
        return f"{len(code) / 1000:.0f} KB"

    def update_from_zip(self) -> None:
        """Raises RuntimeError as above. The function then goes on with its code."""
        code = self.zip_app()
        try:
            self.client.get_waiter("function_updated_v2").wait(FunctionName=NAME, WaiterConfig={"Delay": 1})
            self.client.update_function_code(FunctionName=NAME, ZipFile=code)
            # A request that came meanwhile may have started the old code again. Another configuration ends it.
            self.client.get_waiter("function_updated_v2").wait(FunctionName=NAME, WaiterConfig={"Delay": 1})
            self.client.update_function_configuration(FunctionName=NAME, Timeout=28)
        except (BotoCoreError, ClientError) as error:
            raise RuntimeError(str(error)) from None

    def zip_app(self) -> bytes:
        shutil.rmtree(self.folder, ignore_errors=True)
        code = self.folder / "code"
        shutil.copytree(ROOT / "app", code / "app", ignore=shutil.ignore_patterns("__pycache__"))
        archive = shutil.make_archive(str(code), "zip", code)
        module = self.entry_point.rpartition(".")[0]
        command = [str(self.python), "-I", "-c", IMPORT, module, str(code)]
        # On Lambda the application starts when it is imported.
        environment = {**os.environ, "AWS_LAMBDA_FUNCTION_NAME": NAME}
        process = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
        if process.returncode:
            traceback = process.stderr.replace(f"{code}{os.sep}", "")
            raise RuntimeError(
                process.stdout
                + re.sub(
                    r"(?<=\(most recent call last\):\n).*?(?=  File \"app)", "", traceback, count=1, flags=re.DOTALL
                )
            )
        return Path(archive).read_bytes()

    def check(self) -> str:
        """Returns what the app answers to the event. Raises RuntimeError if the function fails."""
        result = self.client.invoke(FunctionName=NAME, Payload=self.event)
        answer = json.loads(result["Payload"].read())
        if "FunctionError" in result or answer["statusCode"] >= 500:
            raise RuntimeError(json.dumps(answer, indent=1))
        if answer["statusCode"] != 200:
            return f"{answer['statusCode']} to {self.path}: enter a GET of app/ in examples/event.json"
        return str(answer["body"])


def make_environment(python: str, folder: Path) -> None:
    """Makes a virtual environment with the packages of this Python that requirements.lock names, and no others."""
    subprocess.run([python, "-m", "venv", "--without-pip", folder], check=True, timeout=60)
    (own,) = folder.glob("lib/python*/site-packages")
    command = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    installed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()
    for name in re.findall(r"^[\w.-]+", (ROOT / "requirements.lock").read_text(), re.MULTILINE):
        # A package for another system is not installed.
        for package in Distribution.discover(name=name, path=[installed]):
            for part in {file.parts[0] for file in package.files or []} - {"..", "__pycache__"}:
                (own / part).symlink_to(Path(installed, part))
