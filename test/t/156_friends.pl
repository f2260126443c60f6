# Friends and one-to-one messages: every row once, whatever is lost on the way.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use PostgreSQL::Test::Utils;
use Test::More;

use ImTest;
use ImCrash;

my ($node, $service) = set_up(
	conf => "restart_after_crash = on\nlog_statement = none",
	options => { rate_limit => 2000, account_rate_limit => 2000, dialog_rate_limit => 300, request_timeout => '120s' });

$service->set(accounts => 'listed', fail => { friend => { u99 => 30010 }, dialog => { u98 => 90048 } });

sub load { $node->safe_psql('postgres', join '', 'BEGIN;', @_, ';COMMIT;') }

sub open_rows
{
	return value_of($node, 'SELECT ' . join ' + ',
		map { "(SELECT count(*) FROM im_${_}_outbox WHERE status IN ('pending', 'sending'))" } qw(account friend dialog));
}

sub statuses
{
	my ($kind, $where) = @_;
	$where //= 'true';
	return value_of($node, "SELECT string_agg(status || ' ' || n, ', ' ORDER BY status) FROM (SELECT status, count(*) AS n FROM im_${kind}_outbox WHERE $where GROUP BY 1) s");
}

# The messages of two, in the order of their numbers.
sub said { return sort { $a->{time} <=> $b->{time} || $a->{seq} <=> $b->{seq} } $service->dialog(@_) }

# ---------------------------------------------------------------------------
# What each looks like in the app

load(<<'SQL');
INSERT INTO im_dialog_outbox (source_id, from_account, to_account, send_time, text, body) VALUES
 ('1', 'a', 'b', timestamptz '2020-01-01 00:00:01Z', 'hello', NULL),
 ('2', 'b', 'a', timestamptz '2020-01-01 00:00:01Z', 'hello', NULL),
 ('3', 'a', 'b', timestamptz '2020-01-01 00:00:02Z', NULL, '[{"MsgType": "TIMImageElem", "MsgContent": {"UUID": "x", "ImageInfoArray": []}}]'),
 ('4', 'a', 'b', timestamptz '2020-01-01 00:00:03Z', 'both', '[]'),
 ('5', 'a', 'nobody', timestamptz '2020-01-01 00:00:04Z', 'to nobody', NULL),
 ('6', 'b', 'a', timestamptz '2020-01-01 00:00:05Z', NULL, '[{"MsgType": "TIMFileElem", "MsgContent": {"Url": "u", "FileSize": 1, "FileName": "f"}}, {"MsgType": "TIMTextElem", "MsgContent": {"Text": "see file"}}]'),
 ('7', 'b', 'a', timestamptz '2020-01-01 00:00:06Z', NULL, '[{"MsgType": "TIMVideoFileElem", "MsgContent": {"VideoUrl": "u", "VideoSecond": 3}}]'),
 ('8', 'b', 'a', timestamptz '2020-01-01 00:00:07Z', NULL, '[{"MsgType": "TIMSoundElem", "MsgContent": {"Url": "u", "Second": 3}}]'),
 ('9', 'b', 'a', timestamptz '2020-01-01 00:00:08Z', NULL, '[{"MsgType": "TIMRelayElem", "MsgContent": {}}]');
INSERT INTO im_friend_outbox (user_id, friend_id, remark, add_source, group_names, add_time) VALUES
 ('a', 'b', 'Bee', 'Import', '{work,"close friends"}', timestamptz '2019-01-01 00:00Z'),
 ('b', 'a', NULL, NULL, NULL, NULL), ('a', 'nobody', NULL, NULL, NULL, NULL);
INSERT INTO im_account_outbox (user_id) VALUES ('a'), ('b');
SQL
poll_until { open_rows() == 0 } 'the first rows';
is(statuses('dialog'), 'failed 1, imported 6, invalid 2', 'one-to-one messages are judged one by one');
is(statuses('friend'), 'failed 1, imported 2', 'friends, too');
like(value_of($node, "SELECT error_code || ': ' || error_info FROM im_friend_outbox WHERE status = 'failed'"),
	qr/^30003: /, 'the service\'s code and words stand in the row of a friend');
my @calls = map { $_->{command} } $service->journal;
is($calls[0], 'multiaccount_import', 'the accounts came first');
my @said = said('a', 'b');
is(join(' ', map { "$_->{from}>$_->{to}" } @said), 'a>b b>a a>b b>a b>a b>a', 'the messages are there, numbered in their order');
is(join(' ', map { $_->{time} - 1577836800 } @said), '1 1 2 5 6 7', 'with their times');
is_deeply([ grep { $_->{mode} != 2 } @said ], [], 'as history: nobody is told, nothing is unread');
is(join(' ', map { join '+', map { $_->{MsgType} =~ /TIM(\w+?)(?:File)?Elem/ } @{ $_->{body} } } @said[ 2 .. 5 ]), 'Image +Text Video Sound' =~ s/ \+/ File+/r, 'images, files, videos and sounds go, too')
  or diag(explain(\@said));
like(value_of($node, "SELECT error_info FROM im_dialog_outbox WHERE source_id = '9'"), qr/TIMRelayElem/, 'another element is invalid, and named');
my $friends = $service->account('a')->{friends};
is_deeply($friends->{b}, { To_Account => 'b', Remark => 'Bee', AddSource => 'AddSource_Type_Import', GroupName => [ 'work', 'close friends' ], AddTime => 1546300800 },
	'a friend is there with remark, source, groups and time');
is(join(' ', keys %{ $service->account('b')->{friends} }), 'a', 'one row is one direction');
is(row($node, "SELECT error_info FROM im_dialog_outbox WHERE source_id = '4'")->{error_info} =~ /text|body/ ? 1 : 0, 1, 'text and body together are too much');

# A time is a part of a message's identity: also where the app's clock is ahead.
load("INSERT INTO im_dialog_outbox (source_id, from_account, to_account, send_time, text) VALUES ('ahead', 'a', 'b', date_trunc('second', now()) + interval '3 s', 'ahead');");
poll_until { open_rows() == 0 } 'a message of the near future';
my $ahead = value_of($node, "SELECT extract(epoch FROM send_time)::bigint FROM im_dialog_outbox WHERE source_id = 'ahead'");
is(join(' ', map { $_->{time} } grep { ($_->{body}[0]{MsgContent}{Text} // '') eq 'ahead' } said('a', 'b')), $ahead, 'a one-to-one message is sent with its very time');

# Where a repeat is refused, not swallowed: the service is asked whether it is there.
$service->set(dialog_duplicate_code => 20022);
$service->fault({ do => 'close_after', match => { command => 'importmsg' }, times => 2 }, { do => 'close_before', match => { command => 'importmsg' }, times => 1 });
load("INSERT INTO im_dialog_outbox (source_id, from_account, to_account, send_time, text) SELECT 'again' || i, 'a', 'b', timestamptz '2020-01-03' + make_interval(secs => i), 'again ' || i FROM generate_series(1, 3) i;");
poll_until { open_rows() == 0 } 'messages whose answers were lost';
is(statuses('dialog', "source_id LIKE 'again%'"), 'imported 3', 'a repeat that is refused does not make a message fail') or diag(explain(rows($node, "SELECT * FROM im_dialog_outbox WHERE source_id LIKE 'again%'")));
is(scalar(grep { ($_->{body}[0]{MsgContent}{Text} // '') =~ /^again/ } said('a', 'b')), 3, '... and each is there once');

# Older documents name the two From_Account and To_Account, newer ones otherwise, and
# a service may refuse the names that it does not know.
$service->set(dialog_names => 'newer');
$service->fault({ do => 'close_after', match => { command => 'importmsg' }, times => 1 });
load("INSERT INTO im_dialog_outbox (source_id, from_account, to_account, send_time, text) VALUES ('named', 'a', 'b', timestamptz '2020-01-03 01:00Z', 'named')");
poll_until { open_rows() == 0 } 'a message that is looked up by the newer names';
is(statuses('dialog', "source_id = 'named'"), 'imported 1', 'a lookup falls back to the newer names of its parameters');
$node->safe_psql('postgres', 'CALL im_import_verify()');
is(value_of($node, "SELECT string_agg(DISTINCT result, ' ') FROM im_import_verified WHERE kind = 'dialog'"), 'matched', '... and so does im_import_verify()');
$service->set(dialog_names => 'documented');

# A busy second, of which an answer has only a part: it is read to its end.
$service->set(read_back_bytes => 500);
$service->fault({ do => 'close_after', match => { command => 'importmsg' }, times => 1 });
my $asked = $service->journal('admin_getroammsg');
load("INSERT INTO im_dialog_outbox (source_id, from_account, to_account, send_time, text) SELECT 'busy' || i, 'a', 'b', timestamptz '2020-01-04 00:00Z', 'busy ' || i FROM generate_series(1, 7) i;");
poll_until { open_rows() == 0 } 'a busy second';
is(statuses('dialog', "source_id LIKE 'busy%'"), 'imported 7', 'a message is found on whichever page it stands');
cmp_ok(scalar($service->journal('admin_getroammsg')) - $asked, '>', 1, '... and pages are read one after the other');
$service->clear;

# What the service does not keep so long cannot be called absent: nobody can tell.
$service->set(retention_days => 7, read_back_bytes => undef, dialog_duplicate_code => 20022);
$service->fault({ do => 'close_after', match => { command => 'importmsg' }, times => 1 });
load("INSERT INTO im_dialog_outbox (source_id, from_account, to_account, send_time, text) VALUES ('expired', 'a', 'b', timestamptz '2020-01-05 00:00Z', 'expired');");
poll_until { open_rows() == 0 } 'a message that the service does not keep';
like(value_of($node, "SELECT concat_ws(' ', status, error_code, error_info) FROM im_dialog_outbox WHERE source_id = 'expired'"),
	qr/^in_doubt 20022 .*an earlier request may have been applied/, 'absent is no proof where the service keeps nothing as old');
is(scalar(grep { ($_->{body}[0]{MsgContent}{Text} // '') eq 'expired' } said('a', 'b')), 1, '... and it is there');
$service->set(retention_days => undef, dialog_duplicate_code => 0);
load("DELETE FROM im_dialog_outbox WHERE source_id = 'expired';");
$service->clear;

# More friends than a call takes, and a service that takes fewer.
$service->set(accounts => 'any');
sub calls_of { my ($user) = @_; return grep { $_->{body} =~ /"From_Account":"$user"/ } $service->journal('friend_import') }
load("INSERT INTO im_friend_outbox (user_id, friend_id) SELECT 'popular', 'fan' || i FROM generate_series(1, 1100) i;");
poll_until { open_rows() == 0 } '1,100 friends of one';
is(join(' ', map { scalar(() = $_->{body} =~ /"To_Account"/g) } calls_of('popular')), '1000 100', '1,100 friends of one are two calls');
is(scalar(keys %{ $service->account('popular')->{friends} }), 1100, '... and all are there');
$service->set(batch_limits => { friend_import => 300 });
load("INSERT INTO im_friend_outbox (user_id, friend_id) SELECT 'known', 'fan' || i FROM generate_series(1, 1000) i;");
poll_until { open_rows() == 0 } 'smaller batches';
is(statuses('friend', "user_id = 'known'"), 'imported 1000', 'nobody is blamed for the size of a batch') or diag(explain(rows($node, "SELECT status, error_code, error_info, count(*) FROM im_friend_outbox WHERE user_id = 'known' GROUP BY 1, 2, 3")));
is(scalar(keys %{ $service->account('known')->{friends} }), 1000, '... and all are there');
cmp_ok(scalar(grep { $_->{code} } calls_of('known')), '<=', 4, '... and the size is remembered');
$service->set(accounts => 'listed', batch_limits => { friend_import => 1000 });

# ---------------------------------------------------------------------------
# One user's friends are written by one call at a time

load("INSERT INTO im_account_outbox (user_id) SELECT 'u' || u FROM generate_series(1, 100) u;");
poll_until { open_rows() == 0 } 'accounts';
$service->fault({ do => 'hold', match => { command => 'friend_import' }, times => 1 });
my $before = $service->journal('friend_import');
load("INSERT INTO im_friend_outbox (user_id, friend_id) VALUES ('u1', 'u2');");
$service->wait_for(held => 1);
load("INSERT INTO im_friend_outbox (user_id, friend_id) VALUES ('u1', 'u3'), ('u2', 'u1');");
poll_until { statuses('friend', "user_id = 'u2'") eq 'imported 1' } 'the other user\'s friend';
is(scalar($service->journal('friend_import')) - $before, 2, 'a second call for the same user waits, one for another user does not');
$service->release;
poll_until { open_rows() == 0 } 'the second call';
is(join(' ', sort keys %{ $service->account('u1')->{friends} }), 'u2 u3', 'then it goes');

# Who is a friend already is done; who met another writer is tried again.
$service->set(friend_again_code => 30015);
load("INSERT INTO im_friend_outbox (user_id, friend_id) VALUES ('u1', 'u3') ON CONFLICT DO NOTHING;");
$service->fault({ do => 'code', code => 30008, match => { command => 'friend_import' }, times => 2 });
load("INSERT INTO im_friend_outbox (user_id, friend_id) VALUES ('u1', 'u4');");
poll_until { open_rows() == 0 } 'friends once more';
is(statuses('friend', "user_id = 'u1'"), 'imported 3', 'a second writer does not make a friend fail');
$service->clear;

# Which code says "is a friend already" is not documented: after one that nobody
# knows the service is asked.  Who is a friend is done; who is none keeps the code.
$service->set(friend_again_code => 31999, fail => { friend => { u99 => 30010, u97 => 31999 }, dialog => { u98 => 90048 } });
value_of($node, "SELECT im_import_friend(r) FROM (SELECT 'u1' AS user_id, 'u5' AS friend_id) r");
my $checked = $service->journal('friend_check');
load("INSERT INTO im_friend_outbox (user_id, friend_id) VALUES ('u1', 'u5'), ('u1', 'u6'), ('u1', 'u97');");
poll_until { open_rows() == 0 } 'friends of whom one is there';
is(statuses('friend', "friend_id IN ('u5', 'u6')"), 'imported 2', 'a friend who is there is done, whatever the code');
is_deeply(row($node, "SELECT status, error_code, error_info FROM im_friend_outbox WHERE friend_id = 'u97' AND user_id = 'u1'"),
	{ status => 'failed', error_code => 31999, error_info => 'fails' }, 'one who is not has failed, with the service\'s code and words');
is(scalar($service->journal('friend_check')) - $checked, 1, 'asked once, for both');

# Where the question is refused for one friend's sake, the others are asked for without.
$service->set(fail => { friend => { map { $_ => 31999 } qw(u95 u97) } });
value_of($node, "SELECT im_import_friend(r) FROM (SELECT 'u1' AS user_id, 'u10' AS friend_id) r");
$service->fault({ do => 'code', code => 30001, match => { command => 'friend_check', account => 'u95' } });
load("INSERT INTO im_friend_outbox (user_id, friend_id) VALUES ('u1', 'u10'), ('u1', 'u95'), ('u1', 'u11');");
poll_until { open_rows() == 0 } 'friends of whom one cannot be asked for';
is(value_of($node, "SELECT string_agg(friend_id || ' ' || status, ', ' ORDER BY id) FROM im_friend_outbox WHERE user_id = 'u1' AND friend_id IN ('u10', 'u11', 'u95')"),
	'u10 imported, u95 failed, u11 imported', 'who cannot be asked for does not make the others fail');
$service->clear;
$service->set(friend_again_code => 30015, fail => { friend => { u99 => 30010 }, dialog => { u98 => 90048 } });

# ---------------------------------------------------------------------------
# Lost answers and deaths: 100 users, 300 friendships, 5,000 messages

foreach my $command (qw(friend_import importmsg))
{
	$service->fault(
		{ do => 'close_after', match => { command => $command, every => $command eq 'importmsg' ? 97 : 7 }, $command eq 'importmsg' ? () : (partial => 1) },
		{ do => 'close_before', match => { command => $command, every => $command eq 'importmsg' ? 89 : 11 } });
}
load(<<'SQL');
INSERT INTO im_friend_outbox (user_id, friend_id)
SELECT 'u' || u, 'u' || (1 + (u + d * 7 - 1) % 100) FROM generate_series(1, 100) u, generate_series(1, 3) d;
INSERT INTO im_dialog_outbox (source_id, from_account, to_account, send_time, text)
SELECT 'm' || m, 'u' || a, 'u' || (1 + (a + m / 100) % 100), timestamptz '2020-01-02 00:00Z' + make_interval(secs => m / 10), 'text ' || m
FROM (SELECT m, 1 + m % 100 AS a FROM generate_series(1, 5000) m) s;
SQL
foreach my $n (1 .. 4)
{
	# One call is held until the death: it does not come after the end.
	$service->fault({ do => 'hold', times => 1, match => { command => 'importmsg' } });
	$service->wait_for(held => 1);
	poll_until { defined worker_pid($node) } 'a worker';
	cmp_ok(open_rows(), '>', 0, "before death $n there is work");
	ok(die_of($node, 'kill -9 of the worker'), "death $n");
	$service->release;
}
$service->clear;
# What was refused, and may have been sent before, waits a minute for late requests.
my $put_off = "status = 'pending' AND friend_id = 'u99' AND error_code = 30010 AND due_at > maybe_sent_at + interval '58 s'";
sub put_off { return value_of($node, "SELECT count(*) FROM im_friend_outbox WHERE $put_off") }
eval { poll_until { open_rows() == put_off() } 'all rows', 120 };
if ($@)
{
	diag(explain(rows($node, "SELECT * FROM im_${_}_outbox WHERE status IN ('pending', 'sending') LIMIT 2"))) foreach qw(account friend dialog);
	die $@;
}
my $refused = "(from_account = 'u98' OR to_account = 'u98')";
is(statuses('dialog', "source_id LIKE 'm%' AND NOT $refused"), 'imported ' . value_of($node, "SELECT count(*) FROM im_dialog_outbox WHERE source_id LIKE 'm%' AND NOT $refused"),
	'every one-to-one message is imported');
like(statuses('dialog', "source_id LIKE 'm%' AND $refused"), qr/^failed \d+(?:, in_doubt \d+)?$/, '... but those that the service refuses');
is(value_of($node, "SELECT count(*) FROM im_dialog_outbox WHERE status = 'in_doubt' AND (maybe_sent_at IS NULL OR error_info !~ 'an earlier request may have been applied')"), 0,
	'... and in doubt is only what was sent before, while the service says nothing of it');
is(value_of($node, "SELECT count(*) FROM im_friend_outbox WHERE friend_id = 'u99' AND (status = 'failed' OR $put_off)"), 3, 'a refused friend fails alone');
is(statuses('friend', "friend_id LIKE 'u%' AND friend_id <> 'u99'"), 'failed 2, imported 305', 'the others are imported');
my %there;
foreach my $entry ($service->entries)
{
	$there{ $entry->{body}[0]{MsgContent}{Text} }++ if $entry->{kind} eq 'dialog' && $entry->{body}[0]{MsgType} eq 'TIMTextElem';
}
is(join(' ', grep { ($there{$_} // 0) != 1 } map { $_->{text} } rows($node, "SELECT text FROM im_dialog_outbox WHERE source_id LIKE 'm%' AND status = 'imported'")), '',
	'each message is in the app, once');
my %friend = map { $_->{kind} eq 'friend' ? ("$_->{from} $_->{to}" => 1) : () } $service->entries;
is(join(', ', grep { !$friend{$_} } map { "$_->{user_id} $_->{friend_id}" } rows($node, "SELECT user_id, friend_id FROM im_friend_outbox WHERE status = 'imported' AND user_id LIKE 'u%' AND friend_id LIKE 'u%'")), '',
	'each friendship is in the app');
is_deeply([ $service->doubles ], [], 'nothing was done twice');
is(value_of($node, "SELECT string_agg(kind || ' ' || total || ' ' || pending || ' ' || sending, '; ') FROM im_import_progress WHERE kind IN ('friend', 'dialog')"),
	value_of($node, "SELECT 'friend ' || (SELECT count(*) FROM im_friend_outbox) || ' ' || (SELECT count(*) FROM im_friend_outbox WHERE $put_off) || ' 0; dialog ' || (SELECT count(*) FROM im_dialog_outbox) || ' 0 0'"), 'the counts are right');

done_testing();
