#!/usr/bin/env python3
"""Runs the benchmarks and prints the report; started by run.sh, as postgres."""

from __future__ import annotations

import argparse
import platform
import signal
import subprocess
import sys
import time

import kinds
import measures
from stage import Stage

HEAD = """# Benchmarks

Printed by `sh test/bench/run.sh{full}` on {date}: {system}, {cpus} CPUs ({model}), {memory} of memory, PostgreSQL {postgres},
{curl}, {nginx}. Everything on loopback, TLS 1.3, connections kept alive, durable claims (`fsync`, `synchronous_commit` on).

Other machines differ, and so does this one from hour to hour: **what counts is a ratio of two things that took turns in one run.**
"bare" is `test/bench/bare_multi.c`, a client that does nothing but call libcurl with the extension's options; the service is nginx
with a fixed answer where speed is measured, and the stand-in (`test/service`) where arrivals are. Where something was repeated,
the median of {rounds} stands here.

| what | figure | beside it | ratio | goal |
|---|---|---|---|---|"""

FOOT = """
The quick form (`sh test/bench/run.sh`) does the same with fewer rows; `sh test/bench/run.sh drain insert` runs parts of it.
"""

PARTS = {**measures.PARTS, **kinds.PARTS}


def first_line(*command) -> str:
    """What a program says of its version."""
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return done.stdout.splitlines()[0]


def read_value(path: str, name: str) -> str:
    """A line of a file in /proc."""
    with open(path) as file:
        for line in file:
            if line.startswith(name):
                return line.split(":", 1)[1].strip()
    return "unknown"


def system() -> str:
    """The distribution and kernel."""
    with open("/etc/os-release") as file:
        names = dict(line.rstrip().split("=", 1) for line in file if "=" in line)
    return "%s, Linux %s" % (names.get("PRETTY_NAME", "").strip('"'), platform.release())


def head(stage: Stage, full: bool, sizes) -> str:
    """What was measured where."""
    cpuinfo = open("/proc/cpuinfo").read()
    kilobytes = int(read_value("/proc/meminfo", "MemTotal").split()[0])
    return HEAD.format(
        full=" full" if full else "", date=time.strftime("%Y-%m-%d"), system=system(),
        cpus=cpuinfo.count("processor\t"), model=read_value("/proc/cpuinfo", "model name"),
        memory="%.0f GiB" % (kilobytes / 1024 / 1024), postgres=stage.database.value("SHOW server_version").split()[0],
        curl=" ".join(first_line("curl", "--version").split()[3:5]),
        nginx=first_line("/usr/sbin/nginx", "-v").split(": ")[1].replace("/", " "), rounds=sizes.rounds)


def main() -> int:
    """Entry of the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", required=True, help="an empty place for everything")
    parser.add_argument("--bin", required=True, help="PostgreSQL's programs, with the extension installed")
    parser.add_argument("--pg-net", default="none", choices=["none", "http", "https"],
                        help="if pg_net is installed too, how it reaches the service; it trusts FOLDER/authorities.pem")
    parser.add_argument("parts", nargs="*", choices=["full", [], *PARTS])
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))       # and Stage ends what it started
    full = "full" in given.parts
    sizes = measures.FULL if full else measures.QUICK
    wanted = [name for name in PARTS if name in given.parts] or list(PARTS)
    failed = 0
    with Stage(given.folder, given.bin, given.pg_net) as stage:
        print(head(stage, full, sizes), flush=True)
        for name in wanted:
            began = time.monotonic()
            try:
                for line in PARTS[name](stage, sizes):
                    print("| " + " | ".join(line) + " |", flush=True)
            except Exception as error:      # one part must not hide the others
                failed += 1
                print("| %s | FAILED | %s | | |" % (name, str(error).replace("\n", " ")), flush=True)
            print("%s: %.0f s" % (name, time.monotonic() - began), file=sys.stderr)
        print(FOOT)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
