"""Groups: import, look-up, change and end, and the rules that guard them."""

from __future__ import annotations

import re
import secrets
import string
from typing import Optional

import members
from base import (MAX_ID, MAX_USER, App, Refusal, absent, bad, batch, find, happen, integer, member_limit, strings,
                  text, user)
from ledger import Book

# ErrorInfo texts that the real service is known to send, spelling included.
NAME_TOO_LONG = "group name is too long"
INTRODUCTION_TOO_LONG = "introduction is too long"
BAD_CUSTOM_KEY = "all defined key is invalid"
ID_TAKEN = "group id has be used!"
ID_TAKEN_BY_OWNER = "group id has be used by youself!"

# Bytes of UTF-8: as on the page of import_group, and as in the documents of newer SDKs.
TEXT_LIMITS = {
    "page": {"Name": 30, "Introduction": 240, "Notification": 300, "FaceUrl": 100},
    "sdk": {"Name": 100, "Introduction": 400, "Notification": 400, "FaceUrl": 500},
}
TYPES = ("Private", "Public", "ChatRoom", "Community")
NEW_TYPE_NAMES = {"Private": "Work", "ChatRoom": "Meeting"}
JOIN_OPTIONS = ("FreeAccess", "NeedPermission", "DisableApply")
MAX_MEMBERS = {"Community": 100000}
MAX_KEY = 16
MAX_VALUE = 512
MAX_KEYS = 10
MAX_ANSWER = 1024 * 1024
# A caller's clock may be a little ahead; a group created in the far future is a mistake in units.
FUTURE_TOLERANCE = 300

_ID = re.compile(r"[\x20-\x7e]+")
_CUSTOM_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ID_CHARACTERS = string.ascii_uppercase + string.digits


# Checks of single fields.  Each raises Refusal with 10004 or says nothing.


def _group_id(value, group_type: str):
    """The form of an id that the caller chose.  Only those of a Community carry the reserved prefix."""
    text(value, "GroupId", MAX_ID, 1)
    if not _ID.fullmatch(value):
        raise bad("GroupId has characters outside printable ASCII")
    if group_type == "Community":
        if not value.startswith("@TGS#_") or len(value) == len("@TGS#_"):
            raise bad("GroupId of a Community must begin with @TGS#_")
    elif value.startswith("@TGS#"):
        raise bad("GroupId must not begin with @TGS#")


def _join_option(value, group_type: str):
    if type(value) is not str or value not in JOIN_OPTIONS:
        raise bad("ApplyJoinOption is invalid")
    if group_type == "Community":
        raise bad("ApplyJoinOption is not supported by Community")


def _support_topic(value, group_type: str):
    integer(value, "SupportTopic", 0, 1)
    if group_type != "Community":
        raise bad("SupportTopic is for Community only")


def _custom_data(value, keys):
    """AppDefinedData.  *keys* is what the console defines, or None: then any key will do.

    With None nothing but the form is checked, because the documents' own sample has a key that
    their rules forbid.
    """
    if type(value) is not list:
        raise bad("AppDefinedData is not an array")
    for entry in value:
        if type(entry) is not dict or set(entry) != {"Key", "Value"}:
            raise bad("AppDefinedData needs objects of Key and Value")
        text(entry["Key"], "AppDefinedData.Key", MAX_ANSWER)
        text(entry["Value"], "AppDefinedData.Value", MAX_ANSWER)
        if keys is not None:
            _custom_entry(entry["Key"], entry["Value"], keys)
    if keys is not None and len(value) > MAX_KEYS:
        raise bad("AppDefinedData has too many keys")


def _custom_entry(key: str, value: str, keys):
    if key not in keys or len(key) > MAX_KEY or not _CUSTOM_KEY.fullmatch(key):
        raise bad(BAD_CUSTOM_KEY)
    text(value, "AppDefinedData.Value", MAX_VALUE)


def _group_type(body: dict) -> str:
    """The Type, which decides about the rest and is therefore checked first."""
    group_type = body.get("Type")
    if group_type == "AVChatRoom":
        raise Refusal(10007, "AVChatRoom can not be imported")
    if type(group_type) is not str or group_type not in TYPES:
        raise bad("Type is missing" if group_type is None else "Type is invalid")
    return group_type


# One line for each optional field of import_group, in the order in which they are looked at.
# check(value, group type, text limits, service)
FIELDS = {
    "Introduction": lambda v, t, lim, s: text(v, "Introduction", lim["Introduction"], 0, INTRODUCTION_TOO_LONG),
    "Notification": lambda v, t, lim, s: text(v, "Notification", lim["Notification"]),
    "FaceUrl": lambda v, t, lim, s: text(v, "FaceUrl", lim["FaceUrl"]),
    "Owner_Account": lambda v, t, lim, s: text(v, "Owner_Account", MAX_USER, 1),
    "MaxMemberCount": lambda v, t, lim, s: integer(v, "MaxMemberCount", 1, MAX_MEMBERS.get(t, 6000)),
    "ApplyJoinOption": lambda v, t, lim, s: _join_option(v, t),
    "CreateTime": lambda v, t, lim, s: integer(v, "CreateTime", 1, int(s.clock.now()) + FUTURE_TOLERANCE),
    "SupportTopic": lambda v, t, lim, s: _support_topic(v, t),
    "GroupId": lambda v, t, lim, s: _group_id(v, t),
    "AppDefinedData": lambda v, t, lim, s: _custom_data(v, s.settings.custom_keys),
}
KNOWN = frozenset(FIELDS) | {"Type", "Name"}


def check_group(body: dict, service) -> str:
    """Everything about import_group's body that can be judged without the ledger.  Returns the Type."""
    group_type = _group_type(body)
    limits = TEXT_LIMITS[service.settings.text_limits]
    if "Name" not in body:
        raise bad("Name is missing")
    text(body["Name"], "Name", limits["Name"], 1, NAME_TOO_LONG)
    for name, check in FIELDS.items():
        if name in body:
            check(body[name], group_type, limits, service)
    return group_type


def new_id(group_type: str, book: Book) -> str:
    """An id as the service assigns them."""
    prefix, size = ("@TGS#_@TGS#c", 12) if group_type == "Community" else ("@TGS#", 9)
    while True:
        group_id = prefix + "".join(secrets.choice(_ID_CHARACTERS) for _ in range(size))
        if group_id not in book.groups and group_id not in book.dissolved:
            return group_id


# The commands.


def import_group(service, app: App, call) -> dict:
    """Create one group.  Without GroupId each call makes another group: there is no idempotency."""
    body = call.body
    call.unknown_fields = [name for name in body if name not in KNOWN]
    group_type = check_group(body, service)
    book = service.ledger.of(app.sdkappid)
    owner = body.get("Owner_Account", "")
    _check_owner(service, app, book, owner)
    _check_free(service, book, body.get("GroupId"), call.identifier)
    _check_quota(service, app, len(book.groups))
    group_id = body.get("GroupId") or new_id(group_type, book)
    group = {
        "group_id": group_id,
        "type": group_type,
        "name": body["Name"],
        "owner": owner,
        "create_time": body.get("CreateTime", int(service.clock.now())),
        "body": body,
    }
    if group_type == "Private" and service.settings.private_first_seq != 1:
        group["first_seq"] = service.settings.private_first_seq
    happen(service, app, call, "group", group)
    service.ledger.count_group(app.sdkappid, service.day(), 1)
    service.notice()
    call.group_id = group_id
    return {"GroupId": group_id}


def _check_owner(service, app: App, book: Book, owner: str):
    """With owners or accounts "listed", an owner must have been imported; an admin is an account by itself."""
    if not owner:
        return
    settings = service.settings
    if "listed" in (settings.owners, settings.accounts):
        if owner not in app.admins and owner not in book.accounts:
            raise Refusal(10019, "Owner_Account does not exist")
    if settings.groups_per_user is not None and len(book.joined.get(owner, ())) >= settings.groups_per_user:
        raise Refusal(10037, "the owner is in too many groups")


def _check_free(service, book: Book, group_id: Optional[str], identifier: str):
    group = book.groups.get(group_id)
    if group is not None and group["owner"] == identifier:
        raise Refusal(10025, ID_TAKEN_BY_OWNER)
    if group is not None or service.settings.id_reuse == "taken" and group_id in book.dissolved:
        raise Refusal(10021, ID_TAKEN)


def _check_quota(service, app: App, existing: int):
    settings = service.settings
    today = service.ledger.net_today.get((app.sdkappid, service.day()), 0)
    if settings.daily_quota is not None and today >= settings.daily_quota:
        raise Refusal(10006, "too many new groups today")
    if settings.plan_cap is not None and existing >= settings.plan_cap:
        raise Refusal(10058, "the plan has no room for more groups")


def get_group_info(service, app: App, call) -> dict:
    """Look groups up.  Each entry has a code of its own; the code of the whole says nothing of them."""
    ids = strings(batch(service, call, "GroupIdList"), "GroupIdList")
    pick = filters(call.body.get("ResponseFilter", {}))
    book = service.ledger.of(app.sdkappid)
    entries = [_entry(service, app, book, group_id, pick) for group_id in ids]
    if sum(len(str(entry)) for entry in entries) > MAX_ANSWER:
        raise Refusal(10018, "the answer is larger than 1 MB")
    return {"GroupInfo": entries}


def filters(wanted) -> dict:
    """ResponseFilter, checked: lists of strings only."""
    if type(wanted) is not dict:
        raise bad("ResponseFilter is not an object")
    for name, fields in wanted.items():
        strings(fields, name)
    return wanted


def _entry(service, app: App, book: Book, group_id: str, pick: dict) -> dict:
    """One entry of GroupInfo.  With a filter, only what it names comes back."""
    group = book.groups.get(group_id)
    if group is None:
        refusal = absent(service)
        return {"GroupId": group_id, "ErrorCode": refusal.code, "ErrorInfo": refusal.info}
    entry = {"GroupId": group_id, "ErrorCode": 0, "ErrorInfo": ""}
    base = base_info(service, app, book, group)
    if "GroupBaseInfoFilter" in pick:
        base = {name: base[name] for name in pick["GroupBaseInfoFilter"] if name in base}
    elif pick:
        base = {}
    entry.update(base)
    custom = group["body"].get("AppDefinedData", [])
    if "AppDefinedDataFilter_Group" in pick:
        entry["AppDefinedData"] = [one for one in custom if one["Key"] in pick["AppDefinedDataFilter_Group"]]
    elif not pick:
        entry["AppDefinedData"] = custom
    if group["type"] != "Community" and (not pick or "MemberInfoFilter" in pick):
        entry["MemberList"] = members.infos(book.room(group_id), pick.get("MemberInfoFilter"))
    return entry


def shown_type(service, group: dict) -> str:
    """The group's type by the name that the answers use."""
    if service.settings.type_names == "new":
        return NEW_TYPE_NAMES.get(group["type"], group["type"])
    return group["type"]


def base_info(service, app: App, book: Book, group: dict) -> dict:
    """What GroupBaseInfoFilter chooses from."""
    body = group["body"]
    info = {
        "Type": shown_type(service, group),
        "Name": group["name"],
        "Appid": app.sdkappid,
        "Introduction": body.get("Introduction", ""),
        "Notification": body.get("Notification", ""),
        "FaceUrl": body.get("FaceUrl", ""),
        "Owner_Account": group["owner"],
        "CreateTime": group["create_time"],
        "InfoSeq": 1,
        "LastInfoTime": group["create_time"],
        # Not a slip: the request says MaxMemberCount, the answer MaxMemberNum.
        "MaxMemberNum": member_limit(group),
        "MuteAllMember": body.get("MuteAllMember", "Off"),
    }
    info.update(_counts(service, book, group))
    if group["type"] == "Community":
        info["SupportTopic"] = body.get("SupportTopic", 0)
    else:
        info["ApplyJoinOption"] = body.get("ApplyJoinOption", "NeedPermission")
    return info


def _counts(service, book: Book, group: dict) -> dict:
    """What people made of the group.  A group in which nothing happened has no room yet."""
    room = book.rooms.get(group["group_id"])
    if room is None:
        return {"LastMsgTime": 0, "NextMsgSeq": group.get("first_seq", 1), "MemberNum": 1 if group["owner"] else 0}
    next_seq, last_time = service.visible(room)
    return {"LastMsgTime": last_time, "NextMsgSeq": next_seq, "MemberNum": len(room.members)}


def destroy_group(service, app: App, call) -> dict:
    """Dissolve a group."""
    group = find(service, app, call)
    happen(service, app, call, "destroy", {"destroyed": group["group_id"]})
    service.ledger.count_group(app.sdkappid, service.day(), -1)
    service.notice()
    return {}


# What modify_group_base_info calls MaxMemberNum and the import MaxMemberCount is the same thing.
_CHANGES = {"Name": "Name", "Introduction": "Introduction", "Notification": "Notification", "FaceUrl": "FaceUrl",
            "MaxMemberNum": "MaxMemberCount", "ApplyJoinOption": "ApplyJoinOption", "AppDefinedData": "AppDefinedData",
            "MuteAllMember": "MuteAllMember", "ShutUpAllMember": "MuteAllMember"}


def modify_group_base_info(service, app: App, call) -> dict:
    """Change a group's texts and options.  An AppDefinedData value that is empty deletes its key."""
    group = find(service, app, call)
    call.unknown_fields = [name for name in call.body if name not in _CHANGES and name != "GroupId"]
    changes = {_CHANGES[name]: value for name, value in call.body.items() if name in _CHANGES}
    if changes.get("MuteAllMember", "On") not in ("On", "Off"):
        raise bad("MuteAllMember is On or Off")
    merged = dict({"Type": group["type"], "Name": group["name"]}, **changes)
    check_group({name: value for name, value in merged.items() if name != "MuteAllMember"}, service)
    if "AppDefinedData" in changes:
        data = {one["Key"]: one["Value"] for one in group["body"].get("AppDefinedData", [])}
        data.update({one["Key"]: one["Value"] for one in changes["AppDefinedData"]})
        changes["AppDefinedData"] = [{"Key": key, "Value": value} for key, value in data.items() if value]
    if changes:
        happen(service, app, call, "modify", {"group_id": group["group_id"], "changes": changes})
    return {}


# Listing groups.

# Pages are named by numbers beyond 32 bits, as the real service's are.
_PAGE = 1 << 32


def get_appid_group_list(service, app: App, call) -> dict:
    """The ids of an app's groups, in the order of creation, in pages."""
    body = call.body
    limit = body.get("Limit", service.settings.batch_limits["get_appid_group_list"])
    integer(limit, "Limit", 1, service.settings.batch_limits["get_appid_group_list"])
    start = body.get("Next", 0)
    integer(start, "Next", 0, (1 << 63) - 1)
    if "GroupType" in body and body["GroupType"] not in TYPES + ("AVChatRoom",):
        raise bad("GroupType is invalid")
    groups = [group for group in service.ledger.of(app.sdkappid).groups.values()
              if body.get("GroupType", group["type"]) == group["type"]]
    groups.sort(key=lambda group: group["n"])
    rest = [group for group in groups if group["n"] + _PAGE >= start]
    page = [{"GroupId": group["group_id"]} for group in rest[:limit]]
    following = rest[limit]["n"] + _PAGE if len(rest) > limit else 0
    return {"TotalCount": len(groups), "GroupIdList": page, "Next": following}


def get_joined_group_list(service, app: App, call) -> dict:
    """The groups of one account, as far as it can see them."""
    body = call.body
    account = user(service, body, "Member_Account")
    limit, offset = body.get("Limit", service.settings.batch_limits["get_joined_group_list"]), body.get("Offset", 0)
    integer(limit, "Limit", 1, service.settings.batch_limits["get_joined_group_list"])
    integer(offset, "Offset", 0, 1 << 31)
    pick = filters(body.get("ResponseFilter", {}))
    book = service.ledger.of(app.sdkappid)
    rooms = [book.room(group_id) for group_id in book.joined.get(account, ())]
    rooms = [room for room in rooms if _is_listed(room.group, room, account, body)]
    listed = [_joined(service, app, book, room, account, pick) for room in rooms[offset:offset + limit]]
    return {"TotalCount": len(rooms), "GroupIdList": listed}


def _is_listed(group: dict, room, account: str, body: dict) -> bool:
    """A Private group is hidden from all but its owner until it is activated; topics are asked for by name."""
    if body.get("GroupType", group["type"]) != group["type"]:
        return False
    if group["body"].get("SupportTopic", 0) != body.get("SupportTopic", 0):
        return False
    return room.active or account == group["owner"] or body.get("WithNoActiveGroups", 0) == 1


def _joined(service, app: App, book: Book, room, account: str, pick: dict) -> dict:
    entry = {"GroupId": room.group["group_id"]}
    base = base_info(service, app, book, room.group)
    entry.update({name: base[name] for name in pick.get("GroupBaseInfoFilter", ()) if name in base})
    if "SelfInfoFilter" in pick:
        entry["SelfInfo"] = members.self_info(service, room, account, pick["SelfInfoFilter"])
    return entry
