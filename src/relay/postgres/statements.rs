//! What is said to Postgres: how a stream is made, read, appended to and trimmed. `postgres.sql` beside it has the tables.

/// Makes what is missing; two who do it at once would be in each other's way.
pub(super) const MAKE: &str = concat!(
    "begin; select pg_advisory_xact_lock(7953769336341); ",
    include_str!("../postgres.sql"),
    " commit"
);

/// A stream that is new begins now. Entries never have smaller places than those before, whatever the clock does.
pub(super) const BEGIN: &str = "
    insert into triwire_relay.streams (name, epoch, ms, number, first_ms, first_number)
    select $1, md5(random()::text || clock_timestamp()::text), now.ms, 0, now.ms, 0
    from (select (extract(epoch from now()) * 1000)::bigint as ms) now
    on conflict (name) do nothing";

pub(super) const BOUNDS: &str = "
    select epoch, first_ms, first_number, ms, number,
        entries = 0 or exists (select 1 from triwire_relay.entries where stream = $1 and nth = 1)
    from triwire_relay.streams where name = $1";

/// The next entries, a thousand of them or 8 MiB, and what the stream is then.
pub(super) const READ: &str = "
    select s.epoch, s.first_ms, s.first_number, s.ms, s.number, e.ms, e.number, e.entry
    from triwire_relay.streams s left join lateral (
        select ms, number, entry from (
            select ms, number, entry, sum(octet_length(entry)) over (order by ms, number) - octet_length(entry) as before
            from (
                select ms, number, entry from triwire_relay.entries
                where stream = s.name and (ms, number) > ($2::bigint, $3::bigint) order by ms, number limit 1000
            ) next
        ) sized where before < 8388608
    ) e on true
    where s.name = $1 order by e.ms, e.number";

/// Of those who append at once, one waits here for the other, and then sees what that one has made of the row.
pub(super) const APPEND: &str = "
    with now as (
        select (extract(epoch from now()) * 1000)::bigint as ms
    ), place as (
        update triwire_relay.streams s set
            ms = greatest(s.ms, now.ms),
            number = case when now.ms > s.ms then 0 else s.number + 1 end + $3::bigint - 1,
            entries = s.entries + $3::bigint
        from now where s.name = $1 returning s.ms, s.number, s.entries
    ), added as (
        insert into triwire_relay.entries (stream, ms, number, nth, entry)
        select $1, place.ms, place.number - $3::bigint + e.nth, place.entries - $3::bigint + e.nth, e.entry
        from place, unnest($2::bytea[]) with ordinality as e (entry, nth) returning 1
    )
    select count(*), pg_notify($4, '') from added";

/// An entry that says that something is gone, beyond a place: whoever comes back later learns of it by that.
pub(super) const RAISE: &str = "
    with place as (
        update triwire_relay.streams set
            ms = greatest(ms, $2::bigint),
            number = case
                when ms > $2::bigint then number
                when ms = $2::bigint then greatest(number, $3::bigint)
                else $3::bigint
            end + 1,
            entries = entries + 1
        where name = $1 returning ms, number, entries
    )
    insert into triwire_relay.entries (stream, ms, number, nth, entry)
    select $1, ms, number, entries, $4::bytea from place";

/// What is at a place.
pub(super) const ENTRY: &str = "
    select entry from triwire_relay.entries where stream = $1 and ms = $2::bigint and number = $3::bigint";

/// Lets go of what is too much, not too much of it at once.
pub(super) const TRIM: &str = "
    with too_old as (
        select least(s.entries - $2::bigint, (select min(nth) + 9999 from triwire_relay.entries where stream = $1)) as nth
        from triwire_relay.streams s where s.name = $1
    ), gone as (
        delete from triwire_relay.entries e using too_old where e.stream = $1 and e.nth <= too_old.nth
        returning e.ms, e.number
    ), newest as (
        select ms, number from gone order by ms desc, number desc limit 1
    )
    update triwire_relay.streams s set first_ms = newest.ms, first_number = newest.number from newest
    where s.name = $1 and (s.first_ms, s.first_number) < (newest.ms, newest.number)";
