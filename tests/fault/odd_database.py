"""A database with everything that a dump, a count or a name can stumble over."""

ODD = 'Odd "s".x'  # a schema with quotes, a dot, upper case and a blank
BROKEN = "tä\nble"  # not ASCII, and a line break
SQL = """
create extension if not exists hstore;
create schema "Odd ""s"".x";
create table "Odd ""s"".x"."tä
ble" (id bigint generated always as identity primary key,
 v varchar(5) check (v in ('a', 'b', 'it''s')), c char(3) check (c in ('x', 'yy')));
insert into "Odd ""s"".x"."tä
ble" (v) values ('a'), ('b');
create table "user" (id serial, "select" text); insert into "user" ("select") values ('x');
create table parted (id serial, day date not null) partition by range (day);
create table parted_20 partition of parted for values from ('2020-01-01') to ('2021-01-01');
create index on parted (day);
insert into parted (day) select '2020-02-02' from generate_series(1, 10);
create table parent (i int); create table child (j int) inherits (parent);
insert into parent values (1); insert into child values (2, 3), (4, 5);
create unlogged table scratch (i int); insert into scratch values (1);
create materialized view seen as select count(*) from parted;
create materialized view unseen as select 1 as one with no data;
create view listed as select * from "Odd ""s"".x"."tä
ble" where v in ('a', c, 'b' || v) and c not in ('x');
create type mood as enum ('a', 'b');
create table checked (m mood check (m in ('a', 'b')), n numeric check (n > -1 and n < 3),
 t timestamptz default now() - interval '1 day');
alter table checked add constraint later check (n <> 2) not valid;
create policy only_a on checked using (current_user::varchar in ('a', 'b'));
create function touch() returns trigger language plpgsql as $$begin return new; end$$;
create trigger off before insert on checked for each row execute function touch();
alter table checked disable trigger off;
create sequence "S;q"; select nextval('"S;q"'); create sequence cold start 7;
select lo_from_bytea(0, 'one'), lo_from_bytea(0, 'two');
create temp table gone (i int);
"""
PROPERTIES = """
do $$begin
 if not exists (select from pg_roles where rolname = 'Ünï') then create role "Ünï" login; end if;
end$$;
alter database "{name}" set search_path = '$user', public, 'Odd';
alter database "{name}" set statement_timeout = '1ms';
alter database "{name}" set standard_conforming_strings = off;
alter database "{name}" set default_transaction_read_only = on;
alter database "{name}" set client_encoding = 'LATIN1';
alter role "Ünï" in database "{name}" set work_mem = '7MB';
alter database "{name}" set hasync.marker = '{{}}';
comment on database "{name}" is 'it''s odd';
alter database "{name}" owner to "Ünï";
"""
TABLES = {
    '"Odd ""s"".x"."tä\nble"': 2,
    "public.user": 1,
    "public.parted_20": 10,
    "public.parent": 1,
    "public.child": 2,
    "public.scratch": 1,
    "public.checked": 0,
}
