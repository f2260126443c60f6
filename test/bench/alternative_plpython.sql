-- The other thing people write: a function that POSTs the rows one after the
-- other, inside its caller's transaction, over one kept-alive connection.
CREATE EXTENSION IF NOT EXISTS plpython3u;

CREATE FUNCTION alternative_import(url text, ca_file text) RETURNS bigint LANGUAGE plpython3u AS $$
import json
import requests

session = requests.Session()
session.trust_env = False
session.verify = ca_file
session.headers["Content-Type"] = "application/json"
rows = plpy.execute("""SELECT id, type, group_id, name, owner_account, introduction, notification,
                              extract(epoch FROM create_time)::bigint AS create_time
                       FROM alternative_outbox WHERE status = 'pending' ORDER BY id FOR UPDATE SKIP LOCKED""")
update = plpy.prepare("UPDATE alternative_outbox SET status = $2, error_code = $3, settled_at = now() WHERE id = $1",
                      ["bigint", "text", "integer"])
for row in rows:
    answer = session.post(
        url + "/v4/group_open_http_svc/import_group?sdkappid=1400000000&identifier=administrator&usersig=%s&random=%d"
        % ("x" * 256, row["id"]),
        data=json.dumps({"Type": row["type"], "GroupId": row["group_id"], "Name": row["name"],
                         "Owner_Account": row["owner_account"], "Introduction": row["introduction"],
                         "Notification": row["notification"], "CreateTime": row["create_time"]}))
    code = answer.json()["ErrorCode"]
    plpy.execute(update, [row["id"], "imported" if code == 0 else "failed", code])
return len(rows)
$$;
