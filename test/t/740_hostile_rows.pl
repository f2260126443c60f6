# Whatever a row holds: it is sent as it is, or it is invalid and says why,
# and its neighbours go on.

use strict;
use warnings;
use utf8;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Encode qw(encode_utf8);
use PostgreSQL::Test::Utils;
use Test::More;

use ImTest;

my $service = ImService->new;
$service->set(text_limits => 'sdk');
my $node = start_cluster();
my %encoding = (u8 => 'UTF8', l1 => 'LATIN1', cn => 'EUC_CN', sa => 'SQL_ASCII');

foreach my $db (sort keys %encoding)
{
	$node->safe_psql('postgres',
		"CREATE DATABASE $db TEMPLATE template0 ENCODING '$encoding{$db}' LC_COLLATE 'C' LC_CTYPE 'C'");
	connect_app($node, $service, db => $db, options => { rate_limit => 1000, text_limits => 'sdk' });
}

# The body that was sent for a row, by its source_id, as a structure and as JSON.
my %sent;

sub read_journal
{
	$sent{ $_->{group_id} // '' } = $_ foreach $service->journal('import_group');
}

# The row must be invalid for a reason, or have been sent exactly as it is.
sub settled_well
{
	my ($db, $row, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	if ($row->{status} eq 'invalid')
	{
		ok(length $row->{error_info} && !$sent{"$db-$row->{source_id}"}, "$db: $name: invalid, says why, was not sent");
	}
	else
	{
		is($row->{status}, 'imported', "$db: $name: imported");
	}
}

# ---------------------------------------------------------------------------
# Every text field with every kind of character

my @fields = qw(type name owner_account introduction notification face_url apply_join_option group_id);
my %text = (
	quotes => q{'"\\`},
	'JSON escapes' => '\u0000 \n \\ \/ \ud83d',
	'control characters' => join('', map { chr } 1 .. 31, 127),
	'a line feed' => "a\nb\r\n",
	braces => '{"a":[1]},"GroupId":"x',
	percent => '%s%n&x=y?#',
	'two-byte characters' => 'é' x 10,
	'C1 controls' => "\x{80}\x{85}\x{9f}",
	'three-byte characters' => '群组' x 5,
	'four-byte characters' => '😀' x 5,
	'combining characters' => "e\x{301}" x 10,
	'right to left' => "\x{202e}abc\x{200f}",
	'line separators' => "a\x{2028}b\x{2029}",
	'noncharacters' => "\x{fdd0}\x{fffe}\x{10ffff}",
	'a BOM' => "\x{feff}a",
	blanks => '   ',
	'an empty text' => '');
# What an encoding can hold.
my %holds = (u8 => qr/^.*$/s, sa => qr/^.*$/s, l1 => qr/^[\x00-\xff]*$/s, cn => qr/^[\x00-\x7f群组]*$/s);

# A text as SQL, in UTF-8; what no client may send is converted by the server.
sub literal { my ($text) = @_; $text =~ s/'/''/g; return "'$text'" }

foreach my $db (sort keys %encoding)
{
	my $sql = $db eq 'sa' ? '' : "SET client_encoding = 'UTF8';\n";
	my @kinds = grep { $text{$_} =~ $holds{$db} } sort keys %text;

	foreach my $k (0 .. $#kinds)
	{
		foreach my $field (@fields)
		{
			my %value = (type => "'Public'", name => "'n'", group_id => "'$db-$k-$field'", $field => literal($text{ $kinds[$k] }));

			$sql .= sprintf "INSERT INTO im_group_outbox (source_id, %s) VALUES ('%s', %s);\n",
			  join(', ', sort keys %value), "$k-$field", join(', ', map { $value{$_} } sort keys %value);
		}
		$sql .= "INSERT INTO im_group_outbox (source_id, group_id, type, name) VALUES ('good-$k', '$db-good-$k', 'Public', 'good');\n";
	}
	$node->safe_psql($db, encode_utf8("BEGIN;\n$sql COMMIT;"));
	wait_settled($node, $db);
	read_journal();
	my %row = map { ($_->{source_id} => $_) }
	  rows($node, q{SELECT source_id, status, error_info IS NOT NULL AND error_info <> '' AS error_info FROM im_group_outbox}, $db);
	my @odd;
	my $compared = 0;
	foreach my $k (0 .. $#kinds)
	{
		push @odd, "good-$k is $row{\"good-$k\"}{status}" if $row{"good-$k"}{status} ne 'imported';
		foreach my $field (@fields)
		{
			my $row = $row{"$k-$field"};
			my $where = "$field with $kinds[$k]";
			my $value = $text{ $kinds[$k] };

			if ($row->{status} eq 'invalid')
			{
				push @odd, "$where: no reason" unless $row->{error_info};
				push @odd, "$where: was sent" if $sent{"$db-$k-$field"};
				# Only those that the service is known to refuse.
				push @odd, "$where: needlessly invalid"
				  if $field =~ /^(?:introduction|notification|face_url)$/ || $field eq 'name' && $value ne '';
				next;
			}
			push @odd, "$where: $row->{status}" if $row->{status} ne 'imported';
			my $id = $field eq 'group_id' ? $value : "$db-$k-$field";
			my $call = $sent{$id};
			my $key = { introduction => 'Introduction', notification => 'Notification', face_url => 'FaceUrl', name => 'Name',
				owner_account => 'Owner_Account', group_id => 'GroupId', type => 'Type', apply_join_option => 'ApplyJoinOption' }->{$field};
			my $body = $call && eval { json(encode_utf8($call->{body})) };

			push @odd, "$where: the body is no JSON" unless $body;
			push @odd, "$where: the body is not UTF-8" if $call && $call->{body_b64};
			push @odd, "$where: another value was sent" if $body && $body->{$key} ne $value;
			$compared++ if $body;
		}
	}
	is_deeply(\@odd, [], "$db: every field with every kind of text is sent as it is, or invalid with a reason");
	cmp_ok($compared, '>', 3 * @kinds, "$db: and not simply everything is invalid");
}

# The byte limit, with characters that straddle it.
foreach my $case ([ 'é', 50, 51 ], [ '群', 33, 34 ], [ '😀', 25, 26 ], [ "e\x{301}", 33, 34 ], [ "\x{1f468}\x{200d}\x{1f469}", 9, 10 ])
{
	my ($char, $fits, $over) = @$case;
	my $n = length $char;
	my $fit = $node->safe_psql('u8', encode_utf8("SELECT length(im_fit(repeat('$char', 60), 100)), octet_length(im_fit(repeat('$char', 60), 100)) <= 100, "
		. "im_group_problems(q) = '{}', im_group_problems(r) = '{}', im_group_problems(s) = '{}' FROM (SELECT 'Public' AS type, repeat('$char', $fits) AS name) q, (SELECT 'Public' AS type, repeat('$char', $over) AS name) r, "
		. "(SELECT 'Public' AS type, im_fit(repeat('$char', 60), 100) AS name) s"));

	like($fit, qr/^\d+\|t\|t\|f\|t$/, 'the limit of 100 bytes with characters of ' . length(encode_utf8($char)) . ' bytes');
}

# Bytes that are no text in a database without encoding.
$node->safe_psql('sa', <<'SQL');
INSERT INTO im_group_outbox (source_id, group_id, type, name)
SELECT 'bytes-' || i, 'sa-bytes-' || i, 'Public', t FROM unnest(ARRAY[E'\xff', E'a\xc3', E'\xed\xa0\x80', E'\xc0\x80', E'\xf4\x90\x80\x80', E'\xe9t\xe9']) WITH ORDINALITY AS u (t, i);
INSERT INTO im_group_outbox (source_id, group_id, type, name) VALUES ('after', 'sa-after', 'Public', 'after');
SQL
wait_settled($node, 'sa');
is(value_of($node, q{SELECT count(*) FROM im_group_outbox WHERE source_id LIKE 'bytes-%' AND status = 'invalid' AND error_info LIKE '%not valid UTF-8%'}, 'sa'),
	6, 'SQL_ASCII: bytes that are no UTF-8 are invalid');
is(value_of($node, q{SELECT status FROM im_group_outbox WHERE source_id = 'after'}, 'sa'), 'imported', 'SQL_ASCII: the next row goes');

# A client of another encoding gets and gives the same text.
my $latin = "\xe9t\xe9";
$node->safe_psql('u8', "SET client_encoding = 'LATIN1'; INSERT INTO im_group_outbox (source_id, group_id, type, name) VALUES ('latin', 'u8-latin', 'Public', '$latin')");
wait_settled($node, 'u8');
read_journal();
is(json(encode_utf8($sent{'u8-latin'}{body}))->{Name}, 'été', 'a LATIN1 client of a UTF8 database');

# ---------------------------------------------------------------------------
# app_defined_data, numbers, times, and the internal columns, at their edges

my @good = (
	[ q{app_defined_data}, q{'[{"Key":"a","Value":"\u0000\u001f\ud83d\ude00"}]'} ],
	[ q{app_defined_data}, q{'{"a":"x","b":1.50e1,"c":true,"d":null}'} ],
	[ q{app_defined_data}, q{'{}'} ],
	[ q{app_defined_data}, q{'null'} ],
	[ q{max_member_count}, 1 ],
	[ q{max_member_count}, 6000 ],
	[ q{create_time}, q{'1970-01-01 00:00:01Z'} ],
	[ q{enqueued_at}, q{'-infinity'} ],
	[ q{enqueued_at}, q{'infinity'} ],
	[ q{enqueued_at}, q{'4713-01-01 00:00:00+00 BC'} ],
	[ q{due_at}, q{'-infinity'} ],
	[ q{due_at}, q{'4713-01-01 00:00:00+00 BC'} ],
	[ q{sent_at}, q{'infinity'} ],
	[ q{settled_at}, q{'-infinity'} ],
	[ q{maybe_sent_at}, q{'-infinity'} ],
	[ q{maybe_sent_at}, q{'infinity'} ],
	[ q{maybe_sent_at}, q{'4713-01-01 00:00:00+00 BC'} ],
	[ q{attempts}, q{2147483647} ],
	[ q{attempts}, q{-2147483648} ],
	[ q{error_code}, q{-2147483648} ],
	[ q{error_info}, q{repeat('x', 1000000)} ],
	[ q{claim}, q{5} ],
	[ q{claim}, q{-9223372036854775808} ],
	[ q{row_key}, q{'00000000-0000-0000-0000-000000000000'} ],
	[ q{source_id}, q{NULL} ],
	[ q{source_id}, q{repeat('s', 200000)} ],
	[ q{source_id}, q{(SELECT string_agg(md5(i::text), '') FROM generate_series(1, 80) i)} ]);
my @bad = (
	[ q{app_defined_data}, q{'17'} ],
	[ q{app_defined_data}, q{'"x"'} ],
	[ q{app_defined_data}, q{'[1]'} ],
	[ q{app_defined_data}, q{'[{"Key":"a"}]'} ],
	[ q{app_defined_data}, q{'[{"Key":"a","Value":1}]'} ],
	[ q{app_defined_data}, q{'[{"Key":"a","Value":"b","More":"c"}]'} ],
	[ q{app_defined_data}, q{'{"a":{"b":1}}'} ],
	[ q{app_defined_data}, q{(repeat('[', 33) || repeat(']', 33))::json} ],
	[ q{app_defined_data}, q{(repeat('[', 6000) || repeat(']', 6000))::json} ],
	[ q{app_defined_data}, q{json_build_object('a', repeat('x', 1100000))} ],
	[ q{app_defined_data}, q{(SELECT json_object_agg('k', 1) FROM generate_series(1, 60000))} ],
	[ q{max_member_count}, 0 ],
	[ q{max_member_count}, -1 ],
	[ q{max_member_count}, 6001 ],
	[ q{max_member_count}, q{9223372036854775807} ],
	[ q{max_member_count}, q{-9223372036854775808} ],
	[ q{create_time}, q{'infinity'} ],
	[ q{create_time}, q{'-infinity'} ],
	[ q{create_time}, q{'4713-01-01 00:00:00+00 BC'} ],
	[ q{create_time}, q{'294276-12-31 23:59:59Z'} ],
	[ q{create_time}, q{'1970-01-01 00:00:00Z'} ],
	[ q{create_time}, q{now() + interval '1 hour'} ],
	[ q{support_topic}, q{true} ],
	[ q{name}, q{repeat('x', 50000000)} ],
	[ q{type}, q{repeat('x', 50000000)} ],
	[ q{group_id}, q{repeat('x', 50000000)} ],
	[ q{introduction}, q{repeat('é', 25000000)} ],
	[ q{app_defined_data}, q{to_json(repeat('x', 50000000))} ]);

# Only through the claim's own guards: a claimed row that cannot be sent either.
push @bad, [ q{claim, max_member_count}, q{5, 0} ], [ q{attempts, max_member_count}, q{2147483647, 0} ];

sub insert_edges
{
	my ($kind, @edges) = @_;
	my $i = 0;
	my $sql = '';

	foreach my $edge (@edges)
	{
		my ($columns, $values) = @$edge;
		my %given = map { ($_ => 1) } split /, /, $columns;
		my @more = grep { !$given{ $_->[0] } } [ type => q{'Public'} ], [ name => "'$kind-$i'" ], [ group_id => "'$kind-$i'" ], [ source_id => "'$kind-edge-$i'" ];

		$sql .= "INSERT INTO im_group_outbox ($columns, " . join(', ', map { $_->[0] } @more) . ") VALUES ($values, " . join(', ', map { $_->[1] } @more) . ");\n";
		$i++;
	}
	$node->safe_psql('u8', $sql);
}

my $before = value_of($node, q{SELECT max(id) FROM im_group_outbox}, 'u8');
$node->safe_psql('u8', 'SELECT im_import_pause()');
insert_edges('good', @good);
insert_edges('bad', @bad);
$node->safe_psql('u8', <<'SQL');
INSERT INTO im_group_outbox (id, source_id, group_id, type, name) OVERRIDING SYSTEM VALUE
VALUES (-9223372036854775807, 'least', 'least', 'Public', 'least'), (0, 'zero', 'zero', 'Public', 'zero'),
	(9223372036854775807, 'greatest', 'greatest', 'Public', 'greatest');
INSERT INTO im_group_outbox (source_id, group_id, type, name) VALUES ('last', 'last', 'Public', 'last');
SELECT im_import_resume();
SQL
like(error_of($node, q{INSERT INTO im_group_outbox (id, type, name) OVERRIDING SYSTEM VALUE VALUES (-9223372036854775808, 'Public', 'none')}, 'u8'),
	qr/im_group_outbox_id/, 'the one id that would never be found is refused');
like(error_of($node, q{INSERT INTO im_group_outbox (source_id, type, name) SELECT string_agg(md5(i::text), ''), 'Public', 'none' FROM generate_series(1, 200) i}, 'u8'),
	qr/index row size \d+ exceeds .*im_group_outbox_key/, 'a key that its index cannot hold is refused');
wait_settled($node, 'u8');
my @wrong = rows($node, <<"SQL", 'u8');
SELECT id, left(source_id, 20) AS source_id, left(group_id, 20) AS group_id, left(name, 20) AS name, status, left(error_info, 200) AS error_info FROM im_group_outbox
WHERE (id > $before OR id <= 0) AND status <> CASE WHEN source_id LIKE 'bad-%' THEN 'invalid' ELSE 'imported' END
	AND NOT (maybe_sent_at IS NOT NULL AND status = 'in_doubt')
SQL
is_deeply(\@wrong, [], 'every value at its edge: sent, or invalid');
is(value_of($node, "SELECT count(*) FROM im_group_outbox WHERE source_id LIKE 'bad-%' AND coalesce(error_info, '') = ''", 'u8'), 0, 'each of the bad says why');
is(value_of($node, "SELECT max(length(error_info)) < 2000 FROM im_group_outbox WHERE source_id LIKE 'bad-%'", 'u8'), 't', 'in a few words');
read_journal();
is(scalar(grep { !defined eval { json(encode_utf8($_->{body})) } } values %sent), 0, 'every body is JSON');
is($sent{'good-0'}{body}, '{"Type":"Public","GroupId":"good-0","Name":"good-0","AppDefinedData":[{"Key":"a","Value":"\u0000\u001f\ud83d\ude00"}]}',
	'binary values travel as they are written');
is_deeply(json($sent{'good-1'}{body})->{AppDefinedData}, [ { Key => 'a', Value => 'x' }, { Key => 'b', Value => '1.50e1' }, { Key => 'c', Value => 'true' } ],
	'a plain object becomes Key and Value');
is(status_of($node, 'u8')->{total}, value_of($node, 'SELECT count(*) FROM im_group_outbox', 'u8'), 'the counts are right all the same');

# ---------------------------------------------------------------------------
# Values of huge size cost the worker nothing

# Highest resident memory of the worker so far, in kB.
sub worker_peak
{
	my $pid = value_of($node, "SELECT coalesce(min(pid), 0) FROM pg_stat_activity WHERE backend_type = 'im_import worker' AND datname = 'u8'", 'u8');

	return 0 unless $pid && -r "/proc/$pid/status";
	return slurp_file("/proc/$pid/status") =~ /^VmHWM:\s+(\d+) kB/m ? $1 : 0;
}

# A call that is held keeps the worker from leaving meanwhile.
$service->fault({ do => 'hold', match => { name => 'held' } });
$node->safe_psql('u8', "INSERT INTO im_group_outbox (type, name) VALUES ('Public', 'held')");
$service->wait_for(held => 1);
my $peak = worker_peak();
$node->safe_psql('u8', <<'SQL');
ALTER TABLE im_group_outbox ALTER name SET STORAGE EXTERNAL, ALTER introduction SET STORAGE EXTERNAL, ALTER app_defined_data SET STORAGE EXTERNAL;
INSERT INTO im_group_outbox (source_id, type, name, introduction, app_defined_data)
SELECT 'huge' || i, 'Public', repeat('x', 40000000), repeat('y', 40000000), to_json(repeat('z', 40000000)) FROM generate_series(1, 3) i;
SQL
poll_until { value_of($node, q{SELECT count(*) FROM im_group_outbox WHERE source_id LIKE 'huge%' AND status = 'invalid'}, 'u8') == 3 } 'huge rows to be invalid';
my $grown = worker_peak() - $peak;
SKIP:
{
	skip 'memory under a sanitizer tells nothing', 1 if $ENV{IM_TEST_SANITIZED};
	cmp_ok($grown, '<', 30_000, "three rows of 120 MB, and the worker's memory does not grow by 30 MB");
}
$service->clear;
$service->release;
wait_settled($node, 'u8');

# ---------------------------------------------------------------------------
# Records of im_import_group() with columns of every type

$node->safe_psql('u8', <<'SQL');
CREATE DOMAIN short AS varchar(40) CHECK (VALUE <> 'forbidden');
CREATE TYPE colour AS ENUM ('Public', 'Private');
CREATE TYPE pair AS (a text, b integer);
CREATE DOMAIN pairs AS pair;
CREATE TABLE typed (type colour, name short, group_id char(20), max_member_count numeric, create_time timestamp, support_topic text);
INSERT INTO typed VALUES ('Private', 'typed', 'typed', 17.00, '2020-02-02 02:02:02', NULL);
SQL
my $reply = reply_of($node, 'SELECT * FROM typed', 'u8');
is($reply->{ErrorCode}, 0, 'a domain, an enum, character(n), numeric and timestamp');
read_journal();
is_deeply(json($sent{typed}{body}), { Type => 'Private', GroupId => 'typed', Name => 'typed', MaxMemberCount => 17, CreateTime => 1580608922 }, 'and what was sent');
my $calls = $service->stats->{journaled};
my @records = (
	q{SELECT 'Public' AS type, ARRAY['a', 'b'] AS name},
	q{SELECT 'Public' AS type, ROW('a', 1)::pair AS name},
	q{SELECT 'Public' AS type, ROW('a', 1)::pairs AS name},
	q{SELECT 'Public' AS type, ROW(ROW(ROW(1))) AS name},
	q{SELECT 'Public' AS type, '\x6162'::bytea AS name},
	q{SELECT 'Public' AS type, '[1,2)'::int4range AS name},
	q{SELECT 'Public' AS type, '{"a":1}'::json AS name},
	q{SELECT 'Public' AS type, '"a"'::jsonb AS name},
	q{SELECT 'Public' AS type, int8multirange() AS name},
	q{SELECT ARRAY['Public'] AS type, 'x' AS name},
	q{SELECT 'Public' AS type, 'x' AS name, ARRAY[1] AS max_member_count},
	q{SELECT 'Public' AS type, 'x' AS name, 'NaN'::numeric AS max_member_count},
	q{SELECT 'Public' AS type, 'x' AS name, 'Infinity'::float8 AS max_member_count},
	q{SELECT 'Public' AS type, 'x' AS name, 1e300::float8 AS max_member_count},
	q{SELECT 'Public' AS type, 'x' AS name, 10::numeric ^ 100000 AS max_member_count},
	q{SELECT 'Public' AS type, 'x' AS name, '12abc' AS max_member_count},
	q{SELECT 'Public' AS type, 'x' AS name, 0.5 AS max_member_count},
	q{SELECT 'Public' AS type, 'x' AS name, 'infinity'::timestamp AS create_time},
	q{SELECT 'Public' AS type, 'x' AS name, '-infinity'::date AS create_time},
	q{SELECT 'Public' AS type, 'x' AS name, '5874897-12-31'::date AS create_time},
	q{SELECT 'Public' AS type, 'x' AS name, '4713-01-01 BC'::timestamp AS create_time},
	q{SELECT 'Public' AS type, 'x' AS name, 1448357837000 AS create_time},
	q{SELECT 'Public' AS type, 'x' AS name, 9223372036854775807 AS create_time},
	q{SELECT 'Public' AS type, 'x' AS name, '12:00'::time AS create_time},
	q{SELECT 'Public' AS type, 'x' AS name, tstzrange(now(), now()) AS create_time},
	q{SELECT 'Community' AS type, 'x' AS name, 'maybe' AS support_topic},
	q{SELECT 'Public' AS type, 'x' AS name, 'no json' AS app_defined_data},
	"SELECT 'Public' AS type, 'x' AS name, '{' AS app_defined_data",
	q{SELECT 'Public' AS type, 'x' AS name, repeat('[', 1000000) AS app_defined_data},
	q{SELECT 'Public' AS type, 'x' AS name, ROW('a', 1)::pair AS app_defined_data},
	q{SELECT 'Public' AS type, repeat('x', 100000000) AS name},
	q{SELECT 'Public' AS type, 'x' AS name, (SELECT jsonb_object_agg(i, 10::numeric ^ 10000) FROM generate_series(1, 1000) i) AS app_defined_data},
	q{SELECT 'Public' AS type, 'x' AS name, ('[' || repeat('1e131071,', 20000) || '1]')::jsonb AS app_defined_data});
foreach my $record (@records)
{
	my $answer = eval { reply_of($node, $record, 'u8') };

	ok($answer && $answer->{ActionStatus} eq 'FAIL' && length $answer->{ErrorInfo}, 'an answer and no error: ' . substr($record, 0, 90)) or diag($@);
}
is($service->stats->{journaled}, $calls, 'nothing was sent for any of them');

is(value_of($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'im_import launcher'"), 1, 'the launcher is there');
$node->stop;
my $log = slurp_file($node->logfile);
unlike($log, qr/PANIC|TRAP|terminated by signal/, 'nothing crashed');
my @errors = grep { !/\bpsql\b/ } $log =~ /^(.*\[im_import worker\].*ERROR:.*)$/mg;
is_deeply(\@errors, [], 'no error in a worker');

done_testing();
