"""What the bench adds to an app, the same to each: more routers, long answers, a long request."""

from fastapi import APIRouter, FastAPI
from pydantic import BaseModel


class Message(BaseModel):
    message: str


async def say_hello() -> Message:
    return Message(message="Hello, World")


async def say_much(size: int) -> Message:
    return Message(message="x" * size)


async def count(message: Message) -> Message:
    return Message(message=str(len(message.message)))


def grow(app: FastAPI, routers: int) -> None:
    """Adds `/router/0/` to `/router/{routers - 1}/`, GET `/answer/{size}` in bytes, and POST `/request`."""
    for number in range(routers):
        router = APIRouter(prefix=f"/router/{number}")
        router.get("/")(say_hello)
        app.include_router(router)
    app.get("/answer/{size}")(say_much)
    app.post("/request")(count)
