"""The limit of the API: the least server that inserts a row, or answers a page of them: `python -m bench.limit_web`."""

import asyncio
import os
import sys

import asyncpg
import orjson
import uvloop
from aiohttp import web

_TABLE = """
DROP TABLE IF EXISTS post;
CREATE TABLE post (id bigserial PRIMARY KEY, mission text NOT NULL, body jsonb NOT NULL, at timestamptz DEFAULT now())
"""


async def serve() -> None:
    pool = await asyncpg.create_pool(os.environ["LIMIT_DSN"], min_size=8, max_size=8)
    await pool.execute(_TABLE)

    async def create(request: web.Request) -> web.Response:
        data = await request.read()
        mission = orjson.loads(data)["mission"]
        row = await pool.fetchrow(
            "INSERT INTO post (mission, body) VALUES ($1, $2) RETURNING id", mission, data.decode()
        )
        return _json({"id": row["id"]}, status=201)

    async def page(_request: web.Request) -> web.Response:
        rows = await pool.fetch("SELECT id, mission, body, at FROM post ORDER BY id DESC LIMIT 50")
        return _json({"items": [{**row, "at": row["at"].isoformat()} for row in rows]})

    app = web.Application()
    app.router.add_post("/api/v1/posts", create)
    app.router.add_get("/api/v1/posts", page)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", int(sys.argv[1])).start()
    print("up", flush=True)
    await asyncio.Event().wait()


def _json(value: object, *, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(value), status=status, content_type="application/json")


if __name__ == "__main__":
    uvloop.run(serve())
