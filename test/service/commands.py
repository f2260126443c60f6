"""The commands of the service: one line each.

A handler takes (service, app, call), lets entries happen in the ledger or raises Refusal, and returns
the members that its answer has beyond ActionStatus, ErrorInfo and ErrorCode.  It checks the whole call
before it changes anything, and carries out no more than the first ``call.partial`` items of a batch.

Where the published documents are silent the stricter reading is taken: a client that stays inside
it works in either case.  Where they contradict each other there is a setting.
"""

from __future__ import annotations

from typing import Callable, NamedTuple, Optional

import accounts
import dialogs
import friends
import groups
import members
import messages


class Command(NamedTuple):
    """One command: its handler, the items of a call, the code for more, the published calls/s."""

    run: Callable
    batch: Optional[int] = None
    over: int = 10004
    rate: int = 200


_BY_SERVICE = {
    "/v4/im_open_login_svc/": {
        "account_import": Command(accounts.account_import),
        "multiaccount_import": Command(accounts.multiaccount_import, 100, 70206, 100),
        "account_check": Command(accounts.account_check, 100, 70206, 100),
        "account_delete": Command(accounts.account_delete, 100, 70206, 100),
    },
    "/v4/profile/": {
        "portrait_set": Command(accounts.portrait_set),
        "portrait_get": Command(accounts.portrait_get, 100, 40001),
    },
    "/v4/sns/": {
        "friend_import": Command(friends.friend_import, 1000, 30001),
        "friend_check": Command(friends.friend_check, 1000, 30001),
    },
    "/v4/openim/": {
        "importmsg": Command(dialogs.importmsg),
        "admin_getroammsg": Command(dialogs.admin_getroammsg, 100, 90001),
    },
    "/v4/group_open_http_svc/": {
        "import_group": Command(groups.import_group),
        "get_group_info": Command(groups.get_group_info, 50),
        "modify_group_base_info": Command(groups.modify_group_base_info),
        "destroy_group": Command(groups.destroy_group),
        "get_appid_group_list": Command(groups.get_appid_group_list, 10000, 10004, 1),
        "get_joined_group_list": Command(groups.get_joined_group_list, 5000),
        "import_group_member": Command(members.import_group_member, 20, 10005),
        "delete_group_member": Command(members.delete_group_member, 100),
        "get_group_member_info": Command(members.get_group_member_info, 200),
        "get_role_in_group": Command(members.get_role_in_group, 500),
        "get_specified_group_member_info": Command(members.get_specified_group_member_info, 50),
        "import_group_msg": Command(messages.import_group_msg, 7, 10004),
        "group_msg_get_simple": Command(messages.group_msg_get_simple, 20),
        "set_unread_msg_num": Command(messages.set_unread_msg_num),
    },
}

COMMANDS = {prefix + name: command for prefix, listed in _BY_SERVICE.items() for name, command in listed.items()}
BY_NAME = {path.rsplit("/", 1)[1]: command for path, command in COMMANDS.items()}
SERVICES = frozenset(prefix.rstrip("/") for prefix in _BY_SERVICE)
