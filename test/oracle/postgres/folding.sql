-- What the statements of folding.txt find: texts that one collation holds apart and another does not.
CREATE ROLE oracle_agent;
CREATE COLLATION folds (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE DOMAIN folded AS text COLLATE folds;
CREATE TABLE names (name text PRIMARY KEY, n int); INSERT INTO names VALUES ('a', 1), ('A', 2), ('b', 3);
CREATE TABLE loose (name text COLLATE folds, n int); CREATE UNIQUE INDEX ON loose (name COLLATE "C"); INSERT INTO loose VALUES ('a', 1), ('A', 2);
CREATE TABLE given (name text COLLATE folds); INSERT INTO given VALUES ('a');
CREATE TABLE ids (id int PRIMARY KEY, n int); INSERT INTO ids VALUES (1, 1), (-1, 2);
CREATE FUNCTION by_name(p text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN UPDATE names SET n = 0 WHERE name = p; END $$;
