"""The limit: the least code that claims, posts, records and chains each delivery durably: `python -m bench.limit`.

LIMIT_DSN names its database, LIMIT_URL the address. It has no accounts, people, policy or signatures, and no look
at anything between claim and post: what Chancery does more is what its ratio to this shows.
"""

import asyncio
import hashlib
import os
import time
from collections import deque
from typing import Final

import aiohttp
import asyncpg
import orjson
import uvloop

_POSTERS: Final = 100
_BATCH: Final = 500
_LINGER_S: Final = 0.02
_AHEAD_S: Final = 1.0
_TABLES: Final = """
DROP TABLE IF EXISTS delivery, record;
CREATE TABLE delivery (
  id bigint PRIMARY KEY, account int NOT NULL, body text NOT NULL, due_at float8 NOT NULL,
  state smallint NOT NULL DEFAULT 0, remote_id text, sent_at float8
);
CREATE INDEX ON delivery (due_at, id) WHERE state = 0;
CREATE TABLE record (seq bigint PRIMARY KEY, line bytea NOT NULL, hash bytea NOT NULL);
"""
_SEED: Final = """
INSERT INTO delivery (id, account, body, due_at)
SELECT n, n % 500, $2, $3 + CASE WHEN $4 > 0 THEN n / $4 ELSE 0 END FROM generate_series(0, $1::bigint - 1) n
"""
_FUTURE: Final = """
INSERT INTO delivery (id, account, body, due_at)
SELECT -n, n % 500, $2, $3 + 86400 + n FROM generate_series(1, $1::bigint) n
"""
_CLAIM: Final = """
UPDATE delivery d SET state = 1 FROM (
  SELECT id FROM delivery WHERE state = 0 AND due_at <= $1 ORDER BY due_at, id LIMIT $2 FOR UPDATE SKIP LOCKED
) c WHERE d.id = c.id AND d.state = 0 RETURNING d.id, d.account, d.body, d.due_at
"""
_RECORD: Final = """
WITH sent AS (
  UPDATE delivery d SET state = 2, remote_id = x.remote, sent_at = extract(epoch FROM clock_timestamp())
  FROM unnest($1::bigint[], $2::text[]) x(id, remote) WHERE d.id = x.id AND d.state <> 2
)
INSERT INTO record (seq, line, hash) SELECT * FROM unnest($3::bigint[], $4::bytea[], $5::bytea[])
"""
_INDEXED: Final = {"enable_seqscan": "off", "enable_hashjoin": "off", "enable_mergejoin": "off"}

Claimed = tuple[int, int, str, float]


class Limit:
    def __init__(self, pool: asyncpg.Pool, http: aiohttp.ClientSession, url: str) -> None:
        self.pool, self.http, self.url = pool, http, url
        self.waiting: deque[Claimed] = deque()
        self.sent: list[tuple[int, str]] = []
        self.head, self.seq = b"", 0
        self.come, self.gone = asyncio.Event(), asyncio.Event()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(_POSTERS):
                group.create_task(self._post_all())
            group.create_task(self._record_all())
            while True:
                rows = await self.pool.fetch(_CLAIM, time.time() + _AHEAD_S, _BATCH)
                self.waiting.extend(sorted(map(tuple, rows), key=lambda row: (row[3], row[0])))
                if rows:
                    self.come.set()
                if len(rows) < _BATCH or len(self.waiting) > _BATCH:
                    await asyncio.sleep(0.01 if rows else 0.2)

    async def _post_all(self) -> None:
        while True:
            while not self.waiting:
                self.come.clear()
                await self.come.wait()
            number, account, text, due = self.waiting.popleft()
            if (wait_s := due - time.time()) > 0:
                await asyncio.sleep(wait_s)
            remote = await self._post(number, account, text)
            self.sent.append((number, remote))
            self.gone.set()

    async def _post(self, number: int, account: int, text: str) -> str:
        headers = {
            "Content-Type": "application/json",
            "Authorization": "Bearer lipoveclipoveclipovec",
            "Idempotency-Key": str(number),
        }
        body = orjson.dumps({"account": account, "text": text})
        async with self.http.post(self.url, data=body, headers=headers) as answer:
            told = orjson.loads(await answer.read())
        return str(told["id"])

    async def _record_all(self) -> None:
        while True:
            await self.gone.wait()
            if len(self.sent) < _BATCH:
                await asyncio.sleep(_LINGER_S)
            some, self.sent = self.sent[:_BATCH], self.sent[_BATCH:]
            if not self.sent:
                self.gone.clear()
            lines = [self._chain(number, remote) for number, remote in some]
            numbers, remotes = zip(*some, strict=True)
            seqs, texts, hashes = zip(*lines, strict=True)
            await self.pool.execute(
                _RECORD, list(numbers), list(remotes), list(seqs), list(texts), list(hashes)
            )

    def _chain(self, number: int, remote: str) -> tuple[int, bytes, bytes]:
        line = chain_line(number, remote)
        self.head = hashlib.sha256(self.head + line).digest()
        self.seq += 1
        return self.seq, line, self.head


def chain_line(number: int, remote: str) -> bytes:
    return orjson.dumps({"a": "sent", "id": number, "remote": remote}, option=orjson.OPT_SORT_KEYS)


async def seed(dsn: str, *, count: int, due: float, rate: float, text: str, future: int) -> None:
    """Make the tables anew, with `count` deliveries from `due` on and `future` ones that nobody waits for."""
    connection = await asyncpg.connect(dsn)
    await connection.execute(_TABLES)
    await connection.execute(_FUTURE, future, text, due)
    await connection.execute(_SEED, count, text, due, rate)
    await connection.execute("VACUUM ANALYZE delivery")
    await connection.close()


async def count_recorded(dsn: str) -> int:
    connection = await asyncpg.connect(dsn)
    count = await connection.fetchval("SELECT count(*) FROM record")
    await connection.close()
    return int(count)


async def _warm(http: aiohttp.ClientSession, url: str) -> None:
    async with http.get(url) as answer:
        await answer.read()


async def work() -> None:
    connector = aiohttp.TCPConnector(limit=_POSTERS, keepalive_timeout=300)
    async with (
        asyncpg.create_pool(
            os.environ["LIMIT_DSN"], min_size=3, max_size=3, server_settings=_INDEXED
        ) as pool,
        aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(30),
            cookie_jar=aiohttp.DummyCookieJar(),
        ) as http,
    ):
        url = os.environ["LIMIT_URL"]
        await asyncio.gather(*(_warm(http, url) for _ in range(_POSTERS)))
        await Limit(pool, http, url).run()


if __name__ == "__main__":
    uvloop.run(work())
