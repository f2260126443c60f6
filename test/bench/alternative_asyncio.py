"""What a careful engineer would write instead of the extension: a worker on asyncpg and aiohttp.

Claims in batches with SKIP LOCKED and commits before it sends, keeps connections alive, writes back
in batches; so many calls at once.  The table is alternative_outbox, see measures.py.

  alternative_asyncio.py SOCKET_FOLDER URL CA_FILE IN_FLIGHT

ends when no row is pending and prints a line of JSON: rows, seconds, cpu_seconds.
"""

from __future__ import annotations

import asyncio
import json
import resource
import ssl
import sys
import time

import aiohttp
import asyncpg

BATCH = 200
COLUMNS = {"type": "Type", "group_id": "GroupId", "name": "Name", "owner_account": "Owner_Account",
           "introduction": "Introduction", "notification": "Notification"}
CLAIM = """UPDATE alternative_outbox SET status = 'sending', attempts = attempts + 1, sent_at = now()
 WHERE id = ANY (ARRAY(SELECT id FROM alternative_outbox WHERE status = 'pending' AND due_at IS NULL AND id > $1
                       ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED))
 RETURNING id, type, group_id, name, owner_account, introduction, notification, create_time"""
SETTLE = """UPDATE alternative_outbox o SET status = v.status, error_code = v.code, settled_at = now()
 FROM unnest($1::bigint[], $2::text[], $3::integer[]) AS v (id, status, code) WHERE o.id = v.id"""
QUERY = "/v4/group_open_http_svc/import_group?sdkappid=1400000000&identifier=administrator&usersig=%s&random=%d"


def body_of(row) -> bytes:
    """The request for a row."""
    body = {key: row[column] for column, key in COLUMNS.items() if row[column] is not None}
    body["CreateTime"] = int(row["create_time"].timestamp())
    return json.dumps(body).encode()


async def send(session, url: str, row) -> tuple:
    """One call; what is to be written back."""
    try:
        async with session.post(url + QUERY % ("x" * 256, row["id"] % 2**32), data=body_of(row)) as answer:
            code = json.loads(await answer.read())["ErrorCode"]
            return row["id"], "imported" if code == 0 else "failed", code
    except (aiohttp.ClientError, asyncio.TimeoutError, ValueError, KeyError):
        return row["id"], "pending", None


async def settle(database, done: list):
    """Writes outcomes back."""
    await database.execute(SETTLE, *(list(column) for column in zip(*done)))
    done.clear()


async def drain(database, session, url: str, in_flight: int) -> int:
    """Claims, sends and settles until nothing is pending; the rows."""
    flying, waiting, done = set(), [], []
    total, last, more = 0, 0, True
    while more or waiting or flying or done:
        if len(done) >= BATCH or done and not flying:
            await settle(database, done)
        if more and len(waiting) < in_flight:
            rows = await database.fetch(CLAIM, last, BATCH)
            more = bool(rows)
            last = max((row["id"] for row in rows), default=last)
            waiting.extend(sorted(rows, key=lambda row: row["id"]))
        while waiting and len(flying) < in_flight:
            flying.add(asyncio.ensure_future(send(session, url, waiting.pop(0))))
        if flying:
            finished, flying = await asyncio.wait(flying, return_when=asyncio.FIRST_COMPLETED)
            done.extend(one.result() for one in finished)
            total += len(finished)
    return total


async def main():
    """Connects, drains, reports."""
    folder, url, ca_file, in_flight = sys.argv[1:]
    database = await asyncpg.connect(host=folder, user="postgres", database="bench")
    tls = ssl.create_default_context(cafile=ca_file)
    connector = aiohttp.TCPConnector(limit=int(in_flight), ssl=tls)
    async with aiohttp.ClientSession(connector=connector, headers={"Content-Type": "application/json"}) as session:
        began = time.monotonic()
        rows = await drain(database, session, url, int(in_flight))
        seconds = time.monotonic() - began
    await database.close()
    usage = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({"rows": rows, "seconds": seconds, "cpu_seconds": usage.ru_utime + usage.ru_stime}))


asyncio.run(main())
