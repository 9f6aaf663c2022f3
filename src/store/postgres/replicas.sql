-- Tells this database from others: servers that are one behind a relay must have the same.
alter table triwire.meta add column store uuid not null default gen_random_uuid();

-- For each relay, how far the outbox was told there, and at which place of the relay's order that was so. It is written now
-- and then: what was told later is in the relay.
create table triwire.told (
    relay text collate "C" primary key,
    at text collate "C" not null,
    place text not null
);
