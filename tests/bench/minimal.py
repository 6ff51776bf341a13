"""The least that FastAPI and Mangum need: no logging, no correlation id, no check of the event, no model."""

from fastapi import FastAPI
from mangum import Mangum

app = FastAPI()


@app.get("/hello/", response_model=None)
async def say_hello() -> dict[str, str]:
    return {"message": "Hello, World"}


handler = Mangum(app)
