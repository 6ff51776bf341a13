"""An application that uses what FastAPI offers, to be compared on uvicorn and behind Lambda."""

import gzip
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import APIRouter, BackgroundTasks, Cookie, Depends, FastAPI, Form, HTTPException, Request, UploadFile
from fastapi.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from pydantic import BaseModel
from starlette.middleware.gzip import GZipMiddleware

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))


class Item(BaseModel):
    name: str
    price: float = 1.5


class OutOfStockError(Exception):
    pass


@asynccontextmanager
async def open_pool(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    yield {"pool": "a pool of connections"}


def get_session() -> Iterator[str]:
    yield "a session"


router = APIRouter(prefix="/items", tags=["items"])


@router.post("/", status_code=201)
async def create_item(item: Item, notify: bool = False) -> dict[str, Any]:
    return {"item": item, "notify": notify}


@router.get("/{name:path}", name="read_item")
async def read_item(name: str, request: Request) -> Any:
    return {"name": name, "raw_path": request.scope["raw_path"].decode(), "tags": request.query_params.multi_items()}


def make_app() -> FastAPI:
    app = FastAPI(lifespan=open_pool)
    app.include_router(router)

    @app.get("/")
    async def read_root(request: Request) -> dict[str, str]:
        return {
            "url": str(request.url),
            "base_url": str(request.base_url),
            "item": str(request.url_for("read_item", name="a")),
        }

    @app.get("/state")
    async def read_state(request: Request, session: Annotated[str, Depends(get_session)]) -> dict[str, str]:
        return {"pool": request.state.pool, "session": session}

    @app.api_route("/echo", methods=["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"])
    async def echo(request: Request) -> dict[str, Any]:
        headers = [pair for pair in request.headers.items() if pair[0].startswith("x-")]
        return {"method": request.method, "headers": sorted(headers), "body": (await request.body()).decode("latin-1")}

    @app.get("/cookies")
    async def read_cookies(a: Annotated[str, Cookie()], b: Annotated[str, Cookie()] = "none") -> Response:
        response = JSONResponse({"a": a, "b": b})
        response.set_cookie("first", "1", httponly=True)
        response.set_cookie("second", "2")
        return response

    @app.get("/links")
    async def read_links() -> Response:
        response = Response(status_code=204)
        response.headers.append("link", "<a>; rel=prev")
        response.headers.append("link", "<b>; rel=next")
        return response

    @app.get("/image")
    async def read_image() -> Response:
        return Response(PNG, media_type="image/png")

    @app.get("/gzip")
    async def read_gzip() -> Response:
        return Response(gzip.compress(b"hello", mtime=0), headers={"content-encoding": "gzip"}, media_type="text/plain")

    @app.get("/types")
    async def read_type(media_type: str) -> Response:
        return Response('{"größe": 1}'.encode(), media_type=media_type)

    @app.get("/latin")
    async def read_latin() -> Response:
        return Response("größe".encode("latin-1"), media_type="text/plain; charset=latin-1")

    @app.get("/latin-header")
    async def read_latin_header() -> Response:
        return Response(headers={"x-name": "größe"}, media_type="text/plain")

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        return StreamingResponse(iter([b"one,", b"two,", b"three"]), media_type="text/csv")

    @app.post("/files")
    async def upload(file: UploadFile, note: Annotated[str, Form()]) -> dict[str, Any]:
        content = await file.read()
        return {"name": file.filename, "type": file.content_type, "note": note, "same": content == PNG}

    @app.get("/background")
    async def work_later(tasks: BackgroundTasks) -> str:
        tasks.add_task(lambda: None)
        return "accepted"

    @app.get("/redirect")
    async def redirect(request: Request) -> RedirectResponse:
        return RedirectResponse(request.url_for("read_state"))

    @app.get("/teapot")
    async def refuse() -> None:
        raise HTTPException(418, "a teapot", {"x-teapot": "yes"})

    @app.get("/stock")
    async def fail_as_known() -> None:
        raise OutOfStockError

    @app.get("/crash")
    async def crash() -> None:
        raise RuntimeError("hunter2")

    @app.exception_handler(OutOfStockError)
    async def answer_out_of_stock(request: Request, error: OutOfStockError) -> JSONResponse:
        return JSONResponse({"error": "out of stock"}, status_code=409)

    async def bare(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 202, "headers": [(b"content-length", b"4")]})
        await send({"type": "http.response.body", "body": scope["path"].encode()[-4:]})

    sub_app = FastAPI()

    @sub_app.get("/hello")
    async def say_hello(request: Request) -> dict[str, str]:
        return {"url": str(request.url), "docs": str(request.url_for("swagger_ui_html"))}

    sub_app.add_middleware(GZipMiddleware, minimum_size=10)
    app.mount("/sub", sub_app)
    app.mount("/bare", bare)
    return app


def make_app_with_own_500() -> FastAPI:
    """The application handles every exception itself."""
    app = make_app()

    @app.exception_handler(Exception)
    async def answer(request: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"mine": type(error).__name__}, status_code=503)

    return app
