# ImService.pm
#	  The stand-in for the IM service, started and steered by a test.
#
# One object is one service with one app.  Its folder (journal, ledger, key
# file, certificates) stays among the test's logs.  Every service is stopped
# at the end of the test, by its own pid, even if the test died.
package ImService;

use strict;
use warnings;

use File::Path qw(mkpath rmtree);
use FindBin ();
use HTTP::Tiny;
use JSON::PP ();
use PostgreSQL::Test::Utils ();

my $program = "$FindBin::RealBin/../service/im_service.py";
my %running;    # pid => service

# Makes a service and starts it.  Options: name, sdkappid, secret, admin, and
# options, a list for the service's own command line.
sub new
{
	my ($class, %given) = @_;
	my $self = bless {
		name => 'service',
		sdkappid => 1400000000,
		secret => '5bd2850fff3ecb11d7c805251c51ee463a25727bddc2385f3fa8bfee1bb93b5e',
		admin => 'administrator',
		%given,
		ports => {}
	}, $class;

	(my $test = $FindBin::RealScript) =~ s/\.[^.]*$//;
	$self->{dir} = "$PostgreSQL::Test::Utils::log_path/${test}_$self->{name}";
	rmtree($self->{dir});
	mkpath($self->{dir});
	$self->{key_file} = $self->write_key('app.key', $self->{secret});
	$self->start;
	return $self;
}

# Starts the service: anew on the ports of last time, knowing its groups.
sub start
{
	my ($self) = @_;
	my $ports = $self->{ports};
	my @command = (
		'python3', $program, '--dir', $self->{dir}, '--load-ledger',
		'--sdkappid', $self->{sdkappid}, '--secret', $self->{secret}, '--admin', $self->{admin}, @{ $self->{options} // [] });

	push @command, '--http-port', $ports->{http_port}, '--https-port', $ports->{https_port}
	  if %$ports;
	my $pid = open($self->{out}, '-|', @command) or die "cannot start $program: $!";
	$running{$pid} = $self;
	$self->{pid} = $pid;
	my $line = readline($self->{out}) // die "$program did not start; see the test's log";
	$self->{ports} = JSON::PP::decode_json($line);
}

# Stops the service; nobody listens on its ports then.
sub stop
{
	my ($self) = @_;
	my $pid = delete $self->{pid} or return;

	delete $running{$pid};
	kill 'TERM', $pid;
	close($self->{out});    # waits for the process
}

my $test_pid = $$;

END
{
	my $status = $?;

	if ($$ == $test_pid)
	{
		$_->stop foreach values %running;
	}
	$? = $status;
}

# Writes a secret key where only the server's owner can read it.
sub write_key
{
	my ($self, $name, $secret) = @_;
	my $path = "$self->{dir}/$name";

	PostgreSQL::Test::Utils::append_to_file($path, "$secret\n");
	chmod 0600, $path or die "chmod $path: $!";
	return $path;
}

sub endpoint { return "http://127.0.0.1:$_[0]{ports}{http_port}" }
sub https_endpoint { return "https://localhost:$_[0]{ports}{https_port}" }
sub ca_file { return "$_[0]{dir}/ca.pem" }

# One control call; with content it is a POST.  Dies unless it is understood.
sub control
{
	my ($self, $call, $content) = @_;
	my $http = HTTP::Tiny->new(timeout => 120);
	my $url = $self->endpoint . "/control/$call";
	my $answer =
	  defined $content
	  ? $http->post($url, { content => JSON::PP::encode_json($content) })
	  : $http->get($url);

	die "control call $call: $answer->{status} $answer->{content}" unless $answer->{success};
	return JSON::PP::decode_json($answer->{content});
}

# Adds fault rules; see the stand-in's README.
sub fault { my ($self, @rules) = @_; return $self->control('fault', \@rules) }
sub clear { return $_[0]->control('clear', {}) }
sub release { return $_[0]->control('release', {}) }
sub set { my ($self, %settings) = @_; return $self->control('set', \%settings) }
sub stats { return $_[0]->control('stats') }

# The groups that exist, as a list.
sub ledger { return @{ $_[0]->control('ledger')->{groups} } }

# The group of one id, or undef.
sub group
{
	my ($self, $group_id) = @_;
	my ($group) = grep { $_->{group_id} eq $group_id } $self->ledger;

	return $group;
}

# What happened, one entry for each thing, oldest first: group, destroy, modify,
# member, leave, message, all_read, unread, account, account_delete, profile,
# friend, dialog.  See the stand-in's README.
sub entries
{
	my ($self, $kind) = @_;

	return @{ $self->control('ledger?kind=' . ($kind // 'all'))->{entries} };
}

sub escaped
{
	my ($text) = @_;

	utf8::encode($text) if utf8::is_utf8($text);
	$text =~ s/([^A-Za-z0-9_.-])/sprintf '%%%02X', ord $1/ge;
	return $text;
}

# A group from inside: group, members (account => role, join_time, unread),
# messages, next_seq, last_time, active.  Dies if there is none.
sub room { my ($self, $group_id) = @_; return $self->control('group?group_id=' . escaped($group_id)) }
sub members { my ($self, $group_id) = @_; return $self->room($group_id)->{members} }
sub messages { my ($self, $group_id) = @_; return @{ $self->room($group_id)->{messages} } }

# Unread counts of a group, of those who have any: account => number.
sub unread
{
	my ($self, $group_id) = @_;
	my $members = $self->members($group_id);

	return { map { $_ => $members->{$_}{unread} } grep { $members->{$_}{unread} } keys %$members };
}

# One account: account (Nick, FaceUrl; undef if there is none), profile, friends, groups.
sub account { my ($self, $user) = @_; return $self->control('account?user_id=' . escaped($user)) }

# What two accounts said to each other, in the order of arrival.
sub dialog
{
	my ($self, $one, $other) = @_;

	return @{ $self->control('dialog?from=' . escaped($one) . '&to=' . escaped($other))->{messages} };
}

# Somebody writes in a group: options from, text, time, count.  Returns the seqs.
sub live
{
	my ($self, $group_id, %given) = @_;

	return @{ $self->control('live', { group_id => $group_id, %given })->{seqs} };
}

# Something changes behind the client's back: kind, what names it, and to, its new
# members; without that it is gone.  See the stand-in's README.
sub change { my ($self, $kind, %given) = @_; return $self->control('change', { kind => $kind, %given }) }

# The things that were done twice, as texts: the promise is that there are none.
# What may be done again is forgotten: what was in a group that is dissolved, and
# members who left.  Accounts and unread counts cannot be doubled.
sub doubles
{
	my ($self) = @_;
	my %key = (
		member => [qw(member)],
		message => [qw(from time random)],
		friend => [qw(from to)],
		dialog => [qw(from to seq random time)]);
	my (%seen, @doubles);

	foreach my $entry ($self->entries)
	{
		my $kind = $entry->{kind};
		my $place = $entry->{group_id} // $entry->{destroyed} // '';

		delete $seen{$place} if $kind eq 'destroy';
		delete $seen{$place}{"member $entry->{member}"} if $kind eq 'leave';
		next unless $key{$kind};
		my $text = join ' ', $kind, map { $entry->{$_} } @{ $key{$kind} };
		push @doubles, "$place $text" if $seen{$place}{$text}++;
	}
	return @doubles;
}

# The calls that were made, oldest first; of one command if it is named.
sub journal
{
	my ($self, $command) = @_;
	my $query = defined $command ? "?command=$command" : '';

	return @{ $self->control("journal$query")->{calls} };
}

# The import_group calls for a group's name.
sub calls_for
{
	my ($self, $name) = @_;
	my $json = JSON::PP->new;

	return grep { ($json->decode($_->{body})->{Name} // '') eq $name } $self->journal('import_group');
}

# Waits for counts of the service: calls (of a command), created, applied (of a
# kind), held.
sub wait_for
{
	my ($self, %counts) = @_;
	my $query = join '&', map { "$_=$counts{$_}" } sort keys %counts;
	my $answer = $self->control("wait?$query&timeout=90");

	die "the service never saw $query" unless $answer->{reached};
	return $answer->{stats};
}

# Replaces the app: another secret, or disabled with a code.
sub change_app
{
	my ($self, %changes) = @_;

	$self->{secret} = $changes{secret} if defined $changes{secret};
	return $self->control('app',
		{ sdkappid => $self->{sdkappid}, secret => $self->{secret}, admin => $self->{admin}, %changes });
}

1;
