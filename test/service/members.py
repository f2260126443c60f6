"""Who is in a group."""

from __future__ import annotations

from typing import Optional

import accounts
from base import App, Refusal, bad, batch, find, happen, integer, member_limit, objects, strings, user

FAILED, ADDED, MEMBER_ALREADY = 0, 1, 2
_ENTRY = {"Member_Account", "Role", "JoinTime", "UnreadMsgNum"}
_ROLES = ("Owner", "Admin", "Member")
# These types count what a member has not read.
COUNTING = ("Private", "Public", "Community")


def import_group_member(service, app: App, call) -> dict:
    """Add members.  Each has a result of its own, without a reason, and the whole is still OK."""
    group = find(service, app, call)
    listed = objects(batch(service, call, "MemberList"), "MemberList")
    for one in listed:
        _check_form(service, one)
    call.unknown_fields = sorted({name for one in listed for name in one if name not in _ENTRY}
                                 | {name for name in call.body if name not in ("GroupId", "MemberList")})
    if service.settings.full_group == "call":
        _check_room(service, app, group, listed)
    results = [{"Member_Account": one["Member_Account"], "Result": _add(service, app, call, group, one)}
               for one in listed[:call.partial]]
    call.results = [one["Result"] for one in results]
    service.notice()
    return {"MemberList": results}


def _check_form(service, one: dict):
    user(service, one, "Member_Account")
    if one.get("Role", "Admin") != "Admin":
        raise bad("Role can only be Admin")
    for name in ("JoinTime", "UnreadMsgNum"):
        if name in one:
            integer(one[name], name, 0, (1 << 31) - 1)


def _check_room(service, app: App, group: dict, listed: list):
    known = service.ledger.of(app.sdkappid).room(group["group_id"]).members
    added = {one["Member_Account"] for one in listed} - set(known)
    if len(known) + len(added) > _limit(service, group):
        raise Refusal(10014, "the group is full")


def _limit(service, group: dict) -> int:
    cap = service.settings.member_cap
    return min(member_limit(group), cap if cap is not None else 1 << 31)


def _may_join(service, app: App, group: dict, one: dict) -> bool:
    """The reasons why a member fails; nobody is told which."""
    settings = service.settings
    book = service.ledger.of(app.sdkappid)
    account = one["Member_Account"]
    if account in settings.fail["member"] or not accounts.exists(service, app, account):
        return False
    if "JoinTime" in one and not group["create_time"] < one["JoinTime"] < int(service.clock.now()):
        return False
    if one.get("Role") == "Admin" and group["type"] == "Private":
        return False
    if settings.groups_per_user is not None and len(book.joined.get(account, ())) >= settings.groups_per_user:
        return False
    return len(book.room(group["group_id"]).members) < _limit(service, group)


def _add(service, app: App, call, group: dict, one: dict) -> int:
    room = service.ledger.of(app.sdkappid).room(group["group_id"])
    known = room.members.get(one["Member_Account"])
    if known is not None and (service.settings.member_again == "keep" or known["role"] == "Owner"):
        return MEMBER_ALREADY
    if known is None and not _may_join(service, app, group, one):
        return FAILED
    unread = min(one.get("UnreadMsgNum", 0), len(room.messages)) if group["type"] in COUNTING else 0
    happen(service, app, call, "member", {
        "group_id": group["group_id"], "member": one["Member_Account"],
        "role": one.get("Role", "Member"), "join_time": one.get("JoinTime", int(service.clock.now())),
        "unread": unread, "repeat": known is not None})
    return ADDED if known is None else MEMBER_ALREADY


def delete_group_member(service, app: App, call) -> dict:
    """Remove members; who is none is no error.  The owner stays."""
    group = find(service, app, call)
    if group["type"] == "AVChatRoom":
        raise bad("not for AVChatRoom")
    room = service.ledger.of(app.sdkappid).room(group["group_id"])
    for name in strings(batch(service, call, "MemberToDel_Account"), "MemberToDel_Account")[:call.partial]:
        if name in room.members and name != group["owner"]:
            happen(service, app, call, "leave", {"group_id": group["group_id"], "member": name})
    return {}


# Looking.


def info(room, account: str) -> dict:
    """One member, as the queries show it."""
    member = room.members[account]
    return {"Member_Account": account, "Role": member["role"], "JoinTime": member["join_time"],
            "MsgSeq": room.next_seq - 1 - room.unread(account), "MsgFlag": "AcceptAndNotify", "LastSendMsgTime": 0,
            "MuteUntil": 0, "NameCard": ""}


def infos(room, wanted: Optional[list]) -> list:
    """All members; with *wanted* only these fields of them."""
    return [_only(info(room, account), wanted) for account in room.members]


def _only(found: dict, wanted: Optional[list]) -> dict:
    if not wanted:
        return found
    return {name: value for name, value in found.items() if name in wanted or name == "Member_Account"}


def _query(service, app: App, call) -> tuple:
    """(room, fields wanted, roles wanted) of a query of members."""
    group = find(service, app, call)
    wanted = strings(call.body.get("MemberInfoFilter", []), "MemberInfoFilter")
    roles = strings(call.body.get("MemberRoleFilter", list(_ROLES)), "MemberRoleFilter")
    return service.ledger.of(app.sdkappid).room(group["group_id"]), wanted, roles


def get_group_member_info(service, app: App, call) -> dict:
    """All members in pages: by Offset, but by Next in a Community."""
    room, wanted, roles = _query(service, app, call)
    most = service.settings.batch_limits["get_group_member_info"]
    limit = call.body.get("Limit", most)
    integer(limit, "Limit", 1, most)
    community = room.group["type"] == "Community"
    start = _next(service, call.body) if community else call.body.get("Offset", 0)
    integer(start, "Offset", 0, 1 << 31)
    found = [account for account, member in room.members.items() if member["role"] in roles]
    answer = {"MemberNum": len(room.members),
              "MemberList": [_only(info(room, account), wanted) for account in found[start:start + limit]]}
    if community:
        following = start + limit if start + limit < len(found) else 0
        answer["Next"] = following if service.settings.next_type == "int" else str(following or "")
    return answer


def _next(service, body: dict) -> int:
    """Where a Community's page begins.  The documents know two first values: 0 and an empty string."""
    if "Offset" in body:
        raise bad("Offset is not supported by Community")
    start = body.get("Next", 0 if service.settings.next_type == "int" else "")
    if service.settings.next_type == "int":
        integer(start, "Next", 0, 1 << 31)
        return start
    if type(start) is not str or not (start == "" or start.isdecimal()):
        raise bad("Next is not one of ours")
    return int(start or 0)


def get_role_in_group(service, app: App, call) -> dict:
    """The roles of accounts, NotMember among them."""
    group = find(service, app, call)
    names = strings(batch(service, call, "User_Account"), "User_Account")
    known = service.ledger.of(app.sdkappid).room(group["group_id"]).members
    return {"UserIdList": [{"Member_Account": name, "Role": known[name]["role"] if name in known else "NotMember"}
                           for name in names]}


def get_specified_group_member_info(service, app: App, call) -> dict:
    """Some members.  How one who is none is shown is not documented; here it is left out."""
    room, wanted, roles = _query(service, app, call)
    names = strings(batch(service, call, "Member_List_Account"), "Member_List_Account")
    return {"MemberList": [_only(info(room, name), wanted) for name in names
                           if name in room.members and room.members[name]["role"] in roles]}


def self_info(service, room, account: str, wanted: list) -> dict:
    """One's own view of a group.  Older documents give the unread count, newer ones the read position."""
    found = info(room, account)
    found["UnreadMsgNum"] = room.unread(account) if room.group["type"] in COUNTING else 0
    hidden = {"old": "MsgSeq", "new": "UnreadMsgNum"}.get(service.settings.self_info)
    return {name: found[name] for name in wanted if name in found and name != hidden}
