-- What the relays of all systems keep in a database. Each stream has a row, which is locked while entries get their places:
-- so the order of places is the order in which they can be seen.
create schema if not exists triwire_relay;
create table if not exists triwire_relay.streams (
    name text primary key,
    epoch text not null,
    -- The place of the newest entry, how many there ever were, and the place of the newest that was let go.
    ms bigint not null,
    number bigint not null,
    entries bigint not null default 0,
    first_ms bigint not null,
    first_number bigint not null
);
create table if not exists triwire_relay.entries (
    stream text not null,
    ms bigint not null,
    number bigint not null,
    -- Its number among all that the stream ever had.
    nth bigint not null,
    entry bytea not null,
    primary key (stream, ms, number)
);
create unique index if not exists entries_nth on triwire_relay.entries (stream, nth);
-- What is published is packed already, or small.
alter table triwire_relay.entries alter column entry set storage external;
