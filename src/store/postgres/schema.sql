-- What triwire keeps in a database: documents, which tables of others are collections, and the outbox, from which
-- every server reads what has changed. Version 1; `triwire migrate` runs this once, in one transaction.
--
-- Functions that triggers call run with the rights of who made them, so that whoever writes to a watched table needs no
-- right to anything here. Settings by which values are written are fixed, so that a row is the same document in whoever's
-- session.

create schema triwire;

create table triwire.meta (
    one boolean primary key default true check (one),
    version integer not null,
    -- Counts what servers must look at again: tables that are watched, schemas of collections.
    definitions bigint not null default 1,
    -- Rows of the outbox that are visible in it may be gone.
    pruned pg_snapshot not null default '1:1:'
);
insert into triwire.meta (version) values (1);

-- What can be an id: it stands in a path.
create function triwire.is_id(id text) returns boolean immutable strict parallel safe language sql
    as $$ select octet_length(id) between 1 and 255 and id !~ '^[$]|[/[:cntrl:]]' and id not in ('.', '..') $$;

-- The integer that an id is written as, if it is: neither 01 nor -0 is one.
create function triwire.id_number(id text) returns bigint immutable strict parallel safe language sql
    as $$
    select case
        when id ~ '^(0|-?[1-9][0-9]{0,17})$' then id::bigint
        when id ~ '^-?[1-9][0-9]{18}$' and id::numeric between -9223372036854775808 and 9223372036854775807 then id::bigint
    end
    $$;

create function triwire.id_json(id text) returns jsonb immutable strict parallel safe language sql
    as $$ select coalesce(to_jsonb(triwire.id_number(id)), to_jsonb(id)) $$;

-- The order of values, and what filters and sorts go by: nothing, then numbers (and false and true as 0 and 1), then
-- texts by their bytes, then what is larger. No more of a text than an index can hold.
create function triwire.kind_of(value jsonb) returns int immutable parallel safe language sql
    as $$
    select case jsonb_typeof(value)
        when 'number' then 1 when 'boolean' then 1 when 'string' then 2 when 'array' then 3 when 'object' then 3 else 0
    end
    $$;
create function triwire.number_of(value jsonb) returns numeric immutable parallel safe language sql
    as $$
    select case jsonb_typeof(value)
        when 'number' then value::numeric when 'boolean' then case when value::boolean then 1 else 0 end
    end
    $$;
create function triwire.text_of(value jsonb) returns text immutable parallel safe language sql
    as $$ select case when jsonb_typeof(value) in ('string', 'array', 'object') then left(value #>> '{}', 500) end $$;

create table triwire.documents (
    collection text collate "C" not null check (collection ~ '^[A-Za-z_][A-Za-z0-9_-]{0,63}$'),
    id text collate "C" not null check (triwire.is_id(id)),
    version bigint not null,
    document jsonb not null check (jsonb_typeof(document) = 'object'),
    -- Ids that are integers come first, in their own order.
    number bigint generated always as (triwire.id_number(id)) stored,
    primary key (collection, id)
);
create index documents_order on triwire.documents (collection, number, id);

-- Makes an id that is not taken yet, from a sequence of the collection: nobody waits for another's transaction, and a
-- number that was made is not made again. Where others have taken numbers ahead of it, it goes on after the greatest.
create function triwire.next_id(collection text, above bigint) returns bigint language plpgsql
    security definer set search_path = pg_catalog, pg_temp
    as $$
    declare
        sequence constant text := format('triwire.%I', left('ids_' || collection, 63));
        made bigint;
    begin
        if to_regclass(sequence) is null then
            begin
                execute format('create sequence if not exists %s maxvalue 9007199254740991', sequence);
            exception when unique_violation or duplicate_table then
                -- Another has made it at the same time.
            end;
        end if;
        loop
            made := nextval(sequence);
            exit when made > greatest(above, triwire.greatest_id(collection));
            perform setval(sequence, greatest(above, triwire.greatest_id(collection)));
        end loop;
        return made;
    end
    $$;

-- The greatest integer that is an id and that others can be made after; all readers of JSON can hold it.
create function triwire.greatest_id(collection text) returns bigint stable strict language sql
    as $$
    select coalesce(max(d.number), 0) from triwire.documents d
    where d.collection = greatest_id.collection and d.number between 1 and 9007199254740991
    $$;

-- From now on numbers are made after this one, which somebody has chosen.
create function triwire.count_on(collection text, number bigint) returns void language plpgsql
    security definer set search_path = pg_catalog, pg_temp
    as $$
    declare
        sequence constant regclass := to_regclass(format('triwire.%I', left('ids_' || collection, 63)));
    begin
        if sequence is not null and number between 1 and 9007199254740990
            and number > coalesce(pg_sequence_last_value(sequence), 0)
        then
            perform setval(sequence, number);
        end if;
    end
    $$;

-- The JSON Schema of a collection, as it was given.
create table triwire.schemas (
    collection text collate "C" primary key,
    schema text not null
);

-- Tables of others that are collections. A name of a table follows it when it is renamed.
create table triwire.watched (
    collection text collate "C" primary key check (collection ~ '^[A-Za-z_][A-Za-z0-9_-]{0,63}$'),
    relation regclass not null unique,
    key name not null
);

-- Versions of their rows, counted by the triggers, so that whoever changes a row counts. One that is not here has version
-- 1: nobody has changed it since the table is watched.
create table triwire.versions (
    collection text collate "C" not null,
    id text collate "C" not null,
    version bigint not null,
    primary key (collection, id)
);

-- What has changed, for every server to tell its readers. A number is drawn while the row that it is about is locked, so
-- the changes of one document are in order; between documents a smaller number may be committed later, so a reader goes
-- by the transaction and not by the number.
create table triwire.outbox (
    seq bigint generated always as identity primary key,
    xid xid8 not null default pg_current_xact_id(),
    -- Of the write of a server that waits for it.
    token bigint,
    kind "char" not null check (kind in ('A', 'M', 'D')),
    collection text not null,
    id text not null,
    version bigint not null,
    document jsonb,
    before jsonb,
    patch jsonb
);
create index outbox_xid on triwire.outbox (xid);

-- Servers look at what is defined again when they see that it has changed.
create function triwire.defined() returns trigger language plpgsql
    security definer set search_path = pg_catalog, pg_temp
    as $$
    begin
        update triwire.meta set definitions = definitions + 1;
        perform pg_notify('triwire', '');
        return null;
    end
    $$;
create trigger triwire_defined after insert or update or delete or truncate on triwire.schemas
    for each statement execute function triwire.defined();
create trigger triwire_defined after insert or update or delete or truncate on triwire.watched
    for each statement execute function triwire.defined();

-- A patch comes with the name of what it is of, in a line of its own: a trigger of a table's own may change other rows too.
create function triwire.announce(kind "char", collection text, id text, version bigint, document jsonb, before jsonb)
    returns void language plpgsql
    as $$
    declare
        said constant text := current_setting('triwire.patch', true);
        name constant text := collection || '/' || id || E'\n';
    begin
        insert into triwire.outbox (token, kind, collection, id, version, document, before, patch) values (
            nullif(current_setting('triwire.token', true), '')::bigint,
            kind, collection, id, version, document, before,
            case when starts_with(said, name) then substr(said, length(name) + 1)::jsonb end
        );
    end
    $$;

-- A server that has written tells the others itself, once for many writes: a transaction that notifies has to itself the
-- time in which it is committed.
create function triwire.wake() returns trigger language plpgsql
    as $$
    begin
        if coalesce(current_setting('triwire.token', true), '') = '' then
            perform pg_notify('triwire', '');
        end if;
        return null;
    end
    $$;

-- Who writes to documents need not know the rules: the id may stand in the column, in the document, or in both, and the
-- version is counted here.
create function triwire.document_changes() returns trigger language plpgsql
    security definer set search_path = pg_catalog, pg_temp
    as $$
    declare
        said jsonb;
    begin
        if jsonb_typeof(new.document) is distinct from 'object' then
            raise check_violation using message = 'a document is a JSON object';
        end if;
        said := nullif(new.document -> 'id', 'null');
        if tg_op = 'INSERT' then
            if exists (select from triwire.watched w where w.collection = new.collection) then
                raise check_violation using message = 'collection ' || new.collection || ' is a table that is watched';
            end if;
            new.id := coalesce(new.id, said #>> '{}', triwire.next_id(new.collection, 0)::text);
            perform triwire.count_on(new.collection, triwire.id_number(new.id));
            new.version := 1;
        elsif (new.collection, new.id) is distinct from (old.collection, old.id) then
            said := null;
            new.version := 1;
        else
            new.version := old.version + 1;
        end if;
        if said is not null and said is distinct from triwire.id_json(new.id) then
            raise check_violation using message = 'the id of a document is a string or an integer, and the one in its column';
        end if;
        if said is null then
            new.document := jsonb_build_object('id', triwire.id_json(new.id)) || new.document
                || jsonb_build_object('id', triwire.id_json(new.id));
        end if;
        return new;
    end
    $$;

create function triwire.document_changed() returns trigger language plpgsql
    security definer set search_path = pg_catalog, pg_temp
    as $$
    begin
        if tg_op = 'INSERT' then
            perform triwire.announce('A', new.collection, new.id, new.version, new.document, null);
        elsif tg_op = 'DELETE' then
            perform triwire.announce('D', old.collection, old.id, old.version, null, old.document);
        elsif (new.collection, new.id) is distinct from (old.collection, old.id) then
            perform triwire.announce('D', old.collection, old.id, old.version, null, old.document);
            perform triwire.announce('A', new.collection, new.id, new.version, new.document, null);
        else
            perform triwire.announce('M', new.collection, new.id, new.version, new.document, old.document);
        end if;
        return null;
    end
    $$;

create function triwire.documents_go() returns trigger language plpgsql
    security definer set search_path = pg_catalog, pg_temp
    as $$
    begin
        perform triwire.announce('D', d.collection, d.id, d.version, null, d.document) from triwire.documents d;
        return null;
    end
    $$;

create trigger triwire_before before insert or update on triwire.documents
    for each row execute function triwire.document_changes();
create trigger triwire_row after insert or update or delete on triwire.documents
    for each row execute function triwire.document_changed();
create trigger triwire_truncate before truncate on triwire.documents
    for each statement execute function triwire.documents_go();
create trigger triwire_wake after insert or update or delete or truncate on triwire.documents
    for each statement execute function triwire.wake();

-- The document that a row is: its key is the id, whatever the column's name.
create function triwire.row_json(record jsonb, key text) returns jsonb immutable parallel safe language sql
    as $$ select jsonb_build_object('id', triwire.id_json(record ->> key)) || (record - key) $$;

create function triwire.document_of(record anyelement, key text) returns jsonb stable parallel safe language sql
    set timezone = 'UTC' set datestyle = 'ISO' set intervalstyle = 'iso_8601' set bytea_output = 'hex' set extra_float_digits = 1
    as $$ select triwire.row_json(to_jsonb(record), key) $$;

-- Arguments: the collection, the column of the key.
create function triwire.row_changed() returns trigger language plpgsql
    security definer set search_path = pg_catalog, pg_temp
    set timezone = 'UTC' set datestyle = 'ISO' set intervalstyle = 'iso_8601' set bytea_output = 'hex' set extra_float_digits = 1
    as $$
    declare
        name constant text := tg_argv[0];
        was jsonb;
        now_is jsonb;
        old_id text;
        new_id text;
        counted bigint;
    begin
        if tg_op <> 'INSERT' then
            was := to_jsonb(old);
            old_id := was ->> tg_argv[1];
        end if;
        if tg_op <> 'DELETE' then
            now_is := to_jsonb(new);
            new_id := now_is ->> tg_argv[1];
        end if;
        if coalesce(old_id, new_id) is null then
            raise exception 'triwire watches %, whose key was %; run triwire watch-table again', tg_relid::regclass, tg_argv[1];
        end if;
        was := triwire.row_json(was, tg_argv[1]);
        now_is := triwire.row_json(now_is, tg_argv[1]);
        if old_id = new_id then
            if triwire.is_id(new_id) then
                insert into triwire.versions values (name, new_id, 2)
                    on conflict (collection, id) do update set version = versions.version + 1
                    returning version into counted;
                perform triwire.announce('M', name, new_id, counted, now_is, was);
            end if;
            return null;
        end if;
        if triwire.is_id(old_id) then
            delete from triwire.versions v where v.collection = name and v.id = old_id returning v.version into counted;
            perform triwire.announce('D', name, old_id, coalesce(counted, 1), null, was);
        end if;
        if triwire.is_id(new_id) then
            perform triwire.announce('A', name, new_id, 1, now_is, null);
        end if;
        return null;
    end
    $$;

create function triwire.rows_go() returns trigger language plpgsql
    security definer set search_path = pg_catalog, pg_temp
    set timezone = 'UTC' set datestyle = 'ISO' set intervalstyle = 'iso_8601' set bytea_output = 'hex' set extra_float_digits = 1
    as $$
    begin
        execute format(
            $sql$
            select triwire.announce('D', %1$L, t.%2$I::text, coalesce(v.version, 1), null, triwire.row_json(to_jsonb(t), %2$L))
            from %3$s t left join triwire.versions v on v.collection = %1$L and v.id = t.%2$I::text
            where triwire.is_id(t.%2$I::text)
            $sql$,
            tg_argv[0], tg_argv[1], tg_relid::regclass
        );
        delete from triwire.versions v where v.collection = tg_argv[0];
        return null;
    end
    $$;
