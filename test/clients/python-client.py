# What psycopg 3 (libpq) does that others don't: pipeline mode, server-side cursors, binary, COPY, cancel.
# Prints one JSON line of what it saw; test/clients/psycopg.test.ts compares.
import json
import sys
import threading
import time

import psycopg

seen = {}
conn = psycopg.connect(sys.argv[1], autocommit=True)

with conn.pipeline():
    cursors = [conn.execute("select %s::int * 2", [i]) for i in range(50)]
seen["pipeline"] = sum(c.fetchone()[0] for c in cursors)

try:
    with conn.pipeline() as p:
        conn.execute("insert into things values (100, 'never')")
        conn.execute("select 1 / %s::int", [0])
        conn.execute("insert into things values (101, 'never')")
        p.sync()
except psycopg.Error as error:
    seen["pipeline_error"] = error.sqlstate
seen["left"] = conn.execute("select count(*) from things where id >= 100").fetchone()[0]

with conn.transaction():
    with conn.cursor(name="server_side") as cursor:
        cursor.itersize = 7
        seen["server_side"] = len(cursor.execute("select id from things order by id").fetchall())

row = conn.execute("select %b::int8, %b::text, %b::float8", [2**40, "é☃", 1.5]).fetchone()
seen["binary_in"] = list(row)
with conn.cursor(binary=True) as cursor:
    row = cursor.execute("select id, name, %s::bytea from things where id = 3", [b"\0\xff"]).fetchone()
    seen["binary_out"] = [row[0], row[1], list(row[2])]

with conn.cursor() as cursor:
    with cursor.copy("copy things from stdin (format binary)") as copy:
        copy.set_types(["int4", "text"])
        for i in range(200, 1200):
            copy.write_row([i, "copied"])
    with cursor.copy("copy things to stdout") as copy:
        seen["copied_out"] = sum(1 for _ in copy.rows())
    try:
        with cursor.copy("copy things from stdin") as copy:
            copy.write("no number\tx\n")
    except psycopg.Error as error:
        seen["copy_error"] = error.sqlstate
    cursor.executemany("insert into things values (%s, %s)", [(i, "many") for i in range(2000, 2050)])
    seen["many"] = cursor.rowcount

for i in range(8):
    conn.execute("select name from things where id = %s", [i], prepare=True).fetchone()
seen["prepared"] = conn.execute("select count(*) from pg_prepared_statements").fetchone()[0]

def cancel():
    watch = psycopg.connect(sys.argv[2], autocommit=True)
    asked = "select 1 from pg_stat_activity where state = 'active' and query like 'select pg_sleep(%%' and pid <> pg_backend_pid() and datname = current_database()"
    while watch.execute(asked).fetchone() is None:
        time.sleep(0.02)
    conn.cancel()
    watch.close()

thread = threading.Thread(target=cancel)
thread.start()
try:
    conn.execute("select pg_sleep(30)")
except psycopg.Error as error:
    seen["cancel"] = error.sqlstate
thread.join()

conn.execute("listen ch")
with psycopg.connect(sys.argv[1], autocommit=True) as other:
    other.execute("notify ch, 'hello'")
seen["notify"] = next(conn.notifies()).payload
seen["status"] = conn.info.transaction_status.name
conn.close()
print(json.dumps(seen))
