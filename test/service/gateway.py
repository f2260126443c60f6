"""The way of one call through the service: who calls, may they, how often; then the command; then
the journal; then the answer.

The journal line is written before the first byte of the answer leaves, so whoever holds an answer
finds the call in the journal, and whoever finds a call without an answer knows that it did arrive.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import re
import sys
import time
from collections import deque
from typing import Optional
from urllib.parse import unquote_to_bytes

import commands
import usersig
import wire
from base import App, Refusal, bad, write_all
from faults import Faults
from ledger import Ledger, Room
from settings import Settings

URL_BROKEN = Refusal(60002, "the request URL can not be parsed")
NOT_JSON = Refusal(60003, "the request body is not JSON")
LOCKED_OUT = Refusal(70050, "too many failing UserSig checks, try again in a minute")

# Parameters that every call has; any other one goes into the journal's "query".
_STANDARD = ("sdkappid", "identifier", "usersig", "random", "contenttype")
_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_SDKAPPID = re.compile("[1-9][0-9]{0,9}")
_RANDOM = re.compile("[0-9]{1,10}")
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
# The calls that a rate limit for imports is about: what /control/stats calls the widest second.
_MEASURED = ("import_group", "get_group_info")
_CACHE_SIZE = 4096


class Call:
    """One call of the API: what came, and later what became of it."""

    __slots__ = ("n", "request", "path", "command", "params", "url_problem", "body", "body_problem",
                 "identifier", "sdkappid", "applied", "code", "group_id", "fault", "unknown_fields",
                 "wall", "partial", "results")

    def __init__(self, request: wire.Request, n: int):
        self.n = n
        self.request = request
        self.wall = time.time()
        self.applied = False
        self.code: Optional[int] = None
        self.group_id: Optional[str] = None
        self.fault: Optional[str] = None
        self.unknown_fields: list = []
        self.partial: Optional[int] = None  # a fault lets only so many items of the batch through
        self.results: Optional[list] = None  # what each item of the batch was told
        self.path, _, query = request.target.partition("?")
        self.params, self.url_problem = parse_query(query)
        self.command = self.path.rsplit("/", 1)[-1]
        self.identifier = self.params.get("identifier", "")
        self.sdkappid = self.params.get("sdkappid", "")
        self.body, self.body_problem = parse_body(request.body)
        if isinstance(self.body, dict) and isinstance(self.body.get("GroupId"), str):
            self.group_id = self.body["GroupId"]

    def accounts(self) -> list:
        """Every account that the body names, for matching by fault rules."""
        return _accounts_in(self.body) if isinstance(self.body, dict) else []

    def named_ids(self) -> list:
        """Every group id that the body names, for matching by fault rules."""
        if not isinstance(self.body, dict):
            return []
        listed = self.body.get("GroupIdList")
        ids = list(listed) if isinstance(listed, list) else []
        return [one for one in ids + [self.body.get("GroupId")] if isinstance(one, str)]


_ACCOUNT_KEYS = ("UserID", "From_Account", "To_Account", "Member_Account", "Accounts", "User_Account")


def _accounts_in(value) -> list:
    """The accounts that stand anywhere in a body."""
    found: list = []
    if isinstance(value, list):
        for one in value:
            found += _accounts_in(one)
    elif isinstance(value, dict):
        for name, member in value.items():
            if name in _ACCOUNT_KEYS:
                found += [one for one in (member if isinstance(member, list) else [member]) if isinstance(one, str)]
            else:
                found += _accounts_in(member)
    return found


def parse_query(query: str) -> tuple:
    """Percent-decode a query string: (parameters, whether it is broken).

    Stricter than most servers: a raw ``+`` reads as a space to some and as a plus to others, and of a
    repeated parameter some take the first and some the last, so both count as broken.
    """
    params: dict = {}
    broken = "+" in query or _ESCAPE.search(query) is not None
    for part in query.split("&") if query else ():
        name, equals, value = part.partition("=")
        if "%" in value:
            try:
                value = unquote_to_bytes(value).decode("utf-8")
            except UnicodeDecodeError:
                broken = True
        broken = broken or not equals or name in params or not value.isprintable()
        params[name] = value
    return params, broken


def parse_body(data: bytes) -> tuple:
    """Parse a body strictly: (the object or None, the Refusal or None).

    Python's parser is told off what JSON is not (NaN, repeated keys), and a string that no UTF-8 can
    hold is no JSON text either.
    """
    _repeated.clear()
    try:
        source = data.decode("utf-8")
        body = _decode(source)
        if _SURROGATE.search(source):
            json.dumps(body, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError):
        return None, NOT_JSON
    if not isinstance(body, dict):
        return None, NOT_JSON
    if _repeated:
        return body, bad("a key stands twice in one object")
    for name, value in body.items():
        if value is None:
            return body, bad("%s is null: leave out what is absent" % name)
    return body, None


def _no_constant(name):
    raise ValueError(name)


def _members(pairs):
    made = dict(pairs)
    if len(made) != len(pairs):
        _repeated.append(True)
    return made


# Made once: a decoder costs more to make than a body to parse.
_repeated: list = []
_decode = json.JSONDecoder(object_pairs_hook=_members, parse_constant=_no_constant).decode


class Window:
    """How many events the second that ends now has, and the most that any second had."""

    def __init__(self):
        self.times: deque = deque()
        self.widest = 0

    def forget(self, now: float):
        """Drop what is a second old or older."""
        while self.times and self.times[0] <= now - 1.0:
            self.times.popleft()

    def add(self, now: float):
        """One more event."""
        self.forget(now)
        self.times.append(now)
        if len(self.times) > self.widest:
            self.widest = len(self.times)

    def has_room(self, now: float, limit: float) -> bool:
        """Would one more stay within *limit* a second?"""
        self.forget(now)
        return len(self.times) < limit


class Service:
    """The stand-in: its apps, its ledger, its journal, its faults and what it counts."""

    def __init__(self, directory: str, settings: Settings, load_ledger: bool = False):
        self.settings = settings
        self.clock = wire.Clock()
        self.apps: dict = {}
        self.ledger = Ledger(os.path.join(directory, "ledger.jsonl"), load_ledger)
        self.faults = Faults(self)
        self.connections: set = set()
        self.journal_path = os.path.join(directory, "journal.jsonl")
        self._journal = os.open(self.journal_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self._encode = json.JSONEncoder(separators=(",", ":")).encode
        self._digests: dict = {}
        self.n = count_lines(self.journal_path)
        self.control = None             # set by the control interface, which knows us
        self._reset_counters()

    def _reset_counters(self):
        self.started = time.monotonic()
        self.journal_start = os.fstat(self._journal).st_size
        self.journaled = 0
        self.journaled_by: dict = {}
        self.calls: dict = {}
        self.codes: dict = {}
        self.arrivals = Window()
        self.arrivals_by: dict = {}     # command -> Window
        self.connection_count = 0
        self.broken_requests = 0
        self.waiters: list = []

    def reset(self):
        """Forget groups, accounts, fault rules and counts, and hang up on whoever waits.

        Apps and settings stay; the files keep their lines, but the control interface no longer shows
        those from before.
        """
        self.faults.reset()
        self.ledger.reset()
        for app in self.apps.values():
            app.failures = []
            app.locked_until = 0.0
            app.accepted = {}
        for connection in self.connections:
            connection.number = None
        waiters = self.waiters
        self._reset_counters()
        self.waiters = waiters

    def day(self) -> int:
        """The UTC day of the service's clock, for the quota of new groups."""
        return int(self.clock.now() // 86400)

    # A request comes.

    def on_request(self, connection: wire.Connection, request: wire.Request):
        """Handler of every connection: control requests apart, everything is a call of the API."""
        if not connection.secure and request.target.startswith("/control/"):
            self.control.on_request(connection, request)
            return
        self.n += 1
        call = Call(request, self.n)
        self._count_arrival(connection, call)
        rule = self.faults.pick(call)
        if rule is not None:
            self.faults.start(rule, connection, call)
            return
        answer = self.process(call)
        self.record(connection, call)
        if self.settings.latency_ms:
            asyncio.get_running_loop().call_later(
                self.settings.latency_ms / 1000, self.send, connection, request, answer)
        else:
            self.send(connection, request, answer)

    def on_broken(self, connection: wire.Connection, problem: str):
        """Handler of what is not HTTP: it has no place in the journal, but somebody wants to know."""
        self.broken_requests += 1
        print("im_service: not HTTP: %s" % problem, file=sys.stderr, flush=True)
        body = self._encode(answer_of(URL_BROKEN)).encode()
        connection.write(wire.head(self.clock, len(body), False) + body)
        connection.drop()

    def _count_arrival(self, connection: wire.Connection, call: Call):
        if connection.number is None:
            self.connection_count += 1
            connection.number = self.connection_count
        self.calls[call.command] = self.calls.get(call.command, 0) + 1
        if call.command in _MEASURED:
            self.arrivals.add(call.request.arrived)
        if call.command in commands.BY_NAME:
            self.arrivals_by.setdefault(call.command, Window()).add(call.request.arrived)

    def process(self, call: Call) -> dict:
        """Check and carry out *call*; the answer as an object.  Sets call.code, applied, group_id."""
        try:
            app = self._admit(call)
            if call.body_problem is not None and call.body is None:
                raise call.body_problem
            command = commands.COMMANDS.get(call.path)
            if command is None:
                raise self._unknown(call.path)
            if call.body_problem is not None:
                raise call.body_problem
            extra = command.run(self, app, call)
        except Refusal as refusal:
            call.code = refusal.code
            return answer_of(refusal)
        finally:
            self.ledger.flush()
        call.code = 0
        answer = {"ActionStatus": "OK", "ErrorInfo": "", "ErrorCode": 0}
        answer.update(extra)
        return answer

    def send(self, connection: wire.Connection, request: wire.Request, answer: dict):
        """Answer and go on with the connection's next request."""
        body = self._encode(answer).encode()
        connection.write(wire.head(self.clock, len(body), request.keep_alive) + body)
        connection.finish()

    # Who calls, and may they.

    def _admit(self, call: Call) -> App:
        """All checks that come before the command itself; in this order the codes win."""
        if call.request.method != "POST" or call.url_problem:
            raise URL_BROKEN
        app = self._app(call)
        self._check_url(call)
        self._check_usersig(app, call)
        if call.identifier not in app.admins:
            raise Refusal(60010, "the identifier is not an app admin")
        self._check_rate(app, call)
        return app

    def _app(self, call: Call) -> App:
        if not call.sdkappid:
            raise Refusal(60012, "sdkappid is missing")
        if not _SDKAPPID.fullmatch(call.sdkappid):
            raise Refusal(60006, "sdkappid is invalid")
        app = self.apps.get(int(call.sdkappid))
        if app is None:
            raise Refusal(70020, "no such SDKAppID")
        if app.disabled:
            raise Refusal(app.disabled, "the app is not available")
        return app

    @staticmethod
    def _check_url(call: Call):
        number = call.params.get("random", "")
        if not _RANDOM.fullmatch(number) or int(number) > 0xffffffff:
            raise Refusal(60002, "random is not an unsigned 32-bit integer")
        if call.params.get("contenttype") != "json":
            raise Refusal(60002, "contenttype is not json")

    def _check_usersig(self, app: App, call: Call):
        """The lock-out first: while it lasts even a good UserSig is refused."""
        now = time.monotonic()
        if now < app.locked_until:
            raise LOCKED_OUT
        try:
            self._verify(app, call)
        except usersig.Refused as refused:
            self._count_failure(app, now)
            raise Refusal(refused.code, str(refused)) from None
        app.failures = []

    def _verify(self, app: App, call: Call):
        """Verify once, then only look at the expiry: a client sends the same UserSig for hours."""
        sig = call.params.get("usersig", "")
        key = (call.identifier, sig)
        expires = app.verified.get(key)
        if expires is None:
            expires = usersig.check(sig, app.sdkappid, call.identifier, app.secret, self.clock.now())
            if len(app.verified) >= _CACHE_SIZE:
                app.verified.clear()
            app.verified[key] = expires
        elif self.clock.now() > expires:
            raise usersig.Refused(usersig.EXPIRED)

    def _count_failure(self, app: App, now: float):
        lockout = self.settings.lockout
        if lockout is None:
            return
        app.failures = [when for when in app.failures if when > now - lockout["within"]] + [now]
        if len(app.failures) >= lockout["failures"]:
            app.failures = []
            app.locked_until = now + lockout["seconds"]

    def _check_rate(self, app: App, call: Call):
        """Each command has a window of its own, and the app has one for all of them.

        Whether a call that is refused counts, too, is a setting.
        """
        settings = self.settings
        rate = settings.rates.get(call.command, settings.rate)
        if not rate and not settings.app_rate:
            return
        now = call.request.arrived
        own = app.accepted.setdefault(call.command, Window())
        whole = app.accepted.setdefault(None, Window())
        refusal = None
        if settings.app_rate and not whole.has_room(now, settings.app_rate):
            refusal = Refusal(60011, "the app calls too often")
        elif rate and not own.has_room(now, rate):
            refusal = Refusal(10006 if call.command == "get_appid_group_list" else 60007,
                              "the command is called too often")
        if refusal is None or settings.refused_count:
            own.add(now)
            whole.add(now)
        if refusal is not None:
            raise refusal

    def visible(self, room: Room) -> tuple:
        """(NextMsgSeq, LastMsgTime) as a query sees them, whose copy may lag behind."""
        lag = self.settings.query_lag_ms
        if not lag:
            return room.next_seq, room.last_time
        seq, until = room.next_seq, time.monotonic() - lag / 1000
        while seq > room.first_seq and (room.message(seq - 1) or {"t": until + 1})["t"] > until:
            seq -= 1
        return seq, room.message(seq - 1)["time"] if seq > room.first_seq else 0

    @staticmethod
    def _unknown(path: str) -> Refusal:
        """A known service without such a command, or no such service at all."""
        if path.rsplit("/", 1)[0] in commands.SERVICES:
            return Refusal(10003, "no such command")
        return Refusal(60009, "no such resource")

    # The journal and the counts.

    def record(self, connection: wire.Connection, call: Call):
        """Write the call's journal line.  Comes before the first byte of any answer."""
        write_all(self._journal, self._encode(self._line(connection, call)).encode() + b"\n")
        self.journaled += 1
        self.journaled_by[call.command] = self.journaled_by.get(call.command, 0) + 1
        key = "none" if call.code is None else str(call.code)
        self.codes[key] = self.codes.get(key, 0) + 1
        self.notice()

    def _line(self, connection: wire.Connection, call: Call) -> dict:
        request = call.request
        line = {
            "n": call.n,
            "t": request.arrived,
            "wall": call.wall,
            "conn": connection.number,
            "tls": connection.secure,
            "command": call.command,
            "path": call.path,
            "method": request.method,
            "sdkappid": int(call.sdkappid) if call.sdkappid.isdecimal() else call.sdkappid or None,
            "identifier": call.params.get("identifier"),
            "random": call.params.get("random"),
            "usersig_sha256": self._digest(call.params.get("usersig", "")),
            "query": {name: value for name, value in call.params.items() if name not in _STANDARD},
            "contenttype": call.params.get("contenttype"),
            "headers": request.headers,
            "body": request.body.decode("utf-8", "surrogateescape"),
            "applied": call.applied,
            "code": call.code,
            "group_id": call.group_id,
            "fault": call.fault,
        }
        if call.body is None and not _is_utf8(request.body):
            line["body_b64"] = base64.b64encode(request.body).decode()
        if call.unknown_fields:
            line["unknown_fields"] = call.unknown_fields
        if call.results is not None:
            line["results"] = call.results
        return line

    def _digest(self, sig: str) -> Optional[str]:
        """Tells UserSigs apart without giving one away."""
        if not sig:
            return None
        known = self._digests.get(sig)
        if known is None:
            if len(self._digests) >= _CACHE_SIZE:
                self._digests.clear()
            known = hashlib.sha256(sig.encode("utf-8", "surrogateescape")).hexdigest()[:16]
            self._digests[sig] = known
        return known

    def notice(self):
        """Something was counted: wake the long polls whose wait is over."""
        for waiter in self.waiters[:] if self.waiters else ():
            if waiter.over() and not waiter.woken.done():
                waiter.woken.set_result(None)

    def read_journal(self) -> list:
        """Every journal line since the start or the last reset."""
        with open(self.journal_path, "rb") as file:
            file.seek(self.journal_start)
            return [json.loads(line) for line in file]


def answer_of(refusal: Refusal) -> dict:
    """A refusal as the object that is answered."""
    return {"ActionStatus": "FAIL", "ErrorInfo": refusal.info, "ErrorCode": refusal.code}


def count_lines(path: str) -> int:
    """So that a restarted service goes on numbering where it stopped."""
    with open(path, "rb") as file:
        return sum(1 for _ in file)


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
