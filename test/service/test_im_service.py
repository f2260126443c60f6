#!/usr/bin/env python3
"""Tests of the stand-in itself: every command, code, fault and control call.

  python3 test/service/test_im_service.py

The signers here were written anew, each in the manner of another published one, and share nothing
with the stand-in's verifier.
"""

from __future__ import annotations

import sys

sys.dont_write_bytecode = True

import base64
import hashlib
import hmac
import http.client
import json
import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
import unittest
import zlib
from urllib.parse import quote

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

import faults
import usersig

SDKAPPID = 1400000000
SECRET = "0123456789abcdef" * 4
ADMIN = "administrator"
GROUP = "/v4/group_open_http_svc/"
PLAIN = {"Type": "Public", "Name": "TestGroup"}

with open(os.path.join(HERE, "..", "data", "usersig-vectors.json"), encoding="utf-8") as file:
    VECTORS = json.load(file)


# Signers.


def claims_of(sdkappid, secret, identifier, expire=86400, issued=None, line_end="\n") -> dict:
    """The members of a UserSig, signed."""
    issued = int(time.time()) if issued is None else issued
    content = "TLS.identifier:%s\nTLS.sdkappid:%d\nTLS.time:%d\nTLS.expire:%d" % (
        identifier, sdkappid, issued, expire)
    key = secret if isinstance(secret, bytes) else secret.encode()
    mac = hmac.new(key, (content + line_end).encode(), hashlib.sha256).digest()
    return {"TLS.ver": "2.0", "TLS.identifier": identifier, "TLS.sdkappid": sdkappid, "TLS.time": issued,
            "TLS.expire": expire, "TLS.sig": base64.b64encode(mac).decode()}


def pack(source: str, level: int = 6) -> str:
    """JSON text to UserSig."""
    packed = base64.b64encode(zlib.compress(source.encode(), level)).decode()
    return packed.replace("+", "*").replace("/", "-").replace("=", "_")


def sign(sdkappid, secret, identifier, expire=86400, issued=None) -> str:
    """A UserSig as the Node signer makes it."""
    return pack(json.dumps(claims_of(sdkappid, secret, identifier, expire, issued), separators=(",", ":")))


def like_python(claims):
    return pack(json.dumps({name: claims[name] for name in (
        "TLS.ver", "TLS.identifier", "TLS.sdkappid", "TLS.expire", "TLS.time", "TLS.sig")}))


def like_php(claims):
    return pack(json.dumps(claims, separators=(",", ":")).replace("/", "\\/"))


def like_go(claims):
    source = json.dumps(dict(reversed(list(claims.items()))), ensure_ascii=False, separators=(",", ":"))
    return pack(source.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026") + "\n", 0)


def like_cpp(claims):
    return pack(json.dumps({name: claims[name] for name in (
        "TLS.sdkappid", "TLS.identifier", "TLS.ver", "TLS.time", "TLS.expire", "TLS.sig")}, ensure_ascii=False), 1)


class Stand:
    """A running stand-in and ways to talk to it."""

    def __init__(self, *arguments, folder=None):
        self.folder = folder or tempfile.mkdtemp(prefix="im_service.")
        self.errors = open(os.path.join(self.folder, "stderr"), "ab")
        self.process = subprocess.Popen(
            [sys.executable, os.path.join(HERE, "im_service.py"), "--dir", self.folder,
             "--sdkappid", str(SDKAPPID), "--secret", SECRET, "--admin", ADMIN, *arguments],
            stdout=subprocess.PIPE, stderr=self.errors)
        self.first_line = self.process.stdout.readline()
        said = json.loads(self.first_line)
        self.http_port = said["http_port"]
        self.https_port = said["https_port"]
        self.pid = said["pid"]
        self.sig = sign(SDKAPPID, SECRET, ADMIN)

    def stop(self) -> int:
        """SIGTERM to this very process; its exit code."""
        self.process.terminate()
        code = self.process.wait(10)
        self.rest_of_stdout = self.process.stdout.read()
        self.process.stdout.close()
        self.errors.close()
        return code

    def remove(self):
        shutil.rmtree(self.folder)

    def control(self, path, given=None, status=200):
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=20)
        if given is None:
            connection.request("GET", "/control/" + path)
        else:
            connection.request("POST", "/control/" + path, json.dumps(given))
        answer = connection.getresponse()
        body = json.loads(answer.read())
        connection.close()
        if answer.status != status:
            raise AssertionError("%s: %d %s" % (path, answer.status, body))
        return body

    def fault(self, do, **options):
        self.control("fault", dict(options, do=do))

    def url(self, path=GROUP + "import_group", **changes) -> str:
        """A call's target; a parameter of None is left out."""
        params = {"sdkappid": SDKAPPID, "identifier": ADMIN, "usersig": self.sig, "random": 99999999,
                  "contenttype": "json"}
        params.update(changes)
        return path + "?" + "&".join("%s=%s" % (name, quote(str(value), safe=""))
                                     for name, value in params.items() if value is not None)

    def connect(self, timeout=10):
        return http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=timeout)

    def raw_call(self, body, path=GROUP + "import_group", method="POST", target=None, **params):
        """One call on a connection of its own: (HTTP status, headers, body bytes)."""
        connection = self.connect()
        try:
            data = body if isinstance(body, (bytes, str)) else json.dumps(body)
            connection.request(method, target or self.url(path, **params), data)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def call(self, body, path=GROUP + "import_group", **more) -> dict:
        status, _, data = self.raw_call(body, path, **more)
        if status != 200:
            raise AssertionError("HTTP status %d" % status)
        return json.loads(data)

    def code(self, body, path=GROUP + "import_group", **more) -> int:
        answer = self.call(body, path, **more)
        if answer["ActionStatus"] != ("FAIL" if answer["ErrorCode"] else "OK"):
            raise AssertionError(answer)
        return answer["ErrorCode"]

    def info(self, ids, **more) -> list:
        return self.call(dict(GroupIdList=ids, **more), GROUP + "get_group_info")["GroupInfo"]

    def socket(self):
        return socket.create_connection(("127.0.0.1", self.http_port), timeout=10)

    def request_bytes(self, body, *headers, length=True) -> bytes:
        """A call as bytes for a raw socket."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        lines = ["POST %s HTTP/1.1" % self.url(), "Host: localhost", *headers]
        if length:
            lines.append("Content-Length: %d" % len(data))
        return "\r\n".join(lines + ["", ""]).encode() + data

    def ledger(self) -> list:
        return self.control("ledger")["groups"]

    def journal(self) -> list:
        return self.control("journal")["calls"]


def read_answer(stream) -> tuple:
    """(status line, body) of one answer with a Content-Length from a socket's file."""
    first = stream.readline().decode()
    length = 0
    for line in iter(stream.readline, b"\r\n"):
        if not line:
            raise AssertionError("closed in the headers")
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    return first.strip(), stream.read(length)


class Case(unittest.TestCase):
    """One stand-in for all tests of a class, as new before each."""

    arguments: tuple = ()

    @classmethod
    def setUpClass(cls):
        cls.stand = Stand(*cls.arguments)
        cls.defaults = cls.stand.control("settings")

    @classmethod
    def tearDownClass(cls):
        assert cls.stand.stop() == 0
        assert cls.stand.rest_of_stdout == b"", "more than one line on standard output"
        cls.stand.remove()

    def setUp(self):
        self.stand.control("reset", {})
        self.stand.control("set", self.defaults)

    def code(self, expected, body, path=GROUP + "import_group", **more):
        self.assertEqual(self.stand.code(body, path, **more), expected, body)

    def group(self, expected, **changes):
        """Import a plain group with *changes*; None takes a field away."""
        body = dict(PLAIN, **changes)
        self.code(expected, {name: value for name, value in body.items() if value is not None})


class UserSigTest(unittest.TestCase):
    """The verifier alone, at the time of the published vectors."""

    def check(self, vector, now=None, **changes):
        given = dict(vector, **changes)
        return usersig.check(given["sig"], given["sdkappid"], given["identifier"], given["key"],
                             vector["time"] if now is None else now)

    def refused(self, code, *given, **changes):
        with self.assertRaises(usersig.Refused) as caught:
            self.check(*given, **changes)
        self.assertEqual(caught.exception.code, code)

    def test_vectors(self):
        good = [one for one in VECTORS if "userbuf_b64" not in one]
        self.assertEqual(len(good), 7)
        for vector in good:
            self.assertEqual(self.check(vector), vector["time"] + vector["expire"], vector["name"])

    def test_userbuf_is_refused(self):
        for vector in VECTORS:
            if "userbuf_b64" in vector:
                self.refused(70003, vector)

    def test_each_published_manner_of_signing(self):
        for identifier in ("administrator", "a<b>&c", "管理员 é", 'a"b\\c', "x" * 32):
            for manner in (like_python, like_php, like_go, like_cpp):
                sig = manner(claims_of(SDKAPPID, SECRET, identifier))
                usersig.check(sig, SDKAPPID, identifier, SECRET, time.time())

    def test_expiry_is_after_the_last_second(self):
        first = VECTORS[0]
        self.check(first, now=first["time"] + first["expire"])
        self.refused(70001, first, now=first["time"] + first["expire"] + 1)

    def test_wrong_key_identifier_and_app(self):
        first = VECTORS[0]
        self.refused(70009, first, key=SECRET)
        self.refused(70013, first, identifier="Administrator")
        self.refused(70014, first, sdkappid=1400000001)
        self.refused(70002, first, sig="")

    def test_wrong_ways_to_sign(self):
        first = VECTORS[0]

        def made(secret=first["key"], **more):
            return pack(json.dumps(claims_of(
                first["sdkappid"], secret, first["identifier"], 86400, first["time"], **more)))

        self.check(first, sig=made())
        self.refused(70009, first, sig=made(secret=bytes.fromhex(first["key"])))
        self.refused(70009, first, sig=made(line_end=""))

    def test_what_is_no_usersig(self):
        first = VECTORS[0]
        source = first["json"].encode()
        url_form = first["sig"].replace("-", "_").replace("*", "-")
        deflate = zlib.compressobj(wbits=-15)
        raw = base64.b64encode(deflate.compress(source) + deflate.flush()).decode()
        raw = raw.translate(str.maketrans("+/=", "*-_"))
        for sig in (first["sig"][:-20], first["sig"] + "AAAA", url_form, raw, "x", "___", first["sig"] + "=",
                    first["sig"].replace("-", "/"), pack("[]"), pack("no json"), pack("[" * 5000)):
            self.refused(70003, first, sig=sig)
        bomb = pack("[" + " " * 1000000 + "]")
        self.refused(70003, first, sig=bomb)

    def test_members(self):
        good = claims_of(SDKAPPID, SECRET, ADMIN)

        def refused(**changes):
            claims = {name: value for name, value in dict(good, **changes).items() if value is not None}
            with self.assertRaises(usersig.Refused) as caught:
                usersig.check(pack(json.dumps(claims)), SDKAPPID, ADMIN, SECRET, time.time())
            self.assertEqual(caught.exception.code, 70003)

        for name in good:
            refused(**{name: None})
        refused(**{"TLS.ver": 2.0})
        refused(**{"TLS.ver": "1.0"})
        refused(**{"TLS.sdkappid": str(SDKAPPID)})
        refused(**{"TLS.time": float(good["TLS.time"])})
        refused(**{"TLS.expire": True})
        refused(**{"TLS.expire": usersig.LONGEST_LIFE + 1})
        refused(**{"TLS.sig": "?"})


class AdmissionTest(Case):
    """Who may call: the codes before a command is looked at, and which of them wins."""

    def test_url(self):
        for params in (dict(random=None), dict(random="x"), dict(random=4294967296), dict(random=-1),
                       dict(random="0x1"), dict(contenttype=None), dict(contenttype="JSON")):
            self.code(60002, PLAIN, **params)
        for number in (0, 4294967295):
            self.code(0, PLAIN, random=number)

    def test_broken_url(self):
        url = self.stand.url
        for target in (url() + "&x=%zz", url() + "&x=a+b", url() + "&random=1", url() + "&x=%ff", url() + "&x"):
            self.assertEqual(self.stand.call(PLAIN, target=target)["ErrorCode"], 60002, target)

    def test_only_post(self):
        self.code(60002, PLAIN, method="GET")
        self.code(60002, PLAIN, method="PUT")

    def test_sdkappid(self):
        self.code(60012, PLAIN, sdkappid=None)
        self.code(60012, PLAIN, sdkappid="")
        self.code(60006, PLAIN, sdkappid="14x")
        self.code(70020, PLAIN, sdkappid=1400000001)

    def test_order_of_codes(self):
        self.code(60012, b"", sdkappid=None, usersig=None, random=None)
        self.code(70020, b"", sdkappid=1, usersig=None, random=None)
        self.code(60002, b"", usersig=None, random=None)
        self.code(70002, b"", usersig=None)
        self.code(70013, b"", identifier="x")
        self.code(60003, b"", path="/v4/nothing/here")

    def test_usersig(self):
        now = int(time.time())
        self.code(70002, PLAIN, usersig="")
        self.code(70003, PLAIN, usersig=self.stand.sig[:-20])
        self.code(70013, PLAIN, identifier="Administrator")
        self.code(70014, PLAIN, usersig=sign(1400000001, SECRET, ADMIN))
        self.code(70001, PLAIN, usersig=sign(SDKAPPID, SECRET, ADMIN, 60, now - 62))
        self.code(70009, PLAIN, usersig=sign(SDKAPPID, "f" * 64, ADMIN))
        self.code(60010, PLAIN, identifier="leckie", usersig=sign(SDKAPPID, SECRET, "leckie"))

    def test_cached_usersig_still_expires(self):
        self.code(0, PLAIN)
        self.stand.control("set", {"clock_offset": 86400 * 2})
        self.code(70001, PLAIN)
        self.stand.control("set", {"clock_offset": 0})
        self.code(0, PLAIN)

    def test_lockout(self):
        self.stand.control("set", {"lockout": {"failures": 3, "within": 60, "seconds": 0.2}})
        for _ in range(2):
            self.code(70003, PLAIN, usersig="x")
        self.code(0, PLAIN)  # a good one starts the count anew
        for _ in range(3):
            self.code(70003, PLAIN, usersig="x")
        self.code(70050, PLAIN)
        self.code(70050, PLAIN, usersig="x")
        deadline = time.monotonic() + 5
        while self.stand.code(PLAIN) == 70050:
            self.assertLess(time.monotonic(), deadline)
        self.stand.control("set", {"lockout": None})
        for _ in range(25):
            self.code(70003, PLAIN, usersig="x")

    def test_lockout_is_on_by_default(self):
        for _ in range(20):
            self.code(70003, PLAIN, usersig="x")
        self.code(70050, PLAIN)

    def test_encoded_identifiers(self):
        for identifier in ("im admin+ops/1=2&x%", "管理员 é", 'a"b\\c'):
            self.stand.control("app", {"sdkappid": 20000001, "secret": "k", "admin": [identifier, "other"]})
            self.code(0, PLAIN, sdkappid=20000001, identifier=identifier, usersig=sign(20000001, "k", identifier))
            self.assertEqual(self.stand.journal()[-1]["identifier"], identifier)

    def test_disabled_app(self):
        app = {"sdkappid": 20000002, "secret": "k", "admin": "admin"}
        who = dict(sdkappid=20000002, identifier="admin", usersig=sign(20000002, "k", "admin"))
        self.stand.control("app", dict(app, disabled=60020))
        self.code(60020, PLAIN, **who)
        self.stand.control("app", app)
        self.code(0, PLAIN, **who)

    def test_new_secret_voids_old_usersigs(self):
        app = {"sdkappid": 20000003, "secret": "k", "admin": "admin"}
        who = dict(sdkappid=20000003, identifier="admin", usersig=sign(20000003, "k", "admin"))
        self.stand.control("app", app)
        self.code(0, PLAIN, **who)
        self.stand.control("app", dict(app, secret="l"))
        self.code(70009, PLAIN, **who)

    def test_paths(self):
        self.code(60009, {}, path="/v4/nothing/here")
        self.code(60009, {}, path="/")
        self.code(10003, {}, path=GROUP + "no_such_command")
        self.code(10003, {}, path=GROUP + "Import_group")

    def test_bodies(self):
        for body in (b"", b"{", b"[]", b'"x"', b'{"Type":NaN}', b"\xff", b'{"Name":"\xc3"}', b"\xef\xbb\xbf{}",
                     b'{"Name":"\\ud800"}', b'{"Name":"a\nb"}', b"[" * 100000, b"{}x",
                     '{"a":"\ud83d"}'.encode("utf-8", "surrogatepass")):
            self.code(60003, body)
        self.code(10004, b'{"Type":"Public","Name":"a","Name":"b"}')
        self.code(10004, b'{"Type":"Public","Name":"a","AppDefinedData":[{"Key":"a","Key":"b","Value":""}]}')
        self.code(0, '{"Type":"Public","Name":"\\ud83d\\ude00"}')

    def test_rates(self):
        self.stand.control("set", {"rate": 3})
        codes = [self.stand.code(PLAIN) for _ in range(5)]
        self.assertEqual(codes, [0, 0, 0, 60007, 60007])
        self.assertEqual(self.stand.code({"GroupIdList": ["x"]}, GROUP + "get_group_info"), 0)
        self.stand.control("set", {"rate": 0, "app_rate": 4})
        self.assertEqual(self.stand.code(PLAIN), 60011)
        deadline = time.monotonic() + 5
        while self.stand.code(PLAIN):
            self.assertLess(time.monotonic(), deadline)


class ImportGroupTest(Case):
    """import_group, field by field."""

    def test_basic_sample(self):
        answer = self.stand.call(
            {"Owner_Account": "leckie", "Type": "Public", "Name": "TestGroup", "CreateTime": 1448357837})
        self.assertEqual(list(answer), ["ActionStatus", "ErrorInfo", "ErrorCode", "GroupId"])
        self.assertRegex(answer["GroupId"], r"^@TGS#[A-Z0-9]{9}$")

    def test_full_sample(self):
        answer = self.stand.call({
            "Owner_Account": "leckie", "Type": "Public", "GroupId": "MyFirstGroup", "Name": "TestGroup",
            "Introduction": "This is group Introduction", "Notification": "This is group Notification",
            "FaceUrl": "http://this.is.face.url", "MaxMemberCount": 500, "ApplyJoinOption": "FreeAccess",
            "CreateTime": 1448357837, "AppDefinedData": [
                {"Key": "GroupTestData1", "Value": "xxxxx"}, {"Key": " GroupTestData2", "Value": "abc\u0000\u0001"}]})
        self.assertEqual(answer, {"ActionStatus": "OK", "ErrorInfo": "", "ErrorCode": 0, "GroupId": "MyFirstGroup"})
        line = self.stand.ledger()[0]
        self.assertEqual(line["body"]["AppDefinedData"][1], {"Key": " GroupTestData2", "Value": "abc\0\1"})
        self.assertEqual((line["group_id"], line["type"], line["name"], line["owner"], line["create_time"], line["n"]),
                         ("MyFirstGroup", "Public", "TestGroup", "leckie", 1448357837, self.stand.journal()[0]["n"]))

    def test_types(self):
        for good in ("Private", "Public", "ChatRoom"):
            self.group(0, Type=good)
        self.group(10007, Type="AVChatRoom", Name=None)
        for wrong in (None, "", "public", "Work", "Meeting", 1, ["Public"]):
            self.group(10004, Type=wrong)

    def test_community(self):
        answer = self.stand.call(dict(PLAIN, Type="Community", SupportTopic=1))
        self.assertRegex(answer["GroupId"], r"^@TGS#_@TGS#c[A-Z0-9]{12}$")
        for good in (0, 1):
            self.group(0, Type="Community", SupportTopic=good)
        for wrong in (2, -1, True, "1"):
            self.group(10004, Type="Community", SupportTopic=wrong)
        self.group(10004, SupportTopic=0)
        self.group(10004, Type="Community", ApplyJoinOption="FreeAccess")
        self.group(0, Type="Community", MaxMemberCount=100000)
        self.group(10004, Type="Community", MaxMemberCount=100001)

    def test_text_limits(self):
        for limits, sizes in (("page", (30, 240, 300, 100)), ("sdk", (100, 400, 400, 500))):
            self.stand.control("set", {"text_limits": limits})
            for name, size in zip(("Name", "Introduction", "Notification", "FaceUrl"), sizes):
                self.group(0, **{name: "x" * size})
                self.group(10004, **{name: "x" * (size + 1)})
                self.group(10004, **{name: "群" * (size // 3 + 1)})
                self.group(10004, **{name: 1})
        self.group(0, Name="群" * 10)

    def test_documented_texts(self):
        self.assertEqual(self.stand.call(dict(PLAIN, Name="x" * 31))["ErrorInfo"], "group name is too long")
        self.assertEqual(self.stand.call(dict(PLAIN, Introduction="x" * 241))["ErrorInfo"], "introduction is too long")
        self.group(0, GroupId="a", Owner_Account="leckie")
        self.group(0, GroupId="b", Owner_Account=ADMIN)
        self.assertEqual(self.stand.call(dict(PLAIN, GroupId="a")),
                         {"ActionStatus": "FAIL", "ErrorInfo": "group id has be used!", "ErrorCode": 10021})
        answer = self.stand.call(dict(PLAIN, GroupId="b"))
        self.assertEqual((answer["ErrorCode"], answer["ErrorInfo"]), (10025, "group id has be used by youself!"))

    def test_required_and_null(self):
        self.group(10004, Name=None)
        self.group(10004, Name="")
        for name in ("Owner_Account", "GroupId", "Introduction", "CreateTime", "AppDefinedData", "Whatever"):
            self.code(10004, dict(PLAIN, **{name: None}))

    def test_group_ids(self):
        for good in ("a", "x" * 48, " ~", "@TGS", "room-1", "a@TGS#b"):
            self.group(0, GroupId=good)
        for wrong in ("", "x" * 49, "@TGS#a", "@TGS#_a", "é", "a\tb", "a\x7f", 7):
            self.group(10004, GroupId=wrong)
        self.group(0, Type="Community", GroupId="@TGS#_a")
        for wrong in ("a", "@TGS#a", "@TGS#_", "@TGS#_" + "x" * 43):
            self.group(10004, Type="Community", GroupId=wrong)

    def test_ids_are_case_sensitive_and_per_app(self):
        self.group(0, GroupId="room")
        self.group(0, GroupId="Room")
        self.group(10021, GroupId="room")
        self.stand.control("app", {"sdkappid": 20000001, "secret": "k", "admin": "admin"})
        self.code(0, dict(PLAIN, GroupId="room"), sdkappid=20000001, identifier="admin",
                  usersig=sign(20000001, "k", "admin"))

    def test_numbers(self):
        now = int(time.time())
        for good in (1, 6000):
            self.group(0, MaxMemberCount=good)
        for wrong in (0, -1, 6001, 500.0, "500", True):
            self.group(10004, MaxMemberCount=wrong)
        for good in (1, now):
            self.group(0, CreateTime=good)
        for wrong in (0, -1, now * 1000, now + 3600, "1448357837", 1448357837.0):
            self.group(10004, CreateTime=wrong)

    def test_join_options(self):
        for good in ("FreeAccess", "NeedPermission", "DisableApply"):
            self.group(0, ApplyJoinOption=good)
        for wrong in ("", "freeaccess", 1):
            self.group(10004, ApplyJoinOption=wrong)

    def test_owners(self):
        self.group(0, Owner_Account="x" * 32)
        for wrong in ("", "x" * 33, 7):
            self.group(10004, Owner_Account=wrong)
        self.stand.control("set", {"owners": "listed"})
        self.group(10019, Owner_Account="leckie")
        self.group(0, Owner_Account=ADMIN)
        self.code(0, {"UserID": "leckie", "Nick": "L"}, path="/v4/im_open_login_svc/account_import")
        self.code(0, {"UserID": "leckie"}, path="/v4/im_open_login_svc/account_import")
        self.group(0, Owner_Account="leckie")
        self.group(0)

    def test_custom_data(self):
        self.group(0, AppDefinedData=[])
        for wrong in ({}, "x", [1], [{"Key": "a"}], [{"Key": "a", "Value": 1}], [{"Key": "a", "Value": "", "More": ""}],
                      [{"Key": 1, "Value": ""}], [{"Key": "a", "Value": None}]):
            self.group(10004, AppDefinedData=wrong)
        self.group(0, AppDefinedData=[{"Key": "anything goes", "Value": "x" * 513}])

    def test_listed_custom_keys(self):
        self.stand.control("set", {"custom_keys": "a,b_1,9x,way_too_long_a_key"})
        self.group(0, AppDefinedData=[{"Key": "a", "Value": "x" * 512}, {"Key": "b_1", "Value": ""}])
        self.group(10004, AppDefinedData=[{"Key": "a", "Value": "x" * 513}])
        for wrong in ("c", "9x", "way_too_long_a_key", " a"):
            answer = self.stand.call(dict(PLAIN, AppDefinedData=[{"Key": wrong, "Value": ""}]))
            self.assertEqual((answer["ErrorCode"], answer["ErrorInfo"]), (10004, "all defined key is invalid"))
        self.group(10004, AppDefinedData=[{"Key": "a", "Value": ""}] * 11)
        self.stand.control("set", {"custom_keys": "any"})
        self.group(0, AppDefinedData=[{"Key": "c", "Value": ""}])

    def test_unknown_fields_are_noted(self):
        self.group(0, MemberList=[], lastMsgTime=1)
        self.assertEqual(self.stand.journal()[-1]["unknown_fields"], ["MemberList", "lastMsgTime"])

    def test_quotas(self):
        self.stand.control("set", {"daily_quota": 2})
        self.group(0, GroupId="a")
        self.group(0, GroupId="b")
        self.group(10006, GroupId="c")
        self.group(10021, GroupId="a")
        self.code(0, {"GroupId": "b"}, path=GROUP + "destroy_group")
        self.group(0, GroupId="c")
        self.stand.control("set", {"daily_quota": None, "plan_cap": 2})
        self.group(10058, GroupId="d")
        self.stand.control("set", {"plan_cap": 3})
        self.group(0, GroupId="d")

    def test_the_quota_begins_anew_each_day(self):
        self.stand.control("set", {"daily_quota": 1})
        self.group(0)
        self.group(10006)
        self.stand.control("set", {"clock_offset": 86400})
        # The UserSig of the setup may have run out by now: its day is over, too.
        self.code(0, PLAIN, usersig=sign(SDKAPPID, SECRET, ADMIN, 10 * 86400))


class OtherCommandsTest(Case):
    """get_group_info, destroy_group, account_import."""

    def test_group_info(self):
        self.group(0, GroupId="a", Type="Private", Owner_Account="leckie", CreateTime=1448357837, MaxMemberCount=50,
                   AppDefinedData=[{"Key": "k", "Value": "v\0"}])
        found, absent = self.stand.info(["a", "b"])
        self.assertEqual((absent["GroupId"], absent["ErrorCode"]), ("b", 10010))
        wanted = {"GroupId": "a", "ErrorCode": 0, "ErrorInfo": "", "Type": "Private", "Name": "TestGroup",
                  "Owner_Account": "leckie", "CreateTime": 1448357837, "MaxMemberNum": 50, "MemberNum": 1,
                  "ApplyJoinOption": "NeedPermission", "Appid": SDKAPPID,
                  "AppDefinedData": [{"Key": "k", "Value": "v\0"}]}
        self.assertEqual({name: found.get(name) for name in wanted}, wanted)
        self.assertEqual(found["MemberList"][0]["Role"], "Owner")

    def test_filters(self):
        self.group(0, GroupId="a", AppDefinedData=[{"Key": "k", "Value": "v"}, {"Key": "l", "Value": "w"}])
        entry = self.stand.info(["a"], ResponseFilter={"GroupBaseInfoFilter": ["Type", "Name", "Nonsense"]})[0]
        self.assertEqual(entry, {
            "GroupId": "a", "ErrorCode": 0, "ErrorInfo": "", "Type": "Public", "Name": "TestGroup"})
        entry = self.stand.info(["a"], ResponseFilter={"AppDefinedDataFilter_Group": ["l"]})[0]
        self.assertEqual(entry["AppDefinedData"], [{"Key": "l", "Value": "w"}])
        self.assertNotIn("Type", entry)
        self.assertIn("MemberList", self.stand.info(["a"], ResponseFilter={"MemberInfoFilter": ["Role"]})[0])

    def test_community_info(self):
        group_id = self.stand.call(dict(PLAIN, Type="Community", SupportTopic=1))["GroupId"]
        entry = self.stand.info([group_id])[0]
        self.assertEqual((entry["SupportTopic"], entry["MaxMemberNum"]), (1, 100000))
        self.assertNotIn("MemberList", entry)
        self.assertNotIn("ApplyJoinOption", entry)

    def test_switches(self):
        self.stand.control("set", {"absent_code": 10015, "type_names": "new"})
        for group_type in ("Private", "Public", "ChatRoom"):
            self.group(0, GroupId=group_type, Type=group_type)
        entries = self.stand.info(["Private", "Public", "ChatRoom", "nothing"])
        self.assertEqual([one.get("Type") for one in entries], ["Work", "Public", "Meeting", None])
        self.assertEqual(entries[3]["ErrorCode"], 10015)

    def test_bad_queries(self):
        path = GROUP + "get_group_info"
        for wrong in ({}, {"GroupIdList": []}, {"GroupIdList": "a"}, {"GroupIdList": [1]}, {"GroupIdList": ["a"] * 51},
                      {"GroupIdList": ["a"], "ResponseFilter": []}, {"GroupIdList": ["a"], "ResponseFilter": None},
                      {"GroupIdList": ["a"], "ResponseFilter": {"GroupBaseInfoFilter": "Type"}}):
            self.code(10004, wrong, path=path)
        self.code(0, {"GroupIdList": ["a"] * 50}, path=path)

    def test_too_large_an_answer(self):
        self.group(0, GroupId="a", AppDefinedData=[{"Key": "k", "Value": "x" * 30000}])
        self.code(10018, {"GroupIdList": ["a"] * 50}, path=GROUP + "get_group_info")

    def test_destroy(self):
        path = GROUP + "destroy_group"
        self.group(0, GroupId="a")
        self.code(0, {"GroupId": "a"}, path=path)
        self.assertEqual(self.stand.info(["a"])[0]["ErrorCode"], 10010)
        self.code(10010, {"GroupId": "a"}, path=path)
        self.code(10004, {}, path=path)
        self.group(0, GroupId="a")

    def test_account_import(self):
        path = "/v4/im_open_login_svc/account_import"
        for wrong in ({}, {"UserID": ""}, {"UserID": 1}, {"UserID": "x" * 33}, {"UserID": "x", "FaceUrl": 1}):
            self.code(70402, wrong, path=path)
        self.code(40601, {"UserID": "x", "Nick": "x" * 501}, path=path)


class FaultTest(Case):
    """Every action, and the rules that choose among calls."""

    tested: set = set()

    def fault(self, do, **options):
        self.tested.add(do)
        self.stand.fault(do, **options)

    def last(self):
        line = self.stand.journal()[-1]
        return line["fault"], line["applied"], line["code"]

    def unanswered(self, error, do, applied, **options):
        self.fault(do, times=1, **options)
        with self.assertRaises(error):
            self.stand.call(PLAIN)
        self.assertEqual(self.last(), (do, applied, None))
        self.assertEqual(len(self.stand.ledger()), int(applied))

    def answered(self, do, applied=True, **options):
        self.fault(do, times=1, **options)
        status, headers, data = self.stand.raw_call(dict(PLAIN, GroupId="g"))
        self.assertEqual(self.last()[:2], (do, applied))
        self.assertEqual(len(self.stand.ledger()), int(applied))
        return status, headers, data

    def test_code(self):
        self.fault("code", code=60007, info="slowly", times=1)
        self.assertEqual(self.stand.call(PLAIN), {"ActionStatus": "FAIL", "ErrorInfo": "slowly", "ErrorCode": 60007})
        self.assertEqual(self.last(), ("code", False, 60007))
        self.fault("code", code=60008, apply=True, times=1)
        self.assertEqual(self.stand.code(PLAIN), 60008)
        self.assertEqual(self.last(), ("code", True, 60008))
        self.assertEqual(len(self.stand.ledger()), 1)
        self.code(0, PLAIN)

    def test_a_fault_does_not_apply_what_would_be_refused(self):
        self.fault("code", code=10002, apply=True)
        self.code(10002, {"Type": "Public"})
        self.assertEqual(self.stand.ledger(), [])

    def test_close(self):
        self.unanswered(http.client.RemoteDisconnected, "close_before", False)

    def test_close_after(self):
        self.unanswered(http.client.RemoteDisconnected, "close_after", True)

    def test_reset_before(self):
        self.unanswered(ConnectionResetError, "reset_before", False)

    def test_rst_after(self):
        self.unanswered(ConnectionResetError, "rst_after", True)

    def test_delay(self):
        start = time.monotonic()
        self.answered("delay", ms=150)
        self.assertGreater(time.monotonic() - start, 0.15)

    def test_hold(self):
        for apply in (True, False):
            self.fault("hold", apply=apply, times=1)
            connection = self.stand.connect()
            connection.request("POST", self.stand.url(), json.dumps(PLAIN))
            self.assertTrue(self.stand.control("wait?held=1&timeout=5")["reached"])
            self.assertEqual(self.last()[:2], ("hold", apply))
            before = len(self.stand.ledger())
            self.assertEqual(self.stand.control("release", {}), {"released": 1})
            self.assertEqual(json.loads(connection.getresponse().read())["ErrorCode"], 0)
            self.assertEqual(len(self.stand.ledger()) - before, int(not apply))
            connection.close()

    def test_held_call_whose_caller_left(self):
        self.fault("hold", apply=False, times=1)
        connection = self.stand.connect()
        connection.request("POST", self.stand.url(), json.dumps(PLAIN))
        self.assertTrue(self.stand.control("wait?held=1&timeout=5")["reached"])
        connection.close()
        deadline = time.monotonic() + 5
        while self.stand.control("stats")["held"]:
            self.assertLess(time.monotonic(), deadline)
        self.assertEqual(self.stand.control("release", {"count": 1}), {"released": 0})
        self.assertEqual(self.stand.ledger(), [])

    def test_zombie(self):
        self.fault("delay_apply", ms=30, times=1)
        with self.assertRaises(http.client.RemoteDisconnected):
            self.stand.call(dict(PLAIN, GroupId="z"))
        self.assertEqual(self.last(), ("delay_apply", False, None))
        self.assertTrue(self.stand.control("wait?created=1&timeout=5")["reached"])
        self.code(10021, dict(PLAIN, GroupId="z"))

    def test_zombie_until_release(self):
        self.fault("delay_apply", answer="none", times=1)
        connection = self.stand.connect(timeout=0.1)
        connection.request("POST", self.stand.url(), json.dumps(PLAIN))
        with self.assertRaises(socket.timeout):
            connection.getresponse()
        connection.close()
        self.assertEqual(self.stand.ledger(), [])
        self.stand.control("release", {})
        self.assertTrue(self.stand.control("wait?created=1&timeout=5")["reached"])

    def test_http(self):
        status, headers, data = self.answered("http", False)
        self.assertEqual((status, headers["Content-Type"]), (502, "text/html"))
        self.assertIn(b"502 Bad Gateway", data)
        status, headers, _ = self.answered("http", True, status=429, apply=True, headers={"Retry-After": "7"})
        self.assertEqual((status, headers["Retry-After"]), (429, "7"))

    def test_redirect(self):
        status, headers, _ = self.answered("redirect", False, location="http://127.0.0.1:1/x")
        self.assertEqual((status, headers["Location"]), (302, "http://127.0.0.1:1/x"))

    def test_truncate(self):
        self.fault("truncate", times=1)
        with self.assertRaises(http.client.IncompleteRead):
            self.stand.call(PLAIN)
        self.assertEqual(self.last(), ("truncate", True, 0))
        self.fault("truncate", times=1, keep=0, apply=False)
        with self.assertRaises(http.client.IncompleteRead) as caught:
            self.stand.call(PLAIN)
        self.assertEqual(caught.exception.partial, b"")
        self.assertEqual(len(self.stand.ledger()), 1)

    def test_bytes(self):
        self.assertEqual(self.answered("bytes", False, body="what?")[2], b"what?")
        self.assertEqual(self.answered("bytes", False, body_b64="/wA=")[2], b"\xff\0")
        raw = "HTTP/1.1 299 Odd\r\nContent-Length: 1\r\n\r\nx"
        self.assertEqual(self.answered("bytes", True, body=raw, raw=True, apply=True)[::2], (299, b"x"))

    def test_huge(self):
        for chunked in (True, False):
            data = self.answered("huge", False, bytes=300000, chunked=chunked)[2]
            self.assertEqual(len(data), 300000)
            self.assertEqual(json.loads(data)["ErrorCode"], 0)

    def test_endless_headers(self):
        self.fault("endless_headers", times=1)
        with self.assertRaises(http.client.HTTPException):
            self.stand.call(PLAIN)
        self.code(0, PLAIN)

    def test_slow(self):
        start = time.monotonic()
        data = self.answered("slow", ms=1)[2]
        self.assertEqual(json.loads(data)["ErrorCode"], 0)
        self.assertGreater(time.monotonic() - start, 0.2)

    def test_nested(self):
        self.assertIn(b"[" * 5000 + b"]" * 5000, self.answered("nested", depth=5000)[2])

    def test_close_idle(self):
        self.fault("close_idle", times=1)
        with self.stand.socket() as link:
            link.sendall(self.stand.request_bytes(PLAIN))
            stream = link.makefile("rb")
            self.assertEqual(read_answer(stream)[0], "HTTP/1.1 200 OK")
            self.assertEqual(stream.read(), b"")

    def test_continue_100(self):
        self.fault("continue_100", count=2, times=1)
        with self.stand.socket() as link:
            link.sendall(self.stand.request_bytes(PLAIN))
            stream = link.makefile("rb")
            lines = [read_answer(stream)[0] for _ in range(3)]
        self.assertEqual(lines, ["HTTP/1.1 100 Continue"] * 2 + ["HTTP/1.1 200 OK"])

    def test_json_oddities(self):
        read = lambda do, **options: json.loads(self.again(do, **options)[2])
        self.assertNotIn("ErrorInfo", read("no_error_info"))
        self.assertNotIn("GroupId", read("no_group_id"))
        self.assertEqual(read("wrong_group_id")["GroupId"], "not-g")
        self.assertEqual(read("wrong_group_id", group_id="h")["GroupId"], "h")
        self.assertEqual(read("string_code")["ErrorCode"], "0")
        self.assertIn("\0", read("nul_info")["ErrorInfo"])
        self.assertIn("\ud83d", read("nul_info", code=10002)["ErrorInfo"])
        self.assertIn("RequestId", read("extra_fields"))
        self.assertIn(b"\xff\xfe", self.again("bad_utf8")[2])
        self.assertEqual(self.again("dup_keys", first=60007)[2].count(b'"ErrorCode"'), 2)
        self.assertEqual(self.again("content_type", value="text/x")[1]["Content-Type"], "text/x")
        self.again("results", how="none")  # nothing to change in this answer: see test_move.py

    def again(self, do, **options):
        self.stand.control("reset", {})
        return self.answered(do, **options)

    def test_matching(self):
        def codes(bodies):
            return [self.stand.code(dict(PLAIN, **body)) for body in bodies]

        for match, bodies, expected in (
                ({"name": "bad*"}, [{"Name": "good"}, {"Name": "badly"}], [0, 1]),
                ({"owner": "l*"}, [{"Owner_Account": "leckie"}, {}], [1, 0]),
                ({"group_id": "x-?"}, [{"GroupId": "x-1"}, {"GroupId": "x-10"}, {}], [1, 0, 0]),
                ({"group_id": None}, [{"GroupId": "y"}, {}], [0, 1]),
                ({"nth": 2}, [{}, {}, {}], [0, 1, 0]),
                ({"every": 2}, [{}, {}, {}, {}], [0, 1, 0, 1]),
                ({"name": "b", "nth": 2}, [{"Name": "b"}, {}, {"Name": "b"}], [0, 0, 1]),
                ({"command": "get_*"}, [{}], [0]),
                ({}, [{}, {}], [1, 1])):
            self.stand.control("clear", {})
            self.fault("code", code=1, match=match)
            self.assertEqual(codes(bodies), expected, match)
        self.stand.control("clear", {})
        self.fault("code", code=7, match={"command": "get_group_info", "group_id": "a*"})
        self.code(7, {"GroupIdList": ["b", "ab"]}, path=GROUP + "get_group_info")
        self.code(0, {"GroupIdList": ["b"]}, path=GROUP + "get_group_info")

    def test_first_rule_wins_and_times_run_out(self):
        self.stand.control("fault", [{"do": "code", "code": 1, "times": 2}, {"do": "code", "code": 2, "times": 1}])
        self.assertEqual([self.stand.code(PLAIN) for _ in range(4)], [1, 1, 2, 0])
        fired = [rule["fired"] for rule in self.stand.control("stats")["faults"]]
        self.assertEqual(fired, [2, 1])

    def test_bad_rules_are_refused(self):
        for wrong in ({}, {"do": "nonsense"}, {"do": "delay", "seconds": 1}, {"do": "code"},
                      {"do": "code", "code": 1, "match": {"nmae": "x"}}, [{"do": "slow"}, {"do": "?"}]):
            self.assertIn("error", self.stand.control("fault", wrong, 400))
        self.assertEqual(self.stand.control("stats")["faults"], [])

    def test_faults_over_tls(self):
        context = ssl.create_default_context(cafile=os.path.join(self.stand.folder, "ca.pem"))
        for do, errors in (("close_after", (http.client.RemoteDisconnected,)), ("rst_after", (ConnectionResetError,)),
                           ("truncate", (http.client.IncompleteRead,))):
            self.fault(do, times=1)
            connection = http.client.HTTPSConnection("localhost", self.stand.https_port, timeout=10, context=context)
            with self.assertRaises(errors):
                connection.request("POST", self.stand.url(), json.dumps(PLAIN))
                connection.getresponse().read()
            connection.close()

    def test_zz_every_action_was_tested(self):
        """Runs last, and means something only when the whole class was run."""
        self.assertEqual(set(faults.ACTIONS) - self.tested, set())

    def test_an_option_of_the_wrong_kind_resets(self):
        self.stand.fault("delay", ms="soon", times=1)
        with self.assertRaises(ConnectionResetError):
            self.stand.call(PLAIN)

    def test_reset_hangs_up_on_held_calls(self):
        self.fault("hold")
        connection = self.stand.connect()
        connection.request("POST", self.stand.url(), json.dumps(PLAIN))
        self.assertTrue(self.stand.control("wait?held=1&timeout=5")["reached"])
        self.stand.control("reset", {})
        with self.assertRaises(http.client.RemoteDisconnected):
            connection.getresponse()
        self.assertEqual(self.stand.control("stats")["held"], 0)


class ControlTest(Case):
    """Control calls, counts and journal."""

    def test_wrong_control_calls(self):
        for path, given in (("set", {"rat": 1}), ("set", {"rate": "fast"}), ("set", {"owners": "some"}),
                            ("set", {"lockout": {"failures": 1}}), ("app", {"sdkappid": 1}), ("nonsense", {})):
            self.assertIn("error", self.stand.control(path, given, 400))
        self.assertIn("error", self.stand.control("wait?call=1", None, 400))
        self.stand.control("set", {"rate": 5, "owners": "wrong"}, 400)
        self.assertEqual(self.stand.control("settings")["rate"], 0, "all or none")

    def test_stats(self):
        for _ in range(3):
            self.code(0, PLAIN)
        self.stand.info(["a", "b"])
        self.code(10003, {}, path=GROUP + "nonsense")
        stats = self.stand.control("stats")
        self.assertEqual(stats["calls"], {"import_group": 3, "get_group_info": 1, "nonsense": 1})
        self.assertEqual(stats["codes"], {"0": 4, "10003": 1})
        self.assertEqual((stats["created"], stats["groups"], stats["connections"], stats["journaled"]), (3, 3, 5, 5))
        self.assertEqual(stats["widest_second"], 4)

    def test_wait(self):
        self.assertFalse(self.stand.control("wait?calls=1&timeout=0.05")["reached"])
        waiting = self.stand.connect()
        waiting.request("GET", "/control/wait?calls=2&command=import_group&timeout=10")
        self.stand.info(["a"])
        self.code(0, PLAIN)
        self.code(0, PLAIN)
        self.assertTrue(json.loads(waiting.getresponse().read())["reached"])
        waiting.close()

    def test_latency(self):
        self.stand.control("set", {"latency_ms": 100})
        start = time.monotonic()
        self.code(0, PLAIN)
        self.assertGreater(time.monotonic() - start, 0.1)

    def test_journal_line(self):
        self.stand.raw_call(dict(PLAIN, GroupId="g"), random=7, extra="one two")
        line = self.stand.journal()[0]
        self.assertEqual(json.loads(line["body"]), dict(PLAIN, GroupId="g"))
        wanted = {"command": "import_group", "sdkappid": SDKAPPID, "identifier": ADMIN, "random": "7",
                  "query": {"extra": "one two"}, "applied": True, "code": 0, "group_id": "g", "fault": None, "conn": 1,
                  "usersig_sha256": hashlib.sha256(self.stand.sig.encode()).hexdigest()[:16]}
        self.assertEqual({name: line[name] for name in wanted}, wanted)
        self.assertEqual(line["headers"]["content-length"], str(len(line["body"])))
        self.assertAlmostEqual(line["wall"], time.time(), delta=30)
        self.assertAlmostEqual(line["t"], time.monotonic(), delta=30)

    def test_journal_of_bad_utf8(self):
        self.code(60003, b'{"Name":"\xff"}')
        line = self.stand.journal()[0]
        self.assertEqual(base64.b64decode(line["body_b64"]), b'{"Name":"\xff"}')
        self.assertEqual(line["body"].encode("utf-8", "surrogateescape"), b'{"Name":"\xff"}')

    def test_journal_choices(self):
        self.code(0, PLAIN)
        self.stand.info(["a"])
        first = self.stand.journal()[0]["n"]
        self.assertEqual(self.stand.control("journal?command=get_group_info")["count"], 1)
        self.assertEqual(self.stand.control("journal?since=%d" % first)["count"], 1)

    def test_journal_is_there_before_the_answer(self):
        path = os.path.join(self.stand.folder, "journal.jsonl")
        for _ in range(20):
            group_id = self.stand.call(PLAIN)["GroupId"]
            with open(path, encoding="utf-8") as lines:
                self.assertEqual(json.loads(lines.readlines()[-1])["group_id"], group_id)

    def test_no_secrets_on_disk(self):
        self.code(0, PLAIN)
        self.code(70009, PLAIN, usersig=sign(SDKAPPID, "f" * 64, ADMIN))
        for name in ("journal.jsonl", "ledger.jsonl", "stderr"):
            with open(os.path.join(self.stand.folder, name), encoding="utf-8") as found:
                text = found.read()
            self.assertNotIn(self.stand.sig, text)
            self.assertNotIn(SECRET, text)

    def test_control_is_not_on_the_tls_port(self):
        context = ssl.create_default_context(cafile=os.path.join(self.stand.folder, "ca.pem"))
        connection = http.client.HTTPSConnection("localhost", self.stand.https_port, timeout=10, context=context)
        connection.request("POST", "/control/reset", "{}")
        self.assertEqual(json.loads(connection.getresponse().read())["ErrorCode"], 60012)
        connection.close()


class HttpTest(Case):
    """The wire: framing, keep-alive, TLS."""

    def test_headers_of_an_answer(self):
        status, headers, _ = self.stand.raw_call(PLAIN)
        self.assertEqual(status, 200)
        self.assertIsNone(headers["Content-Type"])
        self.assertEqual(headers["Connection"], "keep-alive")
        self.assertEqual(headers["Access-Control-Allow-Methods"], "POST")
        self.assertIsNotNone(headers["Date"])

    def test_keep_alive_and_close(self):
        with self.stand.socket() as link:
            stream = link.makefile("rb")
            for headers in ((), (), ("Connection: close",)):
                link.sendall(self.stand.request_bytes(PLAIN, *headers))
                self.assertEqual(json.loads(read_answer(stream)[1])["ErrorCode"], 0)
            self.assertEqual(stream.read(), b"")
        self.assertEqual(self.stand.control("stats")["connections"], 1)

    def test_pipelining_keeps_the_order(self):
        self.stand.fault("delay", ms=50, match={"nth": 1})
        with self.stand.socket() as link:
            link.sendall(b"".join(self.stand.request_bytes(dict(PLAIN, GroupId="g%d" % one)) for one in range(500)))
            stream = link.makefile("rb")
            ids = [json.loads(read_answer(stream)[1])["GroupId"] for _ in range(500)]
        self.assertEqual(ids, ["g%d" % one for one in range(500)])

    def test_byte_by_byte(self):
        with self.stand.socket() as link:
            for byte in self.stand.request_bytes(PLAIN):
                link.send(bytes([byte]))
            self.assertEqual(json.loads(read_answer(link.makefile("rb"))[1])["ErrorCode"], 0)

    def test_chunked_body(self):
        data = json.dumps(dict(PLAIN, GroupId="c")).encode()
        chunks = (b"5;x=y\r\n" + data[:5] + b"\r\n" + b"%X\r\n" % (len(data) - 5) + data[5:]
                  + b"\r\n0\r\nTrailer: x\r\n\r\n")
        message = self.stand.request_bytes(chunks, "Transfer-Encoding: chunked", length=False)
        with self.stand.socket() as link:
            stream = link.makefile("rb")
            link.sendall(message[:-30])
            link.sendall(message[-30:] + self.stand.request_bytes(PLAIN))
            self.assertEqual(json.loads(read_answer(stream)[1])["GroupId"], "c")
            self.assertEqual(json.loads(read_answer(stream)[1])["ErrorCode"], 0)
        self.assertEqual(self.stand.journal()[0]["body"], data.decode())

    def test_expect_100_continue(self):
        message = self.stand.request_bytes(PLAIN, "Expect: 100-continue")
        head, body = message.split(b"\r\n\r\n")
        with self.stand.socket() as link:
            stream = link.makefile("rb")
            link.sendall(head + b"\r\n\r\n")
            self.assertEqual(read_answer(stream)[0], "HTTP/1.1 100 Continue")
            link.sendall(body)
            self.assertEqual(read_answer(stream)[0], "HTTP/1.1 200 OK")

    def test_http_1_0(self):
        with self.stand.socket() as link:
            link.sendall(self.stand.request_bytes(PLAIN).replace(b"HTTP/1.1", b"HTTP/1.0"))
            self.assertIn(b"Connection: close", link.makefile("rb").read())

    def test_what_is_not_http(self):
        for junk in (b"hello\r\n\r\n", b"POST / HTTP/1.1\r\nno colon\r\n\r\n",
                     b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
                     b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b"x" * 65537):
            with self.stand.socket() as link:
                link.sendall(junk)
                self.assertIn(b"60002", link.makefile("rb").read())
        self.assertEqual(self.stand.control("stats")["not_http"], 5)
        self.assertEqual(self.stand.journal(), [])

    def test_incomplete_requests_are_not_journaled(self):
        with self.stand.socket() as link:
            link.sendall(self.stand.request_bytes(PLAIN)[:-1])
        self.code(0, PLAIN)
        self.assertEqual(len(self.stand.journal()), 1)

    def test_tls(self):
        context = ssl.create_default_context(cafile=os.path.join(self.stand.folder, "ca.pem"))
        for host in ("localhost", "127.0.0.1"):
            connection = http.client.HTTPSConnection(host, self.stand.https_port, timeout=10, context=context)
            connection.request("POST", self.stand.url(), json.dumps(PLAIN))
            self.assertEqual(json.loads(connection.getresponse().read())["ErrorCode"], 0)
            connection.close()
        self.assertTrue(self.stand.journal()[0]["tls"])


class CertificateTest(unittest.TestCase):
    """make_certs.sh: each certificate is good or bad in the way its name says."""

    def test_certificates(self):
        folder = tempfile.mkdtemp(prefix="im_service.")
        self.addCleanup(shutil.rmtree, folder)
        subprocess.run(["sh", os.path.join(HERE, "make_certs.sh"), folder], check=True)
        path = lambda name: os.path.join(folder, name)
        for name, ca, reason in (("server", "ca", None), ("server", "other-ca", "verify failed"),
                                 ("wrong-name", "ca", "mismatch"), ("expired", "ca", "expired")):
            stand = Stand("--cert", path(name + ".pem"), "--key", path(name + ".key"))
            try:
                context = ssl.create_default_context(cafile=path(ca + ".pem"))
                with socket.create_connection(("127.0.0.1", stand.https_port), timeout=10) as link:
                    if reason is None:
                        context.wrap_socket(link, server_hostname="localhost").close()
                    else:
                        with self.assertRaisesRegex(ssl.SSLCertVerificationError, reason):
                            context.wrap_socket(link, server_hostname="localhost")
            finally:
                stand.stop()
                stand.remove()


class RestartTest(unittest.TestCase):
    """What a restart keeps and what the command line says."""

    def test_restart(self):
        first = Stand()
        self.addCleanup(shutil.rmtree, first.folder)
        for name in "ab":
            first.call(dict(PLAIN, GroupId=name))
        first.call({"GroupId": "b"}, GROUP + "destroy_group")
        self.assertEqual(first.stop(), 0)
        ports = ("--http-port", str(first.http_port), "--https-port", str(first.https_port))
        second = Stand("--load-ledger", *ports, folder=first.folder)
        self.assertEqual((second.http_port, second.https_port), (first.http_port, first.https_port))
        self.assertEqual([one["group_id"] for one in second.ledger()], ["a"])
        self.assertEqual(second.code(dict(PLAIN, GroupId="a")), 10021)
        self.assertEqual(second.journal()[0]["n"], 4, "numbers go on")
        self.assertEqual(second.stop(), 0)
        third = Stand(folder=first.folder)
        self.assertEqual(third.ledger(), [])
        third.call(dict(PLAIN, GroupId="c"))
        third.stop()
        fourth = Stand("--load-ledger", folder=first.folder)
        self.assertEqual([one["group_id"] for one in fourth.ledger()], ["c"])
        fourth.stop()

    def test_options(self):
        stand = Stand("--rate", "2", "--app-rate", "9", "--daily-quota", "5", "--plan-cap", "6", "--text-limits", "sdk",
                      "--owners", "listed", "--custom-keys", "a,b")
        settings = stand.control("settings")
        wanted = {"rate": 2, "app_rate": 9, "daily_quota": 5, "plan_cap": 6, "text_limits": "sdk", "owners": "listed",
                  "custom_keys": ["a", "b"]}
        self.assertEqual({name: settings[name] for name in wanted}, wanted)
        self.assertEqual(stand.pid, stand.process.pid)
        stand.stop()
        stand.remove()

    def test_secret_file(self):
        folder = tempfile.mkdtemp(prefix="im_service.")
        path = os.path.join(folder, "key")
        with open(path, "w") as file:
            file.write("of a file\n")
        stand = Stand("--sdkappid", "20000009", "--secret-file", path, "--admin", "admin", folder=folder)
        who = dict(sdkappid=20000009, identifier="admin", usersig=sign(20000009, "of a file", "admin"))
        self.assertEqual(stand.code(PLAIN, **who), 0)
        stand.stop()
        stand.remove()

    def test_no_secret_file(self):
        done = subprocess.run([sys.executable, os.path.join(HERE, "im_service.py"), "--dir", ".", "--sdkappid", "1",
                               "--secret-file", "no such file", "--admin", "a"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertEqual((done.returncode, done.stdout), (2, b""))
        self.assertIn(b"cannot read no such file", done.stderr)

    def test_wrong_options(self):
        done = subprocess.run([sys.executable, os.path.join(HERE, "im_service.py"), "--dir", ".", "--sdkappid", "1"],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertEqual((done.returncode, done.stdout), (2, b""))
        self.assertIn(b"--secret", done.stderr)


if __name__ == "__main__":
    unittest.main()
