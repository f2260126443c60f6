"""The control interface: /control/... on the plain HTTP port.

Every answer is a JSON object.  HTTP status 200, or 400 with {"error": text} for what was not
understood, so that a misspelt setting fails the test that spelt it.  Nothing here is journaled.

  POST /control/set      {setting: value, ...}       all of them or none
  POST /control/fault    rule or list of rules       see faults.py
  POST /control/clear                                remove all rules
  POST /control/reset                                forget groups, accounts, rules and counts
  POST /control/release  {"count": n} or nothing     let held calls go
  POST /control/app      {"sdkappid", "secret", "admin": name or list, "disabled": code}
  GET  /control/stats
  GET  /control/settings
  GET  /control/ledger                               the groups there are
  GET  /control/journal?command=&since=              journal lines, those with n > since
  GET  /control/wait?calls=&command=&created=&held=&timeout=
                                                     answers when at least that many calls were
                                                     journaled (of that command), groups created,
                                                     calls held; {"reached": false} after timeout
"""

from __future__ import annotations

import asyncio
import json
import time
from urllib.parse import parse_qsl

import groups
import wire


class Waiter:
    """A long poll: over when every count asked for is reached."""

    def __init__(self, service, query: dict):
        self.service = service
        self.calls = int(query.get("calls", 0))
        self.created = int(query.get("created", 0))
        self.held = int(query.get("held", 0))
        self.command = query.get("command")
        self.woken = asyncio.get_running_loop().create_future()

    def over(self) -> bool:
        """Is it?"""
        service = self.service
        calls = service.journaled if self.command is None else service.journaled_by.get(self.command, 0)
        return (calls >= self.calls and service.ledger.created >= self.created
                and len(service.faults.held) >= self.held)


class Control:
    """Answers control requests for one service."""

    def __init__(self, service):
        self.service = service
        self._tasks: set = set()

    def on_request(self, connection: wire.Connection, request: wire.Request):
        """Handler of a control request, from a task of its own since some of them wait."""
        task = asyncio.get_running_loop().create_task(self._answer(connection, request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, connection, request):
        try:
            status, answer = "200 OK", await self._route(request)
        except (ValueError, KeyError, TypeError) as problem:
            status, answer = "400 Bad Request", {"error": "%s: %s" % (type(problem).__name__, problem)}
        body = json.dumps(answer).encode() + b"\n"
        headers = [("Content-Type", "application/json")]
        connection.write(wire.head(self.service.clock, len(body), request.keep_alive, status, headers) + body)
        connection.finish()

    async def _route(self, request) -> dict:
        path, _, query = request.target.partition("?")
        handler = ROUTES.get((request.method, path[len("/control/"):]))
        if handler is None:
            raise ValueError("no control call %s %s" % (request.method, path))
        given = json.loads(request.body) if request.body else {}
        if request.method == "GET":
            given = dict(parse_qsl(query))
        return await handler(self.service, given)


async def _set(service, given: dict) -> dict:
    service.settings.change(given)
    service.clock.offset = service.settings.clock_offset
    return await _settings(service, {})


async def _settings(service, given: dict) -> dict:
    return dict(vars(service.settings))


async def _fault(service, given) -> dict:
    return {"rules": service.faults.add(given)}


async def _clear(service, given: dict) -> dict:
    service.faults.clear()
    return {}


async def _reset(service, given: dict) -> dict:
    service.reset()
    return {}


async def _release(service, given: dict) -> dict:
    return {"released": service.faults.release(given.get("count"))}


async def _app(service, given: dict) -> dict:
    unknown = set(given) - {"sdkappid", "secret", "admin", "disabled"}
    if unknown:
        raise ValueError("app knows no %s" % ", ".join(sorted(unknown)))
    admins = given["admin"] if isinstance(given["admin"], list) else [given["admin"]]
    app = groups.App(int(given["sdkappid"]), given["secret"], admins, int(given.get("disabled", 0)))
    service.apps[app.sdkappid] = app
    return {"apps": sorted(service.apps)}


async def _stats(service, given: dict) -> dict:
    open_now = [one for one in service.connections if one.number is not None]
    return {
        "calls": service.calls,
        "journaled": service.journaled,
        "created": service.ledger.created,
        "groups": sum(len(one) for one in service.ledger.groups.values()),
        "widest_second": service.arrivals.widest,
        "connections": service.connection_count,
        "connections_open": len(open_now),
        "held": len(service.faults.held),
        "codes": service.codes,
        "not_http": service.broken_requests,
        "seconds": time.monotonic() - service.started,
        "cpu_seconds": time.process_time(),
        "faults": [dict(rule.given, seen=rule.seen, fired=rule.fired) for rule in service.faults.rules],
    }


async def _ledger(service, given: dict) -> dict:
    found = service.ledger.all()
    return {"count": len(found), "groups": found}


async def _journal(service, given: dict) -> dict:
    lines = [line for line in service.read_journal()
             if line["command"] == given.get("command", line["command"])
             and line["n"] > int(given.get("since", 0))]
    return {"count": len(lines), "calls": lines}


async def _wait(service, given: dict) -> dict:
    unknown = set(given) - {"calls", "command", "created", "held", "timeout"}
    if unknown:
        raise ValueError("wait knows no %s" % ", ".join(sorted(unknown)))
    waiter = Waiter(service, given)
    if not waiter.over():
        service.waiters.append(waiter)
        try:
            await asyncio.wait_for(waiter.woken, float(given.get("timeout", 30)))
        except asyncio.TimeoutError:
            pass
        finally:
            service.waiters.remove(waiter)
    stats = await _stats(service, {})
    return {"reached": waiter.over(), "stats": stats}


ROUTES = {
    ("POST", "set"): _set,
    ("POST", "fault"): _fault,
    ("POST", "clear"): _clear,
    ("POST", "reset"): _reset,
    ("POST", "release"): _release,
    ("POST", "app"): _app,
    ("GET", "stats"): _stats,
    ("GET", "settings"): _settings,
    ("GET", "ledger"): _ledger,
    ("GET", "journal"): _journal,
    ("GET", "wait"): _wait,
}
