# A command has one more field by one more line of C and one of SQL: it is sent,
# checked, guarded and shown like all others.
#
# need_field: test/run.sh builds an extension with those two lines for this file.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Test::More;

use ImTest;

my ($node, $service) = set_up();

$node->safe_psql('postgres', <<'SQL');
INSERT INTO im_account_outbox (user_id, hobby) VALUES ('a', 'chess'), ('b', 'stamps and coins'), ('c', NULL);
SQL
poll_until { value_of($node, "SELECT count(*) FROM im_account_outbox WHERE status IN ('pending', 'sending')") == 0 } 'the accounts';
my ($call) = $service->journal('multiaccount_import');
is_deeply(json($call->{body}), { AccountList => [ { UserID => 'a', Hobby => 'chess' }, { UserID => 'c' } ] }, 'it is sent');
is(value_of($node, "SELECT status || ': ' || error_info FROM im_account_outbox WHERE user_id = 'b'"),
	'invalid: hobby is 16 bytes of UTF-8, the limit is 10 (6 over): "stamps and coins"', 'it is checked');
like(error_of($node, "UPDATE im_account_outbox SET hobby = 'go' WHERE user_id = 'a'"), qr/hobby|cannot change/, 'it is guarded');
is(value_of($node, "SELECT im_row_json('account', r) FROM (SELECT 'd' AS user_id, 'go' AS hobby) r"),
	'{"AccountList":[{"UserID":"d","Hobby":"go"}]}', 'it is shown');
is(value_of($node, "SELECT im_row_problems('account', r, true) FROM (SELECT 'd' AS user_id, 'go' AS hobbi) r") =~ /did you mean hobby/ ? 1 : 0,
	1, 'its name is known to the warnings');
$node->safe_psql('postgres', "SELECT im_import_account(r) FROM (SELECT 'e' AS user_id, 'go' AS hobby) r");
is(scalar(grep { $_->{body} =~ /\{"UserID":"e","Hobby":"go"\}/ } $service->journal), 1, 'and it goes with one row');

done_testing();
