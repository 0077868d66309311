-- What the statements of rows.jsonl find: keys that hold, keys that seem to, and everything that runs once for each row.
CREATE ROLE oracle_agent;
CREATE EXTENSION citext;
CREATE TABLE acc (id bigint PRIMARY KEY, email varchar(50) UNIQUE, at timestamp UNIQUE, day date UNIQUE, amount numeric UNIQUE, n int NOT NULL DEFAULT 0);
INSERT INTO acc VALUES
  (9007199254740992, 'a', '2024-03-31 02:30', '2011-12-30', 0.1, 1),
  (9007199254740993, 'a ', '2024-03-31 03:30', '2011-12-31', 0.10000000000000000555111512312578, 2),
  (3, 'A', '2024-01-01 01:00', '2024-01-01', 0.9, 3), (4, 'b', '2024-01-01 02:00', '2024-01-02', 1.1, 4);
CREATE TABLE uuids (id uuid PRIMARY KEY, n int); INSERT INTO uuids VALUES ('5f0c4c9e-6f0e-4a52-a6f5-3d2f6d7a8b90', 1), ('5f0c4c9e-6f0e-4a52-a6f5-3d2f6d7a8b91', 2);
CREATE TABLE lax (id int, n int, UNIQUE (id) DEFERRABLE INITIALLY IMMEDIATE); INSERT INTO lax VALUES (1, 1), (2, 2);
CREATE TABLE soft (id int PRIMARY KEY, slug text, gone bool NOT NULL DEFAULT false, n int);
CREATE UNIQUE INDEX ON soft (slug) WHERE NOT gone; CREATE UNIQUE INDEX ON soft ((id + 0));
INSERT INTO soft VALUES (4, 'b', false, 4), (1, 'a', false, 1), (2, 'a', true, 2), (3, 'a', true, 3);
CREATE TABLE broken (id int, n int); CREATE UNIQUE INDEX broken_key ON broken (id);
UPDATE pg_index SET indisvalid = false, indisready = false WHERE indexrelid = 'broken_key'::regclass;
INSERT INTO broken VALUES (2, 2), (1, 1), (1, 2), (1, 3);
CREATE TABLE nulls (a int UNIQUE, b int, c int, n int, UNIQUE (b, c)); INSERT INTO nulls VALUES (NULL, 1, NULL, 1), (NULL, 1, NULL, 2), (NULL, 1, NULL, 3), (4, 4, 4, 4);
CREATE TABLE pair (a int, b int, n int, PRIMARY KEY (a, b)); INSERT INTO pair SELECT a, b, 0 FROM generate_series(1, 4) a, generate_series(1, 4) b;
CREATE TABLE par (id int PRIMARY KEY, n int); CREATE TABLE kid () INHERITS (par);
INSERT INTO par VALUES (1, 1), (2, 2); INSERT INTO kid VALUES (1, 3), (1, 4);
CREATE VIEW pars AS SELECT * FROM par;
CREATE TABLE parts (id int, k int, n int, PRIMARY KEY (id, k)) PARTITION BY LIST (k);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES IN (1); CREATE TABLE parts_2 PARTITION OF parts FOR VALUES IN (2);
INSERT INTO parts VALUES (1, 1, 1), (1, 2, 2), (2, 1, 3);
CREATE TABLE ci (name citext, n int); CREATE UNIQUE INDEX ON ci (name text_ops); INSERT INTO ci VALUES ('A', 1), ('a', 2);
CREATE TABLE ci2 (name citext UNIQUE, n int); INSERT INTO ci2 VALUES ('A', 1), ('b', 2);
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy'); CREATE DOMAIN yes AS bool; CREATE DOMAIN feeling AS mood;
CREATE TABLE moods (id int PRIMARY KEY, m mood, f feeling, b bool, y yes, n int);
INSERT INTO moods VALUES (1, 'sad', 'sad', true, true, 1), (2, 'ok', 'ok', false, false, 2), (3, 'happy', 'happy', true, true, 3), (4, 'ok', 'ok', true, false, 4);

CREATE TABLE log (what text); CREATE SEQUENCE seq; CREATE TABLE big (v int); INSERT INTO big SELECT generate_series(1, 50);
CREATE FUNCTION bump() RETURNS int LANGUAGE plpgsql AS $$ BEGIN INSERT INTO log (what) VALUES ('bump'); RETURN 1; END $$;
CREATE FUNCTION bump(int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN INSERT INTO log (what) VALUES ('bump'); RETURN $1; END $$;
CREATE FUNCTION bump_sql() RETURNS text LANGUAGE sql AS $$ INSERT INTO log (what) VALUES ('sql') RETURNING what $$;
CREATE FUNCTION bump_atomic() RETURNS void LANGUAGE sql BEGIN ATOMIC INSERT INTO log (what) VALUES ('a'), ('b'); END;
CREATE FUNCTION bump_imm(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN bump($1); END $$;
CREATE FUNCTION bump_row() RETURNS moods LANGUAGE plpgsql AS $$ DECLARE r moods; BEGIN PERFORM bump(); RETURN r; END $$;
CREATE FUNCTION bump_rows() RETURNS SETOF int LANGUAGE plpgsql AS $$ BEGIN PERFORM bump(); RETURN NEXT 1; RETURN NEXT 2; RETURN NEXT 3; END $$;
CREATE FUNCTION bump_default(a int DEFAULT bump()) RETURNS int LANGUAGE sql AS 'SELECT a';
CREATE FUNCTION bump_loop() RETURNS void LANGUAGE plpgsql AS $$ BEGIN FOR i IN 1..3 LOOP INSERT INTO log (what) VALUES ('loop'); END LOOP; END $$;
CREATE FUNCTION bump_while() RETURNS void LANGUAGE plpgsql AS $$ DECLARE i int := 0; BEGIN WHILE i + bump() < 5 LOOP i := i + 1; END LOOP; END $$;
CREATE FUNCTION bump_each() RETURNS void LANGUAGE plpgsql AS $$ DECLARE r record; BEGIN FOR r IN SELECT v FROM big LOOP UPDATE big SET v = v WHERE v = r.v; PERFORM bump(); END LOOP; END $$;
CREATE FUNCTION bump_foreach() RETURNS void LANGUAGE plpgsql AS $$ DECLARE i int; BEGIN FOREACH i IN ARRAY ARRAY[1,2,3] LOOP EXECUTE 'INSERT INTO log (what) VALUES (''x'')'; END LOOP; END $$;
CREATE FUNCTION bump_between() RETURNS void LANGUAGE plpgsql AS $$ BEGIN IF bump() BETWEEN 0 AND 5 THEN NULL; END IF; END $$;
CREATE FUNCTION bump_declared() RETURNS void LANGUAGE plpgsql AS $$ BEGIN FOR i IN 1..3 LOOP DECLARE x int := bump(); BEGIN NULL; END; END LOOP; END $$;
CREATE FUNCTION bump_cursor() RETURNS void LANGUAGE plpgsql AS $$ DECLARE c CURSOR FOR SELECT bump(); x int; BEGIN OPEN c; FETCH c INTO x; CLOSE c; OPEN c; FETCH c INTO x; CLOSE c; END $$;
CREATE FUNCTION bump_again(n int) RETURNS void LANGUAGE plpgsql AS $$ BEGIN INSERT INTO log (what) VALUES ('again'); IF n > 0 THEN PERFORM bump_again(n - 1); END IF; END $$;
CREATE FUNCTION bump_retry() RETURNS void LANGUAGE plpgsql AS $$ DECLARE i int := 0; BEGIN LOOP BEGIN i := i + 1; INSERT INTO log (what) VALUES ('try'); IF i > 2 THEN RETURN; END IF; EXCEPTION WHEN OTHERS THEN NULL; END; END LOOP; END $$;
CREATE FUNCTION by_key(p bigint) RETURNS void LANGUAGE plpgsql AS $$ BEGIN UPDATE acc SET n = n + 1 WHERE id = p; END $$;
CREATE FUNCTION by_float(p float8) RETURNS void LANGUAGE plpgsql AS $$ BEGIN UPDATE acc SET n = n + 1 WHERE id = p; END $$;
CREATE FUNCTION by_number(float8) RETURNS void LANGUAGE sql AS 'UPDATE acc SET n = n + 1 WHERE id = $1';
CREATE FUNCTION by_using() RETURNS void LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'UPDATE acc SET n = n + 1 WHERE id = $1' USING 9007199254740992::float8; END $$;
CREATE FUNCTION by_record() RETURNS void LANGUAGE plpgsql AS $$ DECLARE r record; BEGIN SELECT 9007199254740992::float8 AS id INTO r; UPDATE acc SET n = n + 1 WHERE id = r.id; END $$;
CREATE FUNCTION by_variable(id int) RETURNS void LANGUAGE plpgsql AS $$
#variable_conflict use_variable
BEGIN UPDATE moods SET n = n + 1 WHERE id = 1; END $$;
CREATE FUNCTION by_setting(id int) RETURNS void LANGUAGE plpgsql SET plpgsql.variable_conflict = 'use_variable' AS $$ BEGIN UPDATE moods SET n = n + 1 WHERE id = 1; END $$;
CREATE PROCEDURE bump_proc(int) LANGUAGE plpgsql AS $$ BEGIN INSERT INTO log (what) VALUES ('proc'); END $$;
CREATE FUNCTION bump2(int, int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN bump(); END $$;
CREATE AGGREGATE bump_all(int) (SFUNC = bump2, STYPE = int);
CREATE FUNCTION bump_op(int, int) RETURNS SETOF int LANGUAGE sql AS 'VALUES (1), (2), (3)'; CREATE OPERATOR @# (LEFTARG = int, RIGHTARG = int, FUNCTION = bump_op);

CREATE FUNCTION one() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO log (what) VALUES (TG_OP); RETURN COALESCE(NEW, OLD); END $$;
CREATE FUNCTION two() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.n > 0 THEN INSERT INTO log (what) VALUES ('x'), ('y'); ELSE INSERT INTO log (what) VALUES ('z'); END IF; RETURN NEW; END $$;
CREATE FUNCTION looping() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM bump_loop(); RETURN NEW; END $$;
CREATE FUNCTION copying() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO log (what) SELECT v::text FROM big; RETURN NEW; END $$;
CREATE FUNCTION counting() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE totals SET n = n + 1 WHERE id = NEW.total_id; RETURN NULL; END $$;
CREATE FUNCTION widely() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE totals SET n = n + 1 WHERE grp = NEW.total_id; RETURN NULL; END $$;
CREATE FUNCTION loosely() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE acc SET n = n + 1 WHERE id = NEW.f; RETURN NULL; END $$;
CREATE FUNCTION onwards() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE chain SET n = n + 1 WHERE id = NEW.id + 1; RETURN NULL; END $$;
CREATE FUNCTION skipping() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE FUNCTION stamping() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.n := 7; RETURN NEW; END $$;
CREATE FUNCTION telling() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_notify('x', NEW.id::text); RETURN NEW; END $$;
CREATE TABLE totals (id int PRIMARY KEY, grp int, n int NOT NULL DEFAULT 0); INSERT INTO totals SELECT g, 1 + g / 4, 0 FROM generate_series(1, 5) g;
CREATE TABLE t_one (id int PRIMARY KEY, n int); INSERT INTO t_one SELECT g, g FROM generate_series(1, 5) g; CREATE TRIGGER a AFTER INSERT OR UPDATE OR DELETE ON t_one FOR EACH ROW EXECUTE FUNCTION one();
CREATE TABLE t_two (id int PRIMARY KEY, n int); INSERT INTO t_two SELECT g, g FROM generate_series(1, 5) g; CREATE TRIGGER a BEFORE UPDATE ON t_two FOR EACH ROW EXECUTE FUNCTION one(); CREATE TRIGGER b AFTER UPDATE ON t_two FOR EACH ROW EXECUTE FUNCTION two(); CREATE TRIGGER c BEFORE UPDATE ON t_two FOR EACH ROW EXECUTE FUNCTION stamping();
CREATE TABLE t_loop (id int PRIMARY KEY, n int); INSERT INTO t_loop VALUES (1, 1), (2, 2); CREATE TRIGGER a AFTER UPDATE ON t_loop FOR EACH ROW EXECUTE FUNCTION looping();
CREATE TABLE t_copy (id int PRIMARY KEY, n int); INSERT INTO t_copy VALUES (1, 1), (2, 2); CREATE TRIGGER a BEFORE UPDATE ON t_copy FOR EACH ROW EXECUTE FUNCTION copying();
CREATE TABLE t_count (id int PRIMARY KEY, total_id int, f float8); INSERT INTO t_count VALUES (1, 1, 9007199254740992), (2, 2, 1), (3, 1, 1); CREATE TRIGGER a AFTER INSERT OR UPDATE ON t_count FOR EACH ROW EXECUTE FUNCTION counting();
CREATE TABLE t_wide (id int PRIMARY KEY, total_id int); INSERT INTO t_wide VALUES (1, 1); CREATE TRIGGER a AFTER UPDATE ON t_wide FOR EACH ROW EXECUTE FUNCTION widely();
CREATE TABLE t_float (id int PRIMARY KEY, f float8); INSERT INTO t_float VALUES (1, 9007199254740992); CREATE TRIGGER a AFTER UPDATE ON t_float FOR EACH ROW EXECUTE FUNCTION loosely();
CREATE TABLE t_stmt (id int PRIMARY KEY, n int); INSERT INTO t_stmt SELECT g, g FROM generate_series(1, 5) g; CREATE TRIGGER a AFTER UPDATE ON t_stmt FOR EACH STATEMENT EXECUTE FUNCTION one(); CREATE TRIGGER b BEFORE UPDATE ON t_stmt FOR EACH STATEMENT EXECUTE FUNCTION one();
CREATE TABLE t_skip (id int PRIMARY KEY, n int); INSERT INTO t_skip VALUES (1, 1); CREATE TRIGGER a BEFORE UPDATE ON t_skip FOR EACH ROW EXECUTE FUNCTION skipping();
CREATE TABLE t_tell (id int PRIMARY KEY, n int); INSERT INTO t_tell VALUES (1, 1); CREATE TRIGGER a BEFORE UPDATE ON t_tell FOR EACH ROW EXECUTE FUNCTION telling();
CREATE TABLE chain (id int PRIMARY KEY, n int); INSERT INTO chain SELECT g, g FROM generate_series(1, 9) g; CREATE TRIGGER a AFTER UPDATE ON chain FOR EACH ROW EXECUTE FUNCTION onwards();
CREATE TRIGGER p AFTER INSERT OR DELETE ON parts_2 FOR EACH ROW EXECUTE FUNCTION one(); CREATE TRIGGER p AFTER DELETE ON parts_1 FOR EACH ROW EXECUTE FUNCTION one();
CREATE TABLE dflt (id int, n int DEFAULT bump()); CREATE TABLE chk (id int CHECK (bump(id) > 0));

CREATE TABLE mother (id int PRIMARY KEY, n int); INSERT INTO mother SELECT g, g FROM generate_series(1, 3) g;
CREATE TABLE many_kids (id int, m int REFERENCES mother ON DELETE CASCADE ON UPDATE CASCADE); INSERT INTO many_kids SELECT g, 1 + g / 4 FROM generate_series(1, 5) g;
CREATE TABLE only_kid (m int UNIQUE REFERENCES mother ON DELETE SET NULL ON UPDATE CASCADE, n int); INSERT INTO only_kid VALUES (1, 1), (2, 2);
CREATE TRIGGER k AFTER UPDATE ON only_kid FOR EACH ROW EXECUTE FUNCTION one();
CREATE TABLE links (id int PRIMARY KEY, next int UNIQUE REFERENCES links ON DELETE CASCADE); INSERT INTO links SELECT g, nullif(g - 1, 0) FROM generate_series(1, 6) g;
CREATE TABLE solo (id int PRIMARY KEY); INSERT INTO solo VALUES (1), (2); CREATE TABLE solo_kid (m int UNIQUE REFERENCES solo ON UPDATE CASCADE); INSERT INTO solo_kid VALUES (1), (2);

CREATE VIEW v_one AS SELECT id, n FROM t_one; CREATE VIEW v_named AS SELECT n AS id, id AS n FROM t_one; CREATE VIEW v_on_v AS SELECT id AS key, n FROM v_one WHERE n > 0;
CREATE VIEW v_many AS SELECT id, generate_series(1, 3) AS g FROM t_skip; CREATE TRIGGER i INSTEAD OF UPDATE ON v_many FOR EACH ROW EXECUTE FUNCTION one();
CREATE VIEW v_joined AS SELECT t.id, b.v FROM t_skip t, big b; CREATE TRIGGER i INSTEAD OF UPDATE ON v_joined FOR EACH ROW EXECUTE FUNCTION one();
CREATE VIEW v_instead AS SELECT id, n FROM totals; CREATE TRIGGER i INSTEAD OF UPDATE ON v_instead FOR EACH ROW EXECUTE FUNCTION one();
CREATE TABLE ruled (id int PRIMARY KEY, n int); INSERT INTO ruled VALUES (1, 1), (2, 2); CREATE RULE r AS ON UPDATE TO ruled DO ALSO INSERT INTO log (what) SELECT v::text FROM big;
CREATE TABLE diverted (id int PRIMARY KEY, n int); INSERT INTO diverted VALUES (1, 1), (2, 2), (3, 3); CREATE RULE r AS ON DELETE TO diverted DO INSTEAD UPDATE diverted SET n = 0 RETURNING diverted.*;
CREATE TABLE jobs (id bigserial PRIMARY KEY, state text NOT NULL DEFAULT 'ready', n int); INSERT INTO jobs (n) SELECT g FROM generate_series(1, 8) g;
