"""The page at ``/``: one document with its style, scripts and icon, served from the package. It holds no data, so no token.

Nothing is loaded from elsewhere, nothing inline runs, and no text of others is ever read as markup: the policy says so.
"""

from pathlib import Path

from aiohttp import web

from consumer.console.problems import Handler

FOLDER = Path(__file__).parent
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


def page_routes() -> list[web.RouteDef]:
    """Give the routes of the page: ``/`` and ``/page/…`` for what it loads."""
    parts = sorted(path for suffix in ("css", "js", "svg") for path in FOLDER.glob(f"page*.{suffix}"))
    return [
        web.get("/", _serving(FOLDER / "page.html")),
        *(web.get(f"/page/{path.name}", _serving(path)) for path in parts),
    ]


def _serving(path: Path) -> Handler:
    async def serve(_: web.Request) -> web.StreamResponse:
        return web.FileResponse(path, headers=HEADERS)

    return serve
