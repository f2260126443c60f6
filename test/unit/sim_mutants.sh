#!/bin/sh
# sim_mutants.sh
#	Proves that the simulator can fail: each mutant below breaks one rule of the
#	protocol in a copy of the sources, and must be caught within SEEDS seeds.
#
#	sim_mutants.sh [NAME...]		all mutants, or those named
#
# Fails if a mutant survives, if a change no longer applies, or if the unchanged
# sources are not clean.  A change is a perl substitution over the whole file.

here=$(cd "$(dirname "$0")" && pwd)
seeds=${SEEDS:-100000}
cc=${CC:-gcc}
only="$*"
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
failed=0
count=0

# The simulator of the mutants that follow: "sim", "sim_messages" or "sim_people".
program=sim

# Fresh copies of everything that the simulator is made of.
copy_sources()
{
	rm -rf "$tmp/work"
	mkdir "$tmp/work"
	if [ "$program" = sim_people ]; then
		cp "$here"/sim_people*.[ch] "$here/sim_commands.c" "$here"/sim_life.[ch] "$tmp/work"
		cp -r "$here/pg" "$tmp/work"
		shared="cmd_account.c cmd_dialog.c cmd_friend.c cmd_member.c record.h elements.h rules.h plan.h plan.c limiter.h limiter.c state.h state.c reply.h reply.c batch.h batch.c verdict.h verdict.c breaker.h breaker.c rooms.h rooms.c results.h results.c answer.h answer.c json.h json.c text.h text.c utf8.h errcodes.h errcodes.c command.h"
	elif [ "$program" = sim_messages ]; then
		cp "$here/sim_messages.c" "$here"/sim_life.[ch] "$tmp/work"
		shared="batch.h batch.c verdict.h verdict.c breaker.h breaker.c rooms.h rooms.c results.h results.c answer.h answer.c json.h json.c text.h text.c utf8.h errcodes.h errcodes.c command.h"
	else
		cp "$here"/sim*.[ch] "$tmp/work"
		rm "$tmp/work/sim_messages.c" "$tmp"/work/sim_life.[ch] "$tmp"/work/sim_people*.[ch] "$tmp/work/sim_commands.c"
		shared="limiter.h limiter.c breaker.h breaker.c errcodes.h errcodes.c plan.h plan.c rooms.h rooms.c state.h state.c text.h text.c utf8.h"
	fi
	for f in call.h commandlist.h protocol.h protocol.c $shared; do
		cp "$here/../../src/$f" "$tmp/work"
	done
}

# Compiles the copies; a mutant may leave something unused.
build()
{
	$cc -std=gnu99 -O1 -w -I"$tmp/work" -I"$tmp/work/pg" -o "$tmp/work/sim" "$tmp"/work/*.c -lm
}

# mutant NAME FILE CHANGE [FILE CHANGE...]
mutant()
{
	name=$1
	shift
	if [ -n "$only" ]; then
		case " $only " in *" $name "*) ;; *) return ;; esac
	fi
	count=$((count + 1))
	copy_sources
	while [ $# -ge 2 ]; do
		cp "$tmp/work/$1" "$tmp/before"
		perl -0pi -e "$2" "$tmp/work/$1"
		if cmp -s "$tmp/before" "$tmp/work/$1"; then
			echo "$name: the change of $1 no longer applies"
			failed=1
			return
		fi
		shift 2
	done
	if ! build; then
		echo "$name: does not compile"
		failed=1
		return
	fi
	if timeout 300 "$tmp/work/sim" --seeds "$seeds" --stop >"$tmp/out" 2>&1; then
		echo "$name: SURVIVED $seeds seeds"
		failed=1
		return
	fi
	if ! grep -q '^seed ' "$tmp/out"; then
		echo "$name: ended without a violation: $(tail -n 1 "$tmp/out")"
		failed=1
		return
	fi
	echo "$name: caught by $(sed -n 's/^seed /seed /p' "$tmp/out" | head -n 1)"
}

# The unchanged sources must be clean.
check_clean()
{
	copy_sources
	build || exit 1
	if ! "$tmp/work/sim" --seeds "$seeds" --stop >"$tmp/out" 2>&1; then
		echo "the unchanged sources of $program are not clean:"
		grep '^seed \|^never \|^sim' "$tmp/out"
		exit 1
	fi
}

check_clean

# Identity and fence
mutant new_id_per_claim sim_db.c \
	's/return GROUP_GENERATED \+ row->key;/static int n; return GROUP_GENERATED + 20 * (++n % 40) + row->key;/'
mutant no_origin_fence sim_db.c \
	's/row->origin != copy->origin \|\|(\s+row->status != IM_PENDING)/$1/'
mutant no_timeline_fence sim_db.c \
	's/return copy->table.timeline_noted != copy->timeline;/return false;/'
mutant timeline_noted_late sim_faults.c \
	's/copy->timeline = copy->table.timeline_noted = 1;/copy->timeline = 1;/' \
	sim_db.c \
	's/return copy->table.timeline_noted != copy->timeline;/return copy->table.timeline_noted && copy->table.timeline_noted != copy->timeline;/' \
	sim_drain.c \
	's/drain->fenced = sim_fenced\(copy\);/drain->fenced = sim_fenced(copy); if (!copy->table.timeline_noted) copy->table.timeline_noted = copy->timeline;/'
mutant adopted_as_never_sent sim_db.c \
	's/row->maybe_sent_at = wall;\n(\s+row->due_at = 0;\n\s+row->answers_until)/row->maybe_sent_at = 0;\n$1/' \
	protocol.c 's/doubt\(next, &row, "another copy/settle(next, \&row, IM_PENDING); if (0) doubt(next, \&row, "another copy/'
seeds=1000000
mutant closed_rows_not_adopted sim_db.c \
	's/row->maybe_sent_at = wall;(\s+row->stamped_at = world->now;)/$1/'
seeds=${SEEDS:-100000}

# Claim, recovery, settle
mutant send_before_commit sim_drain.c \
	's/(\/\* Runs one transaction with all)/static int64_t pump(SimWorld *world, SimCopy *copy, int allowed);\n$1/;
	 s/(transact\(world, copy, tx\);\n)/$1 launch_claimed(world, &copy->drain, &tx->calls); tx->calls.n = 0; (void) pump(world, copy, 99);\n/'
mutant send_without_commit sim_drain.c \
	's/if \(fate != 0\)\n/if (fate == 1) launch_claimed(world, &copy->drain, &tx->calls), tx->calls.n = 0;\n if (fate != 0)\n/'
mutant no_recovery sim_drain.c \
	's/im_plan_start\(&drain->plan, loose, !copy->slot.clean/im_plan_start(&drain->plan, loose, false/'
mutant rescue_by_age sim_db.c \
	's/has_live_sender\(&copy->drain, row\)\)/sim_wall(world, copy) - row->maybe_sent_at < 2 * SEC)/' \
	plan.c \
	's/return plan->dirty && now >= plan->recover_at;/return now >= plan->recover_at;/'
mutant spared_by_id_alone sim_db.c \
	's/call->id == row->id && call->claim == row->claim/call->id == row->id/'
mutant settle_without_token sim_db.c \
	's/row->claim != call->claim/row->claim == -1/'
mutant locked_outcome_dropped sim_db.c \
	's/COVER\(SETTLE_LOCKED\);/COVER(SETTLE_LOCKED); sim_list_add(written, n, false);/'
mutant recovered_as_never_sent sim_db.c \
	's/row->status = next.status;\n\s+row->maybe_sent_at = wall;\n\s+row->claim = 0;\n(\s+row->due_at = next.status == IM_PENDING)/row->status = IM_PENDING;\n row->maybe_sent_at = 0;\n row->claim = 0;\n$1/'

# The plan of a turn
mutant leaves_with_calls_under_way plan.c \
	's/if \(open_rows\(facts\) > 0 \|\| facts->ring/if (facts->ring/' \
	sim_drain.c 's/\.busy = im_plan_busy\(&drain->plan, known\)/.busy = false/'
mutant locked_dead_row_forgotten plan.c \
	's/plan->dirty = !all;/plan->dirty = false;/'
mutant failure_without_recovery plan.c \
	's/(im_plan_failed.*?)im_plan_owe_recovery\(plan\);/$1/s'
mutant due_not_taken plan.c \
	's/plan->next_due\[kind\] = 0;\t\/\* or.*?\*\///'
mutant claims_while_paused plan.c \
	's/if \(facts->paused && \(its->makes_groups/if (false \&\& (its->makes_groups/'
mutant lookups_wait_for_ever plan.c \
	's/return coming == 0 && .*?;/return false;/; s/ \|\| waited >= ASK_AFTER//'
mutant queued_goes_though_paused plan.c \
	's/if \(!facts->may_send \|\| held\)/if (!facts->may_send)/'

# The judgement
mutant failed_though_maybe_sent protocol.c \
	's/(judge_refused.*?)if \(!row->maybe_sent\)/$1if (true)/s'
mutant exists_is_trusted protocol.c \
	's/look_up\(next, row, IM_WHY_EXISTS\);/settle(next, row, IM_IMPORTED);/'
mutant other_is_failed protocol.c \
	's/(judge_other.*?)if \(row->maybe_sent\)/$1if (false)/s'
mutant assigned_sent_again protocol.c \
	's/row->repeat == IM_REPEAT_NEVER/false/g'
mutant no_zombie_wait protocol.c \
	's/return row->suspect_ms >= IM_ZOMBIE_MS;/return true;/'
mutant doubt_not_dated_anew protocol.c \
	's/(next->maybe_sent = true;\n)\s+next->suspect_now = true;\n(\s+if \(!counts)/$1$2/'
mutant silence_is_not_sent protocol.c \
	's/else if \(!exchange->sent\)/else if (true)/'
mutant unknown_code_refuses protocol.c \
	's/return IM_OUT_UNKNOWN;/return IM_OUT_REFUSED;/'
mutant stop_is_always_definite protocol.c \
	's/if \(verdict->ambiguous\)/if (false)/g'
mutant any_id_is_ours protocol.c \
	's/strcmp\(reply->group_id, exchange->group_id\) != 0\)/false)/'
mutant unreadable_is_refused protocol.c \
	's/(else\s*\{\s*verdict->outcome = )IM_OUT_UNKNOWN(;\s+verdict->code = IM_CODE_UNREADABLE;\s*\}\s*\})/$1IM_OUT_REFUSED$2/'
mutant absent_means_imported protocol.c \
	's/settle\(next, row, row->why == IM_WHY_INVALID \? IM_INVALID : IM_FAILED\);/settle(next, row, IM_IMPORTED);/'
mutant record_not_frozen sim_faults.c \
	's/if \(row->maybe_sent_at != 0 \|\| row->status == IM_SENDING \|\|/if (row->status == IM_SENDING ||/'

# Clocks and the rate
mutant wall_clock_trusted protocol.c \
	's/if \(age > mono - steady->since\)/if (false)/'
mutant clock_back_not_dated_anew protocol.c \
	's/next->suspect_now = row->suspect_ms < 0;/next->suspect_now = false;/'
mutant due_not_capped sim_db.c \
	's/COVER\(DUE_CAPPED\);\s+row->due_at = wall;/COVER(DUE_CAPPED);/'
mutant limiter_starts_full limiter.c \
	's/(im_limiter_init.*?limiter->next = \(double\) now) \+ interval\(limiter\) \+ late;/$1;/s'
mutant limiter_does_not_count limiter.c \
	's/if \(\(double\) limiter->recent >= ceil\(limiter->limit\)\)/if (false)/'

# Messages
program=sim_messages
check_clean
mutant message_not_read_back protocol.c \
	's/row->maybe_sent && row->repeat == IM_REPEAT_READ_BACK\)/false)/'
mutant message_absent_too_early protocol.c \
	's/return row->suspect_ms >= IM_ZOMBIE_MS;/return true;/'
mutant message_sent_time_not_kept batch.c \
	's/if \(timing->kept != 0\)/if (false)/'
mutant message_random_not_kept sim_messages.c \
	's/im_batch_random\(out->id,/im_batch_random(out->id + 1000 * row->attempts,/'
mutant message_recovered_as_never_sent sim_messages.c \
	's/row->maybe_sent_at = next.maybe_sent \? w->now : -1;/row->maybe_sent_at = -1;/'
mutant message_random_not_compared results.c \
	's/entry->has_random && entry->random == row->random && //'
mutant message_results_by_place_of_another results.c \
	's/return i < n \? &entries\[i\] : NULL;/return n > 0 ? \&entries[0] : NULL;/'
mutant message_refusal_not_checked batch.c \
	's/row->verdict.outcome = IM_OUT_UNKNOWN;\t/row->verdict.outcome = IM_OUT_REFUSED;\t/'
mutant message_only_one_page_read batch.c \
	's/(more->read_below = .*?)return true;/$1return false;/s'
mutant message_blamed_for_the_batch batch.c \
	's/return call->op == call->command->op &&/return false \&\&/'
mutant message_two_calls_at_a_time batch.c \
	's/if \(calls\[i\]->rows\[0\]->room == row->room\)/if (false)/'
mutant message_holds_its_own_room batch.c \
	's/newest > row->room->newest && //'
mutant message_doubt_forgotten_when_read batch.c \
	's/row->verdict.outcome = IM_OUT_ABSENT;/row->verdict.outcome = IM_OUT_REFUSED, row->life.maybe_sent = false;/'
seeds=400000
mutant message_in_doubt_too_early protocol.c \
	's/if \(next->status == IM_IN_DOUBT && row->repeat/if (false && row->repeat/'
seeds=${SEEDS:-100000}
mutant message_unknown_is_over protocol.c \
	's/(next->maybe_sent = )true(;\n\s+next->suspect_now = true;\n\s+if \(!counts)/$1false$2/'
mutant message_room_does_not_come_back rooms.c \
	's/room->exhausted = false;\n\troom->again = false;\n\tenlist\(rooms, room\);\n\}\n\n\/\* See rooms.h. \*\/\nvoid\nim_rooms_rest/room->exhausted = false;\n\troom->again = false;\n}\n\n\/* See rooms.h. *\/\nvoid\nim_rooms_rest/'
mutant message_newest_not_lowered sim_messages.c \
	's/(lower\(Group \*group\)\n\{\n)/$1\tif (true) return;\n/'
seeds=400000
mutant message_in_doubt_takes_no_time sim_messages.c \
	's/\(is_open\(&group->rows\[i\]\) \|\| group->rows\[i\].status == IM_IN_DOUBT\) &&/is_open(\&group->rows[i]) \&\&/'
seeds=${SEEDS:-100000}
mutant message_moved_without_limit batch.c \
	's/(\nim_batch_shift\(.*?return ).*?;/${1}0;/s'
mutant message_limit_too_strict batch.c \
	's/shift <= most \? 0 : shift;/shift <= most - 600 ? 0 : shift;/'
mutant message_late_not_moved batch.c \
	's/return timing->own > least \? timing->own : least;/return timing->own;/'
mutant message_late_by_id_only sim_messages.c \
	's/\(last < 0 \|\| before\(group, last, i\)\) && \(next < 0 \|\| before\(group, i, next\)\)/i > last \&\& next < 0/'
mutant message_in_doubt_set_to_pending sim_messages.c \
	's/if \(seq_of\(group, place\) == 0\)\n(\s+\{\s+met\[MET_RESOLVED_AGAIN)/if (true)\n$1/'
seeds=400000
mutant message_resolved_takes_no_time sim_messages.c \
	's/(MET_RESOLVED_THERE.*?)if \(row->sent_time > group->settled_time\).*?if \(row->sent_time > group->newest_time\)/$1if (false)/s'
seeds=${SEEDS:-100000}
mutant message_resolved_keeps_its_time sim_messages.c \
	's/(open_row\(w, row\);\n)\s+lower\(group\);/$1/'
mutant message_changed_while_in_doubt sim_messages.c \
	's/(else if \(row->status == IM_FAILED \|\| row->status == IM_INVALID)/$1 || row->status == IM_PENDING/; s/(if \(row->status != IM_PENDING && row->status != IM_IMPORTED)/if (row->status != IM_IMPORTED/; s/(\t\tviolate\(w, "a row is repaired)/\t\t;\/\/$1/'

# Accounts and members
program=sim_people
check_clean
mutant account_listed_is_final batch.c \
	's/return IM_ROUTE_ALONE;/return IM_ROUTE_JUDGE;/'
mutant account_lists_pause_the_import batch.c \
	's/return !\(\*code == IM_CODE_ITEM && .*?\);/return true;/'
mutant account_not_listed_is_unknown results.c \
	's/entry != NULL \? IM_OUT_REFUSED : IM_OUT_DONE/entry != NULL ? IM_OUT_DONE : IM_OUT_REFUSED/'
mutant members_by_place results.c \
	's/if \(by_place\)\n/if (true)\n/'
mutant member_there_is_refused cmd_member.c \
	's/\.result_done = \{1, 2\}/.result_done = {1, 1}/'
mutant member_left_out_is_done results.c \
	's/else if \(entry == NULL\)\n\s+decide\(row, IM_OUT_UNKNOWN, IM_CODE_UNREADABLE\);/else if (entry == NULL) decide(row, IM_OUT_DONE, 0);/'
mutant member_explained_as_absent batch.c \
	's/if \(row->check.found == IM_FOUND_ABSENT\)\n/if (row->check.found != IM_FOUND_SAME)\n/'
mutant member_not_explained cmd_member.c \
	's/\t\.explain_op = IM_OP_CHECK_ACCOUNTS,\n//'
mutant people_blamed_for_one_row batch.c \
	's/return call->op == call->command->op && !is_about_key/return false \&\& !is_about_key/'
mutant people_half_is_dropped sim_people_worker.c \
	's/for \(int i = 0; i < c->nrows; i\+\+\)\n\t\tadd_row\(halves/for (int i = 0; i < c->nrows - 1; i++) add_row(halves/'
mutant people_refused_before_late_requests_died protocol.c \
	's/of_item && !zombies_gone\(row\)\)/of_item && false)/'
mutant people_doubt_forgotten protocol.c \
	's/(next->maybe_sent = )true(;\n\s+next->suspect_now = true;\n\s+if \(!counts)/$1false$2/'
mutant people_recovered_as_never_sent sim_people_outbox.c \
	's/next.maybe_sent \? w->now : -1;\n\t\trow->claim/-1;\n\t\trow->claim/'
mutant people_refused_call_is_no_doubt protocol.c \
	's/else if \(row->repeat == IM_REPEAT_HARMLESS\)\n\s+doubt/else if (false) doubt/; s/(judge_refused.*?)if \(!row->maybe_sent\)/$1if (true)/s'
mutant people_half_answer_is_done verdict.c \
	's/if \(listed && call->verdict.outcome == IM_OUT_DONE\)/if (false)/'
mutant people_pause_never breaker.c \
	's/if \(n >= IM_BREAKER_SAME\)/if (false)/'
mutant people_pause_early breaker.c \
	's/if \(breaker->ncodes < IM_BREAKER_WINDOW\)\n\t\treturn 0;//; s/if \(n >= IM_BREAKER_SAME\)/if (n >= 20)/'
mutant people_watermark_not_looked_below plan.c \
	's/(static void\nrescan_all.*?)plan->rescan\[kind\] = true;/$1;/s; s/(im_plan_through.*?)plan->rescan\[kind\] = true;/$1/s'
mutant people_explained_too_late plan.c \
	's/return nrows >= most \|\| !coming \|\| waited >= ASK_AFTER;/return nrows >= most;/'

echo "sim_mutants: $count mutants, $([ $failed = 0 ] && echo all caught || echo NOT all caught)"
exit $failed
