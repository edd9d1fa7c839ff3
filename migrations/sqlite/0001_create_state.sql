create table counter (
    -- Numbers that are handed out in the order of commits: runs, conflicts, events, messages, fences.
    name text not null primary key,
    value integer not null check (value >= 0)
) strict;

insert into counter (name, value) values ('run', 0), ('conflict', 0), ('event', 0), ('message', 0), ('fence', 0);

create table run (
    -- The queue and the list of runs; what happened in a run is in its journal.
    id integer not null primary key,
    state text not null check (state in ('queued', 'running', 'finished')),
    priority integer not null,
    -- Digest of the key under which waiting requests are joined.
    coalescing blob check (coalescing is null or length(coalescing) = 32),
    request text not null,
    summary text not null,
    -- The position that the next journal record must have.
    next_seq integer not null check (next_seq >= 0),
    -- Who drives the run, by which fence, until when; empty unless running.
    node text,
    fence integer,
    expires_at integer,
    queued_at integer not null,
    changed_at integer not null,
    check ((state = 'running') = (node is not null and fence is not null and expires_at is not null))
) strict;

create index run_waiting on run (priority desc, id) where state <> 'finished';

create index run_coalescing on run (coalescing) where state = 'queued' and next_seq = 0;

create table journal (
    -- What happened in each run, in order; insert-only.
    run integer not null references run (id),
    seq integer not null check (seq >= 0),
    recorded_at integer not null,
    event text not null,
    primary key (run, seq)
) strict;

create trigger journal_is_not_updated before update on journal
begin
    select raise(abort, 'the journal is insert-only');
end;

create trigger journal_is_not_deleted before delete on journal
begin
    select raise(abort, 'the journal is insert-only');
end;

create table event (
    -- What listeners are told, in the order it was committed; insert-only.
    cursor integer not null primary key,
    committed_at integer not null,
    kind text not null,
    run integer,
    spoke text,
    data text not null
) strict;

create trigger event_is_not_updated before update on event
begin
    select raise(abort, 'the event log is insert-only');
end;

create trigger event_is_not_deleted before delete on event
begin
    select raise(abort, 'the event log is insert-only');
end;

create table message (
    -- The outbox: messages written with a change and sent after it, at least once.
    id integer not null primary key,
    -- Digest of the key, so that keys of any length are unique.
    key_digest blob not null unique check (length(key_digest) = 32),
    key text not null,
    topic text not null,
    payload text not null,
    filed_at integer not null,
    delivered_at integer
) strict;

create index message_undelivered on message (id) where delivered_at is null;

create table memory (
    -- What is remembered of each spoke between runs.
    spoke text not null primary key,
    base blob check (base is null or length(base) = 32),
    settled_hub blob check (settled_hub is null or length(settled_hub) = 32),
    settled_spoke blob check (settled_spoke is null or length(settled_spoke) = 32),
    complete integer not null check (complete in (0, 1)),
    hub_position text not null,
    spoke_position text not null,
    changed_at integer not null,
    check ((settled_hub is null) = (settled_spoke is null))
) strict;

create table conflict (
    -- The inbox: disputed items that wait for a person, and what became of them.
    id integer not null primary key,
    spoke text not null,
    kind text not null check (kind in ('git', 'database', 'files')),
    -- Digest of the item, which may be long; the item itself is in the draft.
    item_digest blob not null check (length(item_digest) = 32),
    draft text not null,
    state text not null check (state in ('open', 'answered', 'settled', 'agreed_outside')),
    answer text,
    actor text,
    opened_by integer not null references run (id),
    opened_at integer not null,
    changed_at integer not null,
    versions integer not null check (versions >= 0)
) strict;

create unique index conflict_live on conflict (spoke, item_digest) where state in ('open', 'answered');

create index conflict_state on conflict (state, spoke, id);

create table lease (
    -- Who may change a resource, by which fence, until when.
    resource text not null primary key,
    holder text not null,
    fence integer not null,
    expires_at integer not null
) strict;

create table plan (
    -- Plans that were shown and can be carried out as they are.
    id blob not null primary key check (length(id) = 32),
    body text not null,
    saved_at integer not null
) strict;
