# A logical replica of the outbox, of the table alone and of all tables: it
# does not break, it sends nothing, and it counts right.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Test::More;

use ImTest;
use ImFence;

my $CONF = "wal_level = logical\nmax_wal_senders = 10\nmax_replication_slots = 10\nmax_worker_processes = 20\nmax_logical_replication_workers = 8";
my $service = ImService->new;
my $publisher = start_cluster(name => 'publisher', conf => $CONF);
my $subscriber = start_cluster(name => 'subscriber', conf => $CONF);
my $from = $publisher->connstr . ' dbname=postgres';
my @counts = qw(pending sending imported failed invalid in_doubt total);

connect_app($publisher, $service, options => { rate_limit => 1000 });
insert_groups($publisher, 20, 'before');
wait_settled($publisher);

# The subscriptions: two databases of the subscriber, each with the extension
# and the app.
my %publication = (one_table => 'TABLE im_group_outbox', all_tables => 'ALL TABLES');
my @copies = sort keys %publication;
foreach my $db (@copies)
{
	$publisher->safe_psql('postgres', "CREATE PUBLICATION $db FOR $publication{$db}");
	$subscriber->safe_psql('postgres', "CREATE DATABASE $db");
	connect_app($subscriber, $service, db => $db);
	$subscriber->safe_psql($db, "CREATE SUBSCRIPTION $db CONNECTION '$from' PUBLICATION $db");
}

# The replica holds what the publisher holds.
sub caught_up
{
	my $content = content($publisher);

	foreach my $db (@copies)
	{
		eval {
			poll_until { content($subscriber, $db) eq $content } "$db to catch up";
		};
		die "$@\n" . join '', grep { /ERROR/ } split /^/m,
		  PostgreSQL::Test::Utils::slurp_file($subscriber->logfile) if $@;
	}
}

# The counts of a replica, once it has counted, are those of its rows.
sub counts_right
{
	my ($what) = @_;

	foreach my $db (@copies)
	{
		my $status;

		$subscriber->safe_psql($db, 'SELECT im_import_resume()');
		poll_until { ($status = status_of($subscriber, $db))->{state} ne 'counting' } 'the count';
		my $true = row($subscriber,
			'SELECT ' . join(', ', map { "count(*) FILTER (WHERE status = '$_') AS $_" } @counts[ 0 .. 5 ])
			  . ', count(*) AS total FROM im_group_outbox', $db);

		is_deeply({ map { ($_ => $status->{$_}) } @counts }, $true, "$what, $db: the counts are exact");
	}
}

caught_up();
counts_right('initial copy');

# Rows that are written and imported while they are replicated.
insert_groups($publisher, 100, 'live');
wait_settled($publisher);
caught_up();
counts_right('live');

# Open ones, which only the publisher may send.
$publisher->safe_psql('postgres', 'SELECT im_import_pause()');
insert_groups($publisher, 30, 'open');
$publisher->safe_psql('postgres', "DELETE FROM im_group_outbox WHERE name LIKE 'before_'");
caught_up();
stays_fenced($subscriber, $service, db => $_, open => 30) foreach @copies;
counts_right('open rows');

# The publisher's own bookkeeping arrives with FOR ALL TABLES: many statements
# make many rows of the tally, which the worker folds in the end.
$publisher->safe_psql('postgres', <<'SQL');
DO $$ BEGIN
	FOR i IN 1..1200 LOOP
		INSERT INTO im_group_outbox (type, name) VALUES ('Public', 'single' || i);
	END LOOP;
END $$
SQL
caught_up();
counts_right('before the fold');
$publisher->safe_psql('postgres', 'SELECT im_import_resume()');
wait_settled($publisher);
visit_worker($publisher);
poll_until { value_of($publisher, 'SELECT count(*) < 500 FROM _im_tally') eq 't' } 'the publisher to fold its tally';
caught_up();
$publisher->wait_for_catchup($_) foreach @copies;
counts_right('after the fold');
is($service->stats->{groups}, 1350, 'every group was made once, by the publisher');
is($service->stats->{journaled}, 1350, 'with one call each');
accounted($publisher, $service, others => strangers($publisher, $service), name => 'publisher: every row is accounted for');

# A replica of its own mind: its own rows are its to send.
$subscriber->safe_psql('one_table',
	"INSERT INTO im_group_outbox (id, type, name) OVERRIDING SYSTEM VALUE VALUES (1000000, 'Public', 'of the replica')");
poll_until { scalar $service->calls_for('of the replica') } "the replica's own row";

# TRUNCATE is replicated too.
$subscriber->safe_psql('one_table', 'DELETE FROM im_group_outbox WHERE id = 1000000');
$publisher->safe_psql('postgres', 'TRUNCATE im_group_outbox');
caught_up();
counts_right('truncated');
is(status_of($publisher)->{total}, 0, 'truncated: the publisher counts nothing');

# An upgrade of the replica to a server of its own: adopted once it is cut off.
$publisher->safe_psql('postgres', 'SELECT im_import_pause()');
insert_groups($publisher, 25, 'last');
caught_up();
$subscriber->safe_psql('all_tables', 'DROP SUBSCRIPTION all_tables');
$publisher->safe_psql('postgres', 'SELECT im_import_resume()');
wait_settled($publisher);
adopted_and_imported($subscriber, $service, db => 'all_tables', adopted => 25, created => 0);

my $log = PostgreSQL::Test::Utils::slurp_file($subscriber->logfile);
is(scalar(() = $log =~ /ERROR:.*(?:duplicate key|could not find|replica identity)/g), 0, 'replication met no conflict');

done_testing();
