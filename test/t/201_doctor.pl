# im_import_doctor(): a line for everything, a cure for everything that is
# wrong, and nothing that is wrong makes it raise.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use PostgreSQL::Test::Utils;
use Test::More;

use ImKinds;
use ImTest;

my ($node, $service) = set_up(conf => "fsync = on\n", options => { groups_per_day => 9000 });

# The lines by item; of several for one item the last.
sub lines
{
	my ($db) = @_;

	return { map { ($_->{item} => $_) } rows($node, 'SELECT * FROM im_import_doctor()', $db) };
}

# One line's verdict: 't', 'f' or '?'.
sub verdict
{
	my ($lines, $item) = @_;

	return 'no line' unless $lines->{$item};
	return defined $lines->{$item}{ok} ? ($lines->{$item}{ok} ? 't' : 'f') : '?';
}

# Checks one line: verdict, and a pattern for each of detail and cure.
sub line_is
{
	my ($lines, $item, $verdict, $detail, $cure, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is(verdict($lines, $item), $verdict, "$name: verdict on $item");
	like($lines->{$item}{detail} // '', $detail, "$name: detail of $item") if $detail;
	like($lines->{$item}{cure} // '', $cure, "$name: cure of $item") if $cure;
}

sub mapping
{
	my ($option) = @_;

	$node->safe_psql('postgres', "ALTER USER MAPPING FOR CURRENT_USER SERVER im OPTIONS ($option)");
}

# ---------------------------------------------------------------------------
# All is well

wait_state($node, 'idle');
my $lines = lines();
my @bad = grep { defined $lines->{$_}{ok} && !$lines->{$_}{ok} } keys %$lines;
is_deeply(\@bad, [], 'a good installation has no bad line');
foreach my $item ('library', 'extension', 'launcher', 'max_worker_processes', 'server and mapping',
	'secret key', 'UserSig', 'service', 'name resolution', 'clock', 'round trip', 'rate_limit',
	'groups_per_day', 'text_limits', 'same app', 'state', 'origin', 'outbox', 'durability', 'encoding')
{
	line_is($lines, $item, 't', qr/./, undef, 'all is well');
}
line_is($lines, 'TLS', '?', qr/loopback/, qr/for tests/, 'plain HTTP');
is(value_of($node, 'SELECT count(*) FROM im_import_doctor() WHERE ok IS NOT true AND cure IS NULL'), 0,
	'every line that is not good has a cure');
is($service->stats->{created}, 0, 'nothing was created');
my ($call) = $service->journal('get_group_info');
unlike($call->{body}, qr/MemberInfoFilter/, 'members are never asked for');

# ---------------------------------------------------------------------------
# Credentials

mapping("SET secret_key_file '" . $service->write_key('wrong.key', 'f' x 64) . "'");
$lines = lines();
line_is($lines, 'service', 'f', qr/70009/, qr/key/, 'key of another app');
unlike($lines->{service}{cure}, qr/The import has stopped/, 'nothing was sent yet: the cure does not say that it has stopped');
line_is($lines, 'secret key', 't', qr/mode 0600/, undef, 'key of another app');

mapping("SET secret_key_file '" . $service->write_key('odd.key', 'correct-horse-battery') . "'");
line_is(lines(), 'secret key', '?', qr/usual form/, qr/console/, 'odd key');

my $open = $service->write_key('open.key', $service->{secret});
chmod 0644, $open;
mapping("SET secret_key_file '$open'");
$lines = lines();
line_is($lines, 'secret key', 'f', qr/open to others/, qr/chmod 0600/, 'key open to others');
line_is($lines, 'service', '?', qr/not asked/, undef, 'key open to others');
$node->safe_psql('postgres', "SELECT im_import_pause('no key'); INSERT INTO im_group_outbox (type, name) VALUES ('Public', 'keyless'); SELECT im_import_resume()");
wait_state($node, 'not configured');
line_is(lines(), 'state', 'f', qr/^not configured/, qr/line "secret key"/, 'key open to others');

mapping("SET secret_key_file '$open.gone'");
line_is(lines(), 'secret key', 'f', qr/could not read/, qr/secret_key_file/, 'no key file');

mapping("DROP secret_key_file, ADD secret_key '$service->{secret}'");
$lines = lines();
line_is($lines, 'secret key', '?', qr/dumps/, qr/secret_key_file/, 'key in the mapping');
line_is($lines, 'service', 't', undef, undef, 'key in the mapping');
unlike(join(' ', map { "$_->{detail} " . ($_->{cure} // '') } values %$lines), qr/\Q$service->{secret}\E|usersig=/,
	'no secret shows');
mapping("SET identifier 'nobody'");
line_is(lines(), 'service', 'f', qr/60010/, qr/admin/i, 'not an admin');
# The row from before may have gone out with the key in the mapping.
$node->safe_psql('postgres', "INSERT INTO im_group_outbox (type, name) VALUES ('Public', 'by nobody')");
wait_state($node, 'stopped');
line_is(lines(), 'state', 'f', qr/^stopped.*60010/, qr/line "service" says/, 'not an admin');
mapping("DROP secret_key, ADD secret_key_file '$open.gone'");
$lines = lines();
line_is($lines, 'service', '?', qr/not asked/, undef, 'neither admin nor key');
unlike($lines->{state}{cure}, qr/"service"|below/, 'neither admin nor key: no line is named that says nothing');
mapping("DROP secret_key_file, ADD secret_key '$service->{secret}'");
mapping("DROP secret_key, ADD secret_key_file '$service->{key_file}', SET identifier '$service->{admin}'");

# The last error: over, or with rows that need a person; never a bare code.
wait_settled($node);
wait_state($node, 'idle');
line_is(lines(), 'last error', 't', qr/60010.*is over/, undef, 'an error that is over');
$service->fault({ do => 'code', code => 10019, info => '', match => { name => 'ownerless' } });
$node->safe_psql('postgres', "INSERT INTO im_group_outbox (type, name) VALUES ('Public', 'ownerless')");
wait_settled($node);
line_is(lines(), 'last error', '?', qr/^10019: \w/, qr/im_import_errors/, 'a code without a text gets its meaning');
$service->clear;
$node->safe_psql('postgres', 'DELETE FROM im_group_outbox');

# ---------------------------------------------------------------------------
# Clock and network

$service->set(clock_offset => -40);
line_is(lines(), 'clock', '?', qr/\d+ s ahead/, qr/chrony/, 'fast clock');
$service->set(clock_offset => 7200);
line_is(lines(), 'clock', 'f', qr/\d+ s behind/, qr/chrony/, 'slow clock');
$service->set(clock_offset => 0);

$service->stop;
$lines = lines();
line_is($lines, 'service', 'f', qr/no answer/, qr/./, 'nobody listens');
line_is($lines, 'name resolution', 't', undef, undef, 'nobody listens');
$service->start;

$node->safe_psql('postgres', "ALTER SERVER im OPTIONS (SET endpoint 'https://no-such-host.invalid')");
line_is(lines(), 'name resolution', 'f', qr/resolve/, qr/resolver/, 'no such host');
$node->safe_psql('postgres', "ALTER SERVER im OPTIONS (SET endpoint '" . $service->https_endpoint . "')");
line_is(lines(), 'TLS', 'f', qr/certificate/i, qr/ca_file/, 'unknown CA');
$node->safe_psql('postgres', "ALTER SERVER im OPTIONS (ADD ca_file '" . $service->ca_file . "')");
$lines = lines();
line_is($lines, 'TLS', 't', undef, undef, 'known CA');
line_is($lines, 'service', 't', undef, undef, 'known CA');
$node->safe_psql('postgres', "ALTER SERVER im OPTIONS (SET endpoint '" . $service->endpoint . "', DROP ca_file)");

# ---------------------------------------------------------------------------
# Limits and settings

$node->safe_psql('postgres',
	"ALTER SERVER im OPTIONS (ADD rate_limit '500', DROP groups_per_day, ADD text_limits 'sdk')");
$lines = lines();
line_is($lines, 'rate_limit', '?', qr/500/, qr/200/, 'too fast');
line_is($lines, 'groups_per_day', '?', qr/quota/, qr/groups_per_day/, 'no budget');
line_is($lines, 'text_limits', '?', qr/sdk/, qr/10004/, 'sdk limits');
$node->safe_psql('postgres', "ALTER SERVER im OPTIONS (DROP rate_limit, DROP text_limits)");

$node->append_conf('postgresql.conf', "fsync = off\nfull_page_writes = off\n");
$node->reload;
poll_until { value_of($node, 'SHOW fsync') eq 'off' } 'the reload';
$lines = lines();
line_is($lines, 'fsync', 'f', qr/lost/, qr/reload/, 'careless');
line_is($lines, 'full_page_writes', 'f', qr/damage/, qr/reload/, 'careless');
is(verdict($lines, 'durability'), 'no line', 'careless: nothing good is said');

$node->safe_psql('postgres', "SELECT im_import_pause('freeze')");
line_is(lines(), 'state', '?', qr/^paused by \w+: freeze(?:; worker \d+)?$/, qr/im_import_resume/, 'paused');
$node->safe_psql('postgres', 'SELECT im_import_resume()');

# ---------------------------------------------------------------------------
# The outbox was altered

$node->safe_psql('postgres', <<'SQL');
CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
SQL
foreach my $case (
	[ 'ADD COLUMN mine integer', 'DROP COLUMN mine', qr/column "mine" was added/ ],
	[ 'ALTER COLUMN name SET NOT NULL', 'ALTER COLUMN name DROP NOT NULL', qr/column "name" was altered/ ],
	[ 'ADD CHECK (name <> 0::text)', 'DROP CONSTRAINT im_group_outbox_name_check', qr/constraint .* was added/ ],
	[ 'DISABLE TRIGGER im_outbox_guard', 'ENABLE ALWAYS TRIGGER im_outbox_guard', qr/trigger .* was altered.*DISABLED/ ],
	[ 'ENABLE ROW LEVEL SECURITY', 'DISABLE ROW LEVEL SECURITY', qr/row security/ ])
{
	$node->safe_psql('postgres', "ALTER TABLE im_group_outbox $case->[0]");
	line_is(lines(), 'outbox', 'f', $case->[2], qr/Undo/, $case->[0]);
	$node->safe_psql('postgres', "ALTER TABLE im_group_outbox $case->[1]");
}
foreach my $case (
	[ 'CREATE TRIGGER t BEFORE INSERT ON im_group_outbox FOR EACH ROW EXECUTE FUNCTION f()',
		'DROP TRIGGER t ON im_group_outbox', qr/trigger "t" was added/ ],
	[ 'CREATE RULE r AS ON DELETE TO im_group_outbox DO INSTEAD NOTHING',
		'DROP RULE r ON im_group_outbox', qr/rule "r" was added/ ],
	[ 'CREATE UNIQUE INDEX i ON im_group_outbox (source_id)', 'DROP INDEX i', qr/index .*i" was added/ ],
	[ 'DROP INDEX im_group_outbox_due',
		"CREATE INDEX im_group_outbox_due ON im_group_outbox (origin, due_at) WHERE status = 'pending' AND due_at IS NOT NULL",
		qr/index .* was dropped/ ])
{
	$node->safe_psql('postgres', $case->[0]);
	line_is(lines(), 'outbox', 'f', $case->[2], qr/Undo/, $case->[0]);
	$node->safe_psql('postgres', $case->[1]);
}
$node->safe_psql('postgres', 'CREATE INDEX mine ON im_group_outbox (source_id)');
line_is(lines(), 'outbox', '?', qr/index .*mine" was added/, qr/pg_dump/, 'an index of one\'s own');
$node->safe_psql('postgres', 'DROP INDEX mine');
line_is(lines(), 'outbox', 't', undef, undef, 'all is undone');

# The outbox of every kind.
my @kinds = kinds($node);
my %due = map { $_ => value_of($node, "SELECT pg_get_indexdef('im_${_}_outbox_due'::regclass)") } @kinds;
$node->safe_psql('postgres', of_kinds($node, 'postgres', '', <<'SQL'));
ALTER TABLE im_{kind}_outbox ADD COLUMN mine integer, DISABLE TRIGGER im_outbox_insert;
CREATE TRIGGER t BEFORE INSERT ON im_{kind}_outbox FOR EACH ROW EXECUTE FUNCTION f();
DROP INDEX im_{kind}_outbox_due;
SQL
my @altered = map { $_->{detail} } grep { $_->{item} eq 'outbox' && !$_->{ok} } rows($node, 'SELECT * FROM im_import_doctor()');
foreach my $kind (@kinds)
{
	foreach my $what ('column "mine" was added', 'trigger "im_outbox_insert" was altered', 'trigger "t" was added', "index .*im_${kind}_outbox_due.* was dropped")
	{
		is(scalar(grep { /\bim_${kind}_outbox: $what/ } @altered), 1, "im_${kind}_outbox: $what");
	}
}
is(scalar(@altered), 4 * @kinds, 'and nothing else');
$node->safe_psql('postgres', join('', of_kinds($node, 'postgres', '', <<'SQL'), map { "$due{$_};" } @kinds));
ALTER TABLE im_{kind}_outbox DROP COLUMN mine, ENABLE TRIGGER im_outbox_insert;
DROP TRIGGER t ON im_{kind}_outbox;
SQL
line_is(lines(), 'outbox', 't', undef, undef, 'all is undone, of every kind');

# ---------------------------------------------------------------------------
# Another database of the same app; a database that is not configured

$node->safe_psql('postgres', 'CREATE DATABASE other');
$node->safe_psql('other', 'CREATE EXTENSION im_import');
$lines = lines('other');
line_is($lines, 'server and mapping', 'f', qr/server/, qr/CREATE SERVER/, 'no server');
is(verdict($lines, 'service'), '?', 'no server: not asked');
connect_app($node, $service, db => 'third') if $node->safe_psql('postgres', 'CREATE DATABASE third') eq '';
lines();
line_is(lines('third'), 'same app', '?', qr/database "postgres"/, qr/im_import_set_rate/, 'two of one app');
is(value_of($node, 'SELECT _im_same_app()', 'third'), '{postgres}', 'the plan warns of it, too');
my $stand_in = ImService->new(name => 'stand_in');
$node->safe_psql('third', "ALTER SERVER im OPTIONS (SET endpoint '" . $stand_in->endpoint . "')");
line_is(lines('third'), 'same app', 't', undef, undef, 'the same number at another address');

# A copy of the database: rows of another origin.
$node->safe_psql('postgres', "SELECT im_import_pause(); INSERT INTO im_group_outbox (type, name) VALUES ('Public', 'x')");
poll_until {
	value_of($node, "SELECT count(*) FROM pg_stat_activity WHERE datname = 'postgres' AND pid <> pg_backend_pid()") == 0
} 'the worker to leave';
$node->safe_psql('template1', 'CREATE DATABASE copy TEMPLATE postgres');
line_is(lines('copy'), 'origin', 'f', qr/1 open rows/, qr/im_import_adopt/, 'a copy');

# More databases than the server has places for.
$node->append_conf('postgresql.conf', 'im_import.max_databases = 1');
$node->restart;
my %library = map { ($_ => lines($_)) } qw(postgres other third);
my ($without) = grep { verdict($library{$_}, 'library') eq 'f' } sort keys %library;
is(scalar(grep { verdict($library{$_}, 'library') eq 't' } keys %library), 1, 'one database has a place');
line_is($library{$without}, 'library', 'f', qr/every place/, qr/max_databases/, 'no place');
is(verdict($library{$without}, 'service'), '?', 'no place: not asked');

# Not preloaded.
$node->stop;
$node->adjust_conf('postgresql.conf', 'shared_preload_libraries', "''");
$node->start;
$lines = lines();
line_is($lines, 'library', 'f', qr/not loaded/, qr/shared_preload_libraries/, 'not preloaded');
line_is($lines, 'launcher', 'f', undef, qr/shared_preload_libraries/, 'not preloaded');

done_testing();
