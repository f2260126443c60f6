"""What was said in a group: import, read-back, unread counts, and messages of living people.

The documents leave open which check comes first and what a dropped duplicate is answered; each of
these is a setting, and a client has to work with all of them.
"""

from __future__ import annotations

import json
import random
from typing import Optional

import accounts
from base import MAX_UINT32, App, Refusal, bad, batch, find, happen, integer, objects, user
from members import COUNTING

OK, BAD_TIME, TOO_LONG = 0, 10004, 80002
ELEMENTS = ("TIMTextElem", "TIMFaceElem", "TIMLocationElem", "TIMCustomElem")
MAX_READ_BACK = 20
_ENTRY = {"From_Account", "SendTime", "Random", "MsgBody"}
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def length(body: list) -> int:
    """The size of a MsgBody: bytes of JSON without a blank too many."""
    return len(_encode(body).encode("utf-8", "surrogatepass"))


def check_body(body, elements: tuple, code: int):
    """The form of a MsgBody; *elements* are the types that may stand in it."""
    if type(body) is not list or not body:
        raise bad("MsgBody is not an array with something in it", code)
    for one in body:
        if type(one) is not dict or type(one.get("MsgType")) is not str or type(one.get("MsgContent")) is not dict:
            raise bad("MsgBody needs objects of MsgType and MsgContent", code)
        if one["MsgType"] not in elements:
            raise bad("MsgType is not supported", code)
        if one["MsgType"] == "TIMTextElem" and type(one["MsgContent"].get("Text")) is not str:
            raise bad("Text is not a string", code)


def import_group_msg(service, app: App, call) -> dict:
    """Add messages to a group's history.  Each has a result of its own, by position."""
    group = find(service, app, call)
    listed = objects(batch(service, call, "MsgList"), "MsgList")
    for one in listed:
        _check_form(service, app, group, one)
    integer(call.body.get("RecentContactFlag", 0), "RecentContactFlag", 0, 1)
    call.unknown_fields = sorted({name for one in listed for name in one if name not in _ENTRY}
                                 | set(call.body) - {"GroupId", "MsgList", "RecentContactFlag"})
    importer = _Importer(service, app, call, group)
    results = [importer.add(one) for one in listed[:call.partial]]
    importer.finish()
    call.results = [one["Result"] for one in results]
    service.notice()
    return {"ImportMsgResult": results}


def _check_form(service, app: App, group: dict, one: dict):
    """What makes the service refuse the whole call."""
    settings = service.settings
    sender = user(service, one, "From_Account")
    integer(one.get("SendTime"), "SendTime", 0, MAX_UINT32)
    if "Random" in one:
        integer(one["Random"], "Random", 0, MAX_UINT32)
    try:
        check_body(one.get("MsgBody"), ELEMENTS, 10004)
    except Refusal:
        if settings.bad_element == "call" or type(one.get("MsgBody")) is not list:
            raise
    if settings.too_long == "call" and length(one["MsgBody"]) > settings.message_bytes:
        raise Refusal(10020, "the message is too long")
    if settings.absent_sender == "call" and not _may_speak(service, app, group, sender):
        raise Refusal(10019, "From_Account does not exist")


def _may_speak(service, app: App, group: dict, sender: str) -> bool:
    if service.settings.senders == "members":
        return sender in service.ledger.of(app.sdkappid).room(group["group_id"]).members
    return accounts.exists(service, app, sender)


class _Importer:
    """One import_group_msg at work on one group."""

    def __init__(self, service, app: App, call, group: dict):
        self.service = service
        self.settings = service.settings
        self.app = app
        self.call = call
        self.group = group
        self.room = service.ledger.of(app.sdkappid).room(group["group_id"])
        self.now = int(service.clock.now())
        self._forget_randoms()

    def _forget_randoms(self):
        """Drop what no duplicate can be of any more."""
        known = self.room.randoms
        until = self.settings.duplicate_seconds
        now = self.now if self.settings.duplicate_clock == "received" else self.room.last_time
        at = 0 if self.settings.duplicate_clock == "received" else 1
        while known:
            number = next(iter(known))
            if known[number][at] > now - until:
                break
            del known[number]

    def add(self, one: dict) -> dict:
        """Store one message, or say why not."""
        checks = (self._time_is_bad, self._duplicate)
        for check in checks if self.settings.message_order == "time" else reversed(checks):
            result = check(one)
            if result is not None:
                return result
        code = self._code(one)
        if code:
            return self._result(one, code)
        seq = self.room.next_seq
        self._store(one, seq)
        return {"MsgSeq": seq, "MsgTime": one["SendTime"], "Result": OK}

    @staticmethod
    def _result(one: dict, code: int) -> dict:
        return {"MsgSeq": 0, "MsgTime": one["SendTime"], "Result": code}

    def _time_is_bad(self, one: dict) -> Optional[dict]:
        sent = one["SendTime"]
        newest = self.room.last_time - (self.settings.equal_seconds == "allow")
        if sent > self.group["create_time"] and newest < sent < self.now:
            return None
        return self._result(one, BAD_TIME)

    def _duplicate(self, one: dict) -> Optional[dict]:
        """The second with the same Random is dropped, and nobody documents what is said of it."""
        before = self.room.randoms.get(one.get("Random"))
        if before is None:
            return None
        received, sent, seq, body = before
        age = self.now - received if self.settings.duplicate_clock == "received" else one["SendTime"] - sent
        if abs(age) >= self.settings.duplicate_seconds:
            return None
        if self.settings.duplicate_rule == "random_content" and body != one["MsgBody"]:
            return None
        how = self.settings.duplicate_result
        if how == "refused":
            return self._result(one, BAD_TIME)
        result = {"MsgSeq": seq, "MsgTime": one["SendTime"], "Result": OK}
        if how == "ok":
            del result["MsgSeq"]
        return result

    def _code(self, one: dict) -> int:
        """What is wrong with a message that is in time and new."""
        if length(one["MsgBody"]) > self.settings.message_bytes:
            return TOO_LONG
        try:
            check_body(one["MsgBody"], ELEMENTS, BAD_TIME)
        except Refusal as refusal:
            return refusal.code
        if not _may_speak(self.service, self.app, self.group, one["From_Account"]):
            return BAD_TIME
        if self.settings.fail["message"]:
            body = _encode(one["MsgBody"])
            for word, code in self.settings.fail["message"].items():
                if word in body:
                    return code
        return OK

    def _store(self, one: dict, seq: int):
        number = one.get("Random")
        happen(self.service, self.app, self.call, "message", {
            "group_id": self.group["group_id"], "seq": seq, "from": one["From_Account"], "time": one["SendTime"],
            "random": random.getrandbits(32) if number is None else number, "body": one["MsgBody"], "live": False,
            "recent": self.call.body.get("RecentContactFlag", 0), "activates": self.settings.import_activates,
            "at": self.now})

    def finish(self):
        """After the call everybody has read everything, also when nothing was stored."""
        if self.room.read or self.room.read_base != self.room.next_seq - 1:
            happen(self.service, self.app, self.call, "all_read", {"group_id": self.group["group_id"]})


class Nobody:
    """In the place of a call: what others do comes by none of the client's."""

    n = None
    applied = False


def live(service, app: App, group_id: str, sender: Optional[str], words: str, sent: Optional[int]) -> int:
    """Somebody writes in a group while it is imported; returns the seq."""
    book = service.ledger.of(app.sdkappid)
    room = book.room(group_id)
    seq = room.next_seq
    happen(service, app, Nobody(), "message", {
        "group_id": group_id, "seq": seq, "from": sender or room.group["owner"] or min(app.admins),
        "time": int(service.clock.now()) if sent is None else sent, "random": random.getrandbits(32),
        "body": [{"MsgType": "TIMTextElem", "MsgContent": {"Text": words}}], "live": True,
        "at": service.clock.now()})
    service.ledger.flush()
    service.notice()
    return seq


# Reading back.


def group_msg_get_simple(service, app: App, call) -> dict:
    """The newest messages, or the newest up to ReqMsgSeq, newest first."""
    group = find(service, app, call)
    body = call.body
    number = body.get("ReqMsgNumber")
    integer(number, "ReqMsgNumber", 1, MAX_UINT32)
    room = service.ledger.of(app.sdkappid).room(group["group_id"])
    newest = service.visible(room)[0] - 1
    if "ReqMsgSeq" in body:
        integer(body["ReqMsgSeq"], "ReqMsgSeq", 0, MAX_UINT32)
        newest = min(newest, body["ReqMsgSeq"])
    wanted = min(number, service.settings.batch_limits["group_msg_get_simple"])
    oldest = max(room.first_seq, newest - wanted + 1)
    there = [room.message(seq) for seq in range(newest, oldest - 1, -1)]
    found = [_shown(service, one) for one in there if one is not None]
    kept = that_fit(found, service.settings.read_back_bytes)
    finished = int(len(kept) == len(found) and number <= wanted)
    return {"GroupId": group["group_id"], "IsFinished": finished, "RspMsgList": kept}


def that_fit(found: list, most: Optional[int]) -> list:
    """The first of *found* that make an answer of at most so many bytes; one at least."""
    if most is None:
        return found
    total = 0
    for number, one in enumerate(found):
        total += length([one])
        if total > most and number:
            return found[:number]
    return found


def _shown(service, message: dict) -> dict:
    """A message as it is read back.  One past the retention term is a place without a body."""
    settings = service.settings
    shown = {"From_Account": message["from"], "IsPlaceMsg": 0, "IsSystemMsg": 0, "MsgBody": message["body"],
             "MsgPriority": 2, "MsgRandom": message["random"], "MsgSeq": message["seq"],
             "MsgTimeStamp": message["time"]}
    days = settings.retention_days
    if days is not None and message["time"] < service.clock.now() - days * 86400:
        shown.update(IsPlaceMsg=1, MsgBody=[])
        if settings.place_keeps == "nothing":
            shown.update(From_Account="", MsgRandom=0, MsgTimeStamp=0)
    return shown


# Unread counts.


def set_unread_msg_num(service, app: App, call) -> dict:
    """Set one member's count; no more than there are messages.  A ChatRoom takes it and does nothing."""
    group = find(service, app, call)
    account = user(service, call.body, "Member_Account")
    integer(call.body.get("UnreadMsgNum"), "UnreadMsgNum", 0, (1 << 31) - 1)
    call.unknown_fields = [name for name in call.body if name not in ("GroupId", "Member_Account", "UnreadMsgNum")]
    if group["type"] not in COUNTING:
        return {}
    room = service.ledger.of(app.sdkappid).room(group["group_id"])
    if account not in room.members:
        code = service.settings.unread_stranger_code
        if code:
            raise Refusal(code, "Member_Account is not a member")
        return {}
    asked = call.body["UnreadMsgNum"]
    happen(service, app, call, "unread", {
        "group_id": group["group_id"], "member": account, "unread": min(asked, len(room.messages)), "asked": asked})
    service.notice()
    return {}
