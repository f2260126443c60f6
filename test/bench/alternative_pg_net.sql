-- pg_net: a function that queues a POST for each row.  pg_net's own worker sends
-- them after the commit, and puts the answers into a table of its own.
CREATE EXTENSION IF NOT EXISTS pg_net;

CREATE FUNCTION alternative_post(url text) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
	RETURN (SELECT count(net.http_post(
		url || '/v4/group_open_http_svc/import_group?sdkappid=1400000000&identifier=administrator&usersig=' || repeat('x', 256)
			|| '&random=' || id,
		jsonb_strip_nulls(jsonb_build_object('Type', type, 'GroupId', group_id, 'Name', name, 'Owner_Account', owner_account,
			'Introduction', introduction, 'Notification', notification, 'CreateTime', extract(epoch FROM create_time)::bigint)),
		timeout_milliseconds => 30000))
		FROM (SELECT * FROM alternative_outbox WHERE status = 'pending' ORDER BY id) AS pending);
END
$$;
