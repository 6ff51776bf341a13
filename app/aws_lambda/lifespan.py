"""Starts the application once per execution environment, and stops it when the environment ends."""

import atexit
import os
import signal
import threading
import time
from typing import Any

from loguru import logger
from mangum.exceptions import LifespanFailure
from mangum.protocols import LifespanCycle
from mangum.types import ASGI

from app.aws_lambda.logs import ON_LAMBDA


def start_lifespan(app: ASGI) -> dict[str, Any]:
    """Runs the application's startup now, and its shutdown on SIGTERM or when the process ends.

    Returns the state that the startup left. Lambda sends SIGTERM only to a function that has an extension:
    https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html#runtimes-lifecycle-shutdown

    Raises:
        LifespanFailure: the startup failed. One line in the log has the traceback.
    """
    # "auto" serves an application without a lifespan all the same, as an ASGI server does.
    cycle = LifespanCycle(app, "auto")
    try:
        cycle.__enter__()
    except LifespanFailure:
        failure = cycle.exception
        if isinstance(failure, LifespanFailure):  # the application said so itself
            logger.opt(exception=failure.__context__ or failure).critical("The application failed to start")
            raise LifespanFailure("The application failed to start. The log has the traceback.") from None
        return {}

    def stop() -> None:
        try:
            cycle.__exit__(None, None, None)
        except LifespanFailure as failure:
            error = cycle.exception or failure
            logger.opt(exception=error.__context__ or error).error("The application failed to stop")

    atexit.register(stop)
    if ON_LAMBDA not in os.environ or threading.current_thread() is not threading.main_thread():
        return cycle.lifespan_state

    # Lambda's runtime client may block the main thread in C, where Python calls no signal handler. So a second thread
    # reads the numbers of the signals from a pipe.
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    signal.signal(signal.SIGTERM, lambda *_: None)
    # A child process must not write to this pipe, and must end on SIGTERM.
    os.register_at_fork(
        after_in_child=lambda: (signal.set_wakeup_fd(-1), signal.signal(signal.SIGTERM, signal.SIG_DFL))
    )

    def stop_on_sigterm() -> None:
        while os.read(reader, 1)[0] != signal.SIGTERM:
            pass
        while cycle.loop.is_running():
            time.sleep(0.01)
        atexit._run_exitfuncs()
        os._exit(0)

    threading.Thread(target=stop_on_sigterm, daemon=True).start()
    return cycle.lifespan_state
