"""What every command of the stand-in stands on: refusals, apps, checks of single fields.

A check raises Refusal or says nothing.  The families of commands refuse a bad parameter with codes
of their own (10004, 70402, 30001, 90xxx), so a check takes the code; 10004 is the default.
"""

from __future__ import annotations

import os
import re
import time
from typing import Optional

MAX_USER = 32
MAX_ID = 48
DEFAULT_MEMBERS = {"Community": 100000}
MAX_UINT32 = 0xffffffff

_ASCII = re.compile(r"[\x20-\x7e]+")
_WORD = re.compile(r"[A-Za-z0-9_-]+")


class Refusal(Exception):
    """The service says no: the ErrorCode and ErrorInfo to answer with."""

    def __init__(self, code: int, info: str):
        super().__init__(info)
        self.code = code
        self.info = info


class App:
    """An app of the service: who may call, with which secret, and what counts against it."""

    def __init__(self, sdkappid: int, secret: str, admins: list, disabled: int = 0):
        self.sdkappid = sdkappid
        self.secret = secret
        self.admins = frozenset(admins)
        self.disabled = disabled
        self.verified: dict = {}       # (identifier, usersig) -> second of expiry
        self.failures: list = []       # when the latest run of refused UserSigs happened
        self.locked_until = 0.0
        self.accepted: dict = {}       # command, or None for all -> arrivals of the last second


def write_all(descriptor: int, data: bytes):
    """os.write until all of *data* is written."""
    while data:
        data = data[os.write(descriptor, data):]


def bad(info: str, code: int = 10004) -> Refusal:
    """A parameter is wrong, and *info* says which."""
    return Refusal(code, info)


def size(value: str) -> int:
    """Bytes of UTF-8."""
    return len(value) if value.isascii() else len(value.encode("utf-8"))


def text(value, name: str, limit: int, least: int = 0, too_long: Optional[str] = None, code: int = 10004):
    """A string of *least* to *limit* bytes of UTF-8."""
    if type(value) is not str:
        raise bad("%s is not a string" % name, code)
    length = size(value)
    if length < least:
        raise bad("%s is empty" % name, code)
    if length > limit:
        raise bad(too_long or "%s is too long" % name, code)


def integer(value, name: str, least: int, most: int, code: int = 10004):
    """A JSON integer (not 1.0, not true, not "1") from *least* to *most*."""
    if type(value) is not int:
        raise bad("%s is not an integer" % name, code)
    if not least <= value <= most:
        raise bad("%s is out of range" % name, code)


def is_user(value, settings) -> bool:
    """Is this the form of a UserID?  Three versions of the documents allow three sets of characters."""
    if type(value) is not str or not 1 <= size(value) <= MAX_USER:
        return False
    if settings.user_ids == "any":
        return True
    return (_ASCII if settings.user_ids == "ascii" else _WORD).fullmatch(value) is not None


def user(service, body: dict, name: str, code: int = 10004) -> str:
    """The member *name* of *body*, which has to be a UserID."""
    if not is_user(body.get(name), service.settings):
        raise bad("%s is missing or invalid" % name, code)
    return body[name]


def batch(service, call, name: str, code: int = 10004) -> list:
    """The array *name* of a call's body: not empty, not larger than the command allows."""
    value = call.body.get(name)
    if type(value) is not list or not value:
        raise bad("%s is not an array with something in it" % name, code)
    settings = service.settings
    if len(value) > settings.batch_limits[call.command]:
        raise Refusal(settings.over_batch[call.command], "%s has too many items" % name)
    return value


def strings(value, name: str, code: int = 10004) -> list:
    """An array of strings."""
    if type(value) is not list or any(type(one) is not str for one in value):
        raise bad("%s is not an array of strings" % name, code)
    return value


def objects(value: list, name: str, code: int = 10004) -> list:
    """An array of objects."""
    if any(type(one) is not dict for one in value):
        raise bad("%s is not an array of objects" % name, code)
    return value


def find(service, app: App, call) -> dict:
    """The group that the call names, which has to exist."""
    group_id = call.body.get("GroupId")
    text(group_id, "GroupId", MAX_ID, 1)
    group = service.ledger.of(app.sdkappid).groups.get(group_id)
    if group is None:
        raise absent(service)
    return group


def absent(service) -> Refusal:
    """There is no such group."""
    code = service.settings.absent_code
    return Refusal(code, "group not exist" if code == 10010 else "group id is invalid")


def member_limit(group: dict) -> int:
    """How many members the group may have, if the plan allows as many."""
    return group["body"].get("MaxMemberCount", DEFAULT_MEMBERS.get(group["type"], 2000))


def happen(service, app: App, call, kind: str, content: dict):
    """Let a call change something: an entry of the ledger."""
    entry = {"kind": kind, **content, "n": call.n, "sdkappid": app.sdkappid, "t": time.monotonic()}
    service.ledger.put(entry)
    call.applied = True
