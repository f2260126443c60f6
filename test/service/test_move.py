#!/usr/bin/env python3
"""Tests of the stand-in: the commands of the whole move beside import_group.

  python3 test/service/test_move.py
"""

from __future__ import annotations

import sys

sys.dont_write_bytecode = True

import http.client
import json
import os
import shutil
import subprocess
import time
import unittest

from test_im_service import ADMIN, GROUP, HERE, PLAIN, Case, Stand

LOGIN = "/v4/im_open_login_svc/"
PROFILE = "/v4/profile/"
SNS = "/v4/sns/"
OPENIM = "/v4/openim/"
CREATED = 1448357837


def text(words="hello") -> list:
    """A MsgBody."""
    return [{"MsgType": "TIMTextElem", "MsgContent": {"Text": words}}]


def message(sent, number=None, sender="ann", body=None, **more) -> dict:
    """An entry of MsgList; its Random is its time unless given."""
    return dict({"From_Account": sender, "SendTime": sent, "Random": sent if number is None else number,
                 "MsgBody": text() if body is None else body}, **more)


class MoveCase(Case):
    """Short ways to call."""

    def set(self, **settings):
        self.stand.control("set", settings)

    def ask(self, command, prefix=GROUP, expected=0, **body) -> dict:
        answer = self.stand.call(body, prefix + command)
        self.assertEqual(answer["ErrorCode"], expected, answer)
        return answer

    def entries(self, kind) -> list:
        return self.stand.control("ledger?kind=" + kind)["entries"]

    def accounts(self, *names, **more):
        self.ask("multiaccount_import", LOGIN, AccountList=[{"UserID": name} for name in names], **more)

    def room(self, group_id="g", **changes):
        body = dict(PLAIN, GroupId=group_id, Owner_Account="olga", CreateTime=CREATED)
        body.update(changes)
        self.code(0, {name: value for name, value in body.items() if value is not None})

    def inside(self, group_id="g") -> dict:
        return self.stand.control("group?group_id=" + group_id.replace("#", "%23"))

    def members(self, *listed, group_id="g", expected=0):
        answer = self.ask("import_group_member", expected=expected, GroupId=group_id, MemberList=[
            one if isinstance(one, dict) else {"Member_Account": one} for one in listed])
        return [one["Result"] for one in answer.get("MemberList", ())]

    def say(self, *listed, group_id="g", expected=0, **more) -> list:
        """import_group_msg: (Result, MsgSeq) of each message."""
        answer = self.ask("import_group_msg", expected=expected, GroupId=group_id, MsgList=[
            one if isinstance(one, dict) else message(one) for one in listed], **more)
        return [(one["Result"], one.get("MsgSeq")) for one in answer.get("ImportMsgResult", ())]

    def base(self, group_id="g", *fields) -> dict:
        return self.stand.info([group_id], ResponseFilter={"GroupBaseInfoFilter": list(fields)})[0]

    def unread(self, group_id="g") -> dict:
        return {name: one["unread"] for name, one in self.inside(group_id)["members"].items()}


class AccountTest(MoveCase):
    """Accounts and profiles."""

    def test_one(self):
        self.ask("account_import", LOGIN, UserID="ann", Nick="Ann", FaceUrl="f")
        self.ask("account_import", LOGIN, UserID="ann", Nick="Bob")
        (first,) = self.entries("account")
        wanted = {"user_id": "ann", "nick": "Ann", "face_url": "f", "repeat": False}
        self.assertEqual({name: first[name] for name in wanted}, wanted)
        self.set(account_again="overwrite")
        self.ask("account_import", LOGIN, UserID="ann", Nick="Bob")
        self.ask("account_import", LOGIN, UserID="ann", Nick="Bob")
        (_, second) = self.entries("account")
        self.assertEqual((second["nick"], second["face_url"], second["repeat"]), ("Bob", "f", True))
        account = self.stand.control("account?user_id=ann")["account"]
        self.assertEqual(account, {"Nick": "Bob", "FaceUrl": "f"})

    def test_limits(self):
        self.ask("account_import", LOGIN, UserID="x" * 32, Nick="x" * 500, FaceUrl="群" * 166)
        self.ask("account_import", LOGIN, 40601, UserID="x", FaceUrl="群" * 167)
        self.ask("account_import", LOGIN, 70402, UserID="群" * 11)
        self.ask("account_import", LOGIN, UserID="a|b [é]")
        self.set(user_ids="ascii")
        self.ask("account_import", LOGIN, 70402, UserID="é")
        self.ask("account_import", LOGIN, UserID="a|b []")
        self.set(user_ids="word")
        self.ask("account_import", LOGIN, 70402, UserID="a|b")
        self.ask("account_import", LOGIN, UserID="a-_9Z")

    def test_the_old_key(self):
        self.set(account_key="Identifier")
        self.ask("account_import", LOGIN, 70402, UserID="a")
        self.ask("account_import", LOGIN, Identifier="a")
        self.set(account_key="any")
        self.ask("account_import", LOGIN, Identifier="b")
        self.ask("account_import", LOGIN, UserID="c")
        self.assertEqual([one["user_id"] for one in self.entries("account")], ["a", "b", "c"])

    def test_many(self):
        answer = self.ask("multiaccount_import", LOGIN, AccountList=[{"UserID": "a", "Nick": "A"}, {"UserID": "b"}])
        self.assertNotIn("FailAccounts", answer)
        self.ask("multiaccount_import", LOGIN, AccountList=[{"UserID": "a", "Nick": "New"}])
        self.ask("multiaccount_import", LOGIN, Accounts=["a", "c"])
        self.assertEqual(self.stand.control("account?user_id=a")["account"]["Nick"], "New")
        self.assertEqual([(one["user_id"], one["repeat"]) for one in self.entries("account")],
                         [("a", False), ("b", False), ("a", True), ("c", False)])
        self.set(empty_fail_lists=True)
        self.assertEqual(self.ask("multiaccount_import", LOGIN, Accounts=["a"])["FailAccounts"], [])

    def test_many_fail(self):
        self.set(fail={"account": {"bad": 70500}})
        answer = self.ask("multiaccount_import", LOGIN, AccountList=[
            {"UserID": "a"}, {"UserID": "bad"}, {"UserID": "x" * 33}, {"UserID": "n", "Nick": "x" * 501}])
        self.assertEqual(answer["FailAccounts"], ["bad", "x" * 33, "n"])
        self.assertEqual(self.stand.journal()[-1]["results"], ["bad", "x" * 33, "n"])
        self.ask("account_import", LOGIN, 70500, UserID="bad")
        self.assertEqual([one["user_id"] for one in self.entries("account")], ["a"])

    def test_batches(self):
        hundred = ["u%d" % one for one in range(100)]
        for command, name in (("multiaccount_import", "AccountList"), ("account_check", "CheckItem"),
                              ("account_delete", "DeleteItem")):
            items = [{"UserID": one} for one in hundred]
            self.ask(command, LOGIN, **{name: items})
            self.ask(command, LOGIN, 70206, **{name: items + items[:1]})
            self.ask(command, LOGIN, 70402, **{name: []})
            self.ask(command, LOGIN, 70402, **{name: ["a"]})
            self.ask(command, LOGIN, 70402, **{name: [{"UserID": 1}]})
            self.set(batch_limits={command: 2}, over_batch={command: 70402})
            self.ask(command, LOGIN, 70402, **{name: items[:3]})
        self.ask("multiaccount_import", LOGIN, 70402)
        self.ask("multiaccount_import", LOGIN, 70402, Accounts=["a"], AccountList=[{"UserID": "a"}])

    def test_check(self):
        self.accounts("a")
        answer = self.ask("account_check", LOGIN, CheckItem=[{"UserID": "a"}, {"UserID": "b"}])
        self.assertEqual(answer["ResultItem"], [
            {"UserID": "a", "ResultCode": 0, "ResultInfo": "", "AccountStatus": "Imported"},
            {"UserID": "b", "ResultCode": 0, "ResultInfo": "", "AccountStatus": "NotImported"}])

    def test_delete(self):
        self.accounts("a", "b")
        self.room()
        self.members("a", "b")
        answer = self.ask("account_delete", LOGIN, DeleteItem=[{"UserID": "a"}, {"UserID": "x"}])
        self.assertEqual([one["ResultCode"] for one in answer["ResultItem"]], [0, 70107])
        self.assertEqual(sorted(self.inside()["members"]), ["b", "olga"])
        self.ask("account_import", LOGIN, 70399, UserID="a")
        self.assertEqual(self.ask("multiaccount_import", LOGIN, Accounts=["a"])["FailAccounts"], ["a"])
        self.set(deleted_accounts="free")
        self.ask("account_import", LOGIN, UserID="a")
        self.set(account_delete="refused")
        self.ask("account_delete", LOGIN, 71000, DeleteItem=[{"UserID": "a"}])

    def test_the_cap_of_the_trial(self):
        self.set(account_cap=2)
        self.accounts("a", "b")
        self.ask("account_import", LOGIN, 70398, UserID="c")
        self.ask("account_import", LOGIN, UserID="a")
        self.assertEqual(self.ask("multiaccount_import", LOGIN, Accounts=["b", "c"])["FailAccounts"], ["c"])

    def test_profiles(self):
        self.set(accounts="listed")
        self.ask("portrait_set", PROFILE, 40003, From_Account="a",
                 ProfileItem=[{"Tag": "Tag_Profile_IM_Nick", "Value": "N"}])
        self.ask("account_import", LOGIN, UserID="a", Nick="N", FaceUrl="F")
        self.ask("portrait_set", PROFILE, From_Account="a", ProfileItem=[
            {"Tag": "Tag_Profile_IM_Nick", "Value": "M"}, {"Tag": "Tag_Profile_Custom_x", "Value": 1}])
        answer = self.ask("portrait_get", PROFILE, To_Account=["a", "b"], TagList=[
            "Tag_Profile_IM_Nick", "Tag_Profile_IM_Image", "Tag_Profile_IM_Gender"])
        one, other = answer["UserProfileItem"]
        self.assertEqual(one["ProfileItem"], [{"Tag": "Tag_Profile_IM_Nick", "Value": "M"},
                                              {"Tag": "Tag_Profile_IM_Image", "Value": "F"}])
        self.assertEqual(other["ResultCode"], 40003)
        for code, item in ((40008, {"Tag": "Nick", "Value": ""}),
                           (40601, {"Tag": "Tag_Profile_IM_Nick", "Value": "x" * 501})):
            self.ask("portrait_set", PROFILE, code, From_Account="a", ProfileItem=[item])
        self.ask("portrait_set", PROFILE, 40001, From_Account="a")


class MemberTest(MoveCase):
    """Members and the queries about them."""

    def test_results(self):
        self.room()
        self.assertEqual(self.members("a", "b"), [1, 1])
        self.assertEqual(self.members("b", "c", "c", "olga"), [2, 1, 2, 2])
        self.assertEqual([one["member"] for one in self.entries("member")], ["a", "b", "c"])
        self.assertEqual(self.stand.journal()[-1]["results"], [2, 1, 2, 2])
        self.assertEqual(self.base("g", "MemberNum")["MemberNum"], 4)
        answer = self.ask("import_group_member", GroupId="g", MemberList=[{"Member_Account": "d"}])
        self.assertEqual(answer["MemberList"], [{"Member_Account": "d", "Result": 1}])

    def test_content(self):
        self.room()
        self.members({"Member_Account": "a", "Role": "Admin", "JoinTime": CREATED + 1}, "b")
        first, second = self.entries("member")
        self.assertEqual((first["role"], first["join_time"], first["repeat"]), ("Admin", CREATED + 1, False))
        self.assertEqual(second["role"], "Member")
        self.assertAlmostEqual(second["join_time"], time.time(), delta=60)
        self.assertEqual(self.inside()["members"]["olga"], {"role": "Owner", "join_time": CREATED, "unread": 0})

    def test_again(self):
        self.room()
        again = {"Member_Account": "a", "Role": "Admin"}
        self.members("a")
        self.assertEqual(self.members(again), [2])
        self.assertEqual(self.inside()["members"]["a"]["role"], "Member")
        self.set(member_again="overwrite")
        self.assertEqual(self.members(again, dict(again, Member_Account="olga")), [2, 2])
        self.assertEqual(self.inside()["members"]["a"]["role"], "Admin")
        self.assertEqual(self.inside()["members"]["olga"]["role"], "Owner")

    def test_join_time(self):
        self.room()
        now = int(time.time())
        at = lambda name, when: {"Member_Account": name, "JoinTime": when}
        self.assertEqual(self.members(at("a", CREATED), at("b", CREATED + 1), at("c", now - 1), at("d", now + 5)),
                         [0, 1, 1, 0])

    def test_why_a_member_fails(self):
        self.set(accounts="listed")
        self.accounts("olga", "a", "bad")
        self.set(fail={"member": {"bad": 0}})
        self.room(Type="Private")
        self.assertEqual(self.members("a", "stranger", "bad", {"Member_Account": ADMIN, "Role": "Admin"}), [1, 0, 0, 0])
        self.assertEqual(self.members(ADMIN), [1], "an admin of the app is an account")
        self.set(groups_per_user=1)
        self.code(10037, dict(PLAIN, Owner_Account="olga"))
        self.room("h", Owner_Account="bad")
        self.assertEqual(self.members("a", group_id="h"), [0])

    def test_full(self):
        self.room(MaxMemberCount=3)
        self.assertEqual(self.members("a", "b", "c"), [1, 1, 0])
        self.assertEqual(self.members("a", "c"), [2, 0])
        self.set(full_group="call")
        self.members("a", "c", expected=10014)
        self.assertEqual(self.members("a"), [2])
        self.room("h")
        self.set(member_cap=2)
        self.members("a", "b", group_id="h", expected=10014)
        self.set(full_group="result")
        self.assertEqual(self.members("a", "b", group_id="h"), [1, 0])

    def test_batch(self):
        self.room()
        names = ["u%d" % one for one in range(501)]
        self.members(*names[:21], expected=10005)
        self.members(*names[:20])
        for most in (100, 300, 500):
            self.set(batch_limits={"import_group_member": most})
            self.members(*names[:most])
            self.members(*names[:most + 1], expected=10005)
        self.assertEqual(self.base("g", "MemberNum")["MemberNum"], 501)

    def test_refused(self):
        self.room()
        self.members("a", group_id="nothing", expected=10010)
        for wrong in ({}, {"Member_Account": 1}, {"Member_Account": ""}, {"Member_Account": "x" * 33},
                      {"Member_Account": "a", "Role": "Member"}, {"Member_Account": "a", "Role": "Owner"},
                      {"Member_Account": "a", "JoinTime": "1"}, {"Member_Account": "a", "UnreadMsgNum": -1}):
            self.members("b", wrong, expected=10004)
        self.members(expected=10004)
        self.ask("import_group_member", expected=10004, MemberList=[{"Member_Account": "a"}])
        self.assertEqual(self.entries("member"), [])
        self.members({"Member_Account": "a", "NameCard": "x"})
        self.assertEqual(self.stand.journal()[-1]["unknown_fields"], ["NameCard"])

    def test_unread_at_the_import(self):
        self.room()
        self.members({"Member_Account": "a", "UnreadMsgNum": 5})
        self.say(CREATED + 1, CREATED + 2)
        self.members({"Member_Account": "b", "UnreadMsgNum": 5}, {"Member_Account": "c", "UnreadMsgNum": 1}, "d")
        self.assertEqual(self.unread(), {"olga": 0, "a": 0, "b": 2, "c": 1, "d": 0})

    def test_delete(self):
        self.room()
        self.members("a", "b")
        self.ask("delete_group_member", GroupId="g", MemberToDel_Account=["a", "stranger", "olga"])
        self.assertEqual(sorted(self.inside()["members"]), ["b", "olga"])
        self.assertEqual([one["member"] for one in self.entries("leave")], ["a"])
        self.assertEqual(self.members("a"), [1])
        self.ask("delete_group_member", expected=10004, GroupId="g", MemberToDel_Account=["a"] * 101)
        self.ask("delete_group_member", expected=10010, GroupId="h", MemberToDel_Account=["a"])

    def test_roles(self):
        self.room()
        self.members("a", {"Member_Account": "b", "Role": "Admin"})
        answer = self.ask("get_role_in_group", GroupId="g", User_Account=["b", "a", "x", "olga"])
        self.assertEqual(answer["UserIdList"], [
            {"Member_Account": "b", "Role": "Admin"}, {"Member_Account": "a", "Role": "Member"},
            {"Member_Account": "x", "Role": "NotMember"}, {"Member_Account": "olga", "Role": "Owner"}])
        self.ask("get_role_in_group", GroupId="g", User_Account=["a"] * 500)
        self.ask("get_role_in_group", expected=10004, GroupId="g", User_Account=["a"] * 501)
        self.ask("get_role_in_group", expected=10010, GroupId="x", User_Account=["a"])

    def test_specified(self):
        self.room()
        self.members({"Member_Account": "a", "JoinTime": CREATED + 9}, {"Member_Account": "b", "Role": "Admin"})
        answer = self.ask("get_specified_group_member_info", GroupId="g", Member_List_Account=["a", "x", "b"],
                          MemberInfoFilter=["JoinTime", "Role"], MemberRoleFilter=["Member"])
        self.assertEqual(answer["MemberList"], [{"Member_Account": "a", "Role": "Member", "JoinTime": CREATED + 9}])
        self.ask("get_specified_group_member_info", expected=10004, GroupId="g", Member_List_Account=["a"] * 51)

    def test_pages(self):
        self.room()
        self.members(*"abcde")
        names = lambda answer: "".join(one["Member_Account"][0] for one in answer["MemberList"])
        answer = self.ask("get_group_member_info", GroupId="g", Limit=4, Offset=0)
        self.assertEqual((answer["MemberNum"], names(answer)), (6, "oabc"))
        self.assertEqual(names(self.ask("get_group_member_info", GroupId="g", Limit=4, Offset=4)), "de")
        answer = self.ask("get_group_member_info", GroupId="g", MemberRoleFilter=["Owner"], MemberInfoFilter=["Role"])
        self.assertEqual(answer["MemberList"], [{"Member_Account": "olga", "Role": "Owner"}])
        self.ask("get_group_member_info", expected=10004, GroupId="g", Limit=201)

    def test_pages_of_a_community(self):
        self.room("@TGS#_c", Type="Community")
        self.members(*"abcde", group_id="@TGS#_c")
        self.ask("get_group_member_info", expected=10004, GroupId="@TGS#_c", Offset=0)
        for kind, first, wrong in (("int", 0, ""), ("string", "", 0)):
            self.set(next_type=kind)
            self.ask("get_group_member_info", expected=10004, GroupId="@TGS#_c", Next=wrong)
            seen, following = [], first
            while True:
                answer = self.ask("get_group_member_info", GroupId="@TGS#_c", Limit=4, Next=following)
                seen += [one["Member_Account"] for one in answer["MemberList"]]
                following = answer["Next"]
                if following == first:
                    break
            self.assertEqual(seen, ["olga", "a", "b", "c", "d", "e"])


class MessageTest(MoveCase):
    """History, read-back and unread counts."""

    def test_content_and_sequence(self):
        self.room()
        self.assertEqual(self.say(CREATED + 1, message(CREATED + 2, 77, "bob", text("wörter"))), [(0, 1), (0, 2)])
        self.assertEqual(self.say(CREATED + 3), [(0, 3)])
        entry = self.entries("message")[1]
        wanted = {"group_id": "g", "seq": 2, "from": "bob", "time": CREATED + 2, "random": 77, "body": text("wörter"),
                  "live": False, "n": self.stand.journal()[1]["n"]}
        self.assertEqual({name: entry[name] for name in wanted}, wanted)
        info = self.base("g", "NextMsgSeq", "LastMsgTime")
        self.assertEqual((info["NextMsgSeq"], info["LastMsgTime"]), (4, CREATED + 3))
        answer = self.ask("import_group_msg", GroupId="g", MsgList=[message(CREATED + 4)])
        self.assertEqual(answer["ImportMsgResult"], [{"MsgSeq": 4, "MsgTime": CREATED + 4, "Result": 0}])

    def test_private_may_begin_with_two(self):
        self.set(private_first_seq=2)
        self.room(Type="Private")
        self.room("h")
        self.assertEqual(self.base("g", "NextMsgSeq")["NextMsgSeq"], 2)
        self.assertEqual(self.base("h", "NextMsgSeq")["NextMsgSeq"], 1)
        self.assertEqual(self.say(CREATED + 1), [(0, 2)])
        self.assertEqual(self.base("g", "NextMsgSeq")["NextMsgSeq"], 3)
        self.assertEqual(self.say(CREATED + 1, group_id="h"), [(0, 1)])

    def test_times(self):
        now = int(time.time())
        self.room(CreateTime=now - 100)
        self.assertEqual(self.say(now - 100, now - 99, now - 99, now - 50, now - 60, now + 5, now - 49),
                         [(10004, 0), (0, 1), (10004, 0), (0, 2), (10004, 0), (10004, 0), (0, 3)])
        self.set(equal_seconds="allow")
        self.assertEqual(self.say(message(now - 49, 1), message(now - 50, 2), message(now - 49, 3)),
                         [(0, 4), (10004, 0), (0, 5)])
        self.set(clock_offset=20)
        self.assertEqual(self.say(now + 5), [(0, 6)])

    def test_batch(self):
        self.room()
        eight = [CREATED + one for one in range(1, 9)]
        self.say(*eight, expected=10004)
        self.set(over_batch={"import_group_msg": 10005})
        self.say(*eight, expected=10005)
        self.set(batch_limits={"import_group_msg": 3})
        self.say(*eight[:4], expected=10005)
        self.assertEqual(len(self.say(*eight[:3])), 3)
        self.set(batch_limits={"import_group_msg": 7})
        self.assertEqual(len(self.say(*[CREATED + 10 + one for one in range(7)])), 7)

    def test_refused(self):
        self.room()
        good = message(CREATED + 1)
        for name, wrong in (("From_Account", ""), ("From_Account", 1), ("SendTime", "1"), ("SendTime", 1.0),
                            ("Random", -1), ("Random", 4294967296), ("Random", "1"),
                            ("MsgBody", []), ("MsgBody", {}), ("MsgBody", ["x"]),
                            ("MsgBody", [{"MsgType": "TIMTextElem"}]),
                            ("MsgBody", [{"MsgType": "TIMTextElem", "MsgContent": {}}])):
            self.say(good, dict(good, **{name: wrong}), expected=10004)
        for name in ("From_Account", "SendTime", "MsgBody"):
            self.say({key: value for key, value in good.items() if key != name}, expected=10004)
        self.say(expected=10004)
        self.say(good, RecentContactFlag=2, expected=10004)
        self.say(good, group_id="x", expected=10010)
        self.assertEqual(self.entries("message"), [])
        self.say(dict(good, CloudCustomData="x"), RecentContactFlag=1, Priority=1)
        self.assertEqual(self.stand.journal()[-1]["unknown_fields"], ["CloudCustomData", "Priority"])
        self.assertEqual(self.entries("message")[0]["recent"], 1)

    def test_elements(self):
        self.room()
        body = [{"MsgType": name, "MsgContent": {"Text": "x"} if name == "TIMTextElem" else {}} for name in (
            "TIMTextElem", "TIMFaceElem", "TIMLocationElem", "TIMCustomElem")]
        self.assertEqual(self.say(message(CREATED + 1, body=body)), [(0, 1)])
        image = [{"MsgType": "TIMImageElem", "MsgContent": {}}]
        self.say(message(CREATED + 2, body=image), message(CREATED + 3), expected=10004)
        self.set(bad_element="result")
        self.assertEqual(self.say(message(CREATED + 2, body=image), message(CREATED + 3)), [(10004, 0), (0, 2)])

    def test_length(self):
        self.room()
        around = len(json.dumps(text(""), separators=(",", ":")))
        fits = text("x" * (12288 - around))
        over = text("群" * ((12288 - around) // 3 + 1))
        self.assertEqual(self.say(message(CREATED + 1, body=over), message(CREATED + 2, body=fits), CREATED + 3),
                         [(80002, 0), (0, 1), (0, 2)])
        self.set(message_bytes=8000)
        self.assertEqual(self.say(message(CREATED + 4, body=fits)), [(80002, 0)])
        self.set(too_long="call")
        self.say(CREATED + 4, message(CREATED + 5, body=fits), expected=10020)

    def test_words_and_senders(self):
        self.room()
        self.set(fail={"message": {"damn": 80001}})
        self.assertEqual(self.say(message(CREATED + 1, body=text("oh damn")), CREATED + 2), [(80001, 0), (0, 1)])
        self.set(accounts="listed")
        self.assertEqual(self.say(CREATED + 3), [(10004, 0)])
        self.set(absent_sender="call")
        self.say(CREATED + 3, expected=10019)
        self.accounts("ann")
        self.assertEqual(self.say(CREATED + 3), [(0, 2)])
        self.set(senders="members")
        self.say(CREATED + 4, expected=10019)
        self.members("ann")
        self.assertEqual(self.say(CREATED + 4), [(0, 3)])

    def test_duplicates(self):
        """A replay within five minutes: each order of the checks with each way to tell."""
        for order in ("time", "duplicate"):
            for how, told in (("ok_seq", (0, 1)), ("ok", (0, None)), ("refused", (10004, 0))):
                self.stand.control("reset", {})
                self.set(message_order=order, duplicate_result=how)
                self.room()
                self.say(message(CREATED + 1, 7), message(CREATED + 2, 8))
                replay = self.say(message(CREATED + 1, 7))
                self.assertEqual(replay, [told if order == "duplicate" else (10004, 0)], (order, how))
                self.assertEqual(self.say(message(CREATED + 3, 7)), [told], "a later time with the same Random")
                self.assertEqual(len(self.entries("message")), 2)
                self.assertEqual(self.say(message(CREATED + 3, 9)), [(0, 3)])

    def test_duplicates_in_one_call(self):
        self.room()
        self.assertEqual(self.say(message(CREATED + 1, 7), message(CREATED + 2, 7)), [(0, 1), (0, 1)])
        self.room("h")
        self.assertEqual(self.say(message(CREATED + 1, 7), group_id="h"), [(0, 1)], "each group by itself")

    def test_end_of_the_window(self):
        self.room()
        self.say(message(CREATED + 1, 7))
        self.set(clock_offset=299)
        self.assertEqual(self.say(message(CREATED + 2, 7)), [(0, 1)])
        self.set(clock_offset=301)
        self.assertEqual(self.say(message(CREATED + 2, 7)), [(0, 2)])
        self.set(duplicate_clock="send_time")
        self.assertEqual(self.say(message(CREATED + 301, 7)), [(0, 2)])
        self.assertEqual(self.say(message(CREATED + 302, 7)), [(0, 3)])

    def test_content_may_decide(self):
        self.room()
        self.set(duplicate_rule="random_content")
        self.say(message(CREATED + 1, 7, body=text("a")))
        self.assertEqual(self.say(message(CREATED + 2, 7, body=text("b"))), [(0, 2)])
        self.assertEqual(self.say(message(CREATED + 3, 7, body=text("b"))), [(0, 2)])

    def test_without_random(self):
        self.room()
        plain = {name: value for name, value in message(CREATED + 1).items() if name != "Random"}
        self.assertEqual(self.say(plain, dict(plain, SendTime=CREATED + 2)), [(0, 1), (0, 2)])
        self.assertIsInstance(self.entries("message")[0]["random"], int)

    def test_read_back(self):
        self.room()
        for first in range(0, 28, 7):
            self.say(*[message(CREATED + 1 + first + one, 1000 + first + one) for one in range(7)])
        read = lambda **more: self.ask("group_msg_get_simple", GroupId="g", **more)
        answer = read(ReqMsgNumber=2)
        self.assertEqual((answer["IsFinished"], [one["MsgSeq"] for one in answer["RspMsgList"]]), (1, [28, 27]))
        wanted = {"From_Account": "ann", "MsgSeq": 28, "MsgRandom": 1027, "MsgTimeStamp": CREATED + 28,
                  "MsgBody": text(), "IsPlaceMsg": 0}
        self.assertEqual({name: answer["RspMsgList"][0][name] for name in wanted}, wanted)
        answer = read(ReqMsgNumber=28)
        self.assertEqual((answer["IsFinished"], len(answer["RspMsgList"])), (0, 20))
        answer = read(ReqMsgNumber=20, ReqMsgSeq=8)
        self.assertEqual([one["MsgSeq"] for one in answer["RspMsgList"]], [8, 7, 6, 5, 4, 3, 2, 1])
        self.assertEqual(read(ReqMsgNumber=20, ReqMsgSeq=0)["RspMsgList"], [])
        self.assertEqual(read(ReqMsgNumber=1, ReqMsgSeq=100)["RspMsgList"][0]["MsgSeq"], 28)
        self.set(read_back_bytes=1000)
        self.assertEqual(read(ReqMsgNumber=20)["IsFinished"], 0)
        self.ask("group_msg_get_simple", expected=10004, GroupId="g")
        self.ask("group_msg_get_simple", expected=10010, GroupId="x", ReqMsgNumber=1)

    def test_past_the_retention(self):
        self.room()
        self.say(message(CREATED + 1, 7))
        self.say(message(int(time.time()) - 86400, 8))
        self.set(retention_days=7)
        read = lambda: self.ask("group_msg_get_simple", GroupId="g", ReqMsgNumber=9)["RspMsgList"]
        young, old = read()
        self.assertEqual((young["IsPlaceMsg"], old["IsPlaceMsg"], old["MsgBody"]), (0, 1, []))
        self.assertEqual((old["MsgRandom"], old["MsgTimeStamp"]), (7, CREATED + 1))
        self.set(place_keeps="nothing")
        self.assertEqual((read()[1]["MsgRandom"], read()[1]["MsgTimeStamp"], read()[1]["MsgSeq"]), (0, 0, 1))

    def test_queries_may_lag(self):
        self.room()
        self.set(query_lag_ms=60000)
        self.say(CREATED + 1)
        self.assertEqual(self.base("g", "NextMsgSeq")["NextMsgSeq"], 1)
        self.assertEqual(self.ask("group_msg_get_simple", GroupId="g", ReqMsgNumber=9)["RspMsgList"], [])
        self.set(query_lag_ms=0)
        self.assertEqual(self.base("g", "NextMsgSeq")["NextMsgSeq"], 2)

    def test_unread(self):
        self.room()
        self.members("a", "b")
        self.say(CREATED + 1, CREATED + 2, CREATED + 3)
        unread = lambda name, number, **more: self.ask("set_unread_msg_num", GroupId="g", Member_Account=name,
                                                       UnreadMsgNum=number, **more)
        unread("a", 2)
        unread("a", 2)
        unread("b", 9)
        self.assertEqual(self.unread(), {"olga": 0, "a": 2, "b": 3})
        self.assertEqual([(one["member"], one["unread"], one["asked"]) for one in self.entries("unread")],
                         [("a", 2, 2), ("a", 2, 2), ("b", 3, 9)])
        unread("x", 1, expected=10004)
        self.set(unread_stranger_code=0)
        unread("x", 1)
        self.assertEqual(self.say(CREATED + 1), [(10004, 0)])
        self.assertEqual(self.unread(), {"olga": 0, "a": 0, "b": 0}, "the call resets, though it stores nothing")
        unread("a", 1)
        self.say(CREATED + 4)
        self.assertEqual(self.unread()["a"], 0)
        self.assertEqual(len(self.entries("all_read")), 1, "only the call that stored nothing needs such a line")
        for wrong in ({"UnreadMsgNum": -1}, {"UnreadMsgNum": "1"}, {"Member_Account": 1}):
            self.ask("set_unread_msg_num", expected=10004, **dict(
                {"GroupId": "g", "Member_Account": "a", "UnreadMsgNum": 1}, **wrong))
        self.ask("set_unread_msg_num", expected=10010, GroupId="x", Member_Account="a", UnreadMsgNum=1)

    def test_unread_in_a_chat_room(self):
        self.room(Type="ChatRoom")
        self.members("a")
        self.say(CREATED + 1)
        self.ask("set_unread_msg_num", GroupId="g", Member_Account="a", UnreadMsgNum=1)
        self.assertEqual(self.unread()["a"], 0)
        self.assertEqual(self.entries("unread"), [])

    def test_live(self):
        self.room()
        self.members("a")
        self.say(CREATED + 1)
        self.assertEqual(self.stand.control("live", {"group_id": "g", "from": "a", "text": "hi"}), {"seqs": [2]})
        self.assertEqual(self.unread(), {"olga": 1, "a": 0})
        self.assertEqual(self.say(CREATED + 2), [(10004, 0)], "all that is older is refused")
        self.assertAlmostEqual(self.base("g", "LastMsgTime")["LastMsgTime"], time.time(), delta=60)
        entry = self.entries("message")[-1]
        self.assertEqual((entry["live"], entry["from"], entry["body"]), (True, "a", text("hi")))
        self.room("h")
        self.stand.control("live", {"group_id": "h", "time": CREATED + 50, "count": 3})
        self.assertEqual(self.say(CREATED + 51, group_id="h"), [(0, 4)])
        self.stand.control("live", {"group_id": "nothing"}, 400)

    def test_wait_for_entries(self):
        self.room()
        self.say(CREATED + 1, CREATED + 2)
        self.assertTrue(self.stand.control("wait?applied=2&kind=message&timeout=1")["reached"])
        self.assertFalse(self.stand.control("wait?applied=3&kind=message&timeout=0.05")["reached"])
        self.assertEqual(self.stand.control("stats")["applied"], {"group": 1, "message": 2})


class GroupTest(MoveCase):
    """What groups can do beyond import and look-up."""

    def test_destroy(self):
        self.room()
        self.members("a")
        self.say(CREATED + 1)
        self.ask("destroy_group", GroupId="g")
        self.ask("destroy_group", expected=10010, GroupId="g")
        self.say(CREATED + 2, expected=10010)
        self.assertEqual(self.stand.control("account?user_id=a")["groups"], [])
        self.room()
        self.assertEqual(self.base("g", "NextMsgSeq", "MemberNum"), {
            "GroupId": "g", "ErrorCode": 0, "ErrorInfo": "", "NextMsgSeq": 1, "MemberNum": 1})
        self.set(id_reuse="taken")
        self.ask("destroy_group", GroupId="g")
        self.code(10021, dict(PLAIN, GroupId="g"))

    def test_modify(self):
        self.room(AppDefinedData=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}])
        self.ask("modify_group_base_info", GroupId="g", Name="New", MaxMemberNum=7, AppDefinedData=[
            {"Key": "a", "Value": ""}, {"Key": "c", "Value": "3"}])
        found = self.stand.info(["g"])[0]
        self.assertEqual((found["Name"], found["MaxMemberNum"], found["CreateTime"]), ("New", 7, CREATED))
        self.assertEqual(found["AppDefinedData"], [{"Key": "b", "Value": "2"}, {"Key": "c", "Value": "3"}])
        self.ask("modify_group_base_info", expected=10004, GroupId="g", Name="x" * 31)
        self.ask("modify_group_base_info", expected=10004, GroupId="g", ApplyJoinOption="Nobody")
        self.ask("modify_group_base_info", expected=10010, GroupId="h", Name="x")
        self.assertEqual(self.entries("group")[0]["name"], "TestGroup", "the import's line stays")

    def test_all_groups(self):
        self.set(rates={})
        for name in "abcde":
            self.room(name, Type="ChatRoom" if name == "c" else "Public")
        self.ask("destroy_group", GroupId="b")
        seen, following = [], 0
        while True:
            answer = self.ask("get_appid_group_list", Limit=2, Next=following)
            self.assertEqual(answer["TotalCount"], 4)
            seen += [one["GroupId"] for one in answer["GroupIdList"]]
            following = answer["Next"]
            if not following:
                break
            self.assertGreater(following, 1 << 32)
        self.assertEqual(seen, ["a", "c", "d", "e"])
        answer = self.ask("get_appid_group_list", GroupType="ChatRoom")
        self.assertEqual((answer["TotalCount"], answer["GroupIdList"], answer["Next"]), (1, [{"GroupId": "c"}], 0))
        self.ask("get_appid_group_list", expected=10004, Limit=10001)
        self.ask("get_appid_group_list", expected=10004, GroupType="Work")

    def test_all_groups_once_a_second(self):
        self.ask("get_appid_group_list")
        self.ask("get_appid_group_list", expected=10006)

    def test_joined(self):
        self.room("p", Type="Private")
        self.room("q", Owner_Account="eve")
        self.members("a", group_id="p")
        self.members({"Member_Account": "a", "Role": "Admin", "JoinTime": CREATED + 3}, group_id="q")
        self.say(CREATED + 5, CREATED + 6, group_id="q")
        self.ask("set_unread_msg_num", GroupId="q", Member_Account="a", UnreadMsgNum=1)
        ids = lambda **more: [one["GroupId"] for one in self.ask(
            "get_joined_group_list", Member_Account="a", **more)["GroupIdList"]]
        self.assertEqual(ids(), ["q"], "a Private group is not activated by being imported")
        self.assertEqual(ids(WithNoActiveGroups=1), ["p", "q"])
        self.assertEqual(ids(WithNoActiveGroups=1, Limit=1, Offset=1), ["q"])
        self.assertEqual(ids(WithNoActiveGroups=1, GroupType="Private"), ["p"])
        wanted = {"GroupBaseInfoFilter": ["Name"], "SelfInfoFilter": ["Role", "JoinTime", "MsgSeq", "UnreadMsgNum"]}
        for view, more in (("new", {"MsgSeq": 1}), ("old", {"UnreadMsgNum": 1}),
                           ("both", {"MsgSeq": 1, "UnreadMsgNum": 1})):
            self.set(self_info=view)
            entry = self.ask("get_joined_group_list", Member_Account="a", ResponseFilter=wanted)["GroupIdList"][0]
            self.assertEqual(entry, {"GroupId": "q", "Name": "TestGroup",
                                     "SelfInfo": dict({"Role": "Admin", "JoinTime": CREATED + 3}, **more)})
        self.stand.control("live", {"group_id": "p", "from": "olga"})
        self.assertEqual(ids(), ["p", "q"], "the owner's message activates")

    def test_an_import_may_activate(self):
        self.set(import_activates=True)
        self.room("p", Type="Private")
        self.members("a", group_id="p")
        self.assertEqual(self.ask("get_joined_group_list", Member_Account="a")["TotalCount"], 0)
        self.say(CREATED + 1, group_id="p")
        self.assertEqual(self.ask("get_joined_group_list", Member_Account="a")["TotalCount"], 1)

    def test_owners_are_accounts(self):
        self.set(accounts="listed")
        self.code(10019, dict(PLAIN, Owner_Account="olga"))
        self.accounts("olga")
        self.code(0, dict(PLAIN, Owner_Account="olga"))


class FriendTest(MoveCase):
    """friend_import and friend_check."""

    def friends(self, owner, *listed, expected=0) -> dict:
        return self.ask("friend_import", SNS, expected, From_Account=owner, AddFriendItem=[
            one if isinstance(one, dict) else {"To_Account": one, "AddSource": "AddSource_Type_XXX"} for one in listed])

    def codes(self, *given) -> list:
        return [one["ResultCode"] for one in self.friends(*given)["ResultItem"]]

    def test_one_way(self):
        answer = self.friends("a", "b", {"To_Account": "c", "AddSource": "AddSource_Type_X", "Remark": "r"})
        self.assertEqual(answer["ResultItem"][0], {"To_Account": "b", "ResultCode": 0, "ResultInfo": ""})
        self.assertNotIn("Fail_Account", answer)
        self.friends("b", "a")
        self.friends("d", "a")
        both = self.ask("friend_check", SNS, From_Account="a", To_Account=["b", "c", "d", "e"],
                        CheckType="CheckResult_Type_Both")
        self.assertEqual([one["Relation"] for one in both["InfoItem"]], [
            "CheckResult_Type_" + one for one in ("BothWay", "AWithB", "BWithA", "NoRelation")])
        single = self.ask("friend_check", SNS, From_Account="a", To_Account=["b", "d"],
                          CheckType="CheckResult_Type_Single")
        self.assertEqual([one["Relation"] for one in single["InfoItem"]], [
            "CheckResult_Type_AWithB", "CheckResult_Type_NoRelation"])
        self.assertEqual([(one["from"], one["to"]) for one in self.entries("friend")],
                         [("a", "b"), ("a", "c"), ("b", "a"), ("d", "a")])
        self.assertEqual(self.entries("friend")[1]["item"]["Remark"], "r")

    def test_again(self):
        self.codes("a", "b")
        self.assertEqual(self.codes("a", "b"), [0])
        self.assertEqual(len(self.entries("friend")), 1)
        self.set(friend_again_code=30015)
        self.assertEqual(self.friends("a", "b", "c")["Fail_Account"], ["b"])

    def test_each_fails_alone(self):
        self.set(accounts="listed", fail={"friend": {"bad": 30006}}, friend_cap=2)
        self.friends("a", "b", expected=30003)
        self.accounts("a", "b", "c", "d", "bad")
        good = {"To_Account": "b", "AddSource": "AddSource_Type_X"}
        self.assertEqual(self.codes("a", "x", "bad", "a", good, dict(good, To_Account="c"), "d"),
                         [30003, 30006, 30001, 0, 0, 30010])
        for name, wrong in (("AddSource", "Web"), ("AddSource", "AddSource_Type_"), ("Remark", "x" * 97),
                            ("AddWording", "x" * 121), ("GroupName", ["x" * 31]), ("GroupName", ["g"] * 33),
                            ("GroupName", "g"), ("AddTime", "1"), ("AddTime", -1)):
            self.assertEqual(self.codes("a", dict(good, **{name: wrong})), [30001], (name, wrong))
        self.assertEqual(self.codes("a", {"To_Account": "b"}), [30001])

    def test_batch(self):
        many = ["u%d" % one for one in range(1001)]
        self.assertEqual(len(self.codes("a", *many[:1000])), 1000)
        self.friends("b", *many, expected=30001)
        self.friends("b", expected=30001)
        self.ask("friend_check", SNS, 30001, From_Account="a", To_Account=many, CheckType="CheckResult_Type_Both")
        self.ask("friend_check", SNS, 30001, From_Account="a", To_Account=["b"], CheckType="Both")


class DialogTest(MoveCase):
    """importmsg and admin_getroammsg."""

    def say(self, sender="a", receiver="b", expected=0, **changes):
        body = {"SyncFromOldSystem": 2, "From_Account": sender, "To_Account": receiver, "MsgSeq": 1, "MsgRandom": 2,
                "MsgTimeStamp": CREATED, "MsgBody": text()}
        body.update(changes)
        return self.ask("importmsg", OPENIM, expected, **{name: one for name, one in body.items() if one is not None})

    def test_content(self):
        answer = self.say(CloudCustomData="c")
        self.assertEqual(set(answer), {"ActionStatus", "ErrorInfo", "ErrorCode"})
        entry = self.entries("dialog")[0]
        wanted = {"from": "a", "to": "b", "seq": 1, "random": 2, "time": CREATED, "body": text(), "mode": 2,
                  "cloud": "c"}
        self.assertEqual({name: entry[name] for name in wanted}, wanted)
        self.assertEqual(self.stand.control("dialog?from=b&to=a")["count"], 1)

    def test_duplicates(self):
        self.say()
        self.say(MsgBody=text("other words"))
        self.say("b", "a")
        self.assertEqual(len(self.entries("dialog")), 1, "all three numbers, in both directions, whatever is said")
        self.assertFalse(self.stand.journal()[-1]["applied"])
        for changes in ({"MsgSeq": 9}, {"MsgRandom": 9}, {"MsgTimeStamp": CREATED + 9}):
            self.say(**changes)
        self.say("a", "c")
        self.assertEqual(len(self.entries("dialog")), 5)
        self.say(MsgSeq=None)
        self.say(MsgSeq=None)
        self.assertEqual(len(self.entries("dialog")), 7, "without MsgSeq a repeat is a new message")
        self.set(dialog_duplicate_code=20022)
        self.say(expected=20022)

    def test_the_old_rule(self):
        self.set(dialog_rule="old")
        self.say()
        self.say(MsgSeq=5)
        self.say("b", "a")
        self.assertEqual(len(self.entries("dialog")), 2)

    def test_refused(self):
        for code, changes in ((90030, {"SyncFromOldSystem": 1}), (90030, {"SyncFromOldSystem": None}),
                              (90008, {"From_Account": 1}), (90003, {"To_Account": None}),
                              (90005, {"MsgRandom": None}), (90005, {"MsgRandom": 4294967296}),
                              (90006, {"MsgTimeStamp": None}), (90006, {"MsgTimeStamp": int(time.time()) + 9999}),
                              (90030, {"MsgSeq": "1"}), (90007, {"MsgBody": "x"}), (90002, {"MsgBody": []}),
                              (90002, {"MsgBody": [{"MsgType": "TIMNoElem", "MsgContent": {}}]}),
                              (93000, {"MsgBody": text("x" * 12288)}), (90001, {"CloudCustomData": 1})):
            self.say(expected=code, **changes)
        self.say(SyncFromOldSystem=5)
        self.set(dialog_live=1)
        self.say(SyncFromOldSystem=1, MsgSeq=3)
        for number, name in enumerate(("TIMSoundElem", "TIMImageElem", "TIMFileElem", "TIMVideoFileElem")):
            self.say(MsgSeq=10 + number, MsgBody=[{"MsgType": name, "MsgContent": {}}])

    def test_accounts(self):
        self.set(accounts="listed")
        self.accounts("a")
        self.say(expected=90012)
        self.say("b", "a", expected=90048)
        self.accounts("b")
        self.say()
        self.set(fail={"dialog": {"b": 90994}})
        self.say(expected=90994)

    def test_read_back(self):
        for number in range(5):
            self.say(*("ab" if number % 2 else "ba"), MsgSeq=number, MsgTimeStamp=CREATED + number // 2)
        seen, more, last = [], {}, CREATED + 9
        while True:
            answer = self.ask("admin_getroammsg", OPENIM, From_Account="b", To_Account="a", MaxCnt=2, MinTime=CREATED,
                              MaxTime=last, **more)
            seen = [one["MsgSeq"] for one in answer["MsgList"]] + seen
            if answer["Complete"]:
                break
            more, last = {"LastMsgKey": answer["LastMsgKey"]}, answer["LastMsgTime"]
        self.assertEqual(seen, [0, 1, 2, 3, 4])
        only = self.ask("admin_getroammsg", OPENIM, From_Account="a", To_Account="b", MaxCnt=9, MinTime=CREATED + 2,
                        MaxTime=CREATED + 2)["MsgList"]
        self.assertEqual(only, [{"From_Account": "b", "To_Account": "a", "MsgSeq": 4, "MsgRandom": 2,
                                 "MsgTimeStamp": CREATED + 2, "MsgFlagBits": 0, "MsgKey": "4_2_%d" % (CREATED + 2),
                                 "MsgBody": text()}])
        self.ask("admin_getroammsg", OPENIM, 90001, From_Account="a", To_Account="b", MaxCnt=0, MinTime=0, MaxTime=1)
        both = {"From_Account": "a", "To_Account": "b", "MaxCnt": 9, "MinTime": 0, "MaxTime": CREATED + 9}
        self.set(read_back_bytes=300)
        answer = self.ask("admin_getroammsg", OPENIM, **both)
        self.assertEqual((answer["Complete"], answer["MsgCnt"]), (0, 1), "a long answer is cut")
        self.set(read_back_bytes=None, retention_days=7)
        answer = self.ask("admin_getroammsg", OPENIM, **both)
        self.assertEqual((answer["Complete"], answer["MsgList"]), (1, []), "past the term there is nothing")


class FaultTest(MoveCase):
    """Misbehaviour around batches."""

    def lost(self, command, body, prefix=GROUP):
        with self.assertRaises((http.client.RemoteDisconnected, ConnectionResetError)):
            self.stand.call(body, prefix + command)

    # command, prefix, body, kind of its entries, how many of them
    def commands(self):
        return (
            ("account_import", LOGIN, {"UserID": "a"}, "account", 1),
            ("multiaccount_import", LOGIN, {"Accounts": ["a", "b", "c"]}, "account", 3),
            ("friend_import", SNS, {"From_Account": "a", "AddFriendItem": [
                {"To_Account": name, "AddSource": "AddSource_Type_X"} for name in "bcd"]}, "friend", 3),
            ("importmsg", OPENIM, {"SyncFromOldSystem": 2, "From_Account": "a", "To_Account": "b", "MsgSeq": 1,
                                   "MsgRandom": 1, "MsgTimeStamp": CREATED, "MsgBody": text()}, "dialog", 1),
            ("import_group_member", GROUP, {"GroupId": "g", "MemberList": [
                {"Member_Account": name} for name in "abc"]}, "member", 3),
            ("import_group_msg", GROUP, {"GroupId": "g", "MsgList": [
                message(CREATED + one) for one in (1, 2, 3)]}, "message", 3),
            ("set_unread_msg_num", GROUP, {"GroupId": "g", "Member_Account": "olga", "UnreadMsgNum": 0}, "unread", 1),
            ("destroy_group", GROUP, {"GroupId": "g"}, "destroy", 1),
        )

    def test_lost_answers(self):
        for command, prefix, body, kind, number in self.commands():
            for do, applied in (("close_before", 0), ("reset_before", 0), ("close_after", number),
                                ("rst_after", number)):
                self.stand.control("reset", {})
                self.room()
                self.stand.fault(do, times=1, match={"command": command})
                self.lost(command, body, prefix)
                self.assertEqual(len(self.entries(kind)), applied, (command, do))
                self.assertEqual(self.stand.journal()[-1]["applied"], bool(applied))

    def test_late_calls(self):
        for command, prefix, body, kind, number in self.commands():
            self.stand.control("reset", {})
            self.room()
            self.stand.fault("delay_apply", times=1, match={"command": command})
            self.lost(command, body, prefix)
            self.assertEqual(self.entries(kind), [])
            self.stand.control("release", {})
            wait = "wait?applied=%d&kind=%s&timeout=5" % (number, kind)
            self.assertTrue(self.stand.control(wait)["reached"], command)

    def test_part_of_a_batch(self):
        for command, prefix, body, kind, number in self.commands():
            if number == 1:
                continue
            for do, more in (("close_after", {}), ("code", {"code": 10002, "apply": True}),
                             ("http", {"status": 502, "apply": True})):
                self.stand.control("reset", {})
                self.room()
                self.stand.fault(do, times=1, partial=2, match={"command": command}, **more)
                if do == "close_after":
                    self.lost(command, body, prefix)
                else:
                    self.stand.raw_call(body, prefix + command)
                self.assertEqual(len(self.entries(kind)), 2, (command, do))
                self.assertEqual(len(self.stand.journal()[-1]["results"]), 0 if command.startswith("multi") else 2)

    def test_pretended(self):
        for command, name in (("import_group_member", "MemberList"), ("import_group_msg", "ImportMsgResult"),
                              ("friend_import", "ResultItem")):
            body = [one[2] for one in self.commands() if one[0] == command][0]
            prefix = [one[1] for one in self.commands() if one[0] == command][0]
            self.stand.fault("delay", ms=1, apply=False, times=1)
            self.assertEqual(len(self.stand.call(body, prefix + command)[name]), 3)
        self.assertEqual(self.stand.control("ledger?kind=all")["entries"], [])

    def test_odd_results(self):
        self.room()
        body = {"GroupId": "g", "MemberList": [{"Member_Account": name} for name in "ab"]}

        def told(how):
            self.stand.fault("results", how=how, times=1)
            return self.stand.call(body, GROUP + "import_group_member").get("MemberList")

        member = lambda name, result: {"Member_Account": name, "Result": result}
        self.assertEqual(told("reversed"), [member("b", 1), member("a", 1)])
        self.assertIsNone(told("none"))
        self.assertEqual(told("empty"), [])
        self.assertEqual(told("short"), [member("a", 2)])
        self.assertEqual(told("long"), [member("a", 2), member("b", 2), member("b", 2)])
        self.assertEqual(told("odd"), [member("a", 7), member("b", 7)])
        self.assertEqual(told("string"), [member("a", "1"), member("b", "1")])
        self.assertEqual(told("stranger"), [member("nobody", 2), member("nobody", 2)])

    def test_matching_accounts(self):
        self.room()
        self.stand.fault("code", code=10002, match={"account": "b*"})
        self.assertEqual(self.members("a", "c"), [1, 1])
        self.members("a", "bob", expected=10002)
        self.say(message(CREATED + 1, sender="bob"), expected=10002)
        self.ask("multiaccount_import", LOGIN, 10002, Accounts=["x", "bob"])
        self.ask("multiaccount_import", LOGIN, 10002, AccountList=[{"UserID": "bob"}])


class RateTest(MoveCase):
    """Limits of commands."""

    def test_each_command_has_its_window(self):
        self.set(rates={"account_check": 1, "import_group": 2})
        check = {"CheckItem": [{"UserID": "a"}]}
        self.assertEqual([self.stand.code(check, LOGIN + "account_check") for _ in range(2)], [0, 60007])
        self.assertEqual([self.stand.code(PLAIN) for _ in range(3)], [0, 0, 60007])
        self.code(0, {"UserID": "a"}, path=LOGIN + "account_import")
        self.assertEqual(self.stand.control("stats")["widest"]["import_group"], 3)

    def test_the_published_ones(self):
        rates = self.stand.control("set", {"rates": "published"})["rates"]
        self.assertEqual((rates["import_group"], rates["multiaccount_import"], rates["account_import"],
                          rates["get_appid_group_list"], rates["importmsg"]), (200, 100, 200, 1, 200))

    def test_the_whole_app(self):
        self.set(app_rate=2)
        self.code(0, {"UserID": "a"}, path=LOGIN + "account_import")
        self.code(0, PLAIN)
        self.code(60011, PLAIN)

    def test_refused_calls_may_count(self):
        self.set(rates={"import_group": 1}, refused_count=True)
        until = time.monotonic() + 2.2
        codes = set()
        while time.monotonic() < until:
            codes.add(self.stand.code(PLAIN))
            if len(codes) == 2:
                break
        # From here on it is asked more often than once a second, and never let in again.
        until = time.monotonic() + 1.5
        while time.monotonic() < until:
            self.code(60007, PLAIN)


class SettingTest(MoveCase):
    """The settings of the move, on the command line and by control."""

    def test_wrong(self):
        for wrong in ({"batch_limits": {"nonsense": 1}}, {"batch_limits": {"account_check": "many"}},
                      {"rates": {"x": 1}}, {"rates": "fast"}, {"fail": {"room": {}}}, {"fail": {"account": ["a"]}}, {"over_batch": 1},
                      {"message_order": "neither"}, {"refused_count": 1}, {"absent_code": True}, {"member_cap": "x"}):
            self.assertIn("error", self.stand.control("set", wrong, 400), wrong)
        self.stand.control("set", {"member_cap": None})

    def test_changes_add_up(self):
        self.set(batch_limits={"account_check": 7})
        self.set(batch_limits={"import_group_msg": 3})
        limits = self.stand.control("settings")["batch_limits"]
        names = ("account_check", "import_group_msg", "import_group_member")
        self.assertEqual([limits[name] for name in names], [7, 3, 20])

    def test_command_line(self):
        stand = Stand("--accounts", "listed", "--set", 'batch_limits={"import_group_member": 100}', "--set",
                      "message_order=duplicate", "--set", "rates=published", "--set", "clock_offset=60")
        try:
            settings = stand.control("settings")
            self.assertEqual((settings["accounts"], settings["batch_limits"]["import_group_member"],
                              settings["message_order"], settings["rates"]["import_group"], settings["clock_offset"]),
                             ("listed", 100, "duplicate", 200, 60))
        finally:
            stand.stop()
            stand.remove()
        program = os.path.join(HERE, "im_service.py")
        done = subprocess.run([sys.executable, program, "--dir", ".", "--set", "nonsense=1"],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertEqual(done.returncode, 2)
        self.assertIn(b"no such setting: nonsense", done.stderr)


class LedgerTest(unittest.TestCase):
    """What a restart keeps."""

    def test_restart(self):
        first = Stand("--set", "private_first_seq=2")
        self.addCleanup(shutil.rmtree, first.folder)
        call = lambda stand, path, **body: self.assertEqual(stand.code(body, path), 0, path)
        call(first, LOGIN + "multiaccount_import", Accounts=["a", "b", "c"])
        for group_id in "gh":
            call(first, GROUP + "import_group", Type="Private", Name="n", GroupId=group_id, CreateTime=CREATED)
            call(first, GROUP + "import_group_member", GroupId=group_id,
                 MemberList=[{"Member_Account": "a"}, {"Member_Account": "b"}])
            call(first, GROUP + "import_group_msg", GroupId=group_id,
                 MsgList=[message(CREATED + 1), message(CREATED + 2)])
        call(first, GROUP + "set_unread_msg_num", GroupId="g", Member_Account="a", UnreadMsgNum=1)
        first.control("live", {"group_id": "g", "from": "b"})
        call(first, GROUP + "delete_group_member", GroupId="h", MemberToDel_Account=["b"])
        call(first, GROUP + "modify_group_base_info", GroupId="h", Name="m")
        call(first, SNS + "friend_import", From_Account="a",
             AddFriendItem=[{"To_Account": "b", "AddSource": "AddSource_Type_X"}])
        dialog = {"SyncFromOldSystem": 2, "From_Account": "a", "To_Account": "b", "MsgSeq": 1, "MsgRandom": 1,
                  "MsgTimeStamp": CREATED, "MsgBody": text()}
        call(first, OPENIM + "importmsg", **dialog)
        call(first, LOGIN + "account_delete", DeleteItem=[{"UserID": "c"}])
        call(first, PROFILE + "portrait_set", From_Account="a",
             ProfileItem=[{"Tag": "Tag_Profile_IM_Nick", "Value": "N"}])
        look = ("group?group_id=g", "group?group_id=h", "account?user_id=a", "account?user_id=c", "dialog?from=a&to=b",
                "ledger?kind=all", "ledger")
        before = [first.control(path) for path in look]
        first.stop()
        second = Stand("--load-ledger", folder=first.folder)
        self.assertEqual([second.control(path) for path in look], before)
        self.assertEqual(before[0]["next_seq"], 5)
        self.assertEqual(before[0]["members"]["a"]["unread"], 2)
        call(second, OPENIM + "importmsg", **dialog)
        self.assertEqual(second.control("dialog?from=a&to=b")["count"], 1)
        answer = second.call({"GroupId": "g", "MsgList": [message(CREATED + 2)]}, GROUP + "import_group_msg")
        self.assertEqual(answer["ImportMsgResult"][0]["Result"], 10004)
        second.control("reset", {})
        self.assertEqual(second.control("ledger?kind=all")["count"], 0)
        second.stop()


if __name__ == "__main__":
    unittest.main()
