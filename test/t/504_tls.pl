# Who does not prove to be the service gets nothing: another authority, another
# name, a certificate that has expired.  The rows wait, and the reason is clear.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Test::More;

use ImTest;
use ImFence;

my $node = start_cluster();
my $good = ImService->new(name => 'good');
my $dir = PostgreSQL::Test::Utils::tempdir();

# More certificates, of an authority of their own.
PostgreSQL::Test::Utils::system_or_bail('sh', "$FindBin::RealBin/../service/make_certs.sh", $dir);
my %impostor = map {
	($_ => ImService->new(name => $_, options => [ '--cert', "$dir/$_.pem", '--key', "$dir/$_.key" ]))
} qw(wrong-name expired server);

connect_app($node, $good, options => { endpoint => $good->https_endpoint, ca_file => $good->ca_file, rate_limit => 1000 });

sub connect_to { $node->safe_psql('postgres', "ALTER SERVER im OPTIONS (SET endpoint '@{[ $_[0]->https_endpoint ]}', SET ca_file '$_[1]')") }

insert_groups($node, 20, 'good');
wait_settled($node);
accounted($node, $good, name => 'the right certificate: every row is accounted for');
is(scalar(grep { !$_->{tls} } $good->journal), 0, 'over TLS');

# Each: the service, whom we trust, what the reason says.
my %case = (
	'another authority' => [ $impostor{server}, $good->ca_file, qr/certificate|issuer/i ],
	'no authority of ours' => [ $good, "$dir/other-ca.pem", qr/certificate|issuer/i ],
	'another name' => [ $impostor{'wrong-name'}, "$dir/ca.pem", qr/certificate.*(?:name|match)|(?:name|match).*certificate/i ],
	'expired' => [ $impostor{expired}, "$dir/ca.pem", qr/certificate.*expired|expired.*certificate/i ]);

foreach my $what (sort keys %case)
{
	my ($service, $ca_file, $reason) = @{ $case{$what} };
	my $before = $service->stats->{journaled};

	connect_to($service, $ca_file);
	insert_groups($node, 20, $what);
	my $status = wait_state($node, 'unreachable');
	like($status->{reason}, $reason, "$what: the reason is clear");
	is($service->stats->{journaled}, $before, "$what: nothing was sent");
	poll_until { value_of($node, "SELECT count(*) FROM im_group_outbox WHERE status = 'sending'") == 0 } 'calls in flight';
	is(value_of($node, "SELECT count(*) FROM im_group_outbox WHERE name LIKE '$what%' AND status = 'pending' AND attempts = 0 AND maybe_sent_at IS NULL"),
		20, "$what: every row is kept, no attempt counts");
	connect_to($good, $good->ca_file);
	wait_settled($node);
	is(value_of($node, "SELECT count(*) FROM im_group_outbox WHERE name LIKE '$what%' AND status = 'imported'"),
		20, "$what: mended, all are imported");
}
accounted($node, $good);

# A file that is not there, and one that is none.
foreach my $case ([ 'missing', "$dir/nothing.pem" ], [ 'no certificate', "$dir/server.key" ])
{
	my ($what, $file) = @$case;
	my $calls = $good->stats->{journaled};

	connect_to($good, $file);
	insert_groups($node, 10, $what);
	my $status;
	poll_until { ($status = status_of($node))->{state} =~ /^(?:unreachable|not configured)$/ } "a reason for $what";
	like($status->{reason}, qr/certificate|\Q$file\E|CA/, "ca_file $what: $status->{state}, and why");
	is($good->stats->{journaled}, $calls, "ca_file $what: nothing was sent");
	connect_to($good, $good->ca_file);
	wait_settled($node);
}
# The content of the file is corrected, and nothing else: seen at once, by the
# session that met the wrong one and by the worker, and the other way round.
my $changing = "$dir/changing.pem";
sub content_of
{
	my ($file) = @_;

	PostgreSQL::Test::Utils::system_or_bail('cp', $file, "$changing.new");
	rename "$changing.new", $changing or die $!;
}
content_of("$dir/other-ca.pem");
connect_to($good, $changing);
my $session = $node->background_psql('postgres');
sub answer { return json($session->query_safe("SELECT im_import_group(q) FROM (SELECT 'Public' AS type, '$_[0]' AS name) q"))->{ErrorCode} }
insert_groups($node, 10, 'changing');
is(answer('wrong content'), -8, 'ca_file: wrong content');
wait_state($node, 'unreachable');
content_of($good->ca_file);
is(answer('right content'), 0, 'ca_file: corrected, seen at once in the same session');
is($session->query_safe("SELECT string_agg(item || ': ' || detail, '; ') FROM im_import_doctor() WHERE NOT ok AND detail ~ 'certificate'"), '', '... and by its doctor');
wait_settled($node);
is(value_of($node, "SELECT count(*) FROM im_group_outbox WHERE name LIKE 'changing%' AND status = 'imported'"), 10, '... and by the worker');
content_of("$dir/other-ca.pem");
is(answer('wrong again'), -8, 'ca_file: wrong again, seen at once');
$session->quit;
content_of($good->ca_file);
my @others = map { $_->{group_id} } grep { $_->{name} eq 'right content' } $good->ledger;
accounted($node, $good, others => \@others, name => 'in the end every row is accounted for');

done_testing();
