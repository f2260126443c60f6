# Whatever comes back: nothing crashes, hangs, or raises after a group was
# created, and what was said reaches neither log nor view uncleaned.

use strict;
use warnings;
use utf8;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Encode qw(encode_utf8);
use MIME::Base64 qw(encode_base64);
use PostgreSQL::Test::Utils;
use Test::More;

use ImTest;

my $service = ImService->new;
my $node = start_cluster(conf => "log_min_messages = debug1\nlog_error_verbosity = verbose");

# A database of each encoding.  What UTF-8 text becomes there is another matter.
my %encoding = (u8 => 'UTF8', l1 => 'LATIN1', cn => 'EUC_CN', sa => 'SQL_ASCII');
foreach my $db (sort keys %encoding)
{
	$node->safe_psql('postgres',
		"CREATE DATABASE $db TEMPLATE template0 ENCODING '$encoding{$db}' LC_COLLATE 'C' LC_CTYPE 'C'");
	connect_app($node, $service, db => $db, options => { request_timeout => '1s', rate_limit => 500 });
}

# A body as a rule; what is in it is bytes.
sub bytes { return (do => 'bytes', body_b64 => encode_base64($_[0], ''), @_[ 1 .. $#_ ]) }

# An answer with an ErrorInfo as it stands between quotes in JSON.
sub info { return bytes(encode_utf8(qq({"ActionStatus":"FAIL","ErrorCode":10019,"ErrorInfo":"$_[0]"})), @_[ 1 .. $#_ ]) }

my $half = '[' x 100_000;
my $long = 'x' x 60_000;

# How a reply must be taken: as done, refused (a code), or not understood.
my %reply = (
	# structure
	'1 GB announced' => [ unknown => do => 'huge', bytes => 1 << 30, chunked => \0 ],
	'1 GB in chunks' => [ unknown => do => 'huge', bytes => 1 << 30 ],
	'endless headers' => [ unknown => do => 'endless_headers' ],
	'slow drip' => [ unknown => do => 'slow', ms => 50 ],
	'100,000 arrays' => [ unknown => do => 'nested', depth => 100_000 ],
	'100,000 open arrays' => [ unknown => bytes(qq({"ErrorCode":0,"a":$half)) ],
	'33 arrays' => [ unknown => bytes('{"ErrorCode":0,"a":' . '[' x 33 . ']' x 33 . '}') ],
	'100,000 objects' => [ unknown => bytes('{"a":' x 10_000 . '0' . '}' x 10_000) ],
	'no JSON' => [ unknown => bytes('OK') ],
	'an array' => [ unknown => bytes('[{"ErrorCode":0}]') ],
	'a string' => [ unknown => bytes('"ErrorCode"') ],
	'two objects' => [ unknown => bytes('{"ErrorCode":0}{"ErrorCode":0}') ],
	'more after it' => [ unknown => bytes('{"ErrorCode":0}x') ],
	'cut' => [ unknown => bytes('{"ErrorCode":0') ],
	'cut in a string' => [ unknown => bytes('{"ErrorCode":0,"ErrorInfo":"abc') ],
	'cut in an escape' => [ unknown => bytes('{"ErrorCode":0,"ErrorInfo":"\u00') ],
	'a BOM' => [ 0 => bytes(qq(\xef\xbb\xbf{"ErrorCode":0}), apply => \1) ],
	'two BOMs' => [ unknown => bytes(qq(\xef\xbb\xbf\xef\xbb\xbf{"ErrorCode":0})) ],
	'UTF-16' => [ unknown => bytes(join('', map { "$_\0" } split //, '{"ErrorCode":0}')) ],
	'NUL bytes' => [ unknown => bytes("\0" x 100) ],
	'NUL in a string' => [ unknown => bytes(qq({"ErrorCode":0,"ErrorInfo":"a\0b"})) ],
	'a comment' => [ unknown => bytes('{"ErrorCode":0/*,*/}') ],
	'single quotes' => [ unknown => bytes("{'ErrorCode':0}") ],
	'a comma too many' => [ unknown => bytes('{"ErrorCode":0,}') ],
	'NaN' => [ unknown => bytes('{"ErrorCode":0,"a":NaN}') ],
	'empty object' => [ unknown => bytes('{}') ],
	# codes
	'code as a string' => [ unknown => bytes('{"ErrorCode":"0"}') ],
	'code 0.0' => [ unknown => bytes('{"ErrorCode":0.0}') ],
	'code 0e0' => [ unknown => bytes('{"ErrorCode":0e0}') ],
	'code null' => [ unknown => bytes('{"ErrorCode":null}') ],
	'code true' => [ unknown => bytes('{"ErrorCode":true}') ],
	'code in an array' => [ unknown => bytes('{"ErrorCode":[0]}') ],
	'code 2^31' => [ unknown => bytes('{"ErrorCode":2147483648}') ],
	'code 2^32' => [ unknown => bytes('{"ErrorCode":4294967296}') ],
	'code 2^64' => [ unknown => bytes('{"ErrorCode":18446744073709551616}') ],
	'code of 1,000 digits' => [ unknown => bytes('{"ErrorCode":' . '1' x 1000 . '}') ],
	'code 1e400' => [ unknown => bytes('{"ErrorCode":1e400}') ],
	'code -1' => [ unknown => bytes('{"ErrorCode":-1}') ],
	'code -8' => [ unknown => bytes('{"ErrorCode":-8}') ],
	'code -2^31' => [ unknown => bytes('{"ErrorCode":-2147483648}') ],
	'code 00' => [ unknown => bytes('{"ErrorCode":00}') ],
	'two codes' => [ unknown => bytes('{"ErrorCode":0,"ErrorCode":10019}') ],
	'two codes, one escaped' => [ unknown => bytes('{"ErrorCode":0,"Error\u0043ode":10019}') ],
	'code twice the same' => [ 0 => bytes('{"ErrorCode":0,"ErrorCode":0}', apply => \1) ],
	'other case' => [ unknown => bytes('{"errorcode":0}') ],
	'code of a nested object' => [ unknown => bytes('{"Result":{"ErrorCode":0}}') ],
	# GroupIds
	'another GroupId' => [ unknown => bytes('{"ErrorCode":0,"GroupId":"other"}') ],
	'a GroupId with NUL' => [ unknown => bytes('{"ErrorCode":0,"GroupId":"a\u0000b"}') ],
	'a GroupId with a lone surrogate' => [ unknown => bytes('{"ErrorCode":0,"GroupId":"a\ud800"}') ],
	'a GroupId of 60 kB' => [ unknown => bytes(qq({"ErrorCode":0,"GroupId":"$long"})) ],
	'a GroupId with a line feed' => [ unknown => bytes('{"ErrorCode":0,"GroupId":"a\nb"}') ],
	'a GroupId that is no UTF-8' => [ unknown => bytes(qq({"ErrorCode":0,"GroupId":"\xff"})) ],
	'a GroupId that is a number' => [ 0 => bytes('{"ErrorCode":0,"GroupId":17}', apply => \1) ],
	# ErrorInfo
	'info: ANSI escapes' => [ 10019 => info('\u001b[2J\u001b[31mred\u009b0m') ],
	'info: a forged log line' => [ 10019 => info('x\r\n2026-01-01 00:00:00 UTC [1] FATAL:  forged\u0085\u2028\u000b') ],
	'info: NUL and lone surrogates' => [ 10019 => info('a\u0000b \ud83d c \ude00\ud83d d') ],
	'info: backspaces' => [ 10019 => info('hidden\b\b\b\b\b\bseen\u007f') ],
	'info: 60 kB' => [ 10019 => info($long) ],
	'info: 4-byte characters' => [ 10019 => info('😀' x 1000) ],
	'info: 3-byte characters, one off' => [ 10019 => info('ab' . '群' x 1000) ],
	'info: not in LATIN1' => [ 10019 => info('群 “é” 😀 ß') ],
	'info: percent signs' => [ 10019 => info('%s%n%1$s %d') ],
	'info: SQL' => [ 10019 => info(q{'; DROP TABLE im_group_outbox; -- $$ \\\\}) ],
	'info: no UTF-8' => [ 10019 => bytes(qq({"ErrorCode":10019,"ErrorInfo":"\xff\xfe\xc0\x80\xed\xa0\x80\xf4\x90\x80\x80 \xc3"})) ],
	'info: raw control characters' => [ 10019 => bytes(qq({"ErrorCode":10019,"ErrorInfo":"a\e[2Jb\r\nFATAL:  c\x7f"})) ],
	'info: a number' => [ 10019 => bytes('{"ErrorCode":10019,"ErrorInfo":17}') ],
	'info: an object' => [ 10019 => bytes('{"ErrorCode":10019,"ErrorInfo":{"a":"b"}}') ],
	'info: twice' => [ 10019 => bytes('{"ErrorCode":10019,"ErrorInfo":"a","ErrorInfo":"b"}') ],
	'extra members' => [ 0 => do => 'extra_fields' ],
	# HTTP
	'status 100 for ever' => [ unknown => do => 'bytes', raw => \1, body => "HTTP/1.1 100 Continue\r\n\r\n" x 5000 ],
	'status 999' => [ unknown => do => 'bytes', raw => \1, body => "HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n" ],
	'no status' => [ unknown => do => 'bytes', raw => \1, body => "\r\n\r\n" ],
	'a header of 200 kB' => [ unknown => do => 'bytes', raw => \1, body => "HTTP/1.1 200 OK\r\nX: " . 'a' x 200_000 . "\r\n\r\n{}" ],
	'a negative length' => [ unknown => do => 'bytes', raw => \1, body => qq(HTTP/1.1 200 OK\r\nContent-Length: -5\r\nConnection: close\r\n\r\n{"ErrorCode":"x"}) ],
	'a length of 2^64' => [ unknown => do => 'bytes', raw => \1, body => "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551616\r\n\r\n{}" ],
	'two lengths' => [ unknown => do => 'bytes', raw => \1, body => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 99\r\n\r\n{}" ],
	'bad chunks' => [ unknown => do => 'bytes', raw => \1, body => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}" ],
	'HTTP/2' => [ unknown => do => 'bytes', raw => \1, body => "HTTP/2 200\r\n\r\n{}" ],
	'HTTP/0.9' => [ unknown => do => 'bytes', raw => \1, body => '{"ErrorCode":0}' ],
	'gzip' => [ unknown => bytes("\x1f\x8b\x08\0\0\0\0\0\0\3\x03\0\0\0\0\0\0\0\0\0", headers => { 'Content-Encoding' => 'gzip' }) ],
	redirect => [ unknown => do => 'redirect' ],
	'status 401' => [ unknown => do => 'http', status => 401, headers => { 'WWW-Authenticate' => 'Basic realm="x"' } ],
	'a cookie' => [ 0 => bytes('{"ErrorCode":0}', apply => \1, headers => { 'Set-Cookie' => 'a=b', 'Alt-Svc' => 'h2=":1"', 'Strict-Transport-Security' => 'max-age=9' }) ]);
my @all = sort keys %reply;
my @texts = grep { /^info:|GroupId/ } @all;

# True if text may be shown: no control characters, no half characters.
sub is_clean
{
	my ($text) = @_;

	return 1 unless defined $text;
	return $text !~ /[\x00-\x1f\x7f-\x9f]/;
}

foreach my $db (sort keys %encoding)
{
	# How the structure is read has nothing to do with the database's encoding.
	my @names = $db eq 'u8' ? @all : @texts;

	# Through the worker, each row with an id of its own; the first answer is hostile, the second good.
	my @rules;
	foreach my $i (0 .. $#names)
	{
		my ($expected, %rule) = @{ $reply{ $names[$i] } };

		$rule{times} = 1 if $expected eq 'unknown';
		push @rules, { %rule, match => { group_id => "$db-w-$i", command => 'import_group' } },
		  { %rule, match => { group_id => "$db-s-$i", command => 'import_group' } },
		  { %rule, match => { name => "$db-a-$i", command => 'import_group' } };
	}
	$service->clear;
	$service->fault(@rules);
	my $n = @names;
	$node->safe_psql($db, <<"SQL");
INSERT INTO im_group_outbox (source_id, group_id, type, name)
SELECT i, '$db-w-' || i, 'Public', '$db-w-' || i FROM generate_series(0, $n - 1) i
SQL
	# So much nonsense may make the service unreachable, with a probe now and then.
	poll_until
	{
		$node->safe_psql($db, 'SELECT im_import_resume()') if value_of($node, 'SELECT state FROM im_import_status', $db) eq 'unreachable';
		value_of($node, "SELECT count(*) FROM im_group_outbox WHERE status IN ('pending', 'sending')", $db) == 0
	}
	"all rows of $db";
	my %calls;
	$calls{ $_->{group_id} // '' }++ foreach $service->journal('import_group');
	my %row = map { ($_->{source_id} => $_) } rows($node, 'SELECT source_id, status, error_code, encode(convert_to(error_info, \'UTF8\'), \'hex\') AS info FROM im_group_outbox', $db);
	foreach my $i (0 .. $#names)
	{
		my ($expected) = @{ $reply{ $names[$i] } };
		my $row = $row{$i};

		if ($expected eq 'unknown')
		{
			is($row->{status}, 'imported', "$db, worker, $names[$i]: not understood, imported at last");
			cmp_ok($calls{"$db-w-$i"}, '>', 1, '... by another call');
		}
		elsif ($expected == 0)
		{
			is($row->{status}, 'imported', "$db, worker, $names[$i]: understood");
		}
		else
		{
			is("$row->{status} $row->{error_code}", "failed $expected", "$db, worker, $names[$i]: a refusal");
			my $info = pack 'H*', $row->{info} // '';
			ok(utf8::decode($info) && is_clean($info), "$db, worker, $names[$i]: the text is clean");
		}
	}
	is(error_of($node, 'SELECT im_import_status::text::json FROM im_import_status', $db) =~ /invalid byte sequence/ ? 1 : 0, 0, "$db: the status can be read");

	# Through a session: an answer each time, never an error, and the transaction goes on.
	my @answers = rows($node, <<"SQL", $db);
SELECT i, convert_to(reply ->> 'ErrorInfo', 'UTF8') AS info, reply -> 'ErrorCode' AS code, reply ->> 'ActionStatus' AS status
FROM (SELECT i, im_import_group(q) AS reply FROM (SELECT i, '$db-s-' || i AS group_id, 'Public' AS type, '$db-s-' || i AS name
	FROM generate_series(0, $n - 1) i) q) r ORDER BY i
SQL
	is(scalar(@answers), $n, "$db: a session gets an answer to each call");
	foreach my $answer (@answers)
	{
		my ($expected) = @{ $reply{ $names[ $answer->{i} ] } };
		my $info = pack 'H*', substr($answer->{info}, 2);

		ok(utf8::decode($info) && is_clean($info), "$db, session, $names[$answer->{i}]: the text is clean");
		if ($expected eq 'unknown')
		{
			ok($answer->{code} < 0 && $answer->{status} eq 'FAIL' && $info =~ /may exist/, "$db, session, $names[$answer->{i}]: the group may exist");
		}
		else
		{
			is($answer->{code}, $expected, "$db, session, $names[$answer->{i}]: the code");
		}
	}

	# An outbox row that a session waits for.
	my ($worst) = grep { $names[$_] eq 'info: not in LATIN1' } 0 .. $#names;
	$node->safe_psql($db, "SELECT im_import_pause()");
	$node->safe_psql($db, "INSERT INTO im_group_outbox (source_id, type, name) VALUES ('asked', 'Public', '$db-a-$worst')");
	my $asked = row($node, "SELECT encode(convert_to(im_import_group(o) ->> 'ErrorInfo', 'UTF8'), 'hex') AS info FROM im_group_outbox o WHERE source_id = 'asked'", $db);
	my $settled = row($node, "SELECT encode(convert_to(error_info, 'UTF8'), 'hex') AS info FROM im_group_outbox WHERE source_id = 'asked'", $db);
	is($asked->{info}, $settled->{info}, "$db: the session is told what the row says, in the same characters");
	$node->safe_psql($db, 'SELECT im_import_resume()');
}
is(status_of($node, 'u8')->{failed} > 10 ? 1 : 0, 1, 'the refusals were counted');

# ---------------------------------------------------------------------------
# Text that is cut is cut between characters, wherever it stands

$service->clear;
foreach my $shift (0 .. 3)
{
	my $info = 'a' x $shift . '😀' x 400;

	$service->fault({ do => 'code', code => 70009, info => $info, match => { name => "stop $shift" } });
	$node->safe_psql('u8', "SELECT im_import_resume(); INSERT INTO im_group_outbox (type, name) VALUES ('Public', 'stop $shift')");
	my $status = wait_state($node, 'stopped', 'u8');
	foreach my $column (qw(reason last_error))
	{
		is($node->safe_psql('u8', "SELECT convert_from(convert_to($column, 'UTF8'), 'UTF8') = $column FROM im_import_status"), 't', "a long $column, $shift: whole characters");
	}
	$node->safe_psql('u8', "DELETE FROM im_group_outbox WHERE name = 'stop $shift'");
	$node->safe_psql('u8', encode_utf8("SELECT im_import_pause('$info')"));
	is($node->safe_psql('u8', "SELECT convert_from(convert_to(reason, 'UTF8'), 'UTF8') = reason FROM im_import_status"), 't', "a long pause, $shift: whole characters");
}
foreach my $db (qw(l1 cn))
{
	my $letter = $db eq 'l1' ? 'é' : '群';

	$node->safe_psql($db, encode_utf8("SET client_encoding = 'UTF8'; SELECT im_import_pause('$letter')"));
	insert_groups($node, 1, "paused in $db", $db);
	is($node->safe_psql($db, "SET client_encoding = 'UTF8'; SELECT reason FROM im_import_status"),
		encode_utf8("paused by postgres: $letter"), "$db: a reason in the database's own characters");
	$node->safe_psql($db, 'SELECT im_import_resume()');
}

# ---------------------------------------------------------------------------
# The lookup after a refusal "exists": its answers are foreign too

$service->clear;
$node->safe_psql('u8', 'SELECT im_import_resume()');
my @found = (
	[ bytes('{"ErrorCode":0,"GroupInfo":' . '[' x 100_000) ],
	[ bytes('{"ErrorCode":0,"GroupInfo":{}}') ],
	[ bytes('{"ErrorCode":0,"GroupInfo":[null,1,"x",[]]}') ],
	[ bytes('{"ErrorCode":0,"GroupInfo":[{"GroupId":"look","ErrorCode":0,"Type":1,"Name":2}]}') ],
	[ bytes('{"ErrorCode":0,"GroupInfo":[{"GroupId":"other","ErrorCode":0,"Type":"Public","Name":"look"}]}') ],
	[ bytes('{"ErrorCode":0,"GroupInfo":[{"GroupId":"look","ErrorCode":"0","Type":"Public","Name":"look"}]}') ],
	[ do => 'huge', bytes => 1 << 30 ],
	[ do => 'nested' ]);
$service->fault((map { { @$_, times => 1, match => { command => 'get_group_info', group_id => 'look' } } } @found));
$service->fault({ do => 'close_after', times => 1, match => { name => 'look' } });
$node->safe_psql('u8', "INSERT INTO im_group_outbox (source_id, group_id, type, name) VALUES ('look', 'look', 'Public', 'look')");
poll_until {
	$node->safe_psql('u8', "UPDATE im_group_outbox SET due_at = now() WHERE due_at > now(); SELECT im_import_resume()");
	value_of($node, "SELECT count(*) FROM im_group_outbox WHERE source_id = 'look' AND status IN ('pending', 'sending')", 'u8') == 0
}
'the looked-up row';
my $look = row($node, "SELECT status, attempts FROM im_group_outbox WHERE source_id = 'look'", 'u8');
like($look->{status}, qr/^(?:imported|in_doubt)$/, 'hostile answers to a lookup: never taken for a refusal');
is(scalar(grep { $_->{group_id} eq 'look' } $service->ledger), 1, 'and the group was made once');

# ---------------------------------------------------------------------------
# The log of all this

$node->stop;
my $log = slurp_file($node->logfile);
unlike($log, qr/[\x00-\x08\x0b-\x1f\x7f]/, 'no control character in the log');
unlike($log, qr/^(?:2026-01-01|FATAL:  c)/m, 'no forged line in the log');
unlike($log, qr/forged/, '... and nothing of it');
unlike($log, qr/PANIC|TRAP|terminated by signal|segfault|invalid byte sequence/, 'nothing crashed');
unlike($log, qr/im_import worker.*\n.*ERROR:/, 'no error in a worker');

done_testing();
