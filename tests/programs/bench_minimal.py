"""The app that the bench compares with: FastAPI and Mangum alone."""

from fastapi import FastAPI
from mangum import Mangum

app = FastAPI()


@app.get("/hello/", response_model=None)
async def say_hello() -> dict[str, str]:
    return {"message": "Hello, World"}


handler = Mangum(app, lifespan="off")
