-- The extension, in the schema that the environment's IM_SCHEMA names, or in public.
\set ECHO none
\set schema public
\getenv schema IM_SCHEMA
SET client_min_messages = warning;
CREATE SCHEMA IF NOT EXISTS :"schema";
GRANT USAGE ON SCHEMA :"schema" TO PUBLIC;
CREATE EXTENSION im_import SCHEMA :"schema";
SELECT format('ALTER DATABASE %I SET search_path = %I', current_database(), :'schema') \gexec
