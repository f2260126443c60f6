"""What /control/set can change while the service runs.

Half of these are questions that the documents leave open: a client has to work with every answer.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Optional

import commands

_CHOICES = {
    "text_limits": ("page", "sdk"),
    "owners": ("any", "listed"),
    "accounts": ("any", "listed"),
    "absent_code": (10010, 10015),
    "type_names": ("old", "new"),
    "user_ids": ("any", "ascii", "word"),
    "account_key": ("UserID", "Identifier", "any"),
    "account_again": ("keep", "overwrite"),
    "account_delete": ("allowed", "refused"),
    "deleted_accounts": ("blocked", "free"),
    "id_reuse": ("free", "taken"),
    "private_first_seq": (1, 2),
    "full_group": ("result", "call"),
    "member_again": ("keep", "overwrite"),
    "next_type": ("int", "string"),
    "self_info": ("new", "old", "both"),
    "senders": ("accounts", "members"),
    "absent_sender": ("result", "call"),
    "bad_element": ("call", "result"),
    "too_long": ("result", "call"),
    "equal_seconds": ("refuse", "allow"),
    "message_order": ("time", "duplicate"),
    "duplicate_result": ("ok_seq", "ok", "refused"),
    "duplicate_rule": ("random", "random_content"),
    "duplicate_clock": ("received", "send_time"),
    "place_keeps": ("all", "nothing"),
    "dialog_live": (5, 1),
    "dialog_rule": ("new", "old"),
    "dialog_names": ("documented", "newer"),
    "refused_count": (False, True),
    "empty_fail_lists": (False, True),
    "import_activates": (False, True),
}
_OPTIONAL = ("daily_quota", "plan_cap", "account_cap", "member_cap", "groups_per_user", "friend_cap", "retention_days",
             "read_back_bytes")
_BY_COMMAND = ("batch_limits", "over_batch", "rates")
FAILING = ("account", "member", "message", "friend", "dialog")


def _batch_limits() -> dict:
    return {name: command.batch for name, command in commands.BY_NAME.items() if command.batch is not None}


def _over_batch() -> dict:
    return {name: command.over for name, command in commands.BY_NAME.items() if command.batch is not None}


def published_rates() -> dict:
    """Calls a second of each command, as the documents have them."""
    return {name: command.rate for name, command in commands.BY_NAME.items()}


@dataclass
class Settings:
    """The settings with their defaults; README.md says what they mean."""

    # How often and how much.
    rate: int = 0                       # calls/s of each command and app; 0: unlimited
    rates: dict = field(default_factory=lambda: {"get_appid_group_list": 1})  # of one command, instead of rate
    app_rate: int = 0                   # calls/s of all commands of an app together
    refused_count: bool = False         # a call that is refused as too fast counts, too
    batch_limits: dict = field(default_factory=_batch_limits)
    over_batch: dict = field(default_factory=_over_batch)  # the code for more than that
    latency_ms: float = 0               # each answer leaves so much later
    query_lag_ms: float = 0             # queries do not see messages that are younger
    clock_offset: float = 0             # the service's clock is ahead by so many seconds
    lockout: Optional[dict] = field(    # None: never
        default_factory=lambda: {"failures": 20, "within": 60, "seconds": 60})

    # What always fails: kind -> {account, or for messages a word in the body: code}.
    fail: dict = field(default_factory=lambda: {kind: {} for kind in FAILING})

    # Accounts and friends.
    accounts: str = "any"               # listed: members, senders, friends, both ends, owners must be imported
    user_ids: str = "any"               # any, printable ASCII, or letters, digits, _ and -
    account_key: str = "UserID"
    account_again: str = "keep"         # a second account_import: the old profile or the new one
    account_cap: Optional[int] = None   # 70398
    account_delete: str = "allowed"     # or 71000
    deleted_accounts: str = "blocked"   # 70399
    empty_fail_lists: bool = False      # FailAccounts, Fail_Account also when nothing failed
    friend_again_code: int = 0
    friend_cap: Optional[int] = None    # 30010

    # Groups.
    owners: str = "any"                 # any | listed
    custom_keys: Optional[list] = None  # None: any
    text_limits: str = "page"           # page | sdk
    type_names: str = "old"             # old | new
    absent_code: int = 10010            # or 10015
    daily_quota: Optional[int] = None   # groups created minus dissolved, per app and UTC day
    plan_cap: Optional[int] = None      # groups an app may have
    id_reuse: str = "free"              # taken: the id of a dissolved group is answered 10021
    private_first_seq: int = 1          # seq of the first message of a Private group

    # Members.
    member_cap: Optional[int] = None    # the plan's, beside the group's own
    groups_per_user: Optional[int] = None
    full_group: str = "result"          # Result 0, or 10014 for the call
    member_again: str = "keep"          # whether Result 2 changes role, time and count
    next_type: str = "int"              # the Next of a Community's members: 0 or ""
    self_info: str = "new"              # new: MsgSeq, old: UnreadMsgNum

    # Group messages.
    message_bytes: int = 12288
    senders: str = "accounts"           # members: a sender must be one
    absent_sender: str = "result"       # 10004 for the message, or 10019 for the call
    too_long: str = "result"            # 80002 for the message, or 10020 for the call
    bad_element: str = "call"           # 10004 for the call, or for the message
    equal_seconds: str = "refuse"
    message_order: str = "time"         # which check comes first
    duplicate_result: str = "ok_seq"    # 0 with the old MsgSeq, 0 without one, 10004
    duplicate_rule: str = "random"      # random_content: the content must be equal, too
    duplicate_clock: str = "received"
    duplicate_seconds: float = 300
    import_activates: bool = False      # whether an imported message activates a Private group
    retention_days: Optional[float] = None
    place_keeps: str = "all"            # what is left of a message past that: its marks, or nothing
    read_back_bytes: Optional[int] = None
    unread_stranger_code: int = 10004   # 0: taken without effect

    # One-to-one messages.
    dialog_live: int = 5
    dialog_rule: str = "new"            # old: From, To, MsgRandom, MsgTimeStamp make a message
    dialog_duplicate_code: int = 0
    dialog_names: str = "documented"    # newer: admin_getroammsg knows Operator_Account and Peer_Account only

    def change(self, changes: dict):
        """Apply *changes*, all of them or none; ValueError says what is wrong with them."""
        names = {one.name for one in fields(self)}
        for name, value in changes.items():
            if name not in names:
                raise ValueError("no such setting: %s" % name)
            self._check(name, value)
        for name, value in changes.items():
            setattr(self, name, self._made(name, value))

    def _made(self, name: str, value):
        """*value* as it is kept.  Limits and failures that are not named stay what they are."""
        if name == "custom_keys" and isinstance(value, str):
            return None if value == "any" else value.split(",")
        if name == "rates" and value == "published":
            return published_rates()
        if name in ("batch_limits", "over_batch", "fail"):
            return dict(getattr(self, name), **value)
        return value

    def _check(self, name: str, value):
        if name in _CHOICES:
            if value not in _CHOICES[name] or isinstance(value, bool) != isinstance(_CHOICES[name][0], bool):
                raise ValueError("%s is one of %s" % (name, list(_CHOICES[name])))
        elif name == "lockout":
            if value is not None and set(value) != {"failures", "within", "seconds"}:
                raise ValueError("lockout is null or has failures, within and seconds")
        elif name == "custom_keys":
            if value is not None and not isinstance(value, (str, list)):
                raise ValueError("custom_keys is null, a list, or names separated by commas")
        elif name == "fail":
            _check_fail(value)
        elif name in _BY_COMMAND:
            _check_by_command(name, value)
        elif not (value is None and name in _OPTIONAL) and not _is_number(value):
            raise ValueError("%s is a number" % name)


def _is_number(value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _check_fail(value):
    if not isinstance(value, dict) or set(value) - set(FAILING):
        raise ValueError("fail is an object with some of %s" % ", ".join(FAILING))
    for one in value.values():
        if not isinstance(one, dict) or not all(_is_number(code) for code in one.values()):
            raise ValueError("fail has an object of codes for each kind")


def _check_by_command(name: str, value):
    if name == "rates" and value == "published":
        return
    if not isinstance(value, dict):
        raise ValueError("%s is an object" % name)
    known = published_rates() if name == "rates" else _batch_limits()
    for command, number in value.items():
        if command not in known or not _is_number(number):
            raise ValueError("%s has no %s, or it is not a number" % (name, command))
