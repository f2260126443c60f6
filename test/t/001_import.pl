# A row of every kind arrives with exactly the fields it was given, and the
# GroupId comes back.

use strict;
use warnings;
use utf8;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Encode qw(encode_utf8);
use Test::More;

use ImTest;

my ($node, $service) = set_up();

# The body with which a group was created, by its id.
sub body_of
{
	my ($group_id) = @_;
	my $group = $service->group($group_id);

	return $group ? $group->{body} : undef;
}

# ---------------------------------------------------------------------------
# The two sample requests of the API's page, as printed

my $reply = reply_of($node, <<'SQL');
SELECT 'leckie' AS "Owner_Account", 'Public' AS "Type", 'TestGroup' AS "Name", 1448357837 AS "CreateTime"
SQL
like($reply->{GroupId}, qr/^\@TGS#/, 'sample 1: the service assigned an id');
is_deeply(
	$reply,
	{ ActionStatus => 'OK', ErrorInfo => '', ErrorCode => 0, GroupId => $reply->{GroupId} },
	"sample 1: the answer is the service's");
is_deeply(
	body_of($reply->{GroupId}),
	{ Owner_Account => 'leckie', Type => 'Public', Name => 'TestGroup', CreateTime => 1448357837 },
	'sample 1 arrived as printed, without a GroupId');

$reply = reply_of($node, <<'SQL');
SELECT 'leckie' AS "Owner_Account", 'Public' AS "Type", 'MyFirstGroup' AS "GroupId",
	'TestGroup' AS "Name", 'This is group Introduction' AS "Introduction",
	'This is group Notification' AS "Notification", 'http://this.is.face.url' AS "FaceUrl",
	500 AS "MaxMemberCount", 'FreeAccess' AS "ApplyJoinOption", 1448357837 AS "CreateTime",
	'[{"Key": "GroupTestData1", "Value": "xxxxx"},
	  {"Key": " GroupTestData2", "Value": "abc\u0000\u0001"}]'::json AS "AppDefinedData"
SQL
is_deeply(
	$reply,
	{ ActionStatus => 'OK', ErrorInfo => '', ErrorCode => 0, GroupId => 'MyFirstGroup' },
	"sample 2: the answer is the service's");
is_deeply(
	body_of('MyFirstGroup'),
	{
		Owner_Account => 'leckie',
		Type => 'Public',
		GroupId => 'MyFirstGroup',
		Name => 'TestGroup',
		Introduction => 'This is group Introduction',
		Notification => 'This is group Notification',
		FaceUrl => 'http://this.is.face.url',
		MaxMemberCount => 500,
		ApplyJoinOption => 'FreeAccess',
		CreateTime => 1448357837,
		AppDefinedData => [
			{ Key => 'GroupTestData1', Value => 'xxxxx' },
			{ Key => ' GroupTestData2', Value => "abc\x{0}\x{1}" }
		]
	},
	'sample 2 arrived as printed, the key with its stray space too');
my @samples = map { $_->{group_id} } $service->ledger;

# ---------------------------------------------------------------------------
# The same, and every other kind of row, through the outbox

$node->safe_psql('postgres', encode_utf8(<<'SQL'));
INSERT INTO im_group_outbox (source_id, group_id, type, name, owner_account, introduction, notification,
	face_url, max_member_count, apply_join_option, app_defined_data, create_time, support_topic)
VALUES
	('bare', NULL, 'Public', 'bare', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
	('full', 'full-1', 'Public', 'full', 'leckie', 'intro', 'notice', 'http://face.url', 6000,
	 'NeedPermission', '[{"Key": "k", "Value": "v"}]', '2015-11-24 09:37:17+00', NULL),
	('work', NULL, 'Work', 'work', NULL, NULL, NULL, NULL, NULL, 'DisableApply', NULL, NULL, NULL),
	('private', NULL, 'private', 'private', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
	('meeting', NULL, 'Meeting', 'meeting', NULL, NULL, NULL, NULL, 1, NULL, NULL, NULL, NULL),
	('chatroom', NULL, 'ChatRoom', 'chatroom', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
	('community', NULL, 'Community', 'community', NULL, NULL, NULL, NULL, 100000, NULL, NULL, NULL, true),
	('community own', '@TGS#_own', 'Community', 'community own', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, false),
	('utf8', NULL, 'Public', '群组 "é" \ ''', NULL, E'line\n\ttab\u0001', '😀', NULL, NULL, NULL,
	 '{"plain": "object 群", "nul": "a\u0000b", "quote": "\"\\"}', NULL, NULL),
	('spaces', ' id with ~ ', 'Public', ' ', NULL, '', '', '', NULL, NULL, '[]', NULL, NULL);
SQL
wait_settled($node);

my %row = map { ($_->{source_id} => $_) }
  rows($node, 'SELECT * FROM im_group_outbox');
is(scalar(grep { $_->{status} ne 'imported' } values %row), 0, 'every row was imported');

# What must have arrived for each row, apart from GroupId: an empty string is
# sent, an empty list of custom fields is left out.
my %expected = (
	bare => { Type => 'Public', Name => 'bare' },
	full => {
		Type => 'Public',
		Name => 'full',
		Owner_Account => 'leckie',
		Introduction => 'intro',
		Notification => 'notice',
		FaceUrl => 'http://face.url',
		MaxMemberCount => 6000,
		ApplyJoinOption => 'NeedPermission',
		AppDefinedData => [ { Key => 'k', Value => 'v' } ],
		CreateTime => 1448357837
	},
	work => { Type => 'Private', Name => 'work', ApplyJoinOption => 'DisableApply' },
	private => { Type => 'Private', Name => 'private' },
	meeting => { Type => 'ChatRoom', Name => 'meeting', MaxMemberCount => 1 },
	chatroom => { Type => 'ChatRoom', Name => 'chatroom' },
	community =>
	  { Type => 'Community', Name => 'community', MaxMemberCount => 100000, SupportTopic => 1 },
	'community own' => { Type => 'Community', Name => 'community own', SupportTopic => 0 },
	utf8 => {
		Type => 'Public',
		Name => '群组 "é" \\ \'',
		Introduction => "line\n\ttab\x{1}",
		Notification => '😀',
		AppDefinedData => [
			{ Key => 'plain', Value => 'object 群' },
			{ Key => 'nul', Value => "a\x{0}b" },
			{ Key => 'quote', Value => '"\\' }
		]
	},
	spaces => {
		Type => 'Public',
		Name => ' ',
		Introduction => '',
		Notification => '',
		FaceUrl => ''
	});

foreach my $source_id (sort keys %expected)
{
	my $group_id = $row{$source_id}{group_id};

	is_deeply(
		body_of($group_id),
		{ %{ $expected{$source_id} }, GroupId => $group_id },
		"row $source_id: exactly the fields that were given");
}
like($row{bare}{group_id}, qr/^im-[0-9a-z]{26}$/, 'a generated GroupId is written back');
like($row{community}{group_id}, qr/^\@TGS#_im-[0-9a-z]{26}$/, "a Community's has the prefix");
is($row{full}{group_id}, 'full-1', "the user's own GroupId stays");
is($row{spaces}{group_id}, ' id with ~ ', 'to the last blank');
is(
	value_of($node, <<'SQL'),
SELECT count(*) FROM im_group_outbox WHERE attempts = 1 AND error_code IS NULL AND error_info IS NULL
	AND enqueued_at IS NOT NULL AND sent_at >= enqueued_at AND settled_at >= sent_at AND claim IS NULL
SQL
	scalar(keys %expected),
	'attempts and times of imported rows');
is(
	value_of(
		$node, q{SELECT string_agg(source_id || '=' || group_id, ',' ORDER BY id) FROM im_import_mapping
			WHERE source_id IN ('full', 'community own')}),
	'full=full-1,community own=@TGS#_own',
	'im_import_mapping maps old to new');

# A misspelt column is warned of, once; one that resembles none is not.
my ($said, $told);
$node->psql('postgres', q{SELECT im_import_group(t) ->> 'GroupId' FROM (SELECT 'Public' AS type, 'misspelt ' || i AS name, 'misspelt-' || i AS group_id, 'u' AS owner, 7 AS zzz
	FROM generate_series(1, 2) i) t}, stdout => \$said, stderr => \$told);
is(scalar(() = $told =~ /WARNING:  column "owner" is not sent; did you mean owner_account\?/g), 1, 'a misspelt column is warned of, once');
unlike($told, qr/zzz/, 'one that resembles none is not');
is($said, "misspelt-1\nmisspelt-2", 'and the groups are made');
push @samples, 'misspelt-1', 'misspelt-2';

# What does not appear in the bodies must not be there as null or "" either.
my ($bare) = $service->calls_for('bare');
is($bare->{body}, qq({"Type":"Public","GroupId":"$row{bare}{group_id}","Name":"bare"}),
	'the body is compact JSON of what was given');
is(scalar(grep { $_->{unknown_fields} } $service->journal), 0, 'no field that the page does not know');
is_deeply(
	[ map { "$_->{method} $_->{contenttype}" } $bare ],
	['POST json'],
	'a POST with contenttype=json');
accounted($node, $service, others => \@samples);

# ---------------------------------------------------------------------------
# Rows that cannot be sent say so, with everything that is wrong

my $calls = $service->stats->{journaled};
$node->safe_psql('postgres', <<'SQL');
INSERT INTO im_group_outbox (source_id, group_id, type, name, owner_account, max_member_count,
	apply_join_option, app_defined_data, create_time, support_topic)
VALUES
	('many', repeat('g', 49), 'Publik', repeat('x', 31), repeat('o', 33), 0, 'Sometimes', '17',
	 now() + interval '1 day', true),
	('empty', NULL, NULL, '', NULL, NULL, NULL, NULL, NULL, NULL),
	('live', NULL, 'AVChatRoom', 'live', NULL, NULL, NULL, NULL, NULL, NULL),
	('reserved', '@TGS#taken', 'Public', 'reserved', NULL, NULL, NULL, NULL, NULL, NULL),
	('topic', NULL, 'Public', 'topic', NULL, NULL, NULL, NULL, NULL, true),
	('community bad', 'no-prefix', 'Community', 'community', NULL, 100001, 'FreeAccess', NULL, NULL, NULL);
SQL
wait_settled($node);
my %bad = map { ($_->{source_id} => $_) }
  rows($node, "SELECT * FROM im_group_outbox WHERE status = 'invalid'");
is(join(',', sort keys %bad), 'community bad,empty,live,many,reserved,topic', 'each of them is invalid');
foreach my $word (qw(type name owner_account max_member_count apply_join_option app_defined_data
	create_time group_id))
{
	like($bad{many}{error_info}, qr/$word/, "the problem with $word is named beside all others");
}
like($bad{many}{error_info}, qr/31.*30|30.*31/, 'a text too long: how long, and what is allowed');
like($bad{empty}{error_info}, qr/type.*name/s, 'missing type and empty name');
like($bad{topic}{error_info}, qr/support_topic/, 'support_topic is for a Community');
like($bad{reserved}{error_info}, qr/group_id.*\@TGS#/, 'the reserved prefix');
like($bad{'community bad'}{error_info}, qr/group_id.*\@TGS#_/s, 'the prefix of a Community');
like($bad{'community bad'}{error_info}, qr/max_member_count.*100,?000/s, 'the size of a Community');
like($bad{'community bad'}{error_info}, qr/apply_join_option/, 'no join option for a Community');
is($bad{live}{error_code}, 10007, "an AVChatRoom has the service's own code");
is(scalar(grep { $_->{attempts} != 0 || defined $_->{sent_at} } values %bad), 0, 'none counts as sent');

my $refused = reply_of($node, q{SELECT 'AVChatRoom' AS type, 'live' AS name});
is("$refused->{ActionStatus} $refused->{ErrorCode}", 'FAIL 10007', 'and so from im_import_group()');
like($refused->{ErrorInfo}, qr/create/i, 'with the way out');
$refused = reply_of($node, q{SELECT 'Public' AS type, repeat('x', 31) AS name});
is($refused->{ActionStatus}, 'FAIL', 'an invalid record is refused');
like($refused->{ErrorInfo}, qr/name/, 'with its problem');
is($service->stats->{journaled}, $calls, 'nothing was sent for any of them');

# ---------------------------------------------------------------------------
# Ids that the service chooses

$node->safe_psql('postgres', "ALTER SERVER im OPTIONS (ADD group_ids 'assigned')");
$node->safe_psql('postgres', <<'SQL');
INSERT INTO im_group_outbox (source_id, group_id, type, name)
VALUES ('a1', NULL, 'Public', 'assigned'), ('a2', NULL, 'Community', 'assigned community'),
	('a3', 'still-own', 'Public', 'own');
SQL
wait_settled($node);
my %assigned = map { ($_->{source_id} => $_) }
  rows($node, "SELECT * FROM im_group_outbox WHERE source_id LIKE 'a_'");
like($assigned{a1}{group_id}, qr/^\@TGS#[^_]/, 'an assigned GroupId is written back');
like($assigned{a2}{group_id}, qr/^\@TGS#_/, "a Community's too");
is($assigned{a3}{group_id}, 'still-own', "a row's own GroupId stays its own");
is_deeply(
	body_of($assigned{a1}{group_id}),
	{ Type => 'Public', Name => 'assigned' },
	'nothing was sent as GroupId');
accounted($node, $service, others => \@samples, name => 'every row is accounted for, assigned ids too');

# ---------------------------------------------------------------------------
# Over TLS, checked against the given authority

my $https = $service->https_endpoint;
my $ca_file = $service->ca_file;
$node->safe_psql('postgres', "ALTER SERVER im OPTIONS (SET endpoint '$https', ADD ca_file '$ca_file')");
insert_groups($node, 20, 'tls');
wait_settled($node);
is(scalar(grep { $_->{tls} } $service->journal('import_group')), 20, 'twenty rows over TLS');
accounted($node, $service, others => \@samples, name => 'every row is accounted for, over TLS too');

done_testing();
