# im_import_report(): the page says what the views say, every number of it;
# nobody's text becomes markup; a browser shows it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use PostgreSQL::Test::Utils;
use Test::More;

use ImTest;

my ($node, $service) = set_up(options => { rate_limit => 2000, account_rate_limit => 2000 });

# A page as expat reads it: [[query, shown], ...], all text, and the tags.
my $reader = <<'PYTHON';
import json, sys, xml.etree.ElementTree as tree
page = tree.fromstring(sys.stdin.buffer.read())
asked = [[e.get('data-q'), e.get('data-v') or ''.join(e.itertext())] for e in page.iter() if e.get('data-q')]
seen = {e.tag for e in page.iter()}
for e in page.iter('style'):
	e.text = ''
print(json.dumps({'asked': asked, 'text': ''.join(page.itertext()), 'tags': sorted(seen),
	'titles': [e.text for e in page.iter('title')][:1],
	'heights': [float(e.get('height')) for e in page.iter('rect') if e.get('class') in ('a', 'c') and e.get('width') == '.84']}))
PYTHON

sub page_of { return value_of($node, 'SELECT im_import_report()', $_[0]) }

sub parsed
{
	my ($page) = @_;
	my ($out, $err);

	IPC::Run::run([ 'python3', '-c', $reader ], '<', \$page, '>', \$out, '2>', \$err) or die "not well-formed: $err\n$page";
	return json($out);
}

# Every number is what its query gives now; returns how many there are.
sub numbers_hold
{
	my ($page, $name) = @_;
	my @asked = @{ $page->{asked} };
	my @answers = rows($node, join ' UNION ALL ', map { "SELECT $_ AS place, ($asked[$_][0])::text AS answer" } 0 .. $#asked);
	my @wrong;

	foreach my $row (@answers)
	{
		my ($query, $shown) = @{ $asked[ $row->{place} ] };

		$shown =~ s/(?<=\d),(?=\d{3})//g;
		push @wrong, "$query: the page has $shown, now it is " . ($row->{answer} // 'NULL') if $shown ne ($row->{answer} // '-');
	}
	is_deeply(\@wrong, [], "$name: every number is that of its query");
	return scalar @asked;
}

# The number that the page shows for a query.
sub shown
{
	my ($page, $query) = @_;

	return (map { $_->[1] } grep { $_->[0] eq $query } @{ $page->{asked} })[0];
}

sub open_rows { return value_of($node, 'SELECT sum(pending + sending) FROM im_import_progress') }

my $page = parsed(page_of());
like($page->{text}, qr/Nothing was loaded yet/, 'an empty outbox');
numbers_hold($page, 'nothing loaded');

# ---------------------------------------------------------------------------
# A move with failures, and with rows that wait

$service->set(accounts => 'listed', fail => { account => { u13 => 70399 } });
$service->fault({ do => 'code', code => 10002, times => 1, match => { command => 'import_group_member' } });
$node->safe_psql('postgres', <<'SQL');
BEGIN;
INSERT INTO im_account_outbox (user_id, nick) SELECT 'u' || u, 'user ' || u FROM generate_series(1, 1200) u;
INSERT INTO im_group_outbox (source_id, type, name, owner_account, create_time)
SELECT 'r' || r, 'Public', 'room ' || r, 'u1', timestamptz '2020-01-01 00:00Z' FROM generate_series(1, 10) r;
INSERT INTO im_group_outbox (source_id, type, name) VALUES ('bad', '<script>alert("1 & 2")</script>', 'x');
INSERT INTO im_member_outbox (group_source_id, member_account, join_time)
SELECT 'r' || r, 'u' || u, timestamptz '2020-01-01 12:00Z' FROM generate_series(1, 10) r, generate_series(2, 20) u;
INSERT INTO im_member_outbox (group_source_id, member_account) SELECT 'nowhere', 'u' || u FROM generate_series(1, 12) u;
INSERT INTO im_message_outbox (source_id, group_source_id, from_account, send_time, text)
SELECT r || '/' || m, 'r' || r, 'u2', timestamptz '2020-01-02 00:00Z' + make_interval(secs => m), 'message ' || m
FROM generate_series(1, 10) r, generate_series(1, 20) m;
INSERT INTO im_unread_outbox (group_source_id, member_account, unread_msg_num) SELECT 'r1', 'u' || u, u FROM generate_series(2, 5) u;
INSERT INTO im_friend_outbox (user_id, friend_id) SELECT 'u2', 'u' || u FROM generate_series(3, 7) u;
INSERT INTO im_dialog_outbox (source_id, from_account, to_account, send_time, text) SELECT m, 'u2', 'u3', timestamptz '2020-01-02 00:00Z' + make_interval(secs => m), 'said ' || m FROM generate_series(1, 6) m;
COMMIT;
SQL
poll_until { open_rows() == 12 && value_of($node, 'SELECT sum(waiting) FROM im_import_progress') == 12 } 'all but the rows that wait';
poll_until { value_of($node, 'SELECT sum(imported + failed) FROM im_import_history') == 1200 + 11 + 190 + 200 + 4 + 5 + 6 } 'the history';
$page = parsed(page_of());
cmp_ok(numbers_hold($page, 'rows wait'), '>', 80, 'and there are many');
like($page->{text}, qr/Not finished: 12 of 1,628 rows are open/, 'the headline says that it is not finished');
like($page->{text}, qr/wait for a group which is not imported: 12\b/, 'and what remains, why');

$node->safe_psql('postgres', "INSERT INTO im_group_outbox (source_id, type, name) VALUES ('nowhere', 'Public', 'here')");
poll_until { open_rows() == 0 } 'rows whose group came';
$page = parsed(page_of());
like($page->{text}, qr/12 of 1,629 rows need a person/, 'the headline says that rows failed');
like($page->{text}, qr/Refused 10, invalid 0, in doubt 0/, 'refused members are one reason');
like($page->{text}, qr/70399: /, 'the refused account has its code');
like($page->{text}, qr{<script>alert\(\\"1 & 2\\"\)</script>}, 'a value of a row is shown as it is');
ok(!(grep { $_ eq 'script' } @{ $page->{tags} }), 'and is no markup');
is(shown($page, "SELECT imported FROM im_import_progress WHERE kind = 'account'"), '1,199', 'digits are in groups');
is(shown($page, "SELECT imported FROM im_import_progress WHERE kind = '$_->[0]'"), $_->[1], "imported, $_->[0]") foreach [ friend => 5 ], [ dialog => 6 ];
like($page->{text}, qr/Nothing was compared with the app yet/, 'nothing was compared');
my $highest = (sort { $b <=> $a } @{ $page->{heights} })[0];
cmp_ok($highest, '>', 90, 'the highest bar fills its chart');

my $repeated = 'SELECT sum(retries) FROM pg_stat_im_import';
my $before = shown($page, $repeated);
cmp_ok($before, '>=', 1, 'a call that was lost was repeated');
$node->safe_psql('postgres', 'CALL im_import_verify()');
$page = parsed(page_of());
numbers_hold($page, 'after the comparison');
is(shown($page, $repeated), $before, 'what asks about a row that was sent again is no repeated call');
my $summary = "SELECT coalesce(sum(rows), 0) FROM im_import_verify_summary WHERE result =";
is(shown($page, "SELECT coalesce(sum(rows), 0) FROM _im_compared WHERE result = '$_'") =~ s/,//gr, value_of($node, "$summary '$_'"), "$_, as in the summary")
  foreach qw(matched differs missing);
unlike($page->{text}, qr/were not compared yet/, 'all were compared');

# Rows of which the comparison said something else, and one that is newer.
$node->safe_psql('postgres', <<'SQL');
UPDATE im_import_verified SET result = 'differs', fields = '{name,"app_defined_data.a<b"}' WHERE kind = 'group' AND id = 1;
UPDATE im_import_verified SET result = 'missing' WHERE kind = 'group' AND id IN (2, 3);
UPDATE im_import_verified SET checked_at = '2020-01-01' WHERE kind = 'group' AND id = 3;
SQL
$page = parsed(page_of());
numbers_hold($page, 'after other results');
is(shown($page, "SELECT coalesce(sum(rows), 0) FROM _im_compared WHERE result = '$_'") =~ s/,//gr, value_of($node, "$summary '$_' AND field IS DISTINCT FROM 'name'"), "$_, as in the summary")
  foreach qw(matched differs missing);
like($page->{text}, qr/name, app_defined_data\.a<b/, 'the columns that differ');
like($page->{text}, qr/Rows that were imported since: 1 were not compared yet/, 'what was imported later is to be compared');

# What was taken back counts as neither imported nor open.
$node->safe_psql('postgres', "UPDATE im_group_outbox SET status = 'undo' WHERE source_id = 'r1'");
poll_until { value_of($node, 'SELECT sum(undo + undone) FILTER (WHERE undo > 0) IS NULL AND sum(undone) = 1 + 18 + 20 + 4 FROM im_import_status') eq 't' } 'a group that is taken back';
$page = parsed(page_of());
numbers_hold($page, 'after an undo');
like($page->{text}, qr/taken back, with their groups: 43\b/, 'what was taken back is told of');

# The big outboxes are not read: of the messages nothing needs a person.
is($node->safe_psql('postgres', <<'SQL'), 0, 'no row of a message was read');
SET enable_seqscan = off;
BEGIN;
SELECT length(im_import_report()) > 1000 AS page \gset
SELECT CASE WHEN :'page' THEN seq_tup_read + idx_tup_fetch END FROM pg_stat_xact_user_tables WHERE relname = 'im_message_outbox';
COMMIT;
SQL

# ---------------------------------------------------------------------------
# Who may have it

$node->safe_psql('postgres', 'CREATE ROLE watcher LOGIN IN ROLE pg_monitor; CREATE ROLE stranger LOGIN');
is(length(as_role($node, 'watcher', 'SELECT im_import_report()')), length(page_of()), 'who may read the views has the page');
like(as_role($node, 'stranger', 'SELECT im_import_report()'), qr/permission denied for function/, 'nobody else');

# ---------------------------------------------------------------------------
# Texts that are hostile, and other encodings: the page is ASCII

my %text = (
	UTF8 => [ "\xe6\x88\xbf\xe9\x97\xb4 <img src=x onerror=y> \" ' \x01 \xe2\x80\xae ]]> \$ ^ &amp;", qr/&#25151;&#38388; &#60;img src=x onerror=y&#62; &#34; &#39; &#65533; &#8238; \]\]&#62; \$ \^ &#38;amp;/ ],
	LATIN1 => [ "caf\xe9 </main>", qr{caf&#233; &#60;/main&#62;} ],
	SQL_ASCII => [ "bad \xff \xc3\xa9 <b>", qr/bad &#65533; &#233; &#60;b&#62;/ ]);
foreach my $encoding (sort keys %text)
{
	my ($text, $expected) = @{ $text{$encoding} };
	my $db = lc $encoding;
	my $hex = unpack 'H*', $text;

	$node->safe_psql('postgres', "CREATE DATABASE $db ENCODING '$encoding' LOCALE 'C' TEMPLATE template0");
	$node->safe_psql($db, <<"SQL");
CREATE EXTENSION im_import;
SET session_replication_role = replica;
INSERT INTO im_group_outbox (status, error_code, error_info, type, name)
VALUES ('failed', 10004, convert_from('\\x$hex', '$encoding'), 'Public', 'x');
SQL
	my $raw = page_of($db);
	like($raw, $expected, "$encoding: the text is escaped");
	unlike($raw, qr/[^\x20-\x7e\t\n]/, "$encoding: the page is ASCII");
	ok(parsed($raw)->{text} =~ /What remains/, "$encoding: and well-formed");
}

# ---------------------------------------------------------------------------
# A browser

SKIP:
{
	my ($browser) = grep { -x } map { "$_/chromium" } split /:/, $ENV{PATH};

	skip 'no browser: the Debian package chromium is not installed', 2 unless $browser;
	my $file = "$PostgreSQL::Test::Utils::tmp_check/report.html";
	my ($dom, $err);

	append_to_file($file, page_of());
	my @command = ($browser, '--headless', '--no-sandbox', '--disable-gpu', "--user-data-dir=$PostgreSQL::Test::Utils::tmp_check/browser", '--dump-dom', "file://$file");
	IPC::Run::run(\@command, '<', \undef, '>', \$dom, '2>', \$err, IPC::Run::timeout(120)) or diag($err);
	like($dom, qr/<h2>By kind<\/h2>.*<h2>What remains, and what to do<\/h2>.*<\/html>/s, 'a browser reads it to its end');
	unlike($dom, qr/<script/i, 'and finds no script');
}

done_testing();
