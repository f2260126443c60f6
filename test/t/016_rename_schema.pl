# ALTER SCHEMA ... RENAME of the extension's schema: everything follows.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Test::More;

use ImService;
use ImTest;

# In a schema whose name must be quoted.
my $service = ImService->new;
my $node = start_cluster();

$node->safe_psql('postgres', 'CREATE SCHEMA "First one"; ALTER DATABASE postgres SET search_path = "First one"');
connect_app($node, $service);
$node->safe_psql('postgres', 'SELECT im_import_pause()');
$node->safe_psql('postgres', <<'SQL');
ALTER SCHEMA "First one" RENAME TO "Second one";
INSERT INTO "Second one".im_group_outbox (source_id, type, name) VALUES ('a', 'Public', 'a'), ('b', 'Public', 'b');
SQL
is(value_of($node, q(SELECT count(*) FROM "Second one"._im_outbox_changes())), '0', 'nothing counts as altered');
like($node->safe_psql('postgres', q(SELECT * FROM "Second one".im_import_plan())), qr/^pending groups\|[0-2]\|/m, 'the plan is made');
is(value_of($node, q(SELECT ok FROM "Second one".im_import_doctor() WHERE item = 'outbox')), 't', 'the doctor sees no change');
$node->safe_psql('postgres', q(ALTER TABLE "Second one".im_group_outbox ADD mine integer));
is(value_of($node, q(SELECT name || ': ' || change FROM "Second one"._im_outbox_changes())), 'mine: added: integer', 'what is altered is seen');
$node->safe_psql('postgres', q(ALTER TABLE "Second one".im_group_outbox DROP mine));
$node->safe_psql('postgres', q(SELECT "Second one".im_import_resume()));
$node->safe_psql('postgres', q(CALL "Second one".im_import_wait(timeout => '1 minute')));
is(value_of($node, q(SELECT count(*) FROM "Second one".im_group_outbox WHERE status = 'imported')), '2', 'rows are imported');
$node->safe_psql('postgres', 'ALTER SCHEMA "Second one" RENAME TO third');
$node->safe_psql('postgres', q(INSERT INTO third.im_group_outbox (source_id, type, name) VALUES ('c', 'Public', 'c')));
$node->safe_psql('postgres', q(CALL third.im_import_wait(timeout => '1 minute')));
is(value_of($node, q(SELECT count(*) FROM third.im_group_outbox WHERE status = 'imported')), '3', 'also while a worker lives');
is($node->psql('postgres', 'CALL third.im_import_verify()'), 0, 'and verified');

done_testing();
