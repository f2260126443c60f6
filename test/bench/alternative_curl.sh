#!/bin/sh
# What people really write for some rows: psql and curl in a loop, a row at a time.
#
#   alternative_curl.sh PSQL SOCKET_FOLDER URL CA_FILE
#
# ends when no row of alternative_outbox is pending, see measures.py.

set -eu
psql=$1 folder=$2 url=$3 ca=$4
query="sdkappid=1400000000&identifier=administrator&usersig=$(printf '%0256d' 0)&random="

sql()
{
	"$psql" -XAtq -h "$folder" -U postgres -d bench -c "$1"
}

while :; do
	row=$(sql "UPDATE alternative_outbox SET status = 'sending', attempts = attempts + 1, sent_at = now()
		WHERE id = (SELECT id FROM alternative_outbox WHERE status = 'pending' AND due_at IS NULL ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)
		RETURNING id || ' ' || json_strip_nulls(json_build_object('Type', type, 'GroupId', group_id, 'Name', name, 'Owner_Account', owner_account,
			'Introduction', introduction, 'Notification', notification, 'CreateTime', extract(epoch FROM create_time)::bigint))")
	[ -n "$row" ] || break
	id=${row%% *}
	answer=$(curl -s --cacert "$ca" -H 'Content-Type: application/json' --data-binary "${row#* }" \
		"$url/v4/group_open_http_svc/import_group?$query$id") || answer=
	case $answer in
		*'"ErrorCode":0'*) sql "UPDATE alternative_outbox SET status = 'imported', settled_at = now() WHERE id = $id" ;;
		*) sql "UPDATE alternative_outbox SET status = 'failed', settled_at = now() WHERE id = $id" ;;
	esac
done
