#!/usr/bin/env python3
"""A stand-in for the REST service of Tencent Cloud IM, for tests and benchmarks.

It behaves as the published documents say, keeps an exact record of every call and every group, and
misbehaves when told to.  Nothing here is shared with the client under test.  It listens on the
loopback interface only.  Once it does, it prints one line of JSON on standard output:

  {"http_port": 40001, "https_port": 40002, "pid": 4242}

README.md beside this file has the whole story; faults.py lists the fault rules, control.py the
control calls.
"""

from __future__ import annotations

import sys

sys.dont_write_bytecode = True  # the source tree may belong to somebody else

import argparse
import asyncio
import gc
import json
import os
import signal
import ssl
import subprocess

from base import App
from control import Control
from gateway import Service
from settings import Settings
from wire import Connection

HERE = os.path.dirname(os.path.abspath(__file__))


def read_secret(path: str) -> str:
    """The secret in a file, without the line's end."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().rstrip("\r\n")
    except OSError as error:
        raise argparse.ArgumentTypeError(f"cannot read {path}: {error.strerror}")


def parse_setting(given: str) -> tuple:
    """NAME=JSON as (name, value); a value that is no JSON is a text."""
    name, _, value = given.partition("=")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def parse_arguments(arguments: list) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--dir", required=True, help="folder for journal.jsonl, ledger.jsonl and made certificates")
    add("--http-port", type=int, default=0, help="0: chosen by the system")
    add("--https-port", type=int, default=0)
    add("--cert", help="certificate chain for HTTPS; without it, certificates are made in DIR")
    add("--key", help="key of --cert")
    add("--sdkappid", type=int, action="append", default=[], help="an app; with --secret and --admin, repeatable")
    add("--secret", action="append", default=[])
    add("--secret-file", action="append", default=[], dest="secret", type=read_secret,
        help="instead of --secret: a file, so that no list of processes shows it")
    add("--admin", action="append", default=[], help="admin account, several separated by commas")
    add("--rate", type=int, default=0, help="calls/s of each command (the real one: 200); 0: no limit")
    add("--app-rate", type=int, default=0, help="calls/s of an app")
    add("--daily-quota", type=int, help="net new groups of an app and day")
    add("--plan-cap", type=int, help="groups an app may have")
    add("--text-limits", choices=("page", "sdk"), default="page")
    add("--owners", choices=("any", "listed"), default="any")
    add("--custom-keys", default="any", help="any, or the keys that the console defines: k1,k2")
    add("--accounts", choices=("any", "listed"), default="any",
        help="listed: whoever is named must have been imported")
    add("--set", action="append", default=[], metavar="NAME=JSON", type=parse_setting,
        help="any other setting, as /control/set takes it")
    add("--load-ledger", action="store_true", help="begin with the groups of DIR/ledger.jsonl")
    given = parser.parse_args(arguments)
    if not len(given.sdkappid) == len(given.secret) == len(given.admin):
        parser.error("each --sdkappid needs a --secret or --secret-file, and an --admin")
    if bool(given.cert) != bool(given.key):
        parser.error("--cert and --key go together")
    try:
        given.settings = make_settings(given)
    except ValueError as problem:
        parser.error(str(problem))
    return given


def make_settings(given: argparse.Namespace) -> Settings:
    """The settings as the command line wants them."""
    settings = Settings()
    settings.change({name: getattr(given, name) for name in (
        "rate", "app_rate", "daily_quota", "plan_cap", "text_limits", "owners", "accounts", "custom_keys")})
    settings.change(dict(given.set))
    return settings


def make_service(given: argparse.Namespace) -> Service:
    """The service as the command line wants it."""
    service = Service(given.dir, given.settings, given.load_ledger)
    service.clock.offset = given.settings.clock_offset
    service.control = Control(service)
    for sdkappid, secret, admin in zip(given.sdkappid, given.secret, given.admin):
        service.apps[sdkappid] = App(sdkappid, secret, admin.split(","))
    return service


def make_tls(given: argparse.Namespace) -> ssl.SSLContext:
    """The TLS side; makes an authority and certificates in DIR if none was given."""
    cert, key = given.cert, given.key
    if cert is None:
        cert, key = (os.path.join(given.dir, "server" + end) for end in (".pem", ".key"))
        if not os.path.exists(key):
            subprocess.run(["sh", os.path.join(HERE, "make_certs.sh"), given.dir], check=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    context.set_alpn_protocols(["http/1.1"])
    return context


async def serve(given: argparse.Namespace):
    """Listen, say where, and go on until SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    service = make_service(given)
    stop = loop.create_future()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, lambda: stop.done() or stop.set_result(None))

    async def listen(port, tls):
        def make():
            return Connection(service.on_request, service.on_broken, tls is not None, service.connections)
        return await loop.create_server(make, "127.0.0.1", port, ssl=tls, backlog=1024)

    plain = await listen(given.http_port, None)
    secure = await listen(given.https_port, make_tls(given))
    print(json.dumps({
        "http_port": plain.sockets[0].getsockname()[1],
        "https_port": secure.sockets[0].getsockname()[1],
        "pid": os.getpid(),
    }), flush=True)
    await stop
    plain.close()
    secure.close()
    for connection in list(service.connections):
        connection.transport.abort()


def main():
    """Entry of the command."""
    given = parse_arguments(sys.argv[1:])
    os.makedirs(given.dir, exist_ok=True)
    gc.set_threshold(100000)  # nearly all that lives is the ledger: looking through it often costs speed
    asyncio.run(serve(given))


if __name__ == "__main__":
    main()
