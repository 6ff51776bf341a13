"""Creates or deletes the one access key of a user, in AWS and in ENV_FILE. It prints no secret."""

import json
import os
import subprocess
import sys
import time

from env_file import ENV_FILE, read_settings, save_settings


def run_iam(operation: str, *arguments: str) -> str:
    command = ["aws", "iam", operation, *arguments, "--output", "json"]
    print(" ".join(command), flush=True)
    process = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    return process.stdout if process.returncode == 0 else sys.exit(process.returncode)


def list_keys(user: str) -> list[str]:
    answer = run_iam("list-access-keys", "--user-name", user)
    return [key["AccessKeyId"] for key in json.loads(answer)["AccessKeyMetadata"]]


def is_accepted(key: str, secret: str) -> bool:
    others = {name: value for name, value in os.environ.items() if name not in ("AWS_PROFILE", "AWS_SESSION_TOKEN")}
    environment = {**others, "AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret}
    process = subprocess.run(["aws", "sts", "get-caller-identity"], env=environment, capture_output=True, text=True)
    unknown = any(error in process.stderr for error in ("InvalidClientTokenId", "SignatureDoesNotMatch"))
    return process.returncode == 0 or (False if unknown else sys.exit(process.stderr))


def create(user: str) -> None:
    settings, keys = read_settings(), list_keys(user)
    key, secret = settings.get("AWS_ACCESS_KEY") or "", settings.get("AWS_SECRET_ACCESS_KEY") or ""
    if keys and not (key in keys and secret):
        sys.exit(f"{ENV_FILE} lacks the secret of {user}'s key {keys[0]}. Run make delete_invoker create_invoker")
    if not keys:
        if key and secret and is_accepted(key, secret):
            sys.exit(f"{ENV_FILE} holds {key}, a key of somebody else. Move it elsewhere, and run the target again")
        created = json.loads(run_iam("create-access-key", "--user-name", user))["AccessKey"]
        key, secret = created["AccessKeyId"], created["SecretAccessKey"]
        save_settings({"AWS_ACCESS_KEY": key, "AWS_SECRET_ACCESS_KEY": secret})
    deadline = time.monotonic() + 90
    while not is_accepted(key, secret):
        if time.monotonic() > deadline:
            sys.exit(f"AWS has not accepted the key {key} for 90 s. Run make create_invoker to go on waiting")
        time.sleep(2)
    print(f">> {user} has an access key, and {ENV_FILE} holds it")


def delete(user: str) -> None:
    keys, settings = list_keys(user), read_settings()
    if settings.get("AWS_ACCESS_KEY") in keys:
        save_settings({"AWS_ACCESS_KEY": "", "AWS_SECRET_ACCESS_KEY": ""})
    for key in keys:
        run_iam("delete-access-key", "--user-name", user, "--access-key-id", key)


if __name__ == "__main__":
    {"create": create, "delete": delete}[sys.argv[1]](sys.argv[2])
