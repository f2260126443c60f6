"""Misbehaviour on demand.

A rule is an object: which calls it is for, how often, and what is done to them.

  {"match": {...}, "times": 3, "do": "close_after", ...}

match, all parts optional:
  command, name, group_id, owner,  globs; group_id also matches any id of a GroupIdList, account any
  account                          account that the body names, owner apart; a JSON null matches
                                   calls that do not have the field at all
  nth      only the n-th call that the rest of the match is true for (the first is 1)
  every    each n-th of them
times      how many calls the rule is for; null or absent: no end

The first rule in order that is for a call has it; later rules do not see that call.

What most actions share:
  apply    whether the call is checked and carried out as usual.  If not, the caller is told the
           action's tale although nothing happened.  The default of each action is below.
  code, info   answer with this ErrorCode and ErrorInfo whatever the outcome was
  partial  of a batch carry out only the first so many items, when it is carried out

Actions (in parentheses: the default of apply):
  code (no)           answer with ErrorCode `code` and ErrorInfo `info`
  close_before        read the whole request, then close; nothing is applied
  close_after         apply, then close without a byte of answer
  reset_before, rst_after   the same with a TCP reset
  delay (yes)         answer `ms` later; what is applied is applied at once
  hold (yes)          answer only upon /control/release.  With apply false the call is carried out at
                      the release, and never if its caller has hung up by then
  delay_apply         give no answer; apply `ms` later, or upon /control/release when there is no
                      `ms`, whether the caller is there or not: a zombie.  `answer`: "close" hangs up
                      at once (default), "none" leaves the caller waiting
  http (no)           answer with HTTP `status` (502) and an HTML page
  redirect (no)       answer 302 to `location`
  truncate (yes)      announce the whole answer, send `keep` bytes of the body (half), close
  bytes (no)          answer with the body `body` (text) or `body_b64`; with `raw` true these are the
                      bytes on the wire, headers and all
  huge (no)           an answer of `bytes` bytes (16 MiB), `chunked` true (default) or with its length
  endless_headers (no)   headers without end, until the caller hangs up
  slow (yes)          the answer one byte each `ms` (20)
  nested (yes)        the answer has a member of `depth` (100000) arrays inside each other
  no_error_info (yes)    no ErrorInfo
  no_group_id (yes)      no GroupId
  wrong_group_id (yes)   another GroupId: `group_id`, or "not-" and the true one
  results (yes)          a batch's results are not as they should be; `how`: "none" no array, "empty",
                         "short" and "long" by one, "reversed", "odd" (Result 7), "string" (Result "1"),
                         "stranger" (an account that nobody named)
  string_code (yes)      ErrorCode as a string
  nul_info (yes)         ErrorInfo with U+0000 and half a surrogate pair
  bad_utf8 (yes)         ErrorInfo with bytes that are not UTF-8
  dup_keys (yes)         ErrorCode twice, first as `first` (10002)
  extra_fields (yes)     members that clients do not know: RequestId, ErrorDisplay, null, nested
  content_type (yes)     the header Content-Type: `value`
  continue_100 (yes)     `count` (3) interim answers before the answer
  close_idle (yes)       the answer as usual, then close the kept-alive connection without a word
http, redirect, bytes, huge and truncate also take `headers`, an object of more headers.
"""

from __future__ import annotations

import asyncio
import base64
import json
import traceback
from fnmatch import fnmatchcase
from typing import Callable, NamedTuple, Optional

import wire

_MATCH = {"command", "name", "group_id", "owner", "account", "nth", "every"}
_COMMON = {"match", "times", "do", "apply", "code", "info", "partial"}
_BLOCK = 64 * 1024
_HTML = ("<html>\r\n<head><title>%s</title></head>\r\n<body>\r\n<center><h1>%s</h1></center>\r\n"
         "<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n")


class Action(NamedTuple):
    """One kind of misbehaviour.  ``apply`` None: the action itself says when the call is applied."""

    run: Callable
    apply: Optional[bool]
    options: set


class Rule:
    """A rule as given, with how many calls matched it (``seen``) and how many it had (``fired``)."""

    def __init__(self, given: dict):
        unknown = set(given.get("match", {})) - _MATCH
        if unknown:
            raise ValueError("match knows no %s" % ", ".join(sorted(unknown)))
        if given.get("do") not in ACTIONS:
            raise ValueError("do is one of %s" % ", ".join(sorted(ACTIONS)))
        self.action: Action = ACTIONS[given["do"]]
        unknown = set(given) - _COMMON - self.action.options
        if unknown:
            raise ValueError("%s knows no %s" % (given["do"], ", ".join(sorted(unknown))))
        if given["do"] == "code" and not isinstance(given.get("code"), int):
            raise ValueError("code needs a code")
        self.given = given
        self.match = given.get("match", {})
        self.seen = 0
        self.fired = 0

    def get(self, name: str, default=None):
        """An option of the action."""
        return self.given.get(name, default)

    def is_for(self, call) -> bool:
        """Whether the rule has this call; counts it."""
        if not self._matches(call):
            return False
        self.seen += 1
        if "nth" in self.match and self.seen != self.match["nth"]:
            return False
        if "every" in self.match and self.seen % self.match["every"]:
            return False
        times = self.given.get("times")
        if times is not None and self.fired >= times:
            return False
        self.fired += 1
        return True

    def _matches(self, call) -> bool:
        body = call.body if isinstance(call.body, dict) else {}
        return (self._glob("command", [call.command])
                and self._glob("name", [body.get("Name")])
                and self._glob("owner", [body.get("Owner_Account")])
                and ("account" not in self.match or self._glob("account", call.accounts()))
                and self._glob("group_id", call.named_ids()))

    def _glob(self, part: str, values: list) -> bool:
        if part not in self.match:
            return True
        pattern = self.match[part]
        values = [value for value in values if isinstance(value, str)]
        if pattern is None:
            return not values
        return any(fnmatchcase(value, pattern) for value in values)


class Faults:
    """The rules in force, and the calls that they keep waiting."""

    def __init__(self, service):
        self.service = service
        self.rules: list = []
        self.held: list = []            # futures that /control/release completes
        self._tasks: dict = {}          # running misbehaviour -> its connection

    def add(self, given) -> int:
        """Add a rule or a list of rules, all or none; ValueError says what is wrong."""
        made = [Rule(one) for one in (given if isinstance(given, list) else [given])]
        self.rules.extend(made)
        return len(self.rules)

    def clear(self):
        """Remove all rules; what they have begun goes on."""
        self.rules.clear()

    def reset(self):
        """Remove all rules and hang up on every call that one of them has."""
        self.clear()
        for task, connection in list(self._tasks.items()):
            task.cancel()
            connection.drop()

    def pick(self, call) -> Optional[Rule]:
        """The rule for this call, if there is one."""
        for rule in self.rules:
            if rule.is_for(call):
                return rule
        return None

    def start(self, rule: Rule, connection, call):
        """Let *rule* have *call*."""
        task = asyncio.get_running_loop().create_task(self._run(rule, connection, call))
        self._tasks[task] = connection
        task.add_done_callback(lambda done: self._tasks.pop(done, None))

    async def _run(self, rule: Rule, connection, call):
        call.fault = rule.given["do"]
        call.partial = rule.get("partial")
        try:
            await rule.action.run(Incident(self.service, rule, connection, call))
        except Exception:  # an option of the wrong kind: say so, and leave no caller hanging
            traceback.print_exc()
            connection.reset()

    def release(self, count: Optional[int] = None) -> int:
        """Let *count* of the held calls go, oldest first, or all; returns how many went."""
        waiting = [future for future in self.held if not future.done()][:count]
        for future in waiting:
            future.set_result(None)
        return len(waiting)


class Incident:
    """A rule at work on one call: what its action needs at hand."""

    def __init__(self, service, rule: Rule, connection, call):
        self.service = service
        self.rule = rule
        self.connection = connection
        self.call = call

    def outcome(self, apply: Optional[bool] = None) -> dict:
        """Carry the call out, or make up its answer; then write the journal, ready to answer."""
        if apply is None:
            apply = self.rule.get("apply", self.rule.action.apply)
        answer = self.service.process(self.call) if apply else self._pretended()
        if "code" in self.rule.given:
            self.call.code = self.rule.get("code")
            answer = self._overruled(answer)
        self.record()
        return answer

    def _overruled(self, answer: dict) -> dict:
        """The rule's code in place of the true one; a failure says no more than that."""
        code = self.call.code
        shown = {"ActionStatus": "FAIL" if code else "OK", "ErrorInfo": self.rule.get("info", ""), "ErrorCode": code}
        return shown if code else dict(answer, **shown)

    def _pretended(self) -> dict:
        self.call.code = 0
        answer = {"ActionStatus": "OK", "ErrorInfo": "", "ErrorCode": 0}
        answer.update(_PRETENCES.get(self.call.command, lambda call: {})(self.call))
        return answer

    def silent(self, apply: bool):
        """Carry the call out or not, and write the journal; there will be no answer."""
        if apply:
            self.service.process(self.call)
        self.call.code = None
        self.record()

    def record(self):
        """Write the journal line."""
        self.service.record(self.connection, self.call)

    def head(self, length: Optional[int], status="200 OK", **more) -> bytes:
        """An answer's head, with the rule's own headers."""
        pairs = list(more.items()) + list(self.rule.get("headers", {}).items())
        pairs = [(name.replace("_", "-"), value) for name, value in pairs]
        return wire.head(self.service.clock, length, self.call.request.keep_alive, status, pairs)

    def whole(self, answer) -> bytes:
        """*answer*, an object or the text of one, as the bytes of a usual answer."""
        body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        return self.head(len(body)) + body

    def finish(self, data: bytes = b""):
        """Send *data* as the end of the answer."""
        self.connection.write(data)
        self.connection.finish()

    async def stream(self, blocks):
        """Write *blocks* no faster than the caller reads, until it hangs up."""
        for block in blocks:
            if self.connection.closing:
                return
            self.connection.write(block)
            await self.connection.drain()
            await asyncio.sleep(0)

    async def released(self, even_if_gone: bool) -> bool:
        """Wait for /control/release.  False: the caller hung up first and the call is given up."""
        future = asyncio.get_running_loop().create_future()
        held = self.service.faults.held
        held.append(future)
        self.service.notice()
        waits = [future] if even_if_gone else [future, self.connection.gone]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            return future.done()
        finally:
            held.remove(future)


# No answer at all.


async def _close_before(incident):
    incident.silent(False)
    incident.connection.drop()


async def _close_after(incident):
    incident.silent(True)
    incident.connection.drop()


async def _reset_before(incident):
    incident.silent(False)
    incident.connection.reset()


async def _rst_after(incident):
    incident.silent(True)
    incident.connection.reset()


async def _delay_apply(incident):
    incident.silent(False)
    if incident.rule.get("answer", "close") == "close":
        incident.connection.drop()
    ms = incident.rule.get("ms")
    if ms is None:
        await incident.released(True)
    else:
        await asyncio.sleep(ms / 1000)
    incident.service.process(incident.call)


# The usual answer at an unusual time.


async def _code(incident):
    incident.finish(incident.whole(incident.outcome()))


async def _delay(incident):
    answer = incident.outcome()
    await asyncio.sleep(incident.rule.get("ms", 1000) / 1000)
    incident.finish(incident.whole(answer))


async def _hold(incident):
    if incident.rule.get("apply", True):
        answer = incident.outcome()
        if not await incident.released(False):
            return
    else:
        incident.silent(False)
        if not await incident.released(False):
            return
        answer = incident.service.process(incident.call)
    incident.finish(incident.whole(answer))


async def _slow(incident):
    data = incident.whole(incident.outcome())
    for at in range(len(data)):
        if incident.connection.closing:
            return
        incident.connection.write(data[at:at + 1])
        await asyncio.sleep(incident.rule.get("ms", 20) / 1000)
    incident.finish()


async def _close_idle(incident):
    incident.connection.write(incident.whole(incident.outcome()))
    incident.connection.drop()


# Broken or unusual HTTP.


async def _http(incident):
    incident.outcome()
    status = _STATUS.get(incident.rule.get("status", 502), "%s Unknown" % incident.rule.get("status"))
    page = (_HTML % (status, status)).encode()
    incident.finish(incident.head(len(page), status, Content_Type="text/html") + page)


async def _redirect(incident):
    incident.outcome()
    location = incident.rule.get("location", "http://127.0.0.1:9/")
    incident.finish(incident.head(0, "302 Found", Location=location))


async def _truncate(incident):
    body = json.dumps(incident.outcome()).encode()
    keep = incident.rule.get("keep", len(body) // 2)
    incident.connection.write(incident.head(len(body)) + body[:keep])
    incident.connection.drop()


async def _bytes(incident):
    incident.outcome()
    rule = incident.rule
    data = base64.b64decode(rule.get("body_b64")) if "body_b64" in rule.given else rule.get("body", "").encode()
    incident.finish(data if rule.get("raw") else incident.head(len(data)) + data)


async def _huge(incident):
    incident.outcome()
    start = b'{"ActionStatus":"OK","ErrorCode":0,"GroupId":"huge","ErrorInfo":"'
    end = b'"}'
    total = incident.rule.get("bytes", 16 * 1024 * 1024)
    chunked = incident.rule.get("chunked", True)
    incident.connection.write(incident.head(None if chunked else total))
    await incident.stream(_huge_blocks(start, end, total, chunked))
    incident.finish()


def _huge_blocks(start: bytes, end: bytes, total: int, chunked: bool):
    """*total* bytes of JSON in blocks, wrapped as chunks if wanted."""
    def wrap(block):
        return b"%x\r\n%s\r\n" % (len(block), block) if chunked else block

    left = total - len(start) - len(end)
    yield wrap(start)
    while left > 0:
        yield wrap(b"a" * min(left, _BLOCK))
        left -= _BLOCK
    yield wrap(end)
    if chunked:
        yield b"0\r\n\r\n"


async def _endless_headers(incident):
    incident.outcome()
    incident.connection.write(b"HTTP/1.1 200 OK\r\n")
    line = b"X-Filler: " + b"a" * 1000 + b"\r\n"
    while not incident.connection.closing:
        await incident.stream([line] * 64)


async def _continue_100(incident):
    noise = b"HTTP/1.1 100 Continue\r\n\r\n" * incident.rule.get("count", 3)
    incident.finish(noise + incident.whole(incident.outcome()))


async def _content_type(incident):
    body = json.dumps(incident.outcome()).encode()
    value = incident.rule.get("value", "text/plain; charset=gbk")
    incident.finish(incident.head(len(body), Content_Type=value) + body)


# Unusual JSON.  Each of these takes the answer and gives back the body to send.


def _without(name: str) -> Callable:
    def change(rule, answer):
        answer.pop(name, None)
        return answer
    return change


def _wrong_group_id(rule, answer):
    answer["GroupId"] = rule.get("group_id", "not-" + answer.get("GroupId", ""))
    return answer


_RESULT_ARRAYS = ("MemberList", "ImportMsgResult", "ResultItem", "FailAccounts", "UserIdList", "RspMsgList",
                  "InfoItem")


def _results(rule, answer):
    """The first array of results that the answer has, changed."""
    for name in _RESULT_ARRAYS:
        if name in answer:
            changed = _HOW[rule.get("how", "none")](answer.pop(name))
            if changed is not None:
                answer[name] = changed
            break
    return answer


def _each(**changes) -> Callable:
    """Every result that is an object gets these values, where it has such members."""
    def change(results):
        return [dict(one, **{name: value for name, value in changes.items() if name in one})
                if isinstance(one, dict) else one for one in results]
    return change


_HOW = {
    "none": lambda results: None,
    "empty": lambda results: [],
    "short": lambda results: results[:-1],
    "long": lambda results: results + results[-1:],
    "reversed": lambda results: results[::-1],
    "odd": _each(Result=7, ResultCode=7),
    "string": _each(Result="1", ResultCode="0"),
    "stranger": _each(Member_Account="nobody", UserID="nobody", To_Account="nobody"),
}


def _string_code(rule, answer):
    answer["ErrorCode"] = str(answer["ErrorCode"])
    return answer


def _nul_info(rule, answer):
    answer["ErrorInfo"] = "nul \x00 and half a pair \ud83d here"
    return answer


def _bad_utf8(rule, answer):
    answer["ErrorInfo"] = "MARK"
    return json.dumps(answer).encode().replace(b"MARK", b"\xff\xfe \xc3( \xed\xa0\x80")


def _dup_keys(rule, answer):
    rest = json.dumps(answer)
    return ('{"ErrorCode": %d, ' % rule.get("first", 10002) + rest[1:]).encode()


def _extra_fields(rule, answer):
    answer.update(RequestId="Id-0123-4567", ErrorDisplay="", Nothing=None, More={"Deep": [1, {"er": 2.5e3}]})
    return answer


def _nested(rule, answer):
    depth = rule.get("depth", 100000)
    return json.dumps(answer).encode()[:-1] + b', "Deep": ' + b"[" * depth + b"]" * depth + b"}"


def _reshaped(change: Callable) -> Callable:
    async def run(incident):
        incident.finish(incident.whole(change(incident.rule, incident.outcome())))
    return run


# What a call would be told beyond ErrorCode 0 if all of it were done.
_PRETENCES = {
    "import_group": lambda call: {"GroupId": call.group_id or "@TGS#2PRETENDED"},
    "import_group_member": lambda call: {"MemberList": [
        {"Member_Account": one["Member_Account"], "Result": 1} for one in call.body["MemberList"]]},
    "import_group_msg": lambda call: {"ImportMsgResult": [
        {"MsgSeq": number + 1, "MsgTime": one["SendTime"], "Result": 0}
        for number, one in enumerate(call.body["MsgList"])]},
    "friend_import": lambda call: {"ResultItem": [
        {"To_Account": one["To_Account"], "ResultCode": 0, "ResultInfo": ""} for one in call.body["AddFriendItem"]]},
}

_STATUS = {
    201: "201 Created", 204: "204 No Content", 301: "301 Moved Permanently", 400: "400 Bad Request",
    403: "403 Forbidden", 404: "404 Not Found", 408: "408 Request Timeout", 429: "429 Too Many Requests",
    500: "500 Internal Server Error", 502: "502 Bad Gateway", 503: "503 Service Unavailable",
    504: "504 Gateway Timeout",
}

ACTIONS = {
    "code": Action(_code, False, set()),
    "close_before": Action(_close_before, None, set()),
    "close_after": Action(_close_after, None, set()),
    "reset_before": Action(_reset_before, None, set()),
    "rst_after": Action(_rst_after, None, set()),
    "delay": Action(_delay, True, {"ms"}),
    "hold": Action(_hold, True, set()),
    "delay_apply": Action(_delay_apply, None, {"ms", "answer"}),
    "http": Action(_http, False, {"status", "headers"}),
    "redirect": Action(_redirect, False, {"location", "headers"}),
    "truncate": Action(_truncate, True, {"keep", "headers"}),
    "bytes": Action(_bytes, False, {"body", "body_b64", "raw", "headers"}),
    "huge": Action(_huge, False, {"bytes", "chunked", "headers"}),
    "endless_headers": Action(_endless_headers, False, set()),
    "slow": Action(_slow, True, {"ms"}),
    "close_idle": Action(_close_idle, True, set()),
    "continue_100": Action(_continue_100, True, {"count"}),
    "content_type": Action(_content_type, True, {"value"}),
    "nested": Action(_reshaped(_nested), True, {"depth"}),
    "no_error_info": Action(_reshaped(_without("ErrorInfo")), True, set()),
    "no_group_id": Action(_reshaped(_without("GroupId")), True, set()),
    "wrong_group_id": Action(_reshaped(_wrong_group_id), True, {"group_id"}),
    "results": Action(_reshaped(_results), True, {"how"}),
    "string_code": Action(_reshaped(_string_code), True, set()),
    "nul_info": Action(_reshaped(_nul_info), True, set()),
    "bad_utf8": Action(_reshaped(_bad_utf8), True, set()),
    "dup_keys": Action(_reshaped(_dup_keys), True, {"first"}),
    "extra_fields": Action(_reshaped(_extra_fields), True, set()),
}
