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
  POST /control/live     {"group_id", "from", "text", "time", "count", "sdkappid"}
                                                     somebody writes in a group, all but its id optional
  POST /control/change    {"kind", "to", ...}         what the service holds becomes something else, or
                                                     with "to" null nothing; see CHANGES
  GET  /control/ledger                               the groups there are
  GET  /control/ledger?kind=                         the ledger's lines of one kind, or of "all"
  GET  /control/group?group_id=&sdkappid=            one group: members, messages, unread counts
  GET  /control/account?user_id=&sdkappid=           one account: profile, friends, groups
  GET  /control/dialog?from=&to=&sdkappid=           what two accounts said to each other
  GET  /control/journal?command=&since=              journal lines, those with n > since
  GET  /control/wait?calls=&command=&created=&applied=&kind=&held=&timeout=
                                                     answers when at least that many calls were
                                                     journaled (of that command), groups created,
                                                     entries of a kind applied, calls held;
                                                     {"reached": false} after timeout
"""

from __future__ import annotations

import asyncio
import json
import time
import traceback
from urllib.parse import parse_qsl

import messages
import wire
from base import App, happen


class Waiter:
    """A long poll: over when every count asked for is reached."""

    def __init__(self, service, query: dict):
        self.service = service
        self.calls = int(query.get("calls", 0))
        self.created = int(query.get("created", 0))
        self.held = int(query.get("held", 0))
        self.applied = int(query.get("applied", 0))
        self.command = query.get("command")
        self.kind = query.get("kind", "group")
        self.woken = asyncio.get_running_loop().create_future()

    def over(self) -> bool:
        """Is it?"""
        service = self.service
        calls = service.journaled if self.command is None else service.journaled_by.get(self.command, 0)
        return (calls >= self.calls and service.ledger.created >= self.created
                and service.ledger.applied.get(self.kind, 0) >= self.applied
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
        except Exception as problem:  # a fault of ours: say so, and leave no test waiting
            traceback.print_exc()
            status, answer = "500 Internal Server Error", {"error": repr(problem)}
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
    app = App(int(given["sdkappid"]), given["secret"], admins, int(given.get("disabled", 0)))
    service.apps[app.sdkappid] = app
    return {"apps": sorted(service.apps)}


async def _stats(service, given: dict) -> dict:
    open_now = [one for one in service.connections if one.number is not None]
    return {
        "calls": service.calls,
        "journaled": service.journaled,
        "created": service.ledger.created,
        "groups": sum(len(one.groups) for one in service.ledger.books.values()),
        "applied": service.ledger.applied,
        "widest_second": service.arrivals.widest,
        "widest": {name: window.widest for name, window in service.arrivals_by.items()},
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
    if "kind" in given:
        lines = service.ledger.lines(None if given["kind"] == "all" else given["kind"])
        return {"count": len(lines), "entries": lines}
    found = service.ledger.all()
    return {"count": len(found), "groups": found}


def _app_of(service, given: dict) -> App:
    """The app that a control call names; the first one if it names none."""
    return service.apps[int(given["sdkappid"])] if "sdkappid" in given else next(iter(service.apps.values()))


async def _group(service, given: dict) -> dict:
    """A group from inside; KeyError if there is none."""
    app = _app_of(service, given)
    room = service.ledger.of(app.sdkappid).room(given["group_id"])
    return {
        "group": room.group,
        "members": {name: dict(member, unread=room.unread(name)) for name, member in room.members.items()},
        "messages": [json.loads(line) for line in room.messages if line is not None],
        "next_seq": room.next_seq,
        "last_time": room.last_time,
        "active": room.active,
    }


async def _account(service, given: dict) -> dict:
    book = service.ledger.of(_app_of(service, given).sdkappid)
    name = given["user_id"]
    return {"account": book.accounts.get(name), "profile": book.profiles.get(name, {}),
            "friends": book.friends.get(name, {}), "groups": list(book.joined.get(name, ()))}


async def _dialog(service, given: dict) -> dict:
    lines = service.ledger.of(_app_of(service, given).sdkappid).dialog(given["from"], given["to"])["lines"]
    return {"count": len(lines), "messages": [json.loads(line) for line in lines]}


async def _live(service, given: dict) -> dict:
    unknown = set(given) - {"group_id", "from", "text", "time", "count", "sdkappid"}
    if unknown:
        raise ValueError("live knows no %s" % ", ".join(sorted(unknown)))
    app = _app_of(service, given)
    return {"seqs": [messages.live(service, app, given["group_id"], given.get("from"), given.get("text", "hello"),
                                   given.get("time")) for _ in range(given.get("count", 1))]}


# What a person with the console, or a fault of the service, may change behind the client's back: for each
# kind the entry that says so.
CHANGES = {
    "account": lambda given: ("account_delete", {"user_id": given["user_id"]}),
    "friend": lambda given: ("friend_change", {"from": given["from"], "friend": given["friend"]}),
    "dialog": lambda given: ("dialog_change", {name: given[name] for name in ("from", "other", "at", "to")}),
    "group": lambda given: (("destroy", {"destroyed": given["group_id"]}) if given["to"] is None else
                            ("modify", {"group_id": given["group_id"], "changes": given["to"]})),
    "member": lambda given: (("leave", {"group_id": given["group_id"], "member": given["member"]})
                             if given["to"] is None else
                             ("member", dict({"group_id": given["group_id"], "member": given["member"],
                                              "join_time": 1, "unread": 0, "repeat": True}, **given["to"]))),
    "message": lambda given: ("message_change", {name: given[name] for name in ("group_id", "seq", "to")}),
}


async def _change(service, given: dict) -> dict:
    app = _app_of(service, given)
    kind, entry = CHANGES[given["kind"]](dict({"to": None}, **given))
    happen(service, app, messages.Nobody(), kind, entry)
    service.ledger.flush()
    service.notice()
    return {}


async def _journal(service, given: dict) -> dict:
    lines = [line for line in service.read_journal()
             if line["command"] == given.get("command", line["command"])
             and line["n"] > int(given.get("since", 0))]
    return {"count": len(lines), "calls": lines}


async def _wait(service, given: dict) -> dict:
    unknown = set(given) - {"calls", "command", "created", "applied", "kind", "held", "timeout"}
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
    ("GET", "group"): _group,
    ("GET", "account"): _account,
    ("GET", "dialog"): _dialog,
    ("POST", "live"): _live,
    ("POST", "change"): _change,
    ("GET", "journal"): _journal,
    ("GET", "wait"): _wait,
}
