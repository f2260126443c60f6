#!/usr/bin/env python3
"""How many calls a second the stand-in takes: import_group over kept-alive TLS.

  python3 bench.py [--connections 32] [--seconds 3] [--clients 1] [--plain]

The figure to look at is "calls per CPU second of the service": it does not depend on how much of
the machine the clients, which are Python too, take away.  The benchmark fails below --at-least.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request

from test_im_service import ADMIN, SDKAPPID, SECRET, sign

HERE = os.path.dirname(os.path.abspath(__file__))


class Caller(asyncio.Protocol):
    """One connection that calls again as soon as it is answered."""

    def __init__(self, name: str, until: float):
        self.name = name
        self.until = until
        self.calls = 0
        self.bad = 0
        self.rest = b""
        self.done = asyncio.get_running_loop().create_future()
        sig = sign(SDKAPPID, SECRET, ADMIN)
        self.url = ("POST /v4/group_open_http_svc/import_group?sdkappid=%d&identifier=%s&usersig=%s"
                    "&random=%%d&contenttype=json HTTP/1.1\r\nHost: localhost\r\n"
                    "Accept: */*\r\nContent-Length: %%d\r\n\r\n%%s" % (SDKAPPID, ADMIN, sig))

    def connection_made(self, transport):
        self.transport = transport
        self.call()

    def call(self):
        body = ('{"Type":"Public","GroupId":"%s-%d","Name":"a group of the benchmark",'
                '"Owner_Account":"leckie","CreateTime":1448357837}' % (self.name, self.calls))
        self.transport.write((self.url % (self.calls, len(body), body)).encode())

    def data_received(self, data):
        self.rest += data
        if not self.rest.endswith(b"}"):
            return
        self.bad += b'"ErrorCode":0' not in self.rest
        self.rest = b""
        self.calls += 1
        if time.monotonic() < self.until:
            self.call()
        else:
            self.transport.close()

    def connection_lost(self, exc):
        self.done.set_result(None)


async def call_for(port: int, name: str, connections: int, seconds: float, ca) -> tuple:
    """(calls, bad answers) of so many connections in so many seconds."""
    loop = asyncio.get_running_loop()
    tls = ssl.create_default_context(cafile=ca) if ca else None
    until = time.monotonic() + seconds
    callers = []
    for number in range(connections):
        _, caller = await loop.create_connection(
            lambda: Caller("%s-%d" % (name, number), until), "127.0.0.1", port, ssl=tls,
            server_hostname="localhost" if tls else None)
        callers.append(caller)
    await asyncio.gather(*(caller.done for caller in callers))
    return sum(one.calls for one in callers), sum(one.bad for one in callers)


def client(port, name, connections, seconds, ca, results):
    """A client process."""
    results.put(asyncio.run(call_for(port, name, connections, seconds, ca)))


def main() -> int:
    """Entry of the command: 0 when fast enough and every answer was good."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--clients", type=int, default=1, help="client processes")
    parser.add_argument("--plain", action="store_true", help="HTTP without TLS")
    parser.add_argument("--at-least", type=float, default=2000, help="calls/s")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return measure(given, folder)


def measure(given, folder: str) -> int:
    """Run service and clients, print what came out."""
    service = subprocess.Popen(
        [sys.executable, os.path.join(HERE, "im_service.py"), "--dir", folder, "--sdkappid", str(SDKAPPID),
         "--secret", SECRET, "--admin", ADMIN], stdout=subprocess.PIPE)
    ports = json.loads(service.stdout.readline())
    port = ports["http_port" if given.plain else "https_port"]
    ca = None if given.plain else os.path.join(folder, "ca.pem")
    results = multiprocessing.Queue()
    cpu_before = cpu_seconds(ports["http_port"])
    clients = [multiprocessing.Process(target=client, args=(
        port, "c%d" % number, given.connections // given.clients, given.seconds, ca, results))
        for number in range(given.clients)]
    start = time.monotonic()
    for one in clients:
        one.start()
    sums = [results.get() for _ in clients]
    seconds = time.monotonic() - start
    for one in clients:
        one.join()
    cpu = cpu_seconds(ports["http_port"]) - cpu_before
    service.terminate()
    service.wait()
    return report(given, sum(one[0] for one in sums), sum(one[1] for one in sums), seconds, cpu)


def cpu_seconds(http_port: int) -> float:
    """What the service has used of a CPU so far."""
    with urllib.request.urlopen("http://127.0.0.1:%d/control/stats" % http_port) as answer:
        return json.load(answer)["cpu_seconds"]


def report(given, calls: int, bad: int, seconds: float, cpu: float) -> int:
    """Print the figures; the exit code."""
    per_cpu = calls / cpu
    print("%d connections over %s: %d calls in %.1f s" % (
        given.connections, "HTTP" if given.plain else "TLS", calls, seconds))
    print("calls/s: %.0f; calls per CPU second of the service: %.0f; answers other than OK: %d" % (
        calls / seconds, per_cpu, bad))
    if bad or calls / seconds < given.at_least:
        print("FAILED: wanted %.0f calls/s and every answer OK" % given.at_least)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
