-- The table of error codes.
\pset format unaligned
\pset tuples_only on

SELECT class, count(*) FROM im_error_codes() GROUP BY class ORDER BY class COLLATE "C";
SELECT class, string_agg(code::text, ' ' ORDER BY code) FROM im_error_codes() GROUP BY class ORDER BY class COLLATE "C";

-- in order, each code once, and nothing left unexplained
SELECT count(*) = count(DISTINCT code), array_agg(code) = array_agg(code ORDER BY code),
	bool_and(meaning <> '' AND advice <> ''),
	bool_and(class IN ('done', 'exists', 'row', 'slow', 'quota', 'resign', 'stop', 'retry')),
	bool_and(meaning !~ '\.$' AND advice ~ '[.]$'), bool_and(octet_length(meaning || advice) = length(meaning || advice))
FROM im_error_codes();

-- the import page's own codes, and ours
SELECT code, class FROM im_error_codes() WHERE code IN (0, 10002, 10003, 10004, 10007, 10021) ORDER BY code;
SELECT count(*) FROM im_error_codes() WHERE code BETWEEN -11 AND -1;
