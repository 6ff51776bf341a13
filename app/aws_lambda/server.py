"""The parts of an ASGI server that Mangum lacks: one start for many requests, and a check of the response."""

import asyncio
import atexit
from typing import Any

from loguru import logger
from mangum.exceptions import LifespanFailure
from mangum.protocols import LifespanCycle
from mangum.types import ASGI, Message, Receive, Scope, Send

from app.aws_lambda.logs import ON_LAMBDA
from app.aws_lambda.response import WholeResponse


class Loop(asyncio.SelectorEventLoop):
    """sys.exit() in a task would end the process, or another task's request. Here it ends the task."""

    def run_until_complete(self, future: Any) -> Any:
        future = asyncio.ensure_future(future, loop=self)
        while True:
            try:
                return super().run_until_complete(future)
            except SystemExit:
                if future.done():
                    raise


LOOP = Loop()


class LambdaServer:
    """Starts the application once: in the init phase on Lambda, and elsewhere with the first event."""

    def __init__(self, app: ASGI) -> None:
        self.app = app
        self.lifespan: LifespanCycle | None = None
        asyncio.set_event_loop(LOOP)
        if ON_LAMBDA:
            LOOP.run_until_complete(self.start())

    async def start(self) -> LifespanCycle:
        lifespan = LifespanCycle(self.app, "auto")  # "auto" takes an application without a lifespan, too
        self.task = asyncio.create_task(lifespan.run())
        try:
            await lifespan.startup()
        except LifespanFailure:
            if isinstance(lifespan.exception, LifespanFailure):  # the application said so itself
                cause = lifespan.exception.__context__ or lifespan.exception
                logger.opt(exception=cause).critical("The application failed to start")
                raise LifespanFailure("The application failed to start. The log has the traceback.") from None
            logger.warning("The application does not know the lifespan, and is served without one")
        else:  # For the emulator. Lambda ends a function without notice, unless it has an extension.
            atexit.register(lambda: LOOP.run_until_complete(lifespan.shutdown()))
        self.lifespan = lifespan
        return lifespan

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        lifespan = self.lifespan or await self.start()
        scope["state"] = lifespan.lifespan_state.copy()
        if getattr(self.app, "root_path", ""):  # FastAPI(root_path=…) stands for the stage
            root_path, scope["root_path"] = scope["root_path"], ""
            scope["path"] = scope["path"].removeprefix(root_path)
            scope["raw_path"] = scope["raw_path"].removeprefix(root_path.encode())
        response = WholeResponse(scope, send)
        last: Message = {"type": ""}

        async def receive_again() -> Message:
            nonlocal last  # Mangum sends http.disconnect once, and a second receive() would wait for ever
            last = last if last["type"] == "http.disconnect" else await receive()
            return last

        try:
            await self.app(scope, receive_again, response.send)
        finally:
            await response.finish(receive)
