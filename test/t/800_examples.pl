# The worked migrations of doc/examples, each in a database with tables like
# the real ones and rows that hurt: they run as they stand, and every room
# ends where the example says.

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
my $node = start_cluster();
my $root = "$FindBin::RealBin/../..";
my %others;    # groups of the databases before

# Runs an example; what it prints is returned.
sub migrate
{
	my ($name) = @_;
	my ($out, $err);

	$node->safe_psql('postgres', "CREATE DATABASE $name");
	connect_app($node, $service, db => $name, options => { rate_limit => 1000 });
	$node->safe_psql($name, slurp_file("$root/test/examples/$name.sql"));
	my $worked = IPC::Run::run(
		[ 'psql', '-X', '-v', 'ON_ERROR_STOP=1', '-f', "$root/doc/examples/$name.sql", '-d', $node->connstr($name) ],
		'<', \undef, '>', \$out, '2>', \$err);
	ok($worked, "$name: the script runs to its end") or diag($err);
	accounted($node, $service, db => $name, others => [ keys %others ], name => "$name: rows and ledger agree");
	return $out;
}

# The groups that were made since the last call, by the name of their room's key.
sub new_groups
{
	my ($name) = @_;
	my %groups;
	my %key = map { ($_->{group_id} => $_->{source_id}) }
	  rows($node, 'SELECT source_id, group_id FROM im_import_mapping', $name);

	foreach my $group ($service->ledger)
	{
		next if $others{ $group->{group_id} }++;
		$groups{ $key{ $group->{group_id} } // "no row: $group->{group_id}" } = $group->{body};
	}
	return \%groups;
}

# What every example must do: nothing is open or failed, every group in the
# ledger has the fields that its view gives (but for those that were repaired),
# keys that fit are GroupIds.
sub as_the_view_says
{
	my ($name, $groups, $imported, $others, $repaired) = @_;
	my $status = status_of($node, $name);
	my %view = map { ($_->{source_id} => $_) }
	  rows($node, 'SELECT *, extract(epoch FROM create_time)::bigint AS t FROM migration.groups', $name);

	is_deeply([ @$status{qw(pending sending imported failed invalid in_doubt)} ], [ 0, 0, $imported + ($others // 0), 0, 0, 0 ],
		"$name: $imported groups, and nothing else is left");
	is_deeply([ sort keys %$groups ], [ sort keys %view ], "$name: every room of the view has its group, once");
	my @wrong;
	delete @view{@$repaired} if $repaired;
	foreach my $key (sort keys %view)
	{
		my ($row, $body) = ($view{$key}, $groups->{$key} // {});
		my %wanted = (Type => $row->{type}, Name => $row->{name}, Introduction => $row->{introduction},
			Notification => $row->{notification}, ApplyJoinOption => $row->{apply_join_option},
			GroupId => $row->{group_id}, CreateTime => $row->{t});

		delete $wanted{GroupId} unless defined $wanted{GroupId};
		foreach my $field (sort keys %wanted)
		{
			push @wrong, "$key: $field is " . ($body->{$field} // 'absent') . ', not ' . ($wanted{$field} // 'absent')
			  if ($body->{$field} // '') ne ($wanted{$field} // '');
		}
		push @wrong, "$key: the name has " . length(encode_utf8($body->{Name})) . ' bytes'
		  if length(encode_utf8($body->{Name} // '')) > 30;
	}
	is_deeply(\@wrong, [], "$name: with the fields that the view gives");
}

# ---------------------------------------------------------------------------

$service->fault({ do => 'code', code => 80001, match => { command => 'import_group', name => 'Service desk' } });
my $out = migrate('ejabberd');
$service->clear;
my $groups = new_groups('ejabberd');

# One conversation, as [from, time, text].
sub talk
{
	my ($one, $other) = @_;

	return [ map { [ $_->{from}, $_->{time}, $_->{body}[0]{MsgContent}{Text} ] } $service->dialog($one, $other) ];
}

as_the_view_says('ejabberd', $groups, 11, 8 + 3 + 7 + 6 + 6, [ "service\@rooms.example.com" ]);
like($out, qr/^\s*1 \| not persistent/m, 'a room that is not persistent is counted as left out');
like($out, qr/^\s*\Q$_\E\s+\|\s+1$/m, "and a message of a room: $_") foreach 'by another domain', 'encrypted', 'of a room that is not moved', 'without a text';
like($out, qr/^\s*\Q$_->[0]\E\s+\|\s+$_->[1]$/m, "and copies: $_->[0]")
  foreach [ 'the receiver\'s copy', 4 ], [ 'to oneself', 2 ], [ 'with another domain, or in a room', 2 ],
  [ 'to somebody without an account', 1 ], [ 'without a text', 1 ];
like($out, qr/roster_entries_left_out \n-+\n\s+5\n/, 'and roster entries that are no friends');
like($out, qr/photos_to_upload \n-+\n\s+1\n/, 'and a photo that is no address');
like($out, qr/^\s*80001 \|\s+1 \|/m, 'what the word filter refused is shown');
my $at = '@rooms.example.com';
is($groups->{"service$at"}{Name}, 'service', 'and repaired');
is($groups->{"lobby$at"}{GroupId}, "lobby$at", 'an address is the GroupId');
is($groups->{"lobby$at"}{Owner_Account}, 'alice', 'the owner is found');
is($groups->{"board$at"}{Owner_Account}, 'carol', 'also behind an admin, and as an atom');
is($groups->{"board$at"}{Type}, 'Private', 'members only: Private');
is($groups->{"kitchen$at"}{Name}, 'kitchen', 'no title: the name');
is($groups->{"kitchen$at"}{CreateTime}, 1262303999, '1970-01-02: made just before its first message');
is($groups->{"lobby$at"}{CreateTime}, 1551434399, 'also where that is earlier than the noted time');
is($groups->{"guests$at"}{CreateTime}, 1525755905, 'else the noted time');
is($groups->{"cn$at"}{Name}, '中文聊天室欢迎大家进', 'a title printed as bytes, cut between characters');
is($groups->{"party$at"}{Name}, "Party \x{1F389}", 'an emoji printed as bytes');
is($groups->{"party$at"}{Introduction}, 'cake, and {title,<<"no title">>}', 'a description that looks like a term');
is($groups->{"party$at"}{ApplyJoinOption}, 'NeedPermission', 'a password: NeedPermission');
is($groups->{"quotes$at"}{Name}, 'C:\\new "dir"', 'quotes and backslashes');
is($groups->{"quotes$at"}{Introduction}, "one\ntwo", 'a line feed');
like($groups->{"café$at"}{GroupId}, qr/^im-/, 'an address beyond ASCII: a generated GroupId');
ok(!exists $groups->{"guests$at"}{Owner_Account}, 'an owner of another domain is nobody here');
is($groups->{"service$at"}{Owner_Account}, 'customer-service-depart-6783679e', 'a long UserID is cut, and stays one of its own');
is(value_of($node, 'SELECT count(*) FROM migration.group_of_room', 'ejabberd'), 11, 'the mapping is complete');

my %account = map { $_ => $service->account($_)->{account} } qw(alice bob carol dave gone late nobody zoe);
is_deeply([ map { $account{$_} ? $account{$_}{Nick} : undef } sort keys %account ],
	[ "Al \x{1F389}", 'Bob "the" Builder', 'carol', 'Dee', 'gone', 'late', undef, undef ], 'accounts, with the names of their cards');
is_deeply([ map { $account{$_}{FaceUrl} } qw(alice bob dave) ], [ 'https://img.example.com/a.png?b=1&c=2', '', '' ], 'photos that are addresses');
my %friends = map { $_ => $service->account($_)->{friends} } qw(alice bob carol dave);
is_deeply({ map { $_ => [ sort keys %{ $friends{$_} } ] } keys %friends }, { alice => ['bob'], bob => ['alice'], carol => [], dave => ['carol'] },
	'friends, each direction as the roster has it');
is_deeply([ @{ $friends{alice}{bob} }{qw(Remark AddTime)} ], [ 'Bobby', 1557050400 ], 'with name and time');
is_deeply($friends{alice}{bob}{GroupName}, [ 'Friends of the local football', 'Work' ], 'and groups of this domain');

is_deeply([ map { [ $_->{from}, $_->{time}, $_->{body}[0]{MsgContent}{Text} ] } $service->messages("lobby$at") ],
	[ [ 'bob', 1551434400, "first\nline two" ], [ 'alice', 1551434401, 'Welcome & <enjoy>' ], [ 'carol', 1551434500, "an emoji \x{1F389}" ],
		[ 'gone', 1551434600, 'before I left' ] ], 'messages of a room, in the order of their microseconds');
my $lobby = $service->members("lobby$at");
is_deeply([ sort keys %$lobby ], [ qw(alice bob carol gone li.wei) ], 'members: by affiliation, by subscription, by writing');
is($lobby->{'li.wei'}{join_time}, 1551434400, 'they were there before the first message');
my $long = $service->members("long$at");
is_deeply([ map { "$_ $long->{$_}{role}" } sort keys %$long ], [ 'alice Admin', 'dave Owner' ], 'a second owner is an admin, who is banned is no member');
is(scalar(() = $service->messages("long$at")), 1, 'but what he wrote is there');
is($service->members("board$at")->{bob}{role}, 'Member', 'an admin of a room for invited people is a member');
is(length(($service->messages("kitchen$at"))[0]{body}[0]{MsgContent}{Text}), 3666, 'a long message is cut between characters');

is_deeply(talk('alice', 'bob'),
	[ [ 'alice', 1577836800, 'hi Bob' ], [ 'bob', 1577836800, 'hi Alice' ], [ 'alice', 1577836810, 'ok' ], [ 'alice', 1577836811, 'ok' ] ],
	'a conversation: each message once, though both have a copy');
is_deeply(talk('alice', 'dave'), [ [ 'dave', 1577836820, 'no archive here' ] ], 'the receiver\'s copy, where the sender has none');
is_deeply(talk('alice', 'late'), [ [ 'late', 1577836830, 'farewell' ] ], 'and of one whose account is gone');

# ---------------------------------------------------------------------------

$service->fault({ do => 'code', code => 10019, match => { command => 'import_group', owner => 'gone*' } });
$out = migrate('mattermost');
$service->clear;
$groups = new_groups('mattermost');
as_the_view_says('mattermost', $groups, 10, 3 + 5 + 5 + 2 + 1);
like($out, qr/^\s*1 \| direct message/m, 'mattermost: direct messages are counted as left out');
like($out, qr/^\s*2 \| archived/m, 'and archived channels');
like($out, qr/^\s*1 \| \Q$_\E$/m, "and posts: $_") foreach 'deleted', 'by the system', 'of an archived channel, or empty';
like($out, qr/^\s*10019 \|\s+1 \|/m, 'the missing creator is shown');
like($out, qr/^\s*message\s+\|\s+1$/m, 'and that a message waits for it');
is_deeply([ grep { $groups->{$_}{GroupId} ne $_ } keys %$groups ], [], 'every channel id is the GroupId');
is($groups->{'7pnw4bh1tpyfxkwzw3j7q5dm6c'}{CreateTime}, 1546300800, 'milliseconds become seconds');
ok(!exists $groups->{'7pnw4bh1tpyfxkwzw3j7q5dm6c'}{Owner_Account}, 'no creator, no owner');
is($groups->{'q9rw2ebn4tdu8yfk5hxm7jgc1a'}{Name}, "\x{1F389}" x 7, 'emoji are cut between characters');
is($groups->{'y8ju3fbp6teu9xhr5mzn2kgd4c'}{Name}, 'blank', 'a blank name is replaced');
is($groups->{'a3mx7hdr9vgy5zku1pcb6njf8e'}{Name}, 'alice, bob, carol, dave, eve', 'a group message keeps whole names');
ok(!exists $groups->{'z1kv5gcq7ufw3yjs8nan4mhe6o'}{Owner_Account}, 'repaired: imported without an owner');
is(value_of($node, 'SELECT count(*), count(team) FROM migration.group_of_channel', 'mattermost'), '10|9', 'the mapping is complete');
my $developers = 'k1h4u8xgktfu3y9g6rb7nzq5do';
my ($alice, $bob, $carol) = map { $_->{id} } rows($node, 'SELECT id FROM users ORDER BY username', 'mattermost');
my @messages = $service->messages($developers);
is_deeply([ map { $_->{from} } @messages ], [ $alice, $bob, $carol, $carol ], 'the posts are there, each by its author');
is_deeply([ map { $_->{time} } @messages ], [ 1577836900, 1577836901, 1577837000, 1577837100 ], 'in their order, those of one second apart');
is($messages[2]{body}[0]{MsgContent}{Text}, '[file]', 'a file is named');
is(length $messages[3]{body}[0]{MsgContent}{Text}, 3666, 'a long one is cut between characters');
is($service->members($developers)->{$bob}{role}, 'Admin', 'an admin is one');
is($service->members($developers)->{$carol}{join_time}, 1577836801, 'everybody has joined before the first post');
is_deeply($service->unread($developers), { $bob => 3 }, 'what was not read is not read');
my @repaired = $service->messages('z1kv5gcq7ufw3yjs8nan4mhe6o');
is(scalar(@repaired), 1, 'the repaired channel has its post');
is_deeply([ value_of($node, "SELECT string_agg(status, ' ') FROM im_dialog_outbox", 'mattermost') ], ['imported imported'], 'direct messages are sent, too');

# ---------------------------------------------------------------------------

$out = migrate('synapse');
$groups = new_groups('synapse');
as_the_view_says('synapse', $groups, 11, 5 + 2 + 9 + 3 + 1);
like($out, qr/^\s*\Q$_\E\s+\|\s+1$/m, "synapse: no group: $_") foreach 'space', 'nobody in it', 'direct, with another server';
like($out, qr/^\s*direct\s+\|\s+2$/m, 'synapse: no group: direct');
like($out, qr/^\s*\Q$_->[0]\E\s+\|\s+$_->[1]$/m, "synapse: left out: $_->[0]")
  foreach [ 'of a room that is not moved', 2 ], [ 'rejected, or an outlier', 2 ], [ 'deleted', 1 ], [ 'an edit', 3 ], [ 'by another server', 1 ],
  [ 'encrypted', 1 ], [ 'by a third in a direct room', 1 ], [ 'without a text', 1 ];
like($out, qr/not_imported\s+-+\s+0\s/, 'nothing is missing');
my $lobby_id = '!lobbyAbCdEfGhIjKl:example.org';
is_deeply([ map { [ $_->{from}, $_->{time}, $_->{body}[0]{MsgContent}{Text} ] } $service->messages($lobby_id) ],
	[ [ 'bob', 1700000000, 'early' ], [ 'alice', 1700000001, "a \"quoted\" & <b>bold</b>\nhello \x{1F3E1}" ], [ 'bob', 1700000010, 'a typo' ],
		[ 'bob', 1700000030, '[file] cake.jpg' ], [ 'carol', 1700000040, '* waves' ], [ 'alice', 1700000050, 'clock' ],
		[ 'alice', 1700000060, 'nothing here, but \\u0000' ] ],
	'messages of a room: in order, edits in their place, no deleted one');
my ($old, $long_one) = $service->messages('!oldieAbCdEfGhIjKl:example.org');
is_deeply([ $old->{from}, $old->{time}, length $long_one->{body}[0]{MsgContent}{Text} ], [ 'purged', 1500000000, 3666 ], 'of one who is no user any more; a long one');
is_deeply([ splice @{ talk('alice', 'bob') }, 4 ], [ [ 'alice', 1700000130, 'direct1' ], [ 'bob', 1700000130, 'direct2' ] ],
	'a nameless room of two is a conversation');
is_deeply(talk('alice', 'carol'), [ [ 'carol', 1700000140, 'direct3' ] ], 'and a named one that is marked as direct');
is_deeply({ map { $_ => $service->members($lobby_id)->{$_}{role} } keys %{ $service->members($lobby_id) } }, { alice => 'Owner', bob => 'Admin' },
	'members of this server, with their roles');
is($service->members('!staffAbCdEfGhIjKl:example.org')->{alice}{role}, 'Member', 'a Private group has no admins');
is_deeply($service->unread($lobby_id), { bob => 3 }, 'what was not read: summed up, and since then');
is_deeply([ map { $_ ? $_->{Nick} : undef } map { $service->account($_)->{account} } 'a-bridge-puppet-with-a--f128005f', 'purged' ],
	[ 'a-bridge-puppet-with-a-very-long-localpart', 'purged' ], 'accounts, also with long names, and of senders who are gone');
is($groups->{'!31hneApxJ_1o-63DmFrpeqnkFfWppnzWso1JvH3ogLM'}{GroupId}, '!31hneApxJ_1o-63DmFrpeqnkFfWppnzWso1JvH3ogLM',
	'a room id of version 12 is the GroupId');
like($groups->{'!lAbCdEfGhIjKlMnOp:a-home-server-with-a-rather-long-name.example.org'}{GroupId}, qr/^im-/,
	'a long room id: a generated GroupId');
is($groups->{'!aliasAbCdEfGhIjKl:example.org'}{Name}, 'only-an-alias', 'no name: the alias');
is($groups->{'!nonamAbCdEfGhIjKl:example.org'}{Name}, 'Room', 'neither: Room');
is($groups->{'!knockAbCdEfGhIjKl:example.org'}{ApplyJoinOption}, 'NeedPermission', 'knock: NeedPermission');
is($groups->{'!staffAbCdEfGhIjKl:example.org'}{Type}, 'Private', 'invite: Private');
ok(!exists $groups->{'!remotAbCdEfGhIjKl:elsewhere.net'}{Owner_Account}, 'a creator of another server is nobody here');
is($groups->{'!lobbyAbCdEfGhIjKl:example.org'}{Owner_Account}, 'alice', 'one of this server is');
is($groups->{'!oldieAbCdEfGhIjKl:example.org'}{CreateTime}, 1499999999, 'no event of creation: just before the first message');

done_testing();
