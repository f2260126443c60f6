"""What the measurements stand on: a PostgreSQL of our own, nginx as a service that is never the
limit, the stand-in, and a look into /proc.  Everything lives in one folder and ends with it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.request

import asyncpg

HERE = os.path.dirname(os.path.abspath(__file__))
SERVICE = os.path.join(HERE, "..", "service")
SDKAPPID = "1400000000"
ADMIN = "administrator"
OK = '{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0}'
# Full calls of members m1 to m20, and of seven messages, answered.
MEMBERS = OK[:-1] + ',"MemberList":[%s]}' % ",".join('{"Member_Account":"m%d","Result":1}' % i for i in range(1, 21))
MESSAGES = OK[:-1] + ',"ImportMsgResult":[%s]}' % ",".join('{"MsgSeq":%d,"Result":0}' % i for i in range(1, 8))

POSTGRES_CONF = """
shared_preload_libraries = '{libraries}'
listen_addresses = ''
unix_socket_directories = '{folder}/socket'
shared_buffers = 512MB
max_wal_size = 8GB
log_checkpoints = off
fsync = on
synchronous_commit = on
"""
# Its worker begins before there is a database of that name, and tries again each second.
PG_NET_CONF = "pg_net.database_name = 'bench'\n"

NGINX_CONF = """
load_module /usr/lib/nginx/modules/ngx_http_echo_module.so;
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {folder}/nginx_1; proxy_temp_path {folder}/nginx_2;
    fastcgi_temp_path {folder}/nginx_3; uwsgi_temp_path {folder}/nginx_4; scgi_temp_path {folder}/nginx_5;
    keepalive_requests 1000000000;
    keepalive_timeout 600s;
    ssl_certificate {folder}/certs/server.pem;
    ssl_certificate_key {folder}/certs/server.key;
    server {{ listen 127.0.0.1:{fast} ssl; listen 127.0.0.1:{plain};
        location / {{ return 200 '{ok}'; }}
        location = /v4/group_open_http_svc/import_group_member {{ return 200 '{members}'; }}
        location = /v4/group_open_http_svc/import_group_msg {{ return 200 '{messages}'; }}
    }}
    server {{ listen 127.0.0.1:{slow} ssl; location / {{ echo_sleep 0.05; echo '{ok}'; }} }}
}}
"""


class Connection:
    """A session, used without await."""

    def __init__(self, folder: str, database: str):
        self.loop = asyncio.new_event_loop()
        self.session = self.loop.run_until_complete(asyncpg.connect(
            host=folder + "/socket", user="postgres", database=database, timeout=60))

    def run(self, sql: str):
        """One or more statements."""
        self.loop.run_until_complete(self.session.execute(sql))

    def row(self, sql: str, *values):
        """The first row of a query."""
        return self.loop.run_until_complete(self.session.fetchrow(sql, *values))

    def value(self, sql: str, *values):
        """Its first column."""
        found = self.row(sql, *values)
        return found[0] if found else None

    def close(self):
        """Ends the session."""
        self.loop.run_until_complete(self.session.close())
        self.loop.close()


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def poll(what: str, seconds: float, condition):
    """Waits until condition() is true and returns what it returned."""
    end = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > end:
            raise TimeoutError("waited %d s for %s" % (seconds, what))
        time.sleep(0.02)


def answers(port: int) -> bool:
    """True if somebody listens there."""
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


class Process:
    """What /proc says of a process.  Its last figures stay readable after its end."""

    def __init__(self, pid: int):
        self.pid = pid
        self.last_cpu = 0.0
        self.last_memory = 0

    def cpu(self) -> float:
        """Seconds of CPU so far, user and system."""
        with contextlib.suppress(OSError):
            with open("/proc/%d/schedstat" % self.pid) as file:
                self.last_cpu = int(file.read().split()[0]) / 1e9
        return self.last_cpu

    def memory(self) -> int:
        """Kilobytes that are its own: the shared buffers it maps are not."""
        with contextlib.suppress(OSError):
            with open("/proc/%d/smaps" % self.pid) as file:
                self.last_memory = private_kilobytes(file)
        return self.last_memory


def private_kilobytes(smaps) -> int:
    """The private pages of mappings that are not shared."""
    total = 0
    shared = True
    for line in smaps:
        head = line.split()
        if not head[0].endswith(":"):
            shared = head[1].endswith("s")
        elif not shared and head[0] in ("Private_Dirty:", "Private_Clean:"):
            total += int(head[1])
    return total


class StandIn:
    """test/service, on ports of its own."""

    def __init__(self, stage: "Stage"):
        self.folder = os.path.join(stage.folder, "service")
        self.process = subprocess.Popen(
            [sys.executable, "-B", os.path.join(SERVICE, "im_service.py"), "--dir", self.folder,
             "--sdkappid", SDKAPPID, "--secret", stage.key, "--admin", ADMIN, "--rate", "0"],
            stdout=subprocess.PIPE, stderr=open(stage.folder + "/service.log", "w"))
        ports = json.loads(self.process.stdout.readline())
        self.http_port = ports["http_port"]
        self.endpoint = "https://127.0.0.1:%d" % ports["https_port"]
        self.ca_file = os.path.join(self.folder, "ca.pem")

    def control(self, call: str, body=None):
        """A control call; POST if there is a body."""
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen("http://127.0.0.1:%d/control/%s" % (self.http_port, call),
                                    data, timeout=120) as answer:
            return json.load(answer)

    def arrivals(self, command: str = "import_group") -> list:
        """(monotonic time, body) of every call of that command in the journal."""
        with open(self.folder + "/journal.jsonl") as file:
            lines = [json.loads(line) for line in file]
        return [(one["t"], one["body"]) for one in lines if one["command"] == command]


class Stage:
    """The folder with everything in it; a context manager."""

    def __init__(self, folder: str, programs: str, pg_net: str = "none"):
        self.folder = folder
        self.bin = programs
        self.pg_net = pg_net            # or "http" or "https", see run.sh
        self.key = secrets.token_hex(32)
        self.fast_port = free_port()
        self.slow_port = free_port()
        self.plain_port = free_port()
        self.ca_file = folder + "/certs/ca.pem"
        self.ending = contextlib.ExitStack()

    def __enter__(self):
        with contextlib.ExitStack() as ending:
            self.ending = ending
            self.start_postgres()
            self.start_nginx()
            self.database = Connection(self.folder, "bench")
            ending.callback(self.database.close)
            self.install()
            self.ending = ending.pop_all()
        return self

    def __exit__(self, *unused):
        self.ending.close()

    def program(self, name: str, *arguments) -> str:
        """Runs one of PostgreSQL's programs; its output."""
        return subprocess.run([os.path.join(self.bin, name), *arguments], check=True, text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE).stdout

    def start_postgres(self):
        """A new cluster."""
        data = self.folder + "/data"
        os.mkdir(self.folder + "/socket", 0o700)
        self.program("initdb", "-D", data, "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8")
        with open(data + "/postgresql.conf", "a") as conf:
            with_pg_net = self.pg_net != "none"
            conf.write(POSTGRES_CONF.format(folder=self.folder,
                                            libraries="im_import, pg_net" if with_pg_net else "im_import"))
            conf.write(PG_NET_CONF if with_pg_net else "")
        # pg_ctl's child keeps the output open: it must not be a pipe
        command = [os.path.join(self.bin, "pg_ctl"), "-D", data, "-w", "-l", self.folder + "/postgres.log"]
        subprocess.run(command + ["start"], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        self.ending.callback(subprocess.run, command + ["-m", "immediate", "stop"],
                             stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        self.program("createdb", "-h", self.folder + "/socket", "bench")

    def start_nginx(self):
        """The service that is never the limit, and the same with 50 ms of latency."""
        subprocess.run(["sh", os.path.join(SERVICE, "make_certs.sh"), self.folder + "/certs"], check=True)
        if self.pg_net == "https":
            with open(self.ca_file) as ours, open(self.folder + "/authorities.pem", "a") as trusted:
                trusted.write("\n" + ours.read())
        with open(self.folder + "/nginx.conf", "w") as conf:
            conf.write(NGINX_CONF.format(folder=self.folder, fast=self.fast_port, slow=self.slow_port,
                                         plain=self.plain_port, ok=OK, members=MEMBERS, messages=MESSAGES))
        nginx = subprocess.Popen(["/usr/sbin/nginx", "-e", self.folder + "/nginx.log", "-c",
                                  self.folder + "/nginx.conf"], stdin=subprocess.DEVNULL)
        self.ending.callback(end, nginx)
        poll("nginx", 10, lambda: answers(self.fast_port) and answers(self.slow_port))

    def install(self):
        """Extension, server and key."""
        key_file = self.folder + "/im.key"
        with open(key_file, "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            file.write(self.key + "\n")
        self.database.run(
            "CREATE EXTENSION im_import;"
            "CREATE SERVER im FOREIGN DATA WRAPPER im_import OPTIONS (sdkappid '%s', endpoint '%s', ca_file '%s',"
            " rate_limit '1000000', max_in_flight '64');"
            "CREATE USER MAPPING FOR CURRENT_USER SERVER im OPTIONS (identifier '%s', secret_key_file '%s')"
            % (SDKAPPID, self.endpoint(), self.ca_file, ADMIN, key_file))

    def endpoint(self, slow: bool = False) -> str:
        """nginx's address."""
        return "https://127.0.0.1:%d" % (self.slow_port if slow else self.fast_port)

    def endpoint_for_pg_net(self) -> str:
        """The same nginx, without TLS if pg_net could not be made to trust it."""
        return self.endpoint() if self.pg_net == "https" else "http://127.0.0.1:%d" % self.plain_port

    def point(self, endpoint: str, ca_file: str, rate: float, in_flight: int):
        """Sends the drain somewhere else."""
        self.database.run("ALTER SERVER im OPTIONS (SET endpoint '%s', SET ca_file '%s', SET rate_limit '%s',"
                          " SET max_in_flight '%d')" % (endpoint, ca_file, rate, in_flight))

    def start_stand_in(self) -> StandIn:
        """test/service, until the stage ends."""
        service = StandIn(self)
        self.ending.callback(end, service.process)
        return service


def end(process: subprocess.Popen):
    """Ends a process that we started."""
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
