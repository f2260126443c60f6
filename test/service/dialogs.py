"""One-to-one messages: import and read-back."""

from __future__ import annotations

import json
import random

import accounts
import messages
from base import MAX_UINT32, App, Refusal, happen, integer, user

ELEMENTS = messages.ELEMENTS + ("TIMSoundElem", "TIMImageElem", "TIMFileElem", "TIMVideoFileElem")
HISTORY = 2
_FIELDS = {"SyncFromOldSystem", "From_Account", "To_Account", "MsgSeq", "MsgRandom", "MsgTimeStamp", "MsgBody",
           "CloudCustomData"}


def _ends(service, app: App, body: dict, one: str = "From_Account", other: str = "To_Account") -> tuple:
    """Sender and receiver, who both have to exist."""
    sender = user(service, body, one, 90008)
    receiver = user(service, body, other, 90003)
    for name, code in ((sender, 90048), (receiver, 90012)):
        if not accounts.exists(service, app, name):
            raise Refusal(code, "the account does not exist")
        if name in service.settings.fail["dialog"]:
            raise Refusal(service.settings.fail["dialog"][name], "fails")
    return sender, receiver


def importmsg(service, app: App, call) -> dict:
    """Import one message.  The same numbers once more, from either side, are swallowed: the first one wins."""
    body = call.body
    settings = service.settings
    call.unknown_fields = [name for name in body if name not in _FIELDS]
    if body.get("SyncFromOldSystem") not in (HISTORY, settings.dialog_live):
        raise Refusal(90030, "SyncFromOldSystem is %d or %d" % (HISTORY, settings.dialog_live))
    integer(body.get("MsgRandom"), "MsgRandom", 0, MAX_UINT32, 90005)
    integer(body.get("MsgTimeStamp"), "MsgTimeStamp", 1, int(service.clock.now()) + 300, 90006)
    if "MsgSeq" in body:
        integer(body["MsgSeq"], "MsgSeq", 0, MAX_UINT32, 90030)
    if type(body.get("CloudCustomData", "")) is not str:
        raise Refusal(90001, "CloudCustomData is not a string")
    if type(body.get("MsgBody")) is not list:
        raise Refusal(90007, "MsgBody is not an array")
    messages.check_body(body["MsgBody"], ELEMENTS, 90002)
    if messages.length(body["MsgBody"]) > settings.message_bytes:
        raise Refusal(93000, "the message is too long")
    _store(service, app, call, *_ends(service, app, body))
    return {}


def _store(service, app: App, call, sender: str, receiver: str):
    """Without MsgSeq the service draws one, and then nothing is ever a repeat."""
    body = call.body
    seq = body.get("MsgSeq", random.getrandbits(32))
    key = [seq, body["MsgRandom"], body["MsgTimeStamp"]]
    if service.settings.dialog_rule == "old":
        key = [sender, receiver, body["MsgRandom"], body["MsgTimeStamp"]]
    known = service.ledger.of(app.sdkappid).dialog(sender, receiver)["keys"]
    if tuple(key) in known:
        if service.settings.dialog_duplicate_code:
            raise Refusal(service.settings.dialog_duplicate_code, "repeated message")
        return
    happen(service, app, call, "dialog", {
        "from": sender, "to": receiver, "seq": seq, "random": body["MsgRandom"], "time": body["MsgTimeStamp"],
        "body": body["MsgBody"], "mode": body["SyncFromOldSystem"], "cloud": body.get("CloudCustomData"), "key": key})
    service.notice()


def _key(message: dict) -> str:
    return "%d_%d_%d" % (message["seq"], message["random"], message["time"])


def admin_getroammsg(service, app: App, call) -> dict:
    """The newest messages of two accounts within a time; the next page begins below LastMsgKey."""
    body = call.body
    ends = ("From_Account", "To_Account")
    if service.settings.dialog_names == "newer":
        ends = ("Operator_Account", "Peer_Account")
    unknown = set(body) - {*ends, "MaxCnt", "MinTime", "MaxTime", "LastMsgKey"}
    if unknown:
        raise Refusal(90001, "no such field: %s" % ", ".join(sorted(unknown)))
    sender, receiver = _ends(service, app, body, *ends)
    most = service.settings.batch_limits["admin_getroammsg"]
    integer(body.get("MaxCnt"), "MaxCnt", 1, most, 90001)
    for name in ("MinTime", "MaxTime"):
        integer(body.get(name), name, 0, MAX_UINT32, 90001)
    found = [json.loads(line) for line in service.ledger.of(app.sdkappid).dialog(sender, receiver)["lines"]]
    days = service.settings.retention_days
    oldest = body["MinTime"] if days is None else max(body["MinTime"], service.clock.now() - days * 86400)
    found = [one for one in found if oldest <= one["time"] <= body["MaxTime"]]
    found.sort(key=lambda one: (one["time"], one["seq"]), reverse=True)
    keys = [_key(one) for one in found]
    if body.get("LastMsgKey"):
        if body["LastMsgKey"] not in keys:
            raise Refusal(90001, "LastMsgKey is not one of ours")
        found = found[keys.index(body["LastMsgKey"]) + 1:]
    page = messages.that_fit(found[:body["MaxCnt"]], service.settings.read_back_bytes)
    last = page[-1] if page else None
    return {"Complete": int(len(page) == len(found)), "MsgCnt": len(page),
            "LastMsgTime": last["time"] if last else 0, "LastMsgKey": _key(last) if last else "",
            "MsgList": [_shown(one) for one in reversed(page)]}


def _shown(message: dict) -> dict:
    return {"From_Account": message["from"], "To_Account": message["to"], "MsgSeq": message["seq"],
            "MsgRandom": message["random"], "MsgTimeStamp": message["time"], "MsgFlagBits": 0,
            "MsgKey": _key(message), "MsgBody": message["body"]}
