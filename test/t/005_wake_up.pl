# The worker wakes when a transaction commits, whatever wrote the rows, and
# sends nothing of a transaction that did not.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Test::More;
use Time::HiRes qw(time);

use ImTest;

# Well below the safety poll of 30 s, which must not be what finds the rows.
my $SOON = 15;

my ($node, $service) = set_up(conf => 'max_prepared_transactions = 2');

# Waits until a group of this name was created, but not so long that a poll
# could have found its row.
sub arrives_soon
{
	my ($name, $what) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $arrived = eval {
		poll_until { scalar(grep { $_->{name} eq $name } $service->ledger) } $name, $SOON;
	};
	ok($arrived, "$what wakes the worker");
}

insert_groups($node, 1, 'insert');
arrives_soon('insert1', 'INSERT ... SELECT');

$node->safe_psql('postgres', "INSERT INTO im_group_outbox (type, name) VALUES ('Public', 'values')");
arrives_soon('values', 'INSERT');

$node->safe_psql('postgres', "COPY im_group_outbox (type, name) FROM stdin;\nPublic\tcopy\n\\.\n");
arrives_soon('copy', 'COPY');

# Whoever leaves is not missed: the worker disconnects when idle, and comes back.
poll_until { value_of($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'im_import worker'") == 0 }
'the idle worker to leave';
insert_groups($node, 1, 'after leave');
arrives_soon('after leave1', 'INSERT after the worker has left');

# Rolled back: as a whole, and partly.
$node->safe_psql('postgres', <<'SQL');
BEGIN;
INSERT INTO im_group_outbox (type, name) VALUES ('Public', 'rolled back');
ROLLBACK;
BEGIN;
INSERT INTO im_group_outbox (type, name) VALUES ('Public', 'before savepoint');
SAVEPOINT s;
INSERT INTO im_group_outbox (type, name) VALUES ('Public', 'in savepoint');
ROLLBACK TO s;
COMMIT;
BEGIN;
SAVEPOINT s;
INSERT INTO im_group_outbox (type, name) VALUES ('Public', 'released savepoint');
RELEASE s;
COMMIT;
SQL
arrives_soon('before savepoint', 'what a rollback to a savepoint leaves');
arrives_soon('released savepoint', 'a released savepoint');

# Before its commit a row is nobody's business, however long that takes.
my $session = $node->background_psql('postgres');
$session->query_safe("BEGIN; INSERT INTO im_group_outbox (type, name) VALUES ('Public', 'later')");
insert_groups($node, 1, 'overtakes');
arrives_soon('overtakes1', 'a row behind an uncommitted one');
is(scalar($service->calls_for('later')), 0, 'an uncommitted row is not sent');
$session->query_safe('COMMIT');
arrives_soon('later', 'a commit with an id below those already sent');
$session->quit;

# A repair.
$node->safe_psql('postgres', "INSERT INTO im_group_outbox (type, name) VALUES ('Publik', 'repaired')");
wait_settled($node);
$node->safe_psql('postgres',
	"UPDATE im_group_outbox SET type = 'Public', status = 'pending' WHERE name = 'repaired'");
arrives_soon('repaired', 'UPDATE to pending');

# A repair so close behind the outcome that the worker has only just looked,
# and thoroughly: it must look again, not leave.
$node->safe_psql('postgres', <<'SQL');
INSERT INTO im_group_outbox (type, name)
SELECT CASE i WHEN 1 THEN 'Publik' ELSE 'Public' END, 'quick' || i FROM generate_series(1, 200) i;
DO $$
BEGIN
	WHILE EXISTS (SELECT FROM im_group_outbox WHERE name = 'quick1' AND status <> 'invalid') LOOP
		PERFORM pg_sleep(0.001);
	END LOOP;
	UPDATE im_group_outbox SET type = 'Public', status = 'pending' WHERE name = 'quick1';
END $$;
SQL
arrives_soon('quick1', 'a repair right behind the outcome');

# Whoever listens hears of another state.
my $listener = $node->background_psql('postgres');
my $heard = '';
$listener->query_safe('LISTEN im_import');
$node->safe_psql('postgres', "SELECT im_import_pause(); INSERT INTO im_group_outbox (type, name) VALUES ('Public', 'listened')");
eval { poll_until { ($heard .= $listener->query('SELECT 1')) =~ /"im_import" with payload "paused"/ } 'a notification', $SOON * 4 };
like($heard, qr/"im_import" with payload "paused"/, 'a state is told to who listens');
$node->safe_psql('postgres', 'SELECT im_import_resume()');
eval { poll_until { ($heard .= $listener->query('SELECT 1')) =~ /payload "(?:running|idle)"/ } 'a notification', $SOON * 4 };
like($heard, qr/payload "(?:running|idle)"/, '... and the next one');
$listener->quit;

# Two-phase commit has no wake-up at COMMIT PREPARED: the poll finds the row.
$node->safe_psql('postgres', <<'SQL');
BEGIN;
INSERT INTO im_group_outbox (type, name) VALUES ('Public', 'prepared');
PREPARE TRANSACTION 'two-phase';
SQL
$node->safe_psql('postgres', "COMMIT PREPARED 'two-phase'");
my $since = time();
poll_until { scalar(grep { $_->{name} eq 'prepared' } $service->ledger) } 'the prepared row', 60;
cmp_ok(time() - $since, '<', 45, 'a prepared transaction is found by the safety poll');

is(scalar($service->calls_for('rolled back')), 0, 'a rolled back row was never sent');
is(scalar($service->calls_for('in savepoint')), 0, 'nor one behind a savepoint');
wait_settled($node);
accounted($node, $service);

done_testing();
