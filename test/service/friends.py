"""Friends.  A friendship is one-way: each side has a list of its own."""

from __future__ import annotations

import accounts
from base import App, Refusal, batch, happen, is_user, objects, size, strings, user

BAD = 30001
ABSENT = 30003
_ITEM = {"To_Account", "AddSource", "Remark", "RemarkTime", "GroupName", "AddWording", "AddTime", "CustomItem"}
_BYTES = {"Remark": 96, "AddWording": 120}
_CHECKS = ("CheckResult_Type_Both", "CheckResult_Type_Single")


def friend_import(service, app: App, call) -> dict:
    """Add friends to one account's list.  Each has a code of its own."""
    owner = user(service, call.body, "From_Account", BAD)
    listed = objects(batch(service, call, "AddFriendItem", BAD), "AddFriendItem", BAD)
    call.unknown_fields = sorted({name for one in listed for name in one if name not in _ITEM})
    if any(type(one.get("To_Account")) is not str for one in listed):
        raise Refusal(BAD, "To_Account is not a string")
    if not accounts.exists(service, app, owner):
        raise Refusal(ABSENT, "From_Account does not exist")
    items = [_import(service, app, call, owner, one) for one in listed[:call.partial]]
    call.results = [one["ResultCode"] for one in items]
    failed = [one["To_Account"] for one in items if one["ResultCode"]]
    answer = {"ResultItem": items, "ErrorDisplay": ""}
    if failed or service.settings.empty_fail_lists:
        answer["Fail_Account"] = failed
    service.notice()
    return answer


def _import(service, app: App, call, owner: str, one: dict) -> dict:
    friend = one["To_Account"]
    known = friend in service.ledger.of(app.sdkappid).friends.get(owner, {})
    code, info = _judge(service, app, owner, one, known)
    if not code and not known:
        happen(service, app, call, "friend", {"from": owner, "to": friend, "item": one})
    return {"To_Account": friend, "ResultCode": code, "ResultInfo": info}


def _judge(service, app: App, owner: str, one: dict, known: bool) -> tuple:
    """The code for one friend, and what it says."""
    settings = service.settings
    friend = one["To_Account"]
    problem = _problem(service, one)
    if problem or friend == owner:
        return BAD, problem or "nobody is a friend of himself"
    if friend in settings.fail["friend"]:
        return settings.fail["friend"][friend], "fails"
    if not accounts.exists(service, app, friend):
        return ABSENT, "To_Account does not exist"
    if known:
        return settings.friend_again_code, "is a friend already" if settings.friend_again_code else ""
    count = len(service.ledger.of(app.sdkappid).friends.get(owner, ()))
    if settings.friend_cap is not None and count >= settings.friend_cap:
        return 30010, "too many friends"
    return 0, ""


def _problem(service, one: dict) -> str:
    """What is wrong with the form of a friend, or nothing."""
    if not is_user(one["To_Account"], service.settings):
        return "To_Account is invalid"
    source = one.get("AddSource")
    if type(source) is not str or not source.startswith("AddSource_Type_") or source == "AddSource_Type_":
        return "AddSource is missing or invalid"
    for name, most in _BYTES.items():
        if type(one.get(name, "")) is not str or size(one.get(name, "")) > most:
            return "%s is invalid" % name
    for name in ("RemarkTime", "AddTime"):
        if type(one.get(name, 0)) is not int or one.get(name, 0) < 0:
            return "%s is invalid" % name
    names = one.get("GroupName", [])
    if type(names) is not list or len(names) > 32:
        return "GroupName is invalid"
    if any(type(name) is not str or not 1 <= size(name) <= 30 for name in names):
        return "GroupName is invalid"
    return ""


def friend_check(service, app: App, call) -> dict:
    """How accounts stand to each other."""
    owner = user(service, call.body, "From_Account", BAD)
    names = strings(batch(service, call, "To_Account", BAD), "To_Account", BAD)
    kind = call.body.get("CheckType")
    if kind not in _CHECKS:
        raise Refusal(BAD, "CheckType is invalid")
    if not accounts.exists(service, app, owner):
        raise Refusal(ABSENT, "From_Account does not exist")
    friends = service.ledger.of(app.sdkappid).friends
    items = [_relation(service, app, friends, owner, name, kind == _CHECKS[0]) for name in names]
    failed = [one["To_Account"] for one in items if one["ResultCode"]]
    answer = {"InfoItem": items, "ErrorDisplay": ""}
    if failed:
        answer["Fail_Account"] = failed
    return answer


def _relation(service, app: App, friends: dict, owner: str, name: str, both: bool) -> dict:
    if not accounts.exists(service, app, name):
        return {"To_Account": name, "Relation": "CheckResult_Type_NoRelation", "ResultCode": ABSENT,
                "ResultInfo": "To_Account does not exist"}
    forth = name in friends.get(owner, ())
    back = both and owner in friends.get(name, ())
    relation = {(True, True): "BothWay", (True, False): "AWithB", (False, True): "BWithA"}.get(
        (forth, back), "NoRelation")
    return {"To_Account": name, "Relation": "CheckResult_Type_" + relation, "ResultCode": 0, "ResultInfo": ""}
