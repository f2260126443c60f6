# The promise over every kind of row, from one table: rows that were dumped or
# copied in every state, answers that say nothing, texts that hurt.
#
# The same for groups alone, at length: 301, 302, 730, 740.

use strict;
use warnings;
use utf8;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Encode qw(encode_utf8);
use PostgreSQL::Test::Utils;
use Test::More;

use ImTest;
use ImFence;
use ImKinds;

my ($node, $service) = set_up(options => { rate_limit => 1000, account_rate_limit => 1000, max_in_flight => 64 });
my @kinds = kinds($node);

sub sql { my ($sql, $db) = @_; return $node->safe_psql($db // 'postgres', $sql) }

# ---------------------------------------------------------------------------
# Copies: rows that are done, with the service, and waiting, of every kind

sql(insert_kinds($node, undef, word => 'done', n => 3));
wait_kinds($node);
hold_kinds($node, $service, 'held', qw(done-1 done-2 done-3));
sql('SELECT im_import_pause()');
sql(insert_kinds($node, undef, word => 'open', n => 2));
is_deeply(statuses_of_kinds($node), each_kind($node, 'imported 3, pending 2, sending 1'), 'rows of every kind in three states');
my $content = content($node);
my $dump = PostgreSQL::Test::Utils::tempdir() . '/dump';
$node->command_ok([ 'pg_dump', '-Fc', '-d', $node->connstr('postgres'), '-f', $dump ], 'pg_dump');

# The original goes on, so that all of it is in the app when the copies come.
$service->clear;
$service->release;
sql('SELECT im_import_resume()');
wait_kinds($node);
is_deeply(statuses_of_kinds($node), each_kind($node, 'imported 6'), 'the original imports all of it');

# ---------------------------------------------------------------------------
# Texts that hurt, in every column of every kind, in other encodings.  They are
# sent beside what follows.

my %text = (
	quotes => q{a'"\\b},
	control => "x\x{1}\x{1b}[2Jy",
	lines => "a\r\n\tb",
	latin => "\x{e9}t\x{e9}",
	blank => '   ',
	empty => '',
	long => 'y' x 20_000);
my %encoding = (l1 => 'LATIN1', sa => 'SQL_ASCII');
my %cases;

# A text as SQL.
sub literal
{
	my ($text) = @_;

	return q{E'\xff'} if $text eq 'bytes';
	$text = $text{$text} =~ s/[\\']/$&$&/gr;
	return "E'" . ($text =~ s/[\x00-\x1f]/sprintf '\\%03o', ord $&/ger) . "'";
}

$ENV{PGCLIENTENCODING} = 'UTF8';
foreach my $db (sort keys %encoding)
{
	my $sql = "BEGIN;\n";
	my $i = 0;

	sql("CREATE DATABASE $db TEMPLATE template0 ENCODING '$encoding{$db}' LC_COLLATE 'C' LC_CTYPE 'C'");
	connect_app($node, $service, db => $db, options => { rate_limit => 1000, account_rate_limit => 1000 });
	# What a person writes; not the room's name, by which a row would wait.
	my $columns = of_kinds($node, $db, ' UNION ALL ', "SELECT '{kind}' AS kind, attname AS column, attnum FROM pg_attribute a WHERE attrelid = 'im_{kind}_outbox'::regclass
		AND attnum > 0 AND atttypid = 'text'::regtype AND attname NOT IN ('status', 'error_info', 'group_source_id', 'group_id')");
	foreach my $row (rows($node, "$columns ORDER BY kind, attnum", $db))
	{
		push @{ $cases{$db} }, map { { %$row, text => $_ } } sort(keys %text), $db eq 'sa' ? 'bytes' : ();
	}
	$sql .= insert_kind('group', word => $db);
	$sql .= insert_kind($_->{kind}, word => "$db-" . ++$i, room => "$db-1", extra => { $_->{column} => literal($_->{text}) }) foreach @{ $cases{$db} };
	sql(encode_utf8($sql . 'COMMIT;'), $db);
	sql(insert_kinds($node, $db, word => "$db-after", room => "$db-1"), $db);
}

# ---------------------------------------------------------------------------
# The copy

# Nothing leaves the copy before it is adopted, and nothing comes twice then.
sql('CREATE DATABASE dumped');
$node->command_ok([ 'pg_restore', '-e', '-d', $node->connstr('dumped'), $dump ], 'pg_restore');
is(content($node, 'dumped'), $content, 'every row came as it was');
like(wait_state($node, 'fenced', 'dumped')->{reason}, qr/made in another database/, 'restored: fenced');
sub calls { return scalar(grep { $_->{body} =~ /"(?:held|open)\b/ } $service->journal) }
my $calls = calls();
visit_worker($node, 'dumped');
is(calls(), $calls, 'a worker that comes sends nothing of any kind');
is(content($node, 'dumped'), $content, '... and changes nothing');
is(value_of($node, 'SELECT im_import_adopt()', 'dumped'), 3 * @kinds, 'the open rows of every kind are adopted');
sql('SELECT im_import_resume()', 'dumped');
wait_kinds($node, 'dumped');
is_deeply(statuses_of_kinds($node, 'dumped'), each_kind($node, 'imported 6'), 'every row is imported');
is_deeply(things_of($node, $service, $_), each_kind($node, { done => 3, held => 1, open => 2 }->{$_}), "'$_' is in the app, once") foreach qw(done held open);
is_deeply([ $service->doubles ], [], 'nothing is there twice');
is(scalar(grep { $_->{body} =~ /"held 1"/ } $service->journal('import_group_msg')), 1, 'the group message that was with the service was read back, not sent again');
counts_of_kinds($node, 'dumped', 'the counts of every kind are right');

# ---------------------------------------------------------------------------
# Answers that say nothing, one for each call of every kind

my @nothing = (
	{ do => 'bytes', body => '{"ErrorCode":0' },
	{ do => 'bytes', body => '{"ErrorCode":"0"}' },
	{ do => 'nested' },
	{ do => 'truncate' },
	{ do => 'dup_keys' },
	{ do => 'close_after' },
	{ do => 'results', how => 'string' },
	{ do => 'http', status => 502 });
my $n = @nothing;

wait_kinds($node, $_) foreach sort keys %encoding;
sql("ALTER SERVER im OPTIONS (ADD accounts_per_call '1')");
sql('SELECT im_import_pause()');
sql(insert_kind('group', word => 'room', n => $n));
# A room for each row: otherwise they would share a call.
sql(join '', map { my $i = $_; map { insert_kind($_, word => "odd-$i", room => "room-$i") } @kinds } 1 .. $n);
foreach my $kind (@kinds)
{
	$service->fault(map { { %$_, times => 1, match => { command => $COMMAND{$kind} } } } @nothing);
}
sql('SELECT im_import_resume()');
poll_until {
	sql('SELECT im_import_resume()') if status_of($node)->{state} =~ /unreachable|stopped/;
	open_of_kinds($node) == 0;
} 'rows after answers that say nothing';
my %faults = map { $_->{match}{command} . ' ' . $_->{do} => $_->{fired} } @{ $service->stats->{faults} };
is(join(', ', grep { !$faults{$_} } sort keys %faults), '', 'every answer was given to every kind');
is(join('; ', grep { /failed|invalid|doubt/ } values %{ statuses_of_kinds($node) }), '', 'every row is imported in the end');
is_deeply(things_of($node, $service, 'odd'), each_kind($node, $n), '... and in the app, once');
is_deeply([ $service->doubles ], [], '... and nothing is there twice');
counts_of_kinds($node, undef, '... and the counts are right');
$service->clear;

# ---------------------------------------------------------------------------
# What became of the texts

# The texts of a JSON value.
sub texts { my ($v) = @_; return ref $v eq 'HASH' ? map({ texts($_) } values %$v) : ref $v eq 'ARRAY' ? map({ texts($_) } @$v) : ($v) }

my %sent;
foreach my $call ($service->journal)
{
	$sent{ $call->{command} }{ s/^AddSource_Type_//r } = 1 foreach texts(json(encode_utf8($call->{body})));
}
foreach my $db (sort keys %encoding)
{
	my %rows = map { $_ => [ rows($node, "SELECT status, error_info FROM im_${_}_outbox ORDER BY id", $db) ] } @kinds;
	my (@odd, %ends);

	shift @{ $rows{group} };
	foreach my $case (@{ $cases{$db} })
	{
		my $row = shift @{ $rows{ $case->{kind} } };
		my $what = "$case->{kind}.$case->{column}, $case->{text}: $row->{status}";
		my $bytes = $case->{text} eq 'bytes';

		$ends{ $row->{status} }++;
		next if $case->{column} eq 'source_id';
		push @odd, "$what, but the text was not sent" if $row->{status} eq 'imported' && ($bytes || !$sent{ $COMMAND{ $case->{kind} } }{ $text{ $case->{text} } });
		push @odd, "$what without a reason" if $row->{status} ne 'imported' && $row->{error_info} !~ ($bytes ? qr/not valid UTF-8/ : qr/./);
	}
	is_deeply(\@odd, [], "$db: texts that hurt are sent as they are, or the row says why not");
	cmp_ok($ends{imported}, '>', @{ $cases{$db} } / 3, "$db: not simply everything is refused ($ends{imported} of " . scalar(@{ $cases{$db} }) . ')');
	is_deeply({ map { $_ => $rows{$_}[0]{status} } @kinds }, each_kind($node, 'imported'), "$db: what comes after them goes");
}
# ---------------------------------------------------------------------------
# Who may do what, by the recipes of doc/privileges.md

my @recipes = slurp_file("$FindBin::RealBin/../../doc/privileges.md") =~ /^```sql\n(.*?)^```/msg;
sql($_) foreach @recipes[ 0 .. $#recipes - 1 ];
my $internal = "column_name IN ('id', 'status', 'attempts', 'error_code', 'error_info', 'sent_at', 'settled_at', 'maybe_sent_at', 'claim', 'origin', 'row_key')";
sub allowed
{
	my ($role, $what, $where) = @_;
	return value_of($node, "SELECT coalesce(string_agg(table_name || '.' || column_name, ' '), '') FROM information_schema.columns
		WHERE table_name ~ '^im_\\w+_outbox\$' AND has_column_privilege('$role', table_name::text, column_name::text, '$what') AND $where");
}
is(value_of($node, "SELECT count(DISTINCT table_name) FROM information_schema.columns WHERE table_name ~ '^im_\\w+_outbox\$'"), scalar(@kinds), 'outboxes of every kind');
is(allowed('chat_backend', 'INSERT', $internal), '', 'who enqueues chooses no internal column of any kind');
is(allowed('chat_backend', $_, $_ eq 'SELECT' ? "column_name <> 'id'" : 'true'), '', "... and may not $_") foreach qw(SELECT UPDATE REFERENCES);
is(allowed('chat_operator', 'UPDATE', "$internal AND column_name <> 'status'"), '', 'who operates changes no internal column of any kind');
is(value_of($node, of_kinds($node, undef, " || ", "CASE WHEN has_column_privilege('chat_operator', 'im_{kind}_outbox', 'status', 'UPDATE') AND has_any_column_privilege('chat_backend', 'im_{kind}_outbox', 'INSERT') THEN '' ELSE ' {kind}' END") =~ s/^/SELECT /r), '',
	'... but the status of every kind, and rows of every kind can be enqueued');
is(value_of($node, of_kinds($node, undef, " || ", "CASE WHEN has_table_privilege('chat_backend', 'im_{kind}_outbox', 'DELETE, TRUNCATE, TRIGGER') OR has_table_privilege('chat_operator', 'im_{kind}_outbox', 'TRUNCATE, TRIGGER') THEN ' {kind}' ELSE '' END") =~ s/^/SELECT /r), '',
	'nobody of them empties an outbox or adds a trigger');
$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|terminated by signal|\[im_import worker\].*ERROR/, 'no error in a worker');

done_testing();
