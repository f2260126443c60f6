-- Options of the SERVER and the USER MAPPING: good, bad, misspelt, forbidden.
SET client_encoding = 'UTF8';
\pset format unaligned
\pset tuples_only on
SET client_min_messages = warning;

-- tries a statement: ok, or SQLSTATE, message and hint; undoes it either way
CREATE FUNCTION im_test_trial(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	message text;
	hint text;
BEGIN
	EXECUTE statement;
	RAISE EXCEPTION USING ERRCODE = 'IM000';
EXCEPTION WHEN SQLSTATE 'IM000' THEN
	RETURN 'ok';
WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
	RETURN pg_catalog.format('%s: %s (%s)', SQLSTATE, message, hint);
END $$;
CREATE FUNCTION im_test_server(options text) RETURNS text LANGUAGE sql AS $$
	SELECT im_test_trial('CREATE SERVER im_test_1 FOREIGN DATA WRAPPER im_import OPTIONS (' || options || ')');
$$;
CREATE FUNCTION im_test_mapping(options text) RETURNS text LANGUAGE sql AS $$
	SELECT im_test_trial('CREATE USER MAPPING FOR PUBLIC SERVER im_test OPTIONS (' || options || ')');
$$;
CREATE SERVER im_test FOREIGN DATA WRAPPER im_import OPTIONS (sdkappid '1400000000', region 'china');

-- what must be there
SELECT im_test_trial('CREATE SERVER im_test_1 FOREIGN DATA WRAPPER im_import');
SELECT options, im_test_server(options)
FROM unnest(ARRAY[$$sdkappid '1'$$, $$region 'china'$$, $$sdkappid '1', region 'china'$$,
	$$sdkappid '1', endpoint 'https://im.example'$$,
	$$sdkappid '1', endpoint 'https://im.example', region 'china'$$]) AS options;
SELECT im_test_trial('CREATE USER MAPPING FOR PUBLIC SERVER im_test');
SELECT options, im_test_mapping(options)
FROM unnest(ARRAY[$$identifier 'admin'$$, $$secret_key 'tell-tale'$$,
	$$identifier 'admin', secret_key 'tell-tale'$$,
	$$identifier 'admin', secret_key_file '/etc/im.key'$$,
	$$identifier 'admin', secret_key 'tell-tale', secret_key_file '/etc/im.key'$$]) AS options;
-- an ALTER is judged by what is left
SELECT im_test_trial('ALTER SERVER im_test OPTIONS (DROP region)');
SELECT im_test_trial('ALTER SERVER im_test OPTIONS (DROP sdkappid)');
SELECT im_test_trial($$ALTER SERVER im_test OPTIONS (DROP region, ADD endpoint 'https://im.example')$$);

-- every option of the server
SELECT name, value, im_test_server(format('sdkappid ''1'', region ''china'', %I %L', name, value))
FROM (VALUES
	('rate_limit', '200'), ('rate_limit', '0.5'), ('rate_limit', '1000000'), ('rate_limit', '1000001'),
	('rate_limit', '0'), ('rate_limit', '-1'), ('rate_limit', 'fast'), ('rate_limit', 'NaN'), ('rate_limit', ''),
	('groups_per_day', '1'), ('groups_per_day', '10000'), ('groups_per_day', '0'), ('groups_per_day', '1.5'),
	('groups_per_day', 'none'), ('groups_per_day', '9223372036854775808'),
	('max_in_flight', '1'), ('max_in_flight', '1024'), ('max_in_flight', '0'), ('max_in_flight', '1025'), ('max_in_flight', '8 '),
	('max_attempts', '1'), ('max_attempts', '1000'), ('max_attempts', '0'), ('max_attempts', '1001'),
	('request_timeout', '15s'), ('request_timeout', '3000'), ('request_timeout', '3 s'), ('request_timeout', '10min'),
	('request_timeout', '601s'), ('request_timeout', '999ms'), ('request_timeout', '15'), ('request_timeout', '5 parsecs'),
	('group_ids', 'generated'), ('group_ids', 'assigned'), ('group_ids', 'random'), ('group_ids', ''),
	('text_limits', 'page'), ('text_limits', 'sdk'), ('text_limits', '100'),
	('after_promotion', 'hold'), ('after_promotion', 'continue'), ('after_promotion', 'stop'),
	('ca_file', '/etc/ssl/ca.pem'), ('ca_file', 'ca.pem'), ('ca_file', '')) AS v(name, value);
-- shorter than the service's own limit: a warning
CREATE SERVER im_test_1 FOREIGN DATA WRAPPER im_import
	OPTIONS (sdkappid '1', region 'china', request_timeout '2999ms');
DROP SERVER im_test_1;
SELECT value, im_test_server(format('region ''china'', sdkappid %L', value))
FROM unnest('{1,4294967295,4294967296,0,-1,abc,1400000000x}'::text[]) AS value;
SELECT value, im_test_server(format('sdkappid ''1'', region %L', value))
FROM unnest('{china,singapore,seoul,tokyo,frankfurt,silicon_valley,jakarta,riyadh,mumbai,China}'::text[]) AS value;
SELECT value, im_test_server(format('sdkappid ''1'', endpoint %L', value))
FROM unnest(ARRAY['https://im.example', 'https://im.example/', 'https://im.example:8443', 'HTTPS://im.example',
	'https://10.0.0.1', 'https://[2001:db8::1]:443',
	'http://127.0.0.1:8080', 'http://127.9.9.9', 'http://localhost', 'http://LOCALHOST:1', 'http://[::1]:8080',
	'http://im.example', 'http://127.0.0.1.im.example', 'http://localhost.im.example', 'http://10.0.0.1', 'http://[2001:db8::1]',
	'https://', 'https://:443', 'https://im.example:', 'https://im.example:0', 'https://im.example:65536', 'https://im.example:+1',
	'https://im.example:443x', 'https://im.example/v4', 'https://im.example?x', 'https://im.example#x', 'https://user:pw@im.example',
	'https://im example', 'https://[im.example]', 'https://[::1', 'https://-im.example', 'ftp://im.example', 'im.example', '']) AS value;

-- every option of the mapping; a key never shows
SELECT name, left(value, 20), im_test_mapping(format('%s, %I %L',
	CASE name WHEN 'identifier' THEN 'secret_key ''tell-tale''' ELSE 'identifier ''admin''' END, name, value))
FROM (VALUES
	('identifier', 'administrator'), ('identifier', U&'\7ba1\7406\5458'), ('identifier', repeat('i', 256)), ('identifier', repeat('i', 257)),
	('identifier', ''), ('identifier', E'a\nb'),
	('secret_key_file', '/etc/postgresql/im.key'), ('secret_key_file', 'im.key'), ('secret_key_file', ''),
	('secret_key', repeat('k', 256)), ('secret_key', ' k ')) AS v(name, value);
SELECT length(value), im_test_mapping(format('identifier ''admin'', secret_key %L', value))
FROM unnest(ARRAY['', ' ', 'tell tale', E'tell\ntale', repeat('k', 257)]) AS value;

-- misspelt, and misplaced
SELECT name, im_test_server(format('sdkappid ''1'', region ''china'', %I ''tell-tale''', name))
FROM unnest('{sdkapid,Region,rate,ratelimit,max_inflight,timeout,text_limit,cafile,secret_key,identifier,user,password}'::text[]) AS name;
SELECT name, im_test_mapping(format('%I ''tell-tale''', name))
FROM unnest('{identifer,secretkey,secret_key_fil,key,region,user}'::text[]) AS name;
SELECT im_test_trial($$ALTER FOREIGN DATA WRAPPER im_import OPTIONS (sdkappid '1')$$);
SELECT im_test_trial($$ALTER FOREIGN DATA WRAPPER im_import OPTIONS (nonsense '1')$$);

-- Rights: a role that may use the wrapper, without further privileges.
CREATE ROLE im_test_user;
CREATE ROLE im_test_reader IN ROLE pg_read_server_files;
GRANT USAGE ON FOREIGN DATA WRAPPER im_import TO im_test_user, im_test_reader;
GRANT USAGE ON FOREIGN SERVER im_test TO im_test_user, im_test_reader;
CREATE VIEW im_test_rights AS
SELECT o, im_test_server('sdkappid ''1'', region ''china''' || o) AS result
FROM unnest(ARRAY['', $$, rate_limit '10'$$, $$, endpoint 'https://im.example'$$, $$, ca_file '/etc/ca.pem'$$]) AS o
UNION ALL
SELECT o, im_test_trial('CREATE USER MAPPING FOR CURRENT_USER SERVER im_test OPTIONS (identifier ''admin''' || o || ')')
FROM unnest(ARRAY[$$, secret_key 'tell-tale'$$, $$, secret_key_file '/etc/im.key'$$]) AS o;
GRANT SELECT ON im_test_rights TO im_test_user, im_test_reader;
SET ROLE im_test_user;
SELECT * FROM im_test_rights;
SET ROLE im_test_reader;
SELECT * FROM im_test_rights;
RESET ROLE;
-- while such an option is set, every ALTER needs its right
CREATE SERVER im_test_1 FOREIGN DATA WRAPPER im_import OPTIONS (sdkappid '1', endpoint 'https://im.example');
ALTER SERVER im_test_1 OWNER TO im_test_user;
SET ROLE im_test_user;
SELECT im_test_trial($$ALTER SERVER im_test_1 OPTIONS (ADD rate_limit '10')$$);
SELECT im_test_trial($$ALTER SERVER im_test_1 OPTIONS (ADD region 'china', DROP endpoint)$$);
RESET ROLE;
DROP SERVER im_test_1;
-- nothing is granted to PUBLIC
SELECT p.proname FROM pg_catalog.pg_proc AS p
WHERE p.proname ~ '^(_im_|im_(import|group|fit|usersig|error_codes|generated|row|problem|set))'
	AND has_function_privilege('public', p.oid, 'EXECUTE')
ORDER BY p.proname COLLATE "C";
SET ROLE im_test_user;
SELECT im_error_codes();
SELECT im_usersig();
RESET ROLE;

DROP VIEW im_test_rights;
DROP SERVER im_test CASCADE;
REVOKE ALL ON FOREIGN DATA WRAPPER im_import FROM im_test_user, im_test_reader;
DROP ROLE im_test_user, im_test_reader;
DROP FUNCTION im_test_mapping(text);
DROP FUNCTION im_test_server(text);
DROP FUNCTION im_test_trial(text);
