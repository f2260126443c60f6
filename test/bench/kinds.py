"""Measurements of the kinds that go many to a call, and of the move as a whole."""

from __future__ import annotations

import json
import random
import time

import measures
from measures import IN_FLIGHT, Line, Sizes, bare, median, number, worker
from stage import Connection, Process, Stage, poll

SINGLE_CALLS = 200
MEMBERS = 20                    # of a room, and of a call
MESSAGES = 7                    # of a call
CLAIM = 448                     # rows that plain SQL claims at once: 64 calls of 7

# What the rows of a kind are, room r and number i in it, and what the service answers a full call of them.
ROWS = {
    "member": ("member_account, join_time", "'m' || i, now() - interval '1 day'", MEMBERS),
    "message": ("source_id, from_account, send_time, text",
                "r || '/' || i, 'm' || i % 20 + 1, now() - interval '1 day' + make_interval(secs => i),"
                " 'a message of about fifty characters, number ' || i", 10 * MESSAGES),
}
# What plain SQL writes when it claims and settles.
PLAIN = {
    "member": ("", ""),
    "message": (", sent_time = extract(epoch FROM send_time)::bigint", ", msg_seq = id"),
}


def quiet(stage: Stage):
    """Paused, with empty outboxes."""
    stage.database.run("SELECT im_import_pause('benchmark')")
    poll("the worker to leave", 60, lambda: worker(stage) is None)
    stage.database.run("TRUNCATE im_account_outbox, im_friend_outbox, im_dialog_outbox, im_group_outbox,"
                       " im_member_outbox, im_message_outbox, im_unread_outbox")


def make_rooms(stage: Stage, rooms: int):
    """So many imported groups."""
    stage.database.run("INSERT INTO im_group_outbox (source_id, type, name, create_time) SELECT 'r' || r, 'Public', 'room ' || r,"
                       " now() - interval '2 days' FROM generate_series(1, %d) r" % rooms)
    stage.database.run("SELECT im_import_resume()")
    wait(stage, "group", rooms)
    stage.database.run("SELECT im_import_pause('benchmark')")
    poll("the worker to leave", 60, lambda: worker(stage) is None)


def wait(stage: Stage, kind: str, rows: int, samples: list = None):
    """Until so many rows of a kind are imported; the worker's process as it last was.
    To samples it adds (time, rows, CPU of the worker)."""
    process, seen, before = None, time.monotonic(), -1
    while True:
        done = stage.database.value("SELECT imported FROM im_import_progress WHERE kind = $1", kind)
        if process is None:
            pid = worker(stage)
            process = Process(pid) if pid else None
        else:
            process.cpu()
        if samples is not None:
            samples.append((time.monotonic(), done, process.last_cpu if process else 0.0))
        if done >= rows:
            return process
        if done > before:
            before, seen = done, time.monotonic()
        if time.monotonic() - seen > 120:
            raise TimeoutError("the move stands still: %r" % (stage.database.row("TABLE im_import_status"),))
        time.sleep(0.02)


def fill(stage: Stage, table: str, kind: str, rooms: int):
    """The rows of a kind; how many they are."""
    columns, values, each = ROWS[kind]
    stage.database.run("INSERT INTO %s (group_source_id, %s) SELECT 'r' || r, %s FROM generate_series(1, %d) r,"
                       " generate_series(1, %d) i" % (table, columns, values, rooms, each))
    stage.database.run("VACUUM ANALYZE %s" % table)
    stage.database.run("CHECKPOINT")
    return rooms * each


def wal(stage: Stage) -> int:
    """Bytes written so far."""
    return stage.database.value("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint")


def drained(stage: Stage, kind: str, rooms: int) -> dict:
    """The extension's drain of the rows of so many rooms."""
    rows = fill(stage, "im_%s_outbox" % kind, kind, rooms)
    written, began = wal(stage), time.monotonic()
    stage.database.run("SELECT im_import_resume()")
    process = wait(stage, kind, rows)
    seconds = time.monotonic() - began
    found = {"rows": rows, "seconds": seconds, "cpu": process.cpu(), "wal": (wal(stage) - written) / rows}
    stage.database.run("SELECT im_import_pause('benchmark')")
    stage.database.run("VACUUM im_%s_outbox" % kind)
    found["size"] = stage.database.value("SELECT pg_total_relation_size('im_%s_outbox')" % kind)
    return found


def plain(stage: Stage, kind: str, rooms: int) -> dict:
    """The same claim and settle, by one session, in batches, and nothing in between."""
    database = stage.database
    claimed, settled = PLAIN[kind]
    database.run("DROP TABLE IF EXISTS plain; CREATE TABLE plain (LIKE im_%s_outbox INCLUDING IDENTITY INCLUDING GENERATED INCLUDING INDEXES);"
                 "ALTER TABLE plain ALTER status SET DEFAULT 'pending', ALTER attempts SET DEFAULT 0, ALTER enqueued_at SET DEFAULT now(),"
                 " ALTER origin SET DEFAULT 0, ALTER row_key SET DEFAULT gen_random_uuid()" % kind)
    rows = fill(stage, "plain", kind, rooms)
    empty = database.value("SELECT pg_total_relation_size('plain')")
    session = Process(database.value("SELECT pg_backend_pid()"))
    cpu, written, began, last = session.cpu(), wal(stage), time.monotonic(), 0
    while True:
        found = database.value(
            "WITH c AS (UPDATE plain SET status = 'sending', attempts = attempts + 1, sent_at = now()%s WHERE id = ANY (ARRAY("
            "SELECT id FROM plain WHERE status = 'pending' AND id > $1 ORDER BY id LIMIT %d FOR UPDATE SKIP LOCKED)) RETURNING id)"
            " SELECT array_agg(id ORDER BY id) FROM c" % (claimed, CLAIM), last)
        if not found:
            break
        last = found[-1]
        database.value("WITH s AS (UPDATE plain SET status = 'imported', settled_at = now()%s WHERE id = ANY ($1) RETURNING id)"
                       " SELECT count(*) FROM s" % settled, found)
    result = {"rows": rows, "seconds": time.monotonic() - began, "cpu": session.cpu() - cpu, "wal": (wal(stage) - written) / rows}
    database.run("VACUUM plain")
    result["size"], result["empty"] = database.value("SELECT pg_total_relation_size('plain')"), empty
    return result


def part_kinds(stage: Stage, sizes: Sizes):
    """Members and messages beside plain SQL and beside bare calls."""
    stage.point(stage.endpoint(), stage.ca_file, 1000000, IN_FLIGHT)
    for kind in ROWS:
        rooms = 2 * sizes.drain // ROWS[kind][2]
        ours, theirs = [], []
        for _ in range(sizes.rounds):
            quiet(stage)
            make_rooms(stage, rooms)
            theirs.append(plain(stage, kind, rooms))
            ours.append(drained(stage, kind, rooms))
        each = MEMBERS if kind == "member" else MESSAGES
        calls = bare(stage, stage.endpoint(), sizes.drain, IN_FLIGHT)
        rate, other = (median(one["rows"] / one["seconds"] for one in many) for many in (ours, theirs))
        most = calls["calls"] / calls["seconds"]
        yield Line("%ss drained, %d a call, TLS, %d in flight" % (kind, each, IN_FLIGHT), number(rate) + " rows/s",
                   "plain SQL, claim and settle: %s rows/s" % number(other), "%.2f" % (rate / other), "≥ 0.5")
        yield Line("… calls", number(rate / each) + " calls/s", "bare libcurl multi: %s calls/s" % number(most),
                   "%.2f" % (rate / each / most), "≥ 0.5, or the line above")
        yield Line("… CPU of the worker per row", "%s µs" % number(median(one["cpu"] / one["rows"] for one in ours) * 1e6),
                   "plain SQL: %s µs" % number(median(one["cpu"] / one["rows"] for one in theirs) * 1e6), "", "≤ 0.3 of a group's")
        yield Line("… WAL per row, from INSERT to imported", "%s B" % number(median(one["wal"] for one in ours)),
                   "plain SQL: %s B" % number(median(one["wal"] for one in theirs)),
                   "%.2f" % median(one["wal"] / two["wal"] for one, two in zip(ours, theirs)), "≤ 900 B" if kind == "message" else "")
        yield Line("… size with indexes, vacuumed", "%s B a row" % number(ours[-1]["size"] / ours[-1]["rows"]),
                   "a plain table, loaded only: %s B" % number(theirs[-1]["empty"] / theirs[-1]["rows"]),
                   "%.2f" % (ours[-1]["size"] / theirs[-1]["empty"]), "≤ 2.2")


def part_history(stage: Stage, sizes: Sizes):
    """Many messages in many rooms: the last ones go as fast as the first."""
    rooms, each = sizes.growth // 50, 7 * MESSAGES
    stage.point(stage.endpoint(), stage.ca_file, 1000000, IN_FLIGHT)
    quiet(stage)
    make_rooms(stage, rooms)
    stage.database.run("INSERT INTO im_message_outbox (group_source_id, %s) SELECT 'r' || r, %s FROM generate_series(1, %d) r,"
                       " generate_series(1, %d) i" % (*ROWS["message"][:2], rooms, each))
    stage.database.run("VACUUM ANALYZE im_message_outbox")
    samples, rows = [], rooms * each
    stage.database.run("SELECT im_import_resume()")
    process = wait(stage, "message", rows, samples)
    memory = process.last_memory or process.memory()
    edge = rows // 20
    (first, first_cpu), (last, last_cpu) = (measures.stretch(samples, start, edge) for start in (edge, rows - edge))
    yield Line("%s messages in %s rooms, last %s" % (number(rows), number(rooms), number(edge)), number(last) + " rows/s",
               "first: %s rows/s" % number(first), "%.2f" % (last / first), "0.9–1.1")
    yield Line("… CPU of the worker per row, there", "%s µs" % number(last_cpu), "first: %s µs" % number(first_cpu),
               "%.2f" % (last_cpu / first_cpu), "0.9–1.1")
    yield Line("… private memory of the worker at the end", "%.1f MiB" % (memory / 1024), "", "", "≤ 25 MiB")


def some_rooms(stage: Stage, name: str) -> float:
    """Seconds that 1,000 new rooms with 20 members each take."""
    stage.database.run("SELECT im_import_pause('benchmark')")
    poll("the worker to leave", 60, lambda: worker(stage) is None)
    before = {kind: stage.database.value("SELECT imported FROM im_import_progress WHERE kind = $1", kind) for kind in ("group", "member")}
    stage.database.run("INSERT INTO im_group_outbox (source_id, type, name, create_time) SELECT '%s' || r, 'Public', 'room ' || r,"
                       " now() - interval '2 days' FROM generate_series(1, 1000) r" % name)
    stage.database.run("INSERT INTO im_member_outbox (group_source_id, member_account, join_time) SELECT '%s' || r, 'm' || i,"
                       " now() - interval '1 day' FROM generate_series(1, 1000) r, generate_series(1, 20) i" % name)
    stage.database.run("SELECT im_import_resume()")
    began = time.monotonic()
    wait(stage, "group", before["group"] + 1000)
    wait(stage, "member", before["member"] + 20000)
    return time.monotonic() - began


def member_delays(stage: Stage, group: str) -> list:
    """Milliseconds from the answer of a single INSERT of a member, whose group is there, to its request at the service."""
    service = measures.use_stand_in(stage, 200)
    stage.database.run("INSERT INTO im_group_outbox (source_id, type, name, create_time)"
                       " VALUES ('%s', 'Public', 'room', now() - interval '2 days')" % group)
    poll("the group", 60, lambda: stage.database.value("SELECT status = 'imported' FROM im_group_outbox WHERE source_id = $1", group))
    answered = {}
    for i in range(SINGLE_CALLS):
        account = "%s %d" % (group, i)
        stage.database.run("INSERT INTO im_member_outbox (group_source_id, member_account) VALUES ('%s', '%s')" % (group, account))
        answered[account] = time.monotonic()
        time.sleep(random.uniform(0.01, 0.05))
    poll("the members", 60, lambda: stage.database.value(
        "SELECT count(*) = $2 FROM im_member_outbox WHERE group_source_id = $1 AND status = 'imported'", group, SINGLE_CALLS))
    seen = {one["Member_Account"]: t for t, body in service.arrivals("import_group_member") for one in json.loads(body)["MemberList"]}
    stage.point(stage.endpoint(), stage.ca_file, 1000000, IN_FLIGHT)
    return [(seen[account] - t) * 1e3 for account, t in answered.items()]


def part_waiting(stage: Stage, sizes: Sizes):
    """Rooms that go, among many whose group is not in the outbox, with many finished behind and an old snapshot held."""
    stage.point(stage.endpoint(), stage.ca_file, 1000000, IN_FLIGHT)
    waiting = min(sizes.behind, 1000000) - 1000
    quiet(stage)
    alone = [some_rooms(stage, "alone %d " % i) for i in range(sizes.rounds)]
    few = member_delays(stage, "few")
    stage.database.run(
        "INSERT INTO im_member_outbox (status, attempts, settled_at, group_id, member_account)"
        " SELECT 'imported', 1, now(), 'g' || i / 1000, 'm' || i FROM generate_series(1, %d) i" % sizes.behind)
    stage.database.run("INSERT INTO im_member_outbox (group_source_id, member_account) SELECT 'nowhere ' || i, 'm1'"
                       " FROM generate_series(1, %d) i" % waiting)
    stage.database.run("VACUUM ANALYZE im_member_outbox")
    began = time.monotonic()
    other = Connection(stage.folder, "bench")
    other.run("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM pg_class LIMIT 1")
    among = [some_rooms(stage, "among %d " % i) for i in range(sizes.rounds)]
    yield Line("1,000 rooms with 20 members each, among %s that wait, %s finished behind, an old snapshot held"
               % (number(waiting), number(sizes.behind)), "%.2f s" % median(among),
               "alone: %.2f s" % median(alone), "%.2f" % (median(alone) / median(among)), "≥ 0.9")
    many = member_delays(stage, "many")
    other.run("COMMIT")
    other.close()
    (mine, most), (mine_few, most_few) = ((median(one), measures.percentile(one, 0.99)) for one in (many, few))
    yield Line("… commit → request of a single member there, %d INSERTs" % len(many), "p50 %.2f ms, p99 %.2f ms" % (mine, most),
               "alone: p50 %.2f ms, p99 %.2f ms" % (mine_few, most_few), "%.2f" % (mine / mine_few), "claim ≤ 5 ms: p99 ≤ alone + 5 ms")
    poll("the rows that wait to be told", 1800, lambda: stage.database.value(
        "SELECT waiting >= $1 FROM im_import_progress WHERE kind = 'member'", waiting))
    yield Line("… until im_import_progress tells that they wait", "%.0f s" % (time.monotonic() - began))
    quiet(stage)


def part_pipeline(stage: Stage, sizes: Sizes):
    """The whole move at the published limits, beside its slowest command."""
    shapes = [(2000, 1, 1)] if sizes.growth < 1000000 else [(2000, 1, 1), (300, 60, 300)]
    service = measures.use_stand_in(stage, 200)
    for rooms, members, messages in shapes:
        quiet(stage)
        service.control("reset", {})
        stage.database.run(
            "INSERT INTO im_group_outbox (source_id, type, name, create_time) SELECT 'r' || r, 'Public', 'room ' || r, now() - interval '2 days'"
            " FROM generate_series(1, %d) r" % rooms)
        stage.database.run(
            "INSERT INTO im_member_outbox (group_source_id, member_account, join_time) SELECT 'r' || r, 'm' || i, now() - interval '1 day'"
            " FROM generate_series(1, %d) r, generate_series(1, %d) i" % (rooms, members))
        stage.database.run(
            "INSERT INTO im_message_outbox (source_id, group_source_id, from_account, send_time, text) SELECT r || '/' || i, 'r' || r, 'm1',"
            " now() - interval '1 day' + make_interval(secs => i), 'message ' || i FROM generate_series(1, %d) r, generate_series(1, %d) i"
            % (rooms, messages))
        stage.database.run("SELECT im_import_resume()")
        began = time.monotonic()
        for kind, rows in (("group", rooms), ("member", rooms * members), ("message", rooms * messages)):
            wait(stage, kind, rows)
        seconds = time.monotonic() - began
        most = max(rooms, rooms * -(-members // MEMBERS), rooms * -(-messages // MESSAGES))
        yield Line("whole move of %d rooms, each with %d members and %d messages, at 200/s for each command" % (rooms, members, messages),
                   "%.1f s" % seconds, "calls of the slowest command ÷ 200: %.1f s" % (most / 200), "%.3f" % (seconds / (most / 200)), "≤ 1.05")


def part_progress(stage: Stage, sizes: Sizes):
    """The view over all kinds, with many messages behind."""
    quiet(stage)
    rows = sizes.behind
    stage.database.run(
        "INSERT INTO im_message_outbox (status, attempts, settled_at, source_id, group_id, from_account, send_time, text)"
        " SELECT 'imported', 1, now(), i::text, 'g' || i %% 1000, 'm1', now(), 'text' FROM generate_series(1, %d) i" % rows)
    stage.database.run("VACUUM ANALYZE im_message_outbox")
    latency, = measures.pgbench(stage, ["SELECT * FROM im_import_progress;"], "-c", "1", "-t", "50")
    exact = stage.database.value("SELECT imported = (SELECT count(*) FROM im_message_outbox WHERE status = 'imported')"
                                 " FROM im_import_progress WHERE kind = 'message'")
    yield Line("im_import_progress with %s messages" % number(rows), "%s ms" % number(latency),
               "exact" if exact else "WRONG", "", "≤ 5 ms")
    quiet(stage)


PARTS = {"kinds": part_kinds, "history": part_history, "waiting": part_waiting, "pipeline": part_pipeline, "progress": part_progress}
