# A copy by CREATE DATABASE ... TEMPLATE: the original goes on, the copy sends
# nothing until it is adopted.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Test::More;

use ImTest;
use ImFence;
use ImKinds;

my $service = ImService->new;
my $node = start_cluster();

$node->safe_psql('postgres', 'CREATE DATABASE original');
connect_app($node, $service, db => 'original', options => { rate_limit => 1000 });
insert_groups($node, 20, 'done', 'original');
wait_settled($node, 'original');
$node->safe_psql('original', "SELECT im_import_pause('for a copy')");
insert_groups($node, 50, 'open', 'original');
insert_groups($node, 10, 'own id', 'original', group_id => "'own-id-' || i");
$node->safe_psql('original', "INSERT INTO im_group_outbox (group_id, type, name) VALUES ('bad-1', 'Public', NULL), ('bad-2', NULL, 'bad')");
# Of every kind one, which is its own room.
$node->safe_psql('original', insert_kinds($node, 'original', word => 'kinds'));
worker_gone($node, 'original');
$node->safe_psql('postgres', 'CREATE DATABASE copy TEMPLATE original');
$node->safe_psql('postgres', 'CREATE DATABASE second TEMPLATE copy');
is(content($node, 'copy'), content($node, 'original'), 'the copy has all rows');

my $why = qr/made in another database.*im_import_adopt/;
stays_fenced($node, $service, db => 'copy', open => 69, reason => $why);
is(status_of($node, 'original')->{state}, 'paused', 'the original is paused, the copy is not');
like(error_of($node, "UPDATE im_group_outbox SET name = 'x' WHERE status = 'pending'", 'copy'),
	qr/DETAIL:.*came from another database.*HINT:.*im_import_adopt\(\)/s, 'who edits in the copy is told whose rows these are');

# Both at once: the original sends its rows, the copy nothing, not even a new one.
insert_groups($node, 1, 'new', 'copy');
$node->safe_psql('original', 'SELECT im_import_resume()');
wait_kinds($node, 'original');
is($service->stats->{groups}, 81, 'the original imported its rows');
is($service->stats->{journaled}, 80 + kinds($node, 'original'), 'with one call each');
accounted($node, $service, db => 'original', others => strangers($node, $service, 'original'),
	name => 'original: every row is accounted for');

# Adopted, and interrupted: an aborted adoption adopts nothing.
$node->safe_psql('copy', 'BEGIN; SELECT im_import_adopt(); ROLLBACK');
stays_fenced($node, $service, db => 'copy', open => 70, reason => $why);
adopted_and_imported($node, $service, db => 'copy', adopted => 69, created => 1);
wait_kinds($node, 'copy');
is_deeply(things_of($node, $service, 'kinds', 'copy'), each_kind($node, 1, 'copy'), 'of every kind there is one');
is_deeply([ $service->doubles ], [], '... and none twice');
is(value_of($node, "SELECT string_agg(status || ' ' || error_info, '; ' ORDER BY id) FROM im_group_outbox WHERE group_id LIKE 'bad-%'", 'copy'),
	'invalid name is required, it is NULL; invalid type is required, it is NULL', 'rows that cannot have been sent are invalid, once the app does not know them');
is(value_of($node, 'SELECT im_import_adopt()', 'copy'), 0, 'there is nothing more to adopt');

# Without rows of another origin a copy is a copy all the same, until adopted.
stays_fenced($node, $service, db => 'second', open => 69, reason => $why);
$node->safe_psql('second', of_kinds($node, 'second', '; ', "DELETE FROM im_{kind}_outbox WHERE status = 'pending'"));
like(wait_state($node, 'fenced', 'second')->{reason}, $why, 'second copy: without open rows it is a copy all the same');
is(value_of($node, 'SELECT im_import_adopt()', 'second'), 0, 'second copy: nothing to adopt but the database itself');
wait_state($node, 'idle', 'second');
accounted($node, $service, db => 'second', others => strangers($node, $service, 'second'),
	name => 'second copy: every row is accounted for');

done_testing();
