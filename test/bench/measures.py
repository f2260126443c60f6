"""The measurements.  Each takes the stage and the sizes, and yields lines of the report.

Two things that are compared take turns, so that other work on the machine hits both.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import time
from typing import NamedTuple

from stage import Connection, Process, Stage, poll

HERE = os.path.dirname(os.path.abspath(__file__))
IN_FLIGHT = 64
EDGE = 10000                    # rows at either end whose rate is compared
AWAKE_CALLS = 200
LOOP = 100                      # rows of the loop of psql and curl
PG_NET_STILL = 60               # seconds without an answer after which nobody waits for the others
ROW_COLUMNS = "source_id, type, name, owner_account, introduction, notification, create_time"
ROW_VALUES = ("{i}::text, 'Public', 'group ' || {i}, 'user' || {i} % 1000,"
              " 'introduction of the group, some words of it', 'a notice', now() - interval '1 day'")


class Line(NamedTuple):
    """One line of the report."""
    what: str
    figure: str
    beside: str = ""
    ratio: str = ""
    goal: str = ""


class Sizes(NamedTuple):
    """How much is done."""
    rounds: int                 # of what is repeated; the median counts
    drain: int                  # rows, at full speed
    slow: int                   # rows, at 50 ms
    alternative: int            # rows
    serial: int                 # rows, one at a time
    posted: int                 # rows, by pg_net
    bulk: int                   # rows of an INSERT
    single_seconds: int         # of pgbench
    growth: int                 # rows drained
    behind: int                 # finished rows
    rate_seconds: int
    asleep: int                 # inserts


QUICK = Sizes(3, 50000, 4000, 10000, 2000, 1000, 100000, 2, 200000, 1000000, 20, 8)
FULL = Sizes(3, 200000, 20000, 50000, 5000, 2000, 500000, 20, 1000000, 10000000, 60, 40)


class Drained(NamedTuple):
    """What a drain took."""
    rows: int
    seconds: float
    cpu: float                  # of the worker
    memory: int                 # kilobytes of the worker, just before the end
    first: float                # rows a second, near the beginning
    last: float                 # the same, near the end
    first_cpu: float            # of the worker per row, microseconds, there
    last_cpu: float

    @property
    def rate(self) -> float:
        """Rows a second."""
        return self.rows / self.seconds


def median(numbers) -> float:
    """The middle one."""
    return statistics.median(numbers)


def percentile(numbers, share: float) -> float:
    """Nearest rank."""
    ordered = sorted(numbers)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def number(value: float) -> str:
    """With separators, and three digits at least."""
    return "{:,.0f}".format(value) if abs(value) >= 100 else "{:.3g}".format(value)


def per_row(cpu: float, rows: int) -> str:
    """Microseconds of CPU."""
    return "%s µs" % number(cpu / rows * 1e6)


# ---- filling the outbox and emptying it

def fill(stage: Stage, rows: int, keep: bool = False):
    """So many new rows that wait for im_import_resume()."""
    database = stage.database
    database.run("SELECT im_import_pause('benchmark')")
    if not keep:
        database.run("TRUNCATE im_group_outbox")
    database.run("INSERT INTO im_group_outbox (%s) SELECT %s FROM generate_series(1, %d) i"
                 % (ROW_COLUMNS, ROW_VALUES.format(i="i"), rows))
    database.run("VACUUM ANALYZE im_group_outbox")
    database.run("CHECKPOINT")


def worker(stage: Stage) -> int:
    """The worker's process id, or None."""
    return stage.database.value("SELECT pid FROM pg_stat_activity WHERE backend_type = 'im_import worker'")


def sample(stage: Stage, rows: int) -> tuple:
    """Looks until so many rows are sent: ([(time, calls, CPU of the worker)], process of the worker)."""
    database = stage.database
    samples = [(time.monotonic(), 0, 0.0)]
    process, seen = None, time.monotonic()
    while samples[-1][1] < rows:
        time.sleep(0.02)
        calls = database.value("SELECT sum(replies_done)::bigint FROM pg_stat_im_import")
        samples.append((time.monotonic(), calls, process.cpu() if process else 0.0))
        if samples[-1][1] > samples[-2][1]:
            seen = time.monotonic()
        if time.monotonic() - seen > 120:
            raise TimeoutError("the drain stands still: %r" % (database.row("TABLE im_import_status"),))
        if process is None:
            pid = worker(stage)
            process = Process(pid) if pid else None
        elif len(samples) % 10 == 0:
            process.memory()
    return samples, process


def moment(samples: list, calls: int) -> tuple:
    """(time, CPU) when so many calls were done, between two samples."""
    for (t0, c0, cpu0), (t1, c1, cpu1) in zip(samples, samples[1:]):
        if c1 >= calls:
            share = (calls - c0) / (c1 - c0)
            return t0 + (t1 - t0) * share, cpu0 + (cpu1 - cpu0) * share
    return samples[-1][0], samples[-1][2]


def stretch(samples: list, start: int, rows: int) -> tuple:
    """(rows a second, microseconds of CPU per row) of so many rows from there."""
    (t0, cpu0), (t1, cpu1) = moment(samples, start), moment(samples, start + rows)
    return rows / (t1 - t0), (cpu1 - cpu0) / rows * 1e6


def drain(stage: Stage, rows: int) -> Drained:
    """Resumes, and waits until all that fill() made is imported."""
    database = stage.database
    before = database.value("SELECT imported FROM im_import_status")
    poll("the former worker to leave", 30, lambda: worker(stage) is None)
    database.run("SELECT im_import_stats_reset(); SELECT im_import_resume()")
    samples, process = sample(stage, rows)
    cpu, memory = process.cpu(), process.memory()
    poll("the last outcomes", 30, lambda: database.value(
        "SELECT imported = $1 FROM im_import_status", before + rows))
    edge = min(EDGE, rows // 4)
    # the very first rows pay for connections and plans: the second ten thousand count as first
    first, first_cpu = stretch(samples, edge, edge)
    last, last_cpu = stretch(samples, rows - edge, edge)
    return Drained(rows, samples[-1][0] - samples[0][0], cpu, memory, first, last, first_cpu, last_cpu)


def bare(stage: Stage, url: str, calls: int, in_flight: int) -> dict:
    """The bare client."""
    output = subprocess.run([stage.folder + "/bare_multi", url, stage.ca_file, str(calls), str(in_flight)],
                            check=True, text=True, stdout=subprocess.PIPE).stdout
    return json.loads(output)


# ---- the drain against the bare client

def against_bare(stage: Stage, sizes: Sizes, name: str, slow: bool, goal: str):
    """Both in turn, with the same number in flight."""
    url = stage.endpoint(slow)
    rows = sizes.slow if slow else sizes.drain
    stage.point(url, stage.ca_file, 1000000, IN_FLIGHT)
    theirs, ours = [], []
    for _ in range(sizes.rounds):
        theirs.append(bare(stage, url, rows, IN_FLIGHT))
        fill(stage, rows)
        ours.append(drain(stage, rows))
    limit = median(one["calls"] / one["seconds"] for one in theirs)
    rate = median(one.rate for one in ours)
    yield Line("drain, TLS, %s, %d in flight" % (name, IN_FLIGHT), number(rate) + " rows/s",
               "bare libcurl multi: %s calls/s" % number(limit), "%.2f" % (rate / limit), goal)
    bare_cpu = median(one["cpu_seconds"] for one in theirs)
    cpu = median(one.cpu for one in ours)
    yield Line("… CPU of the worker per row", per_row(cpu, rows), "bare: " + per_row(bare_cpu, rows),
               "%.2f" % (cpu / bare_cpu), "" if slow else "≤ 30 µs")
    if not slow:
        yield from memory(stage, max(one.memory for one in ours), theirs[0]["kilobytes"])


def memory(stage: Stage, most: int, bare_kilobytes: int):
    """The worker's own memory after ten rows, and at the end of the long drain."""
    fill(stage, 10)
    stage.database.run("SELECT im_import_resume()")
    process = Process(poll("the worker", 30, lambda: worker(stage)))
    poll("ten rows", 30, lambda: stage.database.value("SELECT imported = 10 FROM im_import_status"))
    few = process.memory()
    yield Line("… private memory of the worker", "%.1f MiB" % (most / 1024),
               "after 10 rows: %.1f MiB; bare, resident: %.1f MiB" % (few / 1024, bare_kilobytes / 1024),
               "", "≤ 20 MiB")


def part_drain(stage: Stage, sizes: Sizes):
    """Full speed."""
    yield from against_bare(stage, sizes, "0.1 ms", False, "≥ 0.5")


def part_latency(stage: Stage, sizes: Sizes):
    """The same with a service that takes 50 ms."""
    yield from against_bare(stage, sizes, "50 ms", True, "")


# ---- what else one could write

def make_alternative(stage: Stage, rows: int):
    """The alternatives' own table, without our trigger, checks and defaults."""
    stage.database.run(
        "DROP TABLE IF EXISTS alternative_outbox;"
        "CREATE TABLE alternative_outbox (LIKE im_group_outbox INCLUDING IDENTITY INCLUDING INDEXES);"
        "ALTER TABLE alternative_outbox ALTER status SET DEFAULT 'pending', ALTER attempts SET DEFAULT 0,"
        " ALTER enqueued_at SET DEFAULT now(), ALTER origin SET DEFAULT 0,"
        " ALTER row_key SET DEFAULT '00000000-0000-0000-0000-000000000000';"
        "INSERT INTO alternative_outbox (group_id, %s) SELECT 'im-' || md5(i::text), %s"
        " FROM generate_series(1, %d) i" % (ROW_COLUMNS, ROW_VALUES.format(i="i"), rows))
    stage.database.run("VACUUM ANALYZE alternative_outbox")
    stage.database.run("CHECKPOINT")


def asyncio_worker(stage: Stage, rows: int) -> dict:
    """The worker on asyncpg and aiohttp."""
    make_alternative(stage, rows)
    output = subprocess.run(
        [sys.executable, "-B", os.path.join(HERE, "alternative_asyncio.py"), stage.folder + "/socket",
         stage.endpoint(), stage.ca_file, str(IN_FLIGHT)], check=True, text=True, stdout=subprocess.PIPE).stdout
    done = stage.database.value("SELECT count(*) FROM alternative_outbox WHERE status = 'imported'")
    if done != rows:
        raise RuntimeError("the asyncio worker imported %d of %d rows" % (done, rows))
    return json.loads(output)


def plpython(stage: Stage, rows: int) -> float:
    """The function, in one transaction; seconds."""
    make_alternative(stage, rows)
    began = time.monotonic()
    done = stage.database.value("SELECT alternative_import($1, $2)", stage.endpoint(), stage.ca_file)
    if done != rows:
        raise RuntimeError("plpython imported %d of %d rows" % (done, rows))
    return time.monotonic() - began


def curl_loop(stage: Stage, rows: int) -> float:
    """psql and curl in a loop; seconds."""
    make_alternative(stage, rows)
    began = time.monotonic()
    subprocess.run(["sh", os.path.join(HERE, "alternative_curl.sh"), os.path.join(stage.bin, "psql"), stage.folder + "/socket",
                    stage.endpoint(), stage.ca_file], check=True, stdin=subprocess.DEVNULL)
    seconds = time.monotonic() - began
    done = stage.database.value("SELECT count(*) FROM alternative_outbox WHERE status = 'imported'")
    if done != rows:
        raise RuntimeError("the loop of psql and curl imported %d of %d rows" % (done, rows))
    return seconds


class Posted(NamedTuple):
    """What pg_net did."""
    rows: int                   # imported, by the answer
    seconds: float              # from the commit of its requests to its last answer
    cpu: float                  # of its worker
    error: str                  # of a request, if there was one

    @property
    def rate(self) -> float:
        """Rows a second."""
        return self.rows / self.seconds if self.rows else 0.0


def pg_net(stage: Stage, rows: int) -> Posted:
    """A request of pg_net's for each row, all in one transaction.  The clock begins when they are queued,
    and the outcomes stay where it leaves them."""
    database = stage.database
    make_alternative(stage, rows)
    database.run("TRUNCATE net.http_request_queue, net._http_response")
    process = Process(poll("the worker of pg_net", 30, lambda: database.value(
        "SELECT pid FROM pg_stat_activity WHERE backend_type LIKE 'pg_net % worker'")))
    database.run("SELECT net.wait_until_running()")
    cpu = process.cpu()
    database.value("SELECT alternative_post($1)", stage.endpoint_for_pg_net())
    began = last = time.monotonic()
    seen = 0
    while seen < rows and time.monotonic() - last < PG_NET_STILL:
        time.sleep(0.02)
        found = database.value("SELECT count(*) FROM net._http_response")
        if found > seen:
            seen, last = found, time.monotonic()
    done, error = database.row(
        "SELECT count(*) FILTER (WHERE status_code = 200 AND content LIKE '%\"ErrorCode\":0%'), max(error_msg)"
        " FROM net._http_response")
    return Posted(done, last - began, process.cpu() - cpu, error or "")


def beside_pg_net(stage: Stage, rows: int, found: list, rate: float, cpu: float):
    """The drain's rate, and its CPU for a row, beside what pg_net() returned."""
    goal = "≥ 40 × pg_net"
    if not found:
        yield Line("drain beside pg_net", "not installed", "by hand: [profile.md](profile.md)", "", goal)
        return
    version, batch = stage.database.row(
        "SELECT extversion, current_setting('pg_net.batch_size') FROM pg_extension WHERE extname = 'pg_net'")
    how = "TLS" if stage.pg_net == "https" else "which got plain HTTP"
    other, done = median(one.rate for one in found), min(one.rows for one in found)
    missing = "" if done == rows else "; only %s of %s imported: %s" % (
        number(done), number(rows), max(one.error for one in found) or "no answer")
    yield Line("drain beside pg_net %s, %s, %s at a time" % (version, how, batch), number(rate) + " rows/s",
               "%s rows/s%s" % (number(other), missing), "%.0f" % (rate / other) if other else "", goal)
    if done:
        other = median(one.cpu / one.rows for one in found)
        yield Line("… CPU of the worker per row", per_row(cpu, 1), per_row(other, 1), "%.3f" % (cpu / other))


def part_alternatives(stage: Stage, sizes: Sizes):
    """The drain beside what one would write without it."""
    stage.point(stage.endpoint(), stage.ca_file, 1000000, IN_FLIGHT)
    with open(os.path.join(HERE, "alternative_plpython.sql")) as file:
        stage.database.run(file.read())
    if stage.pg_net != "none":
        with open(os.path.join(HERE, "alternative_pg_net.sql")) as file:
            stage.database.run(file.read())
    ours, theirs, serial, loop, posted = [], [], [], [], []
    for _ in range(sizes.rounds):
        fill(stage, sizes.drain)
        ours.append(drain(stage, sizes.drain))
        theirs.append(asyncio_worker(stage, sizes.alternative))
        serial.append(sizes.serial / plpython(stage, sizes.serial))
        loop.append(LOOP / curl_loop(stage, LOOP))
        if stage.pg_net != "none":
            posted.append(pg_net(stage, sizes.posted))
    rate = median(one.rate for one in ours)
    other = median(one["rows"] / one["seconds"] for one in theirs)
    yield Line("drain beside a worker on asyncpg and aiohttp", number(rate) + " rows/s",
               "%s rows/s" % number(other), "%.1f" % (rate / other))
    cpu, other = ours[0].cpu, median(one["cpu_seconds"] for one in theirs)
    yield Line("… CPU per row", per_row(cpu, sizes.drain), per_row(other, sizes.alternative),
               "%.2f" % (cpu / sizes.drain / (other / sizes.alternative)))
    yield Line("drain beside plpython3u and requests, in one transaction", number(rate) + " rows/s",
               "%s rows/s" % number(median(serial)), "%.1f" % (rate / median(serial)))
    yield Line("drain beside a loop of psql and curl, a row at a time", number(rate) + " rows/s",
               "%s rows/s" % number(median(loop)), "%.0f" % (rate / median(loop)))
    yield from beside_pg_net(stage, sizes.posted, posted, rate, cpu / sizes.drain)
    yield Line("drain beside pgsql-http", "", "by hand: [profile.md](profile.md)")


# ---- INSERT

# Of each outbox the columns that a load fills, and their values for row i, whose keys differ.
LOADS = {
    "account": ("user_id, nick, face_url", "'u' || {i}, 'nickname ' || {i}, 'https://example.com/' || {i}"),
    "friend": ("user_id, friend_id, remark, add_time", "'u' || {i} % 1000, 'u' || {i}, 'from school', now() - interval '1 day'"),
    "dialog": ("source_id, from_account, to_account, send_time, text",
               "{i}::text, 'u' || {i} % 1000, 'u' || {i} % 999, now() - interval '1 day', 'a message of about fifty characters, number ' || {i}"),
    "group": (ROW_COLUMNS, ROW_VALUES),
    "member": ("group_source_id, member_account, join_time", "'r' || {i} % 1000, 'u' || {i}, now() - interval '1 day'"),
    "message": ("source_id, group_source_id, from_account, send_time, text",
                "{i}::text, 'r' || {i} % 1000, 'u' || {i} % 999, now() - interval '1 day', 'a message of about fifty characters, number ' || {i}"),
    "unread": ("group_source_id, member_account, unread_msg_num", "'r' || {i} % 1000, 'u' || {i}, {i} % 100"),
}


def make_plain(stage: Stage, kind: str):
    """A table with the columns, identity, indexes and keys of an outbox; without its triggers, checks and functions."""
    stage.database.run(
        "DROP TABLE IF EXISTS plain_{0};"
        "CREATE TABLE plain_{0} (LIKE im_{0}_outbox INCLUDING IDENTITY INCLUDING GENERATED INCLUDING INDEXES);"
        "ALTER TABLE plain_{0} ALTER status SET DEFAULT 'pending', ALTER attempts SET DEFAULT 0, ALTER enqueued_at SET DEFAULT now(),"
        " ALTER origin SET DEFAULT 0, ALTER row_key SET DEFAULT '00000000-0000-0000-0000-000000000000'".format(kind))


def bulk(stage: Stage, kind: str, table: str, rows: int) -> tuple:
    """Rows a second of one INSERT … SELECT, and microseconds of the session's CPU for a row."""
    columns, values = LOADS[kind]
    stage.database.run("TRUNCATE %s" % table)
    stage.database.run("CHECKPOINT")
    session = Process(stage.database.value("SELECT pg_backend_pid()"))
    cpu, began = session.cpu(), time.monotonic()
    stage.database.run("INSERT INTO %s (%s) SELECT %s FROM generate_series(1, %d) i"
                       % (table, columns, values.format(i="i"), rows))
    return rows / (time.monotonic() - began), (session.cpu() - cpu) / rows * 1e6


def pgbench(stage: Stage, scripts: list, *options) -> list:
    """Runs scripts in turn, as chance will have it; the average latency of each, in ms."""
    files = []
    for i, script in enumerate(scripts):
        files += ["-f", "%s/pgbench.%d.sql" % (stage.folder, i)]
        with open(files[-1], "w") as file:
            file.write(script)
    output = stage.program("pgbench", "-h", stage.folder + "/socket", "-U", "postgres", "-n", "-M", "prepared",
                           *files, *options, "bench")
    found = [float(line.split("=")[1].split()[0]) for line in output.splitlines() if "latency average" in line]
    return found[-len(scripts):]        # with several, the first is of all of them


def singles(stage: Stage, kind: str, tables: tuple, seconds: int) -> list:
    """Milliseconds of a single-row INSERT with its commit into each table, by two sessions that choose between them by chance."""
    columns, values = LOADS[kind]
    return pgbench(stage, ["\\set i random(1000000, 1000000000)\nINSERT INTO %s (%s) VALUES (%s) ON CONFLICT DO NOTHING;"
                           % (table, columns, values.format(i=":i")) for table in tables], "-c", "2", "-T", str(seconds))


def part_insert(stage: Stage, sizes: Sizes):
    """INSERT into each outbox, while the import is paused, and into a plain table."""
    stage.database.run("SELECT im_import_pause('benchmark')")
    for kind in LOADS:
        yield from insert_kind(stage, sizes, kind)


def insert_kind(stage: Stage, sizes: Sizes, kind: str):
    """One outbox beside its plain table."""
    tables = ("im_%s_outbox" % kind, "plain_%s" % kind)
    make_plain(stage, kind)
    rates, cpu, single = ([], []), ([], []), ([], [])
    for _ in range(sizes.rounds):
        for i, table in enumerate(tables):
            rate, per_row_cpu = bulk(stage, kind, table, sizes.bulk)
            rates[i].append(rate)
            cpu[i].append(per_row_cpu)
        for i, one in enumerate(singles(stage, kind, tables, sizes.single_seconds)):
            single[i].append(one)
    stage.database.run("TRUNCATE %s; DROP TABLE %s" % tables)
    (ours, plain), (cpu_ours, cpu_plain), (one, plain_one) = (
        [median(found) for found in pair] for pair in (rates, cpu, single))
    yield Line("INSERT … SELECT of %s rows, %ss" % (number(sizes.bulk), kind), number(ours) + " rows/s",
               "plain table, same columns and indexes: %s rows/s" % number(plain), "%.2f" % (ours / plain), "≥ 0.9")
    yield Line("… the session's CPU per row", number(cpu_ours) + " µs", number(cpu_plain) + " µs",
               "%.2f" % (cpu_plain / cpu_ours))
    yield Line("… single rows, two sessions", number(one) + " ms", number(plain_one) + " ms", "%.2f" % (plain_one / one), "≥ 0.9")


# ---- the cost as the work grows

def edges(name: str, one: Drained):
    """First against last."""
    yield Line("%s rows drained%s, last %s" % (number(one.rows), name, number(EDGE)), number(one.last) + " rows/s",
                "first: %s rows/s; all: %s rows/s, %s of CPU"
                % (number(one.first), number(one.rate), per_row(one.cpu, one.rows)),
                "%.2f" % (one.last / one.first), "0.9–1.1")
    yield Line("… CPU of the worker per row, last %s" % number(EDGE), number(one.last_cpu) + " µs",
               "first: %s µs" % number(one.first_cpu), "%.2f" % (one.last_cpu / one.first_cpu), "0.9–1.1")


def part_growth(stage: Stage, sizes: Sizes):
    """Claim and settle over many rows; with an old snapshot; with many finished rows behind."""
    stage.point(stage.endpoint(), stage.ca_file, 1000000, IN_FLIGHT)
    fill(stage, sizes.growth)
    yield from edges("", drain(stage, sizes.growth))

    fill(stage, sizes.growth)
    other = Connection(stage.folder, "bench")
    other.run("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM pg_class LIMIT 1")
    yield from edges(", an old snapshot held", drain(stage, sizes.growth))
    other.run("COMMIT")
    other.close()

    make_finished(stage, sizes.behind)
    fill(stage, sizes.growth, keep=True)
    yield from edges(" with %s finished behind" % number(sizes.behind), drain(stage, sizes.growth))


def make_finished(stage: Stage, rows: int):
    """So many rows that were imported before."""
    stage.database.run("SELECT im_import_pause('benchmark')")
    stage.database.run("TRUNCATE im_group_outbox")
    stage.database.run(
        "INSERT INTO im_group_outbox (status, attempts, settled_at, group_id, %s)"
        " SELECT 'imported', 1, now(), 'im-' || md5(i::text), %s FROM generate_series(1, %d) i"
        % (ROW_COLUMNS, ROW_VALUES.format(i="(-i)"), rows))     # beside those that fill() makes
    stage.database.run("VACUUM ANALYZE im_group_outbox")


def part_status(stage: Stage, sizes: Sizes):
    """The view, with the rows that part_growth left or new ones."""
    rows = stage.database.value("SELECT count(*) FROM im_group_outbox")
    if rows < sizes.behind:
        make_finished(stage, sizes.behind)
        rows = sizes.behind
    latency, = pgbench(stage, ["SELECT * FROM im_import_status;"], "-c", "1", "-t", "50")
    exact = stage.database.value("SELECT imported = (SELECT count(*) FROM im_group_outbox WHERE status = 'imported')"
                                 " FROM im_import_status")
    yield Line("im_import_status with %s rows" % number(rows), "%s ms" % number(latency),
               "exact" if exact else "WRONG", "", "≤ 2 ms")


# ---- against the stand-in

def use_stand_in(stage: Stage, rate: float):
    """Points the drain at the stand-in, with the default number in flight."""
    if not hasattr(stage, "stand_in"):
        stage.stand_in = stage.start_stand_in()
    service = stage.stand_in
    service.control("reset", {})
    service.control("clear", {})
    stage.point(service.endpoint, service.ca_file, rate, 128)
    return service


def held(stage: Stage, name: str, seconds: int, latency: int, fault, goal: str):
    """A rate of 200, as the service saw it; without the first call, which must be answered before there is another."""
    service = use_stand_in(stage, 200)
    service.control("set", {"latency_ms": latency})
    if fault:
        service.control("fault", fault)
    skip = service.control("stats")["journaled"]
    fill(stage, 200 * seconds)
    stage.database.run("SELECT im_import_resume()")
    poll("the rows to be imported", seconds * 20 + 60,
         lambda: stage.database.value("SELECT imported = $1 FROM im_import_status", 200 * seconds))
    stats = service.control("stats")
    service.control("set", {"latency_ms": 0})
    service.control("clear", {})
    times = sorted(t for t, _ in arrivals_since(service, skip))[1:]
    calls = [t for t in times if t - times[0] <= seconds]
    rate = (len(calls) - 1) / (calls[-1] - calls[0])
    return Line("200/s held for %d s, %s" % (seconds, name), "%.2f calls/s" % rate,
                "widest sliding second at the service: %d" % stats["widest_second"], "%.4f" % (rate / 200), goal)


def arrivals_since(service, journaled: int) -> list:
    """Arrivals after that state of the counter, which a reset sets back as well."""
    found = service.arrivals()
    count = service.control("stats")["journaled"] - journaled
    return found[-count:]


def part_rate(stage: Stage, sizes: Sizes):
    """What the limiter makes of 200 calls a second."""
    seconds = sizes.rate_seconds
    yield held(stage, "latency 0.1 ms", seconds, 0, None, "≥ 0.995, ≤ 202")
    yield held(stage, "latency 500 ms", seconds, 500, None, "≥ 0.995, ≤ 202")
    fault = {"match": {"command": "import_group", "every": 500}, "do": "code", "code": 60007, "info": "too fast"}
    yield held(stage, "each 500th call answered 60007", seconds, 0, fault, "")


def insert_one(stage: Stage, name: str) -> tuple:
    """Inserts a row; when the statement was sent, and when its commit was answered."""
    began = time.monotonic()
    stage.database.run("INSERT INTO im_group_outbox (type, name) VALUES ('Public', '%s')" % name)
    return began, time.monotonic()


def delays(stage: Stage, service, times: dict) -> tuple:
    """Milliseconds from the sent statement, and from its answer, to the arrival."""
    poll("the arrivals", 60, lambda: stage.database.value("SELECT pending + sending = 0 FROM im_import_status"))
    seen = {json.loads(body)["Name"]: t for t, body in service.arrivals()}
    sent = [(seen[name] - began) * 1e3 for name, (began, _) in times.items()]
    answered = [(seen[name] - end) * 1e3 for name, (_, end) in times.items()]
    return sent, answered


def commits(stage: Stage, times: int) -> list:
    """Milliseconds that a single INSERT into a plain table takes, with its durable commit."""
    stage.database.run("CREATE TABLE IF NOT EXISTS plain_commit (name text)")
    took = []
    for i in range(times):
        began = time.monotonic()
        stage.database.run("INSERT INTO plain_commit VALUES ('%d')" % i)
        took.append((time.monotonic() - began) * 1e3)
        time.sleep(random.uniform(0.01, 0.05))
    stage.database.run("DROP TABLE plain_commit")
    return took


def part_arrival(stage: Stage, sizes: Sizes):
    """From the commit of a single INSERT to the request at the service."""
    service = use_stand_in(stage, 200)
    stage.database.run("TRUNCATE im_group_outbox; SELECT im_import_resume()")
    one = median(commits(stage, AWAKE_CALLS // 2))
    # A worker that has nothing to do leaves after three seconds.
    insert_one(stage, "first")
    poll("the worker", 10, lambda: worker(stage))
    time.sleep(1)
    times = {}
    for i in range(AWAKE_CALLS):
        times["awake %d" % i] = insert_one(stage, "awake %d" % i)
        time.sleep(random.uniform(0.01, 0.05))
    sent, answered = delays(stage, service, times)
    one = median([one, median(commits(stage, AWAKE_CALLS // 2))])
    yield Line("commit → request at the service, worker connected, %d single INSERTs" % len(sent),
               "p50 %.2f ms, p99 %.2f ms" % (median(answered), percentile(answered, 0.99)),
               "INSERT into a plain table with its commit: p50 %.2f ms" % one,
               "%.2f" % (median(answered) / one), "p50 ≤ 1.1 × that + 0.3 ms = %.2f ms" % (1.1 * one + 0.3))
    times = {}
    for i in range(sizes.asleep):
        poll("the worker to leave", 30, lambda: worker(stage) is None)
        # The launcher starts no second worker within five seconds, and one stays for four.
        time.sleep(random.uniform(1.1, 1.5))
        times["asleep %d" % i] = insert_one(stage, "asleep %d" % i)
        poll("the worker", 10, lambda: worker(stage))
    _, answered = delays(stage, service, times)
    yield Line("… worker asleep, %d single INSERTs" % len(answered), "p50 %.1f ms" % median(answered),
               "most: %.1f ms" % max(answered), "", "p50 ≤ 50 ms")


def part_service(stage: Stage, sizes: Sizes):
    """The stand-in itself."""
    output = subprocess.run([sys.executable, "-B", os.path.join(HERE, "..", "service", "bench.py"), "--at-least", "0"],
                            check=True, text=True, stdout=subprocess.PIPE).stdout
    line = output.strip().splitlines()[-1]
    calls, per_cpu = (float(part.split(":")[1]) for part in line.split(";")[:2])
    yield Line("stand-in, TLS", number(calls) + " calls/s",
               "%s calls per CPU second of its own" % number(per_cpu), "", "≥ 2,000 calls/s")


PARTS = {"drain": part_drain, "latency": part_latency, "alternatives": part_alternatives, "insert": part_insert,
         "growth": part_growth, "status": part_status, "rate": part_rate, "arrival": part_arrival,
         "service": part_service}
