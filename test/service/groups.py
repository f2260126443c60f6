"""What the commands do: the groups and accounts of each app, and the rules that guard them.

A handler takes (service, app, call), changes the ledger or raises Refusal, and returns the members
that its answer has beyond ActionStatus, ErrorInfo and ErrorCode.  COMMANDS at the end maps a path to
its handler; another command of the service is another function and another line there.

Where the published documents are silent the stricter reading is taken: a client that stays inside
it works in either case.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import string
import time
from typing import Callable, Optional

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
DEFAULT_MEMBERS = {"Community": 100000}
MAX_ID = 48
MAX_USER = 32
MAX_KEY = 16
MAX_VALUE = 512
MAX_KEYS = 10
MAX_IDS_PER_QUERY = 50
MAX_ANSWER = 1024 * 1024
# A caller's clock may be a little ahead; a group created in the far future is a mistake in units.
FUTURE_TOLERANCE = 300

_ID = re.compile(r"[\x20-\x7e]+")
_CUSTOM_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ID_CHARACTERS = string.ascii_uppercase + string.digits


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


class Ledger:
    """Every group and account there is, by SDKAppID, and the file that says so.

    The file is only ever appended to.  A line is a group, or ``{"destroyed": id, ...}``, or
    ``{"reset": true}``, after which everything above it is void.
    """

    def __init__(self, path: str, load: bool):
        self.groups: dict = {}
        self.accounts: dict = {}
        self.created = 0
        self.net_today: dict = {}
        if load:
            self._load(path)
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        if not load:
            self._void()

    def _load(self, path: str):
        if not os.path.exists(path):
            return
        with open(path, encoding="utf-8") as lines:
            for line in lines:
                entry = json.loads(line)
                if "reset" in entry:
                    self.groups.clear()
                elif "destroyed" in entry:
                    self.of(entry["sdkappid"]).pop(entry["destroyed"], None)
                else:
                    self.of(entry["sdkappid"])[entry["group_id"]] = entry

    def _void(self):
        if os.fstat(self._file).st_size:
            self._append({"reset": True})

    def _append(self, entry: dict):
        write_all(self._file, json.dumps(entry).encode() + b"\n")

    def of(self, sdkappid: int) -> dict:
        """The groups of one app, by id."""
        return self.groups.setdefault(sdkappid, {})

    def all(self) -> list:
        """Every group of every app, in the order of creation within an app."""
        return [group for groups in self.groups.values() for group in groups.values()]

    def add(self, group: dict, day: int):
        """Create *group*: on file before anybody can be told."""
        self._append(group)
        self.of(group["sdkappid"])[group["group_id"]] = group
        self.created += 1
        self._count(group["sdkappid"], day, 1)

    def remove(self, sdkappid: int, group_id: str, n: int, day: int):
        """Dissolve a group; its id is free again at once."""
        self._append({"destroyed": group_id, "sdkappid": sdkappid, "n": n})
        del self.of(sdkappid)[group_id]
        self._count(sdkappid, day, -1)

    def _count(self, sdkappid: int, day: int, change: int):
        key = (sdkappid, day)
        self.net_today[key] = self.net_today.get(key, 0) + change

    def reset(self):
        """Forget everything."""
        self.groups.clear()
        self.accounts.clear()
        self.net_today.clear()
        self.created = 0
        self._void()


def write_all(descriptor: int, data: bytes):
    """os.write until all of *data* is written."""
    while data:
        data = data[os.write(descriptor, data):]


# Checks of single fields.  Each raises Refusal with 10004 or says nothing.


def bad(info: str) -> Refusal:
    """10004: a parameter is wrong, and *info* says which."""
    return Refusal(10004, info)


def text(value, name: str, limit: int, least: int = 0, too_long: Optional[str] = None):
    """A string of *least* to *limit* bytes of UTF-8."""
    if type(value) is not str:
        raise bad("%s is not a string" % name)
    size = len(value.encode("utf-8"))
    if size < least:
        raise bad("%s is empty" % name)
    if size > limit:
        raise bad(too_long or "%s is too long" % name)


def integer(value, name: str, least: int, most: int):
    """A JSON integer (not 1.0, not true, not "1") from *least* to *most*."""
    if type(value) is not int:
        raise bad("%s is not an integer" % name)
    if not least <= value <= most:
        raise bad("%s is out of range" % name)


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


def new_id(group_type: str, taken: dict) -> str:
    """An id as the service assigns them."""
    prefix, size = ("@TGS#_@TGS#c", 12) if group_type == "Community" else ("@TGS#", 9)
    while True:
        group_id = prefix + "".join(secrets.choice(_ID_CHARACTERS) for _ in range(size))
        if group_id not in taken:
            return group_id


# The commands.


def import_group(service, app: App, call) -> dict:
    """Create one group.  Without GroupId each call makes another group: there is no idempotency."""
    body = call.body
    call.unknown_fields = [name for name in body if name not in KNOWN]
    group_type = check_group(body, service)
    groups = service.ledger.of(app.sdkappid)
    owner = body.get("Owner_Account", "")
    _check_owner(service, app, owner)
    _check_free(groups.get(body.get("GroupId")), call.identifier)
    _check_quota(service, app, len(groups))
    group_id = body.get("GroupId") or new_id(group_type, groups)
    group = {
        "group_id": group_id,
        "type": group_type,
        "name": body["Name"],
        "owner": owner,
        "create_time": body.get("CreateTime", int(service.clock.now())),
        "body": body,
        "n": call.n,
        "sdkappid": app.sdkappid,
        "t": time.monotonic(),
    }
    service.ledger.add(group, service.day())
    service.notice()
    call.applied = True
    call.group_id = group_id
    return {"GroupId": group_id}


def _check_owner(service, app: App, owner: str):
    """With owners "listed", an owner must have been imported; an admin is an account by itself."""
    if owner and service.settings.owners == "listed" and owner not in app.admins:
        if owner not in service.ledger.accounts.get(app.sdkappid, ()):
            raise Refusal(10019, "Owner_Account does not exist")


def _check_free(group: Optional[dict], identifier: str):
    if group is None:
        return
    if group["owner"] == identifier:
        raise Refusal(10025, ID_TAKEN_BY_OWNER)
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
    ids = call.body.get("GroupIdList")
    if type(ids) is not list or any(type(group_id) is not str for group_id in ids):
        raise bad("GroupIdList is not an array of strings")
    if not 1 <= len(ids) <= MAX_IDS_PER_QUERY:
        raise bad("GroupIdList needs 1 to %d ids" % MAX_IDS_PER_QUERY)
    pick = _filter(call.body.get("ResponseFilter", {}))
    groups = service.ledger.of(app.sdkappid)
    entries = [_entry(service, app, group_id, groups.get(group_id), pick) for group_id in ids]
    if sum(len(str(entry)) for entry in entries) > MAX_ANSWER:
        raise Refusal(10018, "the answer is larger than 1 MB")
    return {"GroupInfo": entries}


def _filter(wanted) -> dict:
    """ResponseFilter, checked: lists of strings only."""
    if type(wanted) is not dict:
        raise bad("ResponseFilter is not an object")
    for name, fields in wanted.items():
        if type(fields) is not list or any(type(field) is not str for field in fields):
            raise bad("%s is not an array of strings" % name)
    return wanted


def _entry(service, app: App, group_id: str, group: Optional[dict], pick: dict) -> dict:
    """One entry of GroupInfo.  With a filter, only what it names comes back."""
    if group is None:
        code = service.settings.absent_code
        info = "group not exist" if code == 10010 else "group id is invalid"
        return {"GroupId": group_id, "ErrorCode": code, "ErrorInfo": info}
    entry = {"GroupId": group_id, "ErrorCode": 0, "ErrorInfo": ""}
    base = _base_info(service, app, group)
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
        entry["MemberList"] = _members(group)
    return entry


def _base_info(service, app: App, group: dict) -> dict:
    body = group["body"]
    group_type = group["type"]
    if service.settings.type_names == "new":
        group_type = NEW_TYPE_NAMES.get(group_type, group_type)
    info = {
        "Type": group_type,
        "Name": group["name"],
        "Appid": app.sdkappid,
        "Introduction": body.get("Introduction", ""),
        "Notification": body.get("Notification", ""),
        "FaceUrl": body.get("FaceUrl", ""),
        "Owner_Account": group["owner"],
        "CreateTime": group["create_time"],
        "InfoSeq": 1,
        "LastInfoTime": group["create_time"],
        "LastMsgTime": 0,
        "NextMsgSeq": 1,
        "MemberNum": 1 if group["owner"] else 0,
        # Not a slip: the request says MaxMemberCount, the answer MaxMemberNum.
        "MaxMemberNum": body.get("MaxMemberCount", DEFAULT_MEMBERS.get(group["type"], 2000)),
        "MuteAllMember": "Off",
    }
    if group["type"] == "Community":
        info["SupportTopic"] = body.get("SupportTopic", 0)
    else:
        info["ApplyJoinOption"] = body.get("ApplyJoinOption", "NeedPermission")
    return info


def _members(group: dict) -> list:
    """An owner is made a member by the import; nobody else is."""
    if not group["owner"]:
        return []
    return [{"Member_Account": group["owner"], "Role": "Owner", "JoinTime": group["create_time"],
             "MsgSeq": 0, "MsgFlag": "AcceptAndNotify", "LastSendMsgTime": 0, "MuteUntil": 0}]


def destroy_group(service, app: App, call) -> dict:
    """Dissolve a group."""
    group_id = call.body.get("GroupId")
    text(group_id, "GroupId", MAX_ID, 1)
    if group_id not in service.ledger.of(app.sdkappid):
        raise Refusal(service.settings.absent_code, "group not exist")
    service.ledger.remove(app.sdkappid, group_id, call.n, service.day())
    call.applied = True
    return {}


def account_import(service, app: App, call) -> dict:
    """Import one user, who may then own groups.  Repeating it is harmless."""
    user = call.body.get("UserID")
    if type(user) is not str or not 1 <= len(user.encode("utf-8")) <= MAX_USER:
        raise Refusal(70402, "UserID is invalid")
    for name in ("Nick", "FaceUrl"):
        value = call.body.get(name, "")
        if type(value) is not str or len(value.encode("utf-8")) > 500:
            raise Refusal(70402, "%s is invalid" % name)
    service.ledger.accounts.setdefault(app.sdkappid, set()).add(user)
    call.applied = True
    return {}


COMMANDS: "dict[str, Callable]" = {
    "/v4/group_open_http_svc/import_group": import_group,
    "/v4/group_open_http_svc/get_group_info": get_group_info,
    "/v4/group_open_http_svc/destroy_group": destroy_group,
    "/v4/im_open_login_svc/account_import": account_import,
}
SERVICES = frozenset(path.rsplit("/", 1)[0] for path in COMMANDS)
