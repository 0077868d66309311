-- A database with one of nearly everything that a tool may ask about.
create schema sales;
create type mood as enum ('sad', 'ok', 'happy');
create type address as (street text, town text);
create domain positive as int check (value > 0);
create sequence tickets increment 5;
create table customers (
  id int generated always as identity primary key,
  email varchar(200) not null unique,
  name text not null default 'nobody',
  feeling mood default 'ok',
  home address,
  born date check (born > '1900-01-01'),
  tags text[],
  settings jsonb not null default '{}'
);
comment on table customers is 'who buys';
comment on column customers.email is 'where bills go';
create table sales.orders (
  id bigserial primary key,
  customer int not null references customers on delete cascade on update cascade,
  amount numeric(10,2) not null check (amount >= 0),
  doubled numeric generated always as (amount * 2) stored,
  quantity positive,
  placed timestamptz not null default now(),
  during tstzrange,
  unique (customer, placed)
);
create index orders_placed on sales.orders (placed desc) where amount > 0;
create index customers_lower on customers (lower(email));
create index customers_tags on customers using gin (tags);
create table logs (at timestamptz not null, line text, primary key (at)) partition by range (at);
create table logs_1 partition of logs for values from ('2025-01-01') to ('2026-01-01');
create table logs_2 partition of logs default;
create table parent (a int);
create table child (b int) inherits (parent);
create unlogged table scratch (a int);
create view big_orders as select * from sales.orders where amount > 100;
create materialized view totals as
  select customer, sum(amount) as total from sales.orders group by customer;
create unique index totals_customer on totals (customer);
create function touch() returns trigger language plpgsql as
  $$ begin new.placed = now(); return new; end $$;
create trigger touch before update on sales.orders for each row execute function touch();
create function plus(a int, b int default 1) returns int language sql immutable
  as 'select a + b';
create procedure tidy() language sql as 'delete from public.logs';
create aggregate total(int) (sfunc = int4pl, stype = int4, initcond = '0');
create function same(mood, mood) returns bool language sql immutable as 'select $1::text = $2::text';
create operator === (leftarg = mood, rightarg = mood, function = same);
create cast (mood as int) with inout;
create rule keep as on delete to child do instead nothing;
alter table customers enable row level security;
create policy own on customers for select using (name = current_user);
create statistics pairs (dependencies) on customer, amount from sales.orders;
create collation plain (locale = 'C');
create publication news for table customers;
create extension hstore;
create extension postgres_fdw;
create server elsewhere foreign data wrapper postgres_fdw options (host 'nowhere');
create user mapping for public server elsewhere;
create schema outside;
create foreign table outside.far (a int) server elsewhere;
create text search configuration words (copy = simple);
create function seen() returns event_trigger language plpgsql as $$ begin null; end $$;
create event trigger watch on ddl_command_end execute function seen();
alter default privileges in schema sales grant select on tables to public;
grant select on customers to public;
select lo_from_bytea(0, 'large');
insert into customers (email, name, feeling, home, tags) values
  ('a@example.com', 'ann', 'happy', row ('First', 'Here'), '{x,y}'),
  ('b@example.com', 'bob', 'sad', null, null);
insert into sales.orders (customer, amount, quantity) values (1, 12.5, 3), (2, 1000, 1);
insert into logs values ('2025-05-05', 'one'), ('2027-05-05', 'two');
refresh materialized view totals;
create table typeorm_metadata (type varchar, database varchar, schema varchar, "table" varchar,
  name varchar, value text);
