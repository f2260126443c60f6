"""All that the service holds, and the file that says so.

Every change is an entry: one line of DIR/ledger.jsonl, written before the caller is told, and applied
to the memory by the same function at once or when a restarted service reads the file.  So the memory
is never more or less than the lines, and a test that reads the lines sees each thing as often as it
was done.

An entry has a kind, sdkappid, n (of its call), t, and what APPLY's function for the kind reads.
"""

from __future__ import annotations

import json
import os
from typing import Callable, Optional

from base import write_all

_encode = json.JSONEncoder(ensure_ascii=True).encode


class Room:
    """What happens inside a group.  Made when the first member or message comes: most stay empty.

    How far somebody has read is ``read`` if it has them, else ``read_base``.
    """

    __slots__ = ("group", "members", "first_seq", "messages", "last_time", "randoms", "read_base", "read", "active")

    def __init__(self, group: dict):
        self.group = group
        self.members: dict = {}         # account -> {"role", "join_time"}
        self.first_seq: int = group.get("first_seq", 1)
        self.messages: list = []        # their ledger lines, as bytes: there may be millions
        self.last_time = 0
        self.randoms: dict = {}         # Random -> (received, SendTime, seq, content), oldest first
        self.read_base = self.first_seq - 1
        self.read: dict = {}            # account -> last seq that was read
        self.active = group["type"] != "Private"
        if group["owner"]:
            self.members[group["owner"]] = {"role": "Owner", "join_time": group["create_time"]}

    @property
    def next_seq(self) -> int:
        """The seq of the next message."""
        return self.first_seq + len(self.messages)

    def unread(self, account: str) -> int:
        """How many messages *account* has not read."""
        return self.next_seq - 1 - self.read.get(account, self.read_base)

    def message(self, seq: int) -> Optional[dict]:
        """The message with this seq, as its ledger entry; None: it is lost."""
        line = self.messages[seq - self.first_seq]
        return None if line is None else json.loads(line)


class Book:
    """Everything of one app."""

    def __init__(self):
        self.groups: dict = {}          # id -> its ledger entry
        self.rooms: dict = {}           # id -> Room, if anything happened in it
        self.dissolved: set = set()     # ids
        self.joined: dict = {}          # account -> {group id: None}, in the order of joining
        self.accounts: dict = {}        # UserID -> {"Nick", "FaceUrl"}
        self.deleted: set = set()       # UserIDs
        self.profiles: dict = {}        # UserID -> {Tag: Value}
        self.friends: dict = {}         # From -> {To: item}
        self.dialogs: dict = {}         # pair -> {"keys": {key: None}, "lines": [bytes]}

    def room(self, group_id: str) -> Room:
        """The room of a group that exists."""
        room = self.rooms.get(group_id)
        if room is None:
            room = self.rooms[group_id] = Room(self.groups[group_id])
        return room

    def dialog(self, one: str, other: str) -> dict:
        """What two accounts said to each other, both directions together."""
        return self.dialogs.setdefault(pair(one, other), {"keys": {}, "lines": []})


def pair(one: str, other: str) -> tuple:
    """The same for both directions."""
    return (one, other) if one <= other else (other, one)


class Ledger:
    """The books of all apps.

    The file is only ever appended to.  ``{"reset": true}`` in it voids everything above.
    """

    def __init__(self, path: str, load: bool):
        self.path = path
        self.books: dict = {}
        self.created = 0
        self.applied: dict = {}         # kind -> entries since the start or the last reset
        self.net_today: dict = {}
        self._pending: list = []        # lines that are not on file yet
        if load:
            self._load(path)
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self.start = 0                  # where the lines that count begin in the file
        if not load:
            self._void()

    def _load(self, path: str):
        if not os.path.exists(path):
            return
        with open(path, "rb") as lines:
            for line in lines:
                entry = json.loads(line)
                if "reset" in entry:
                    self.books.clear()
                else:
                    APPLY[entry["kind"]](self.of(entry["sdkappid"]), entry, line)

    def _void(self):
        if os.fstat(self._file).st_size:
            write_all(self._file, b'{"reset": true}\n')
        self.start = os.fstat(self._file).st_size

    def of(self, sdkappid: int) -> Book:
        """The book of one app."""
        book = self.books.get(sdkappid)
        if book is None:
            book = self.books[sdkappid] = Book()
        return book

    def put(self, entry: dict):
        """Let *entry* happen.  It is on file after flush(), which comes before anybody is told."""
        line = _encode(entry).encode() + b"\n"
        self._pending.append(line)
        kind = entry["kind"]
        APPLY[kind](self.of(entry["sdkappid"]), entry, line)
        self.applied[kind] = self.applied.get(kind, 0) + 1

    def flush(self):
        """Write what a call made happen, in one go."""
        if self._pending:
            write_all(self._file, b"".join(self._pending))
            self._pending.clear()

    def count_group(self, sdkappid: int, day: int, change: int):
        """A group more or less today."""
        self.created += change > 0
        key = (sdkappid, day)
        self.net_today[key] = self.net_today.get(key, 0) + change

    def all(self) -> list:
        """Every group of every app, in the order of creation within an app."""
        return [group for book in self.books.values() for group in book.groups.values()]

    def lines(self, kind: Optional[str] = None) -> list:
        """The entries since the last reset, of one kind or of all."""
        with open(self.path, "rb") as file:
            entries: list = []
            for line in file:
                entry = json.loads(line)
                if "reset" in entry:
                    entries.clear()
                elif kind is None or entry["kind"] == kind:
                    entries.append(entry)
            return entries

    def reset(self):
        """Forget everything."""
        self.books.clear()
        self.net_today.clear()
        self.applied.clear()
        self.created = 0
        self._void()


# How an entry changes the book.


def _group(book: Book, entry: dict, line: bytes):
    group_id = entry["group_id"]
    book.groups[group_id] = entry
    if entry["owner"]:
        book.joined.setdefault(entry["owner"], {})[group_id] = None


def _destroy(book: Book, entry: dict, line: bytes):
    group_id = entry["destroyed"]
    room = book.rooms.pop(group_id, None)
    group = book.groups.pop(group_id)
    for account in room.members if room else [group["owner"]]:
        book.joined.get(account, {}).pop(group_id, None)
    book.dissolved.add(group_id)


def _modify(book: Book, entry: dict, line: bytes):
    """The group is a new entry: the one from the import stays what it was."""
    group = dict(book.groups[entry["group_id"]])
    group["body"] = dict(group["body"], **entry["changes"])
    group["name"] = group["body"]["Name"]
    book.groups[entry["group_id"]] = group
    if entry["group_id"] in book.rooms:
        book.rooms[entry["group_id"]].group = group


def _member(book: Book, entry: dict, line: bytes):
    room = book.room(entry["group_id"])
    account = entry["member"]
    room.members[account] = {"role": entry["role"], "join_time": entry["join_time"]}
    book.joined.setdefault(account, {})[entry["group_id"]] = None
    _set_unread(room, account, entry["unread"])


def _leave(book: Book, entry: dict, line: bytes):
    room = book.room(entry["group_id"])
    room.members.pop(entry["member"], None)
    room.read.pop(entry["member"], None)
    book.joined.get(entry["member"], {}).pop(entry["group_id"], None)


def _message(book: Book, entry: dict, line: bytes):
    """A message of the import is read by all.  A live one is unread by all but its sender."""
    room = book.room(entry["group_id"])
    sender = entry["from"]
    room.randoms.pop(entry["random"], None)
    room.randoms[entry["random"]] = (entry["at"], entry["time"], entry["seq"], entry["body"])
    room.messages.append(line)
    room.last_time = max(room.last_time, entry["time"])
    if entry["live"]:
        room.read[sender] = entry["seq"]
        room.active = room.active or sender == room.group["owner"]
    else:
        room.read.clear()
        room.read_base = entry["seq"]
        room.active = room.active or entry.get("activates", False)


def _changed(lines: list, at: int, to: Optional[dict]):
    """One of the lines says something else, or is lost."""
    lines[at] = None if to is None else _encode(dict(json.loads(lines[at]), **to)).encode() + b"\n"


def _message_change(book: Book, entry: dict, line: bytes):
    room = book.room(entry["group_id"])
    if entry["to"] is None:
        room.randoms.pop(room.message(entry["seq"])["random"], None)
    _changed(room.messages, entry["seq"] - room.first_seq, entry["to"])
    if entry["to"] is None:
        room.last_time = max((json.loads(line)["time"] for line in room.messages if line), default=0)


def _all_read(book: Book, entry: dict, line: bytes):
    room = book.room(entry["group_id"])
    room.read.clear()
    room.read_base = room.next_seq - 1


def _unread(book: Book, entry: dict, line: bytes):
    _set_unread(book.room(entry["group_id"]), entry["member"], entry["unread"])


def _set_unread(room: Room, account: str, number: int):
    room.read[account] = room.next_seq - 1 - number
    if room.read[account] == room.read_base:
        del room.read[account]


def _account(book: Book, entry: dict, line: bytes):
    book.accounts[entry["user_id"]] = {"Nick": entry["nick"], "FaceUrl": entry["face_url"]}


def _account_delete(book: Book, entry: dict, line: bytes):
    user = entry["user_id"]
    book.accounts.pop(user, None)
    book.profiles.pop(user, None)
    book.friends.pop(user, None)
    for friends in book.friends.values():
        friends.pop(user, None)
    for group_id in book.joined.pop(user, {}):
        book.room(group_id).members.pop(user, None)
    book.deleted.add(user)


def _profile(book: Book, entry: dict, line: bytes):
    book.profiles.setdefault(entry["user_id"], {}).update(entry["items"])


def _friend(book: Book, entry: dict, line: bytes):
    book.friends.setdefault(entry["from"], {})[entry["to"]] = entry["item"]


def _friend_change(book: Book, entry: dict, line: bytes):
    book.friends.get(entry["from"], {}).pop(entry["friend"], None)


def _dialog_change(book: Book, entry: dict, _: bytes):
    lines = book.dialog(entry["from"], entry["other"])["lines"]
    if entry["to"] is None:
        line = lines.pop(entry["at"])
        book.dialog(entry["from"], entry["other"])["keys"].pop(tuple(json.loads(line)["key"]), None)
    else:
        _changed(lines, entry["at"], entry["to"])


def _dialog(book: Book, entry: dict, line: bytes):
    dialog = book.dialog(entry["from"], entry["to"])
    dialog["keys"][tuple(entry["key"])] = None
    dialog["lines"].append(line)


APPLY: "dict[str, Callable]" = {
    "group": _group,
    "destroy": _destroy,
    "modify": _modify,
    "member": _member,
    "leave": _leave,
    "message": _message,
    "message_change": _message_change,
    "all_read": _all_read,
    "unread": _unread,
    "account": _account,
    "account_delete": _account_delete,
    "profile": _profile,
    "friend": _friend,
    "friend_change": _friend_change,
    "dialog": _dialog,
    "dialog_change": _dialog_change,
}
