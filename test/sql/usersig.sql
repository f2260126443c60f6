-- UserSigs: made, read, and refused with a reason.
SET client_encoding = 'UTF8';
SET client_min_messages = warning;
SET IntervalStyle = 'postgres';
\pset format unaligned
\pset tuples_only on

-- what a statement fails with: SQLSTATE, message, hint
CREATE FUNCTION im_test_trial(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	message text;
	hint text;
	result text;
BEGIN
	EXECUTE statement INTO result;
	RETURN coalesce(result, 'NULL');
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
	RETURN pg_catalog.replace(pg_catalog.format('%s: %s (%s)', SQLSTATE, message, hint),
		pg_catalog.current_setting('data_directory'), 'DATA');
END $$;

-- Vectors made with the service's own library (npm tls-sig-api-v2 1.0.2), all
-- issued at 2026-11-23 00:00:00 UTC.  Signers differ in the order of keys and
-- in compression: what a UserSig says is compared, never its characters.
-- U1 and U2 have a userbuf, which we read and do not make.
CREATE TEMP TABLE vectors (name text, sdkappid bigint, key text, identifier text, expire bigint,
	json jsonb, usersig text);
INSERT INTO vectors VALUES
	('V1', 1400000000, '5bd2850fff3ecb11d7c805251c51ee463a25727bddc2385f3fa8bfee1bb93b5e', 'administrator', 86400,
		'{"TLS.ver":"2.0","TLS.identifier":"administrator","TLS.sdkappid":1400000000,"TLS.time":1795392000,"TLS.expire":86400,"TLS.sig":"F8ixUclNM7cVjOEC6owSUTNnqkreW0f75hAQfVPIbTc="}',
		'eJyrVgrxCdYrSy1SslIy0jNQ0gHzM1NS80oy0zLBwokpuZl5mcUlRYkl*UVQBcUp2YkFBZkpSlaGJgZQAJEpycxNVbIyNLc0NbY0goumVhRkFqUqWVmYmcCEijPTlayU3CwyK0KTc-x8zZPDsvxdnc3yy4NDQ-zyCrOLUsMN0sxNMxwD08ICPJNCkm2VagHDCzRq'),
	('V2', 1400000000, '5bd2850fff3ecb11d7c805251c51ee463a25727bddc2385f3fa8bfee1bb93b5e', 'xiaojun', 15552000,
		'{"TLS.ver":"2.0","TLS.identifier":"xiaojun","TLS.sdkappid":1400000000,"TLS.time":1795392000,"TLS.expire":15552000,"TLS.sig":"LeY/pH2TxQOJYTmV3wfMj2jGXM2+Np4JxQ6uk4lnaFk="}',
		'eJyrVgrxCdYrSy1SslIy0jNQ0gHzM1NS80oy0zLBwhWZiflZpXlQqeKU7MSCgswUJStDEwMogMiUZOamKlkZmluaGlsawUVTKwoyi0DipqamCNHizHQlKyWf1Ej9Ag*jkIpAf6-IkNww4-I03yyjLPcIXyNtvwITr4pAs9Jsk5y8RLdsW6VaAJ*NMhA_'),
	('V3', 1400000000, '5bd2850fff3ecb11d7c805251c51ee463a25727bddc2385f3fa8bfee1bb93b5e', 'im admin+ops/1=2&x%', 86400,
		'{"TLS.ver":"2.0","TLS.identifier":"im admin+ops/1=2&x%","TLS.sdkappid":1400000000,"TLS.time":1795392000,"TLS.expire":86400,"TLS.sig":"9QmALH3Zy0l6TVbux3flOjiUJo+6Wt3wxBC29Jau6bs="}',
		'eJyrVgrxCdYrSy1SslIy0jNQ0gHzM1NS80oy0zLBwpm5CokpuZl52vkFxfqGtkZqFapQZcUp2YkFBZkpSlaGJgZQAJEpycxNVbIyNLc0NbY0goumVhRkFqUqWVmYmcCEijPTlayULANzHX08jKMqDXLMQsKSSiuM03L8szJDvfK1zcJLjMsrnJyNLL0SS82Sim2VagFU3DSb'),
	('V4', 1400000000, '5bd2850fff3ecb11d7c805251c51ee463a25727bddc2385f3fa8bfee1bb93b5e', '管理员 é', 7200,
		'{"TLS.ver":"2.0","TLS.identifier":"管理员 é","TLS.sdkappid":1400000000,"TLS.time":1795392000,"TLS.expire":7200,"TLS.sig":"NvoKR1MsB1L4yZNmXnsiTPN80CFiWGkTNaqThyEIEZM="}',
		'eJyrVgrxCdYrSy1SslIy0jNQ0gHzM1NS80oy0zLBws-XLXw*oe3pxBkKh1dC5YtTshMLCjJTlKwMTQygACJTkpmbqmRlaG5pamxpBBdNrSjILEpVsjI3gokUZ6YrWSn5leV7Bxn6FjsZ*phURvnlRuQVZ4YE*FkYOLtlhrtnh-glFoZkVLp6ukb52irVAgCyDDZC'),
	('V5', 20000001, '0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef', 'ABCDEFGHIJKLMNOPQRSTUVWXYZ_-0123', 604800,
		'{"TLS.ver":"2.0","TLS.identifier":"ABCDEFGHIJKLMNOPQRSTUVWXYZ_-0123","TLS.sdkappid":20000001,"TLS.time":1795392000,"TLS.expire":604800,"TLS.sig":"A7DvSQW6KLqrE5nU4xX2TA2EzepeTW31aN+jIIWsZYs="}',
		'eJyrVgrxCdYrSy1SslIy0jNQ0gHzM1NS80oy0zLBwo5Ozi6ubu4enl7ePr5*-gGBQcEhoWHhEZFR8boGhkbGUD3FKdmJBQWZKUpWRgZgYAgRL8nMTVWyMjS3NDW2BMlARFMrCjKLUpWszAxMLGBixZnpIOvMXcqCA8PNvH0Ki1xN80JNKiKMQhyNXKtSC1JDwo0NE-20szw9w4ujIottlWoBhtY3Ng__'),
	('V6', 1600000001, '0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef', 'admin', 1576800000,
		'{"TLS.ver":"2.0","TLS.identifier":"admin","TLS.sdkappid":1600000001,"TLS.time":1795392000,"TLS.expire":1576800000,"TLS.sig":"4QIYGq8qHqJUmvb0/u65R6Xy0Gp6FFgfFlQcnsW+/VE="}',
		'eJyrVgrxCdYrSy1SslIy0jNQ0gHzM1NS80oy0zLBwokpuZl5UInilOzEgoLMFCUrQzMDCDCEyJRk5qYqWRmaW5oaWxoZGBhARFMrCjKLQOKm5mYWYOVQczLTlayUTAI9I90LLQo9Cr1Cc8uSDPRLzUyDzCIqDdwLzNzc0tPccgKT84rDtfXDXG2VagFbMDEd'),
	('V7', 1400000000, '5bd2850fff3ecb11d7c805251c51ee463a25727bddc2385f3fa8bfee1bb93b5e', 'a"b\c', 86400,
		'{"TLS.ver":"2.0","TLS.identifier":"a\"b\\c","TLS.sdkappid":1400000000,"TLS.time":1795392000,"TLS.expire":86400,"TLS.sig":"h0pUXYfAZOh/cBSBzs1xjTW27Zqop4TO+T/3x0xgkS4="}',
		'eJyrVgrxCdYrSy1SslIy0jNQ0gHzM1NS80oy0zLBwokxSkkxMclQqeKU7MSCgswUJStDEwMogMiUZOamKlkZmluaGlsawUVTKwoyi1KVrCzMTGBCxZnpSlZKGQYFoRGRaY5R-hn6yU7BTlXFhhVZIeFG5lGF*QUmIf7aIfrGFQYV6dnBJrZKtQDUIjDM'),
	('U1', 1400000000, '5bd2850fff3ecb11d7c805251c51ee463a25727bddc2385f3fa8bfee1bb93b5e', 'xiaojun', 86400,
		'{"TLS.ver":"2.0","TLS.identifier":"xiaojun","TLS.sdkappid":1400000000,"TLS.time":1795392000,"TLS.expire":86400,"TLS.userbuf":"AAAHeGlhb2p1blNyTgAAACcQawTTgAAAAP8AAAAA","TLS.sig":"W82B2t0Y3Vaxvbu/+BErJpudc7ra/GWgcnKumjJtuYw="}',
		'eJw9jcEKgkAYhN-lvxapa6UtdFgjDIsoksTjqputqS2rq0b07pFZcxhmvjnME-zdadIwCRjQRIdx33nCyppfeI87Tu*ZKoepSm5UCJ4ANqb6oO9S84IBNqzFzFygP2Wd4JIBtufTH1IVk5G6AAZCyIa5*TVCwojy-cNPCSGr*Ehbv4-kYH*c-L55ChgCGzmo1kPzTLsmUtrIWUtPqCS2JNXcII3LrSoyr1Zhu4TXGxgvQ7A_'),
	('U2', 1400000000, '5bd2850fff3ecb11d7c805251c51ee463a25727bddc2385f3fa8bfee1bb93b5e', 'xiaojun', 86400,
		'{"TLS.ver":"2.0","TLS.identifier":"xiaojun","TLS.sdkappid":1400000000,"TLS.time":1795392000,"TLS.expire":86400,"TLS.userbuf":"AQAHeGlhb2p1blNyTgAAAAAAawTTgAAAAP8AAAAAAAoxMDAwMDAwMDQw","TLS.sig":"/p3z8hZNjQLFrq7KpBhl5x63BVqW5er91Uh1WeSyGcM="}',
		'eJw9jsEKgkAYhN-lP0e1mqkLHTaigjKSLKGb5q*7ZbptmVb07oFbDQzMfHOZFwTLTfeOCigY3T502i4SLG4iFS1uRFQeq*I7XZNTJKVIgJJB-yu93MQZgRLbtUzX*FNspFAI1BkOfqi6ooqrFCgwn81xlvPYkCTOV48gY62iOtBx7WjAysabsFrbr39fRAYUetJ8Ony-OvrLqbrYCznmudUMzfHuElqoXLLlJMTNY3bwRvD*AIGTSDI_');
SELECT name, im_usersig_claims(usersig) = json,
	im_usersig_claims(im_usersig(sdkappid, key, identifier, make_interval(secs => expire),
		to_timestamp(1795392000))) = json
FROM vectors WHERE name LIKE 'V%' ORDER BY name;
SELECT name, im_usersig_claims(usersig) = json FROM vectors WHERE name LIKE 'U%' ORDER BY name;
-- only characters that need no escaping in a URL's query
SELECT bool_and(im_usersig(sdkappid, key, identifier, '1 day', to_timestamp(i)) ~ '^[A-Za-z0-9*_-]+$')
FROM vectors, generate_series(1795392000, 1795392050) AS i;

-- A year has 365 days here, so that 50 years are what the service allows.
SELECT lifetime, im_usersig_claims(im_usersig(1, 'key', 'admin', lifetime, '2026-11-23 00:00:00+00'))->'TLS.expire'
FROM unnest('{1 second,1 minute,2 days 03:00,1 month,1 year,50 years,1.9 seconds}'::interval[]) AS lifetime;
SELECT im_usersig(NULL, 'key', 'admin', '1 day', now()) IS NULL, im_usersig_claims(NULL) IS NULL;

SELECT n, im_test_trial(format('SELECT im_usersig(%s, %L, %L, %L, %L)', sdkappid, key, identifier, lifetime, issued))
FROM (VALUES
	(1, 0, 'key', 'admin', '1 day', '2026-11-23+00'), (2, 4294967296, 'key', 'admin', '1 day', '2026-11-23+00'),
	(3, 1, '', 'admin', '1 day', '2026-11-23+00'), (4, 1, repeat('s', 257), 'admin', '1 day', '2026-11-23+00'),
	(5, 1, 'key', '', '1 day', '2026-11-23+00'), (6, 1, 'key', repeat('i', 257), '1 day', '2026-11-23+00'),
	(7, 1, 'key', E'a\nb', '1 day', '2026-11-23+00'), (8, 1, 'key', 'admin', '0', '2026-11-23+00'),
	(9, 1, 'key', 'admin', '-1 day', '2026-11-23+00'), (10, 1, 'key', 'admin', '50 years 1 second', '2026-11-23+00'),
	(11, 1, 'key', 'admin', '1 day', 'infinity'), (12, 1, 'key', 'admin', '1 day', '1969-12-31 23:59:59+00')
	) AS v(n, sdkappid, key, identifier, lifetime, issued)
ORDER BY n;

-- Why is mine refused?
SELECT name, im_test_trial(format('SELECT im_usersig_claims(%L)', usersig))
FROM (VALUES
	(1, 'empty', E''),
	(2, 'white space', E'eJyrVgrxCdYrSy1SslIy0jNQ0gHzM1NS80oy0zLBwokpuZl5mcUlRYkl*UVQBcUp2YkFBZkpSlaGJgZQAJEpycxNVbIyNLc0NbY0goumVhRkFqUqWVmYmcCEijPTlayU3CwyK0KTc-x8zZPDsvxdnc3yy4NDQ-zyCrOLUsMN0sxNMxwD08ICPJNCkm2VagHDCzRq\n'),
	(3, 'percent-encoded', E'eJyrVgrxCdYrSy1SslIy0jNQ0gHzM1NS80oy0zLBwokpuZl5mcUlRYkl%2AUVQBcUp2YkFBZkpSlaGJgZQAJEpycxNVbIyNLc0NbY0goumVhRkFqUqWVmYmcCEijPTlayU3CwyK0KTc-x8zZPDsvxdnc3yy4NDQ-zyCrOLUsMN0sxNMxwD08ICPJNCkm2VagHDCzRq'),
	(4, 'standard base64', E'eJyrVgrxCdYrSy1SslIy0jNQ0gHzM1NS80oy0zLBwokpuZl5mcUlRYkl+UVQBcUp2YkFBZkpSlaGJgZQAJEpycxNVbIyNLc0NbY0goumVhRkFqUqWVmYmcCEijPTlayU3CwyK0KTc/x8zZPDsvxdnc3yy4NDQ/zyCrOLUsMN0sxNMxwD08ICPJNCkm2VagHDCzRq'),
	(5, 'cut', E'eJyrVgrxCdYrSy1SslIy0jNQ0gHzM1NS80oy0zLBwokpuZl5mcUlRYkl*UVQBcUp2YkFBZkpSlaGJgZQAJEpycxNVbIyNLc0NbY0goumVhRkFqUqWVmYmcCEijPTlayU3CwyK0KTc-x8zZPDsvxdnc3yy4NDQ-zyCrOLUsMN0sxNMxwD'),
	(6, 'one character', E'e'),
	(7, 'not zlib', E'aGVsbG8gd29ybGQsIHRoaXMgaXMgbm90IHpsaWI_'),
	(8, 'raw deflate', E'q1ZKVLIyrAUA'),
	(9, 'no JSON', E'eJzLSM3JyQcABiwCFQ__'),
	(10, 'an array', E'eJyLNowFAAHTAOo_'),
	(11, 'a NUL byte', E'eJyrVkpUslJiUKoFAAtKAhw_'),
	(12, 'not UTF-8', E'eJyrVkpUslL6r1QLAA5HAxs_'),
	(13, 'too long', E'eJztwUENADAIBDAvJwM3c0FC8D4bPNpOXioNAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAnJX9yuUn1Q__'),
	(14, 'deep', E'eJyLjh4Fo2AUjIJRMApGwVAHACedxw8_'),
	(15, 'text behind it', E'eJyrVkpUsjKsVagAAAz0AqE_')
	) AS v(n, name, usersig)
ORDER BY n;
SELECT im_test_trial(format('SELECT im_usersig_claims(%L)', repeat('e', 1000000)));

-- With the configured key.
SELECT im_test_trial('SELECT im_usersig()');
CREATE SERVER im_test FOREIGN DATA WRAPPER im_import OPTIONS (sdkappid '1400000000', region 'china');
CREATE ROLE im_test_owner SUPERUSER;
ALTER SERVER im_test OWNER TO im_test_owner;
SELECT im_test_trial('SELECT im_usersig()');
CREATE USER MAPPING FOR PUBLIC SERVER im_test OPTIONS (identifier 'public', secret_key 'key');
SELECT im_usersig_claims(im_usersig()) - 'TLS.time' - 'TLS.sig';
-- the owner's mapping goes before PUBLIC's
CREATE USER MAPPING FOR im_test_owner SERVER im_test OPTIONS (identifier 'administrator', secret_key ' key ');
SELECT im_usersig_claims(im_usersig()) - 'TLS.time' - 'TLS.sig';
SELECT im_usersig_claims(im_usersig(lifetime => '2 hours'))->'TLS.expire',
	im_usersig_claims(im_usersig('someone'))->'TLS.identifier',
	(im_usersig_claims(im_usersig())->>'TLS.time')::bigint - extract(epoch FROM clock_timestamp()) BETWEEN -5 AND 1;
-- the same key signs the same
SELECT bool_and(im_usersig_claims(im_usersig(1400000000, 'key', 'administrator', '1 day',
	to_timestamp((c->>'TLS.time')::bigint)))->>'TLS.sig' = c->>'TLS.sig')
FROM (SELECT im_usersig_claims(im_usersig()) AS c) AS s;
SELECT im_test_trial($$SELECT im_usersig('')$$);
SELECT im_test_trial($$SELECT im_usersig('x', '51 years')$$);
CREATE SERVER "im test 2" FOREIGN DATA WRAPPER im_import OPTIONS (sdkappid '1400000000', region 'china');
SELECT im_test_trial('SELECT im_usersig()');
DROP SERVER "im test 2";

-- Key files: written by the server into its own directory, named im_test.key.
ALTER USER MAPPING FOR im_test_owner SERVER im_test OPTIONS (DROP secret_key, ADD secret_key_file '/nonexistent/im.key');
SELECT im_test_trial('SELECT im_usersig()');
SELECT format('ALTER USER MAPPING FOR im_test_owner SERVER im_test OPTIONS (SET secret_key_file %L)',
	current_setting('data_directory') || '/im_test.key') AS use_file \gset
:use_file;
COPY (SELECT 'key') TO PROGRAM 'cat > im_test.key && chmod 0600 im_test.key';
SELECT im_usersig_claims(im_usersig())->>'TLS.identifier',
	bool_and(im_usersig_claims(im_usersig(1400000000, 'key', 'administrator', '1 day',
	to_timestamp((c->>'TLS.time')::bigint)))->>'TLS.sig' = c->>'TLS.sig')
FROM (SELECT im_usersig_claims(im_usersig()) AS c) AS s;
COPY (SELECT '' UNION ALL SELECT '  key' || E'\r' UNION ALL SELECT '') TO PROGRAM 'cat > im_test.key';
SELECT im_test_trial('SELECT im_usersig() IS NOT NULL');
COPY (SELECT 'chmod') TO PROGRAM 'cat > /dev/null; chmod 0400 im_test.key';
SELECT im_test_trial('SELECT im_usersig() IS NOT NULL');
COPY (SELECT 'chmod') TO PROGRAM 'cat > /dev/null; chmod 0640 im_test.key';
SELECT im_test_trial('SELECT im_usersig() IS NOT NULL');
COPY (SELECT 'chmod') TO PROGRAM 'cat > /dev/null; chmod 0604 im_test.key';
SELECT im_test_trial('SELECT im_usersig() IS NOT NULL');
COPY (SELECT '') TO PROGRAM 'cat > im_test.key; chmod 0600 im_test.key';
SELECT im_test_trial('SELECT im_usersig() IS NOT NULL');
COPY (SELECT '-----BEGIN PRIVATE KEY-----' UNION ALL SELECT 'MIGHAgEA') TO PROGRAM 'cat > im_test.key';
SELECT im_test_trial('SELECT im_usersig() IS NOT NULL');
COPY (SELECT repeat('k', 256)) TO PROGRAM 'cat > im_test.key';
SELECT im_test_trial('SELECT im_usersig() IS NOT NULL');
COPY (SELECT repeat('k', 257)) TO PROGRAM 'cat > im_test.key';
SELECT im_test_trial('SELECT im_usersig() IS NOT NULL');
COPY (SELECT repeat('k', 100000)) TO PROGRAM 'cat > im_test.key';
SELECT im_test_trial('SELECT im_usersig() IS NOT NULL');
COPY (SELECT 'none') TO PROGRAM 'cat > /dev/null; rm im_test.key; mkfifo -m 0600 im_test.key';
SELECT im_test_trial('SELECT im_usersig() IS NOT NULL');
COPY (SELECT 'none') TO PROGRAM 'cat > /dev/null; rm im_test.key; mkdir -m 0700 im_test.key';
SELECT im_test_trial('SELECT im_usersig() IS NOT NULL');
COPY (SELECT 'none') TO PROGRAM 'cat > /dev/null; rmdir im_test.key';

DROP SERVER im_test CASCADE;
DROP ROLE im_test_owner;
DROP FUNCTION im_test_trial(text);
