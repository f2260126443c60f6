------------------------------------------------------------------------------
-- Functions that call no service; they work without shared_preload_libraries

CREATE FUNCTION @extschema@.im_import_validator(pg_catalog.text[], pg_catalog.oid) RETURNS void
AS 'MODULE_PATHNAME', 'im_import_validator' LANGUAGE C STRICT;
REVOKE ALL ON FUNCTION @extschema@.im_import_validator(pg_catalog.text[], pg_catalog.oid) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.im_import_validator(pg_catalog.text[], pg_catalog.oid) IS
'Validator of the foreign-data wrapper im_import: checks the options of its SERVER and USER MAPPING, and wakes the worker when they change';

CREATE FUNCTION @extschema@.im_group_json(record) RETURNS pg_catalog.json
AS 'MODULE_PATHNAME', 'im_group_json' LANGUAGE C STABLE STRICT PARALLEL SAFE COST 50;
REVOKE ALL ON FUNCTION @extschema@.im_group_json(record) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.im_group_json(record) IS
'The exact import_group request that would be sent for a record, whose columns are matched by name without regard to case and underscores; NULL is left out. Calls nothing. A record with problems gives the best that can be made of it, see im_group_problems(). ERROR if there is no column type or name. Source: document 1047/34967';

CREATE FUNCTION @extschema@.im_group_problems(record, warnings boolean DEFAULT false) RETURNS pg_catalog.text[]
AS 'MODULE_PATHNAME', 'im_group_problems' LANGUAGE C STABLE STRICT PARALLEL SAFE COST 50;
REVOKE ALL ON FUNCTION @extschema@.im_group_problems(record, boolean) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.im_group_problems(record, boolean) IS
'Everything that would keep a record from being sent, each with field, value and limit (in bytes of UTF-8, by the server''s option text_limits); {} if nothing does. With warnings also what is unusual but would be sent, beginning with "warning: ". ERROR if there is no column type or name. Source: documents 1047/34967 and 1047/33529';

CREATE FUNCTION @extschema@.im_fit(pg_catalog.text, bytes integer) RETURNS pg_catalog.text
AS 'MODULE_PATHNAME', 'im_fit' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
REVOKE ALL ON FUNCTION @extschema@.im_fit(pg_catalog.text, integer) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.im_fit(pg_catalog.text, integer) IS
'The longest prefix of a text that takes at most so many bytes in UTF-8, whatever the database encoding, cut between characters. ERROR if bytes is negative';

CREATE FUNCTION @extschema@.im_usersig(identifier pg_catalog.text DEFAULT NULL, lifetime interval DEFAULT NULL) RETURNS pg_catalog.text
AS 'MODULE_PATHNAME', 'im_usersig_configured' LANGUAGE C VOLATILE;
REVOKE ALL ON FUNCTION @extschema@.im_usersig(pg_catalog.text, interval) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.im_usersig(pg_catalog.text, interval) IS
'A UserSig made with the configured key: by default of the configured admin, valid for a day from now (at most 50 years; a year counts 365 days, a month 30). It is as good as a password. ERROR if there is no server, mapping or readable key. Source: document 1047/34385';

CREATE FUNCTION @extschema@.im_usersig(sdkappid bigint, secret_key pg_catalog.text, identifier pg_catalog.text, lifetime interval, issued_at timestamptz) RETURNS pg_catalog.text
AS 'MODULE_PATHNAME', 'im_usersig_pure' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
REVOKE ALL ON FUNCTION @extschema@.im_usersig(bigint, pg_catalog.text, pg_catalog.text, interval, timestamptz) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.im_usersig(bigint, pg_catalog.text, pg_catalog.text, interval, timestamptz) IS
'A UserSig from nothing but its arguments, in the scheme TLSSigAPIv2; reads no options. The lifetime is 1 second to 50 years (a year counts 365 days, a month 30). A key spelled in a statement may be logged by PostgreSQL. Source: document 1047/34385';

CREATE FUNCTION @extschema@.im_usersig_claims(usersig pg_catalog.text) RETURNS pg_catalog.jsonb
AS 'MODULE_PATHNAME', 'im_usersig_claims' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
REVOKE ALL ON FUNCTION @extschema@.im_usersig_claims(pg_catalog.text) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.im_usersig_claims(pg_catalog.text) IS
'What a UserSig says (TLS.time in UNIX seconds, TLS.expire in seconds after it), whoever signed it: the signature is shown, not checked. ERROR if it cannot be decoded. Source: document 1047/34385';

CREATE FUNCTION @extschema@.im_error_codes(OUT code integer, OUT class pg_catalog.text, OUT meaning pg_catalog.text, OUT advice pg_catalog.text) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'im_error_codes' LANGUAGE C STABLE STRICT PARALLEL SAFE ROWS 150;
REVOKE ALL ON FUNCTION @extschema@.im_error_codes() FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.im_error_codes() IS
'Every error code that is known, the service''s and (negative) our own, with its class as the import judges it, its meaning and what to do. Source: document 1047/34348 and the pages of the group commands';

-- Defaults of outbox columns.  Whoever may INSERT must be able to execute them.
CREATE FUNCTION @extschema@.im_row_key() RETURNS pg_catalog.uuid
AS 'MODULE_PATHNAME', 'im_row_key' LANGUAGE C VOLATILE PARALLEL SAFE;
REVOKE ALL ON FUNCTION @extschema@.im_row_key() FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.im_row_key() IS
'128 random bits: the default of the outbox''s column row_key, from which the GroupId of a row without one is made';

CREATE FUNCTION @extschema@.im_generated_group_id(row_key pg_catalog.uuid, community boolean) RETURNS pg_catalog.text
AS 'MODULE_PATHNAME', 'im_generated_group_id' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
REVOKE ALL ON FUNCTION @extschema@.im_generated_group_id(pg_catalog.uuid, boolean) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.im_generated_group_id(pg_catalog.uuid, boolean) IS
'The GroupId that an outbox row without one gets: im- (Community: @TGS#_im-) and its row_key in base32. A function of the row alone, so that the row never makes a second group';
