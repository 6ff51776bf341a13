"""The machine's aws CLI as one process that forks for each call, since a call spends most of its time on starting.

python forked_aws.py serve PROGRAM FOLDER    runs in the Python of the aws CLI, and listens at the socket FOLDER/aws
python forked_aws.py FOLDER …                makes a call, with its own environment, folder, input and output
"""

import json
import os
import signal
import socket
import sys


def serve(program: str, folder: str) -> None:
    import awscli.clidriver

    # Loads what the calls need: the modules, and AWS's models of its services. A session keeps the settings of its first
    # call. So the clients belong to another session, which shares the loader.
    driver, other = awscli.clidriver.create_clidriver(), awscli.clidriver.create_clidriver()
    loader = driver.session.get_component("data_loader")
    other.session.register_component("data_loader", loader)
    for model in ("service-2", "waiters-2", "paginators-1"):
        loader.list_available_services(model)
    for service in ("sts", "iam", "cloudformation", "lambda", "apigateway"):
        other.session.create_client(service, "us-east-1", aws_access_key_id="-", aws_secret_access_key="-")
    awscli.clidriver.create_clidriver = lambda *_: driver

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # an ended call leaves no zombie
    with socket.socket(socket.AF_UNIX) as server:
        os.chdir(folder)  # the path of a socket has a limit of 107 characters
        server.bind("aws")
        server.listen(64)
        while True:
            connection, _ = server.accept()
            if os.fork() == 0:
                server.close()
                answer(connection, program)
            connection.close()


def answer(connection: socket.socket, program: str) -> None:
    """Runs the program in this process, and sends its exit code."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    import runpy  # the caller needs no second for it

    *standard, folder = socket.recv_fds(connection, 1, 4)[1]
    for number, descriptor in enumerate(standard):
        os.dup2(descriptor, number)
    os.fchdir(folder)
    environment, arguments = json.load(connection.makefile())
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = [program, *arguments]
    code = 1
    try:
        runpy.run_path(program, run_name="__main__")
    except SystemExit as error:
        code = int(error.code or 0)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    sys.stdout.flush()
    connection.send(bytes([code]))
    os._exit(0)


def call(folder: str, arguments: list[str]) -> int:
    own_folder = os.open(".", os.O_RDONLY)
    os.chdir(folder)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect("aws")
        socket.send_fds(connection, [b"."], [0, 1, 2, own_folder])
        connection.sendall(json.dumps([dict(os.environ), arguments]).encode())
        connection.shutdown(socket.SHUT_WR)
        code = connection.recv(1)
    return code[0] if code else 255  # the call was killed


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(*sys.argv[2:])
    sys.exit(call(sys.argv[1], sys.argv[2:]))
