"""Serves the dashboard: a static page and its files, which use only the public API."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fastapi.staticfiles import StaticFiles
from starlette.responses import FileResponse

if TYPE_CHECKING:
    from fastapi import FastAPI

FOLDER = Path(__file__).parents[1] / "web"
PAGE = "/"
FILES = "/web"


def install(app: FastAPI) -> None:
    """Serve the page at `/` and its files at `/web`. Neither needs an API key: both are static."""

    @app.api_route(PAGE, methods=["GET", "HEAD"], include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(FOLDER / "index.html", media_type="text/html")

    app.mount(FILES, StaticFiles(directory=FOLDER))
