create table counter (
    name text not null primary key,
    value bigint not null check (value >= 0)
);

comment on table counter is 'Numbers that are handed out in the order of commits: runs, conflicts, events, messages, fences';

insert into counter (name, value) values ('run', 0), ('conflict', 0), ('event', 0), ('message', 0), ('fence', 0);

create table run (
    id bigint not null primary key,
    state text not null check (state in ('queued', 'running', 'finished')),
    priority bigint not null,
    -- Digest of the key under which waiting requests are joined.
    coalescing bytea check (coalescing is null or length(coalescing) = 32),
    request text not null,
    summary text not null,
    -- The position that the next journal record must have.
    next_seq bigint not null check (next_seq >= 0),
    -- Who drives the run, by which fence, until when; empty unless running.
    node text,
    fence bigint,
    expires_at bigint,
    queued_at bigint not null,
    changed_at bigint not null,
    check ((state = 'running') = (node is not null and fence is not null and expires_at is not null))
);

comment on table run is 'The queue and the list of runs; what happened in a run is in its journal';

create index run_waiting on run (priority desc, id) where state <> 'finished';

create index run_coalescing on run (coalescing) where state = 'queued' and next_seq = 0;

create function refuse_change() returns trigger language plpgsql as $$
begin
    raise exception '% is insert-only', tg_argv[0];
end;
$$;

create table journal (
    run bigint not null references run (id),
    seq bigint not null check (seq >= 0),
    recorded_at bigint not null,
    event text not null,
    primary key (run, seq)
);

comment on table journal is 'What happened in each run, in order; insert-only';

create trigger journal_is_insert_only before update or delete on journal
for each row execute function refuse_change('the journal');

create trigger journal_is_not_truncated before truncate on journal
for each statement execute function refuse_change('the journal');

create table event (
    cursor bigint not null primary key,
    committed_at bigint not null,
    kind text not null,
    run bigint,
    spoke text,
    data text not null
);

comment on table event is 'What listeners are told, in the order it was committed; insert-only';

create trigger event_is_insert_only before update or delete on event
for each row execute function refuse_change('the event log');

create trigger event_is_not_truncated before truncate on event
for each statement execute function refuse_change('the event log');

create table message (
    id bigint not null primary key,
    -- Digest of the key, so that keys of any length are unique.
    key_digest bytea not null unique check (length(key_digest) = 32),
    key text not null,
    topic text not null,
    payload text not null,
    filed_at bigint not null,
    delivered_at bigint
);

comment on table message is 'The outbox: messages written with a change and sent after it, at least once';

create index message_undelivered on message (id) where delivered_at is null;

create table memory (
    spoke text not null primary key,
    base bytea check (base is null or length(base) = 32),
    settled_hub bytea check (settled_hub is null or length(settled_hub) = 32),
    settled_spoke bytea check (settled_spoke is null or length(settled_spoke) = 32),
    complete bigint not null check (complete in (0, 1)),
    hub_position text not null,
    spoke_position text not null,
    changed_at bigint not null,
    check ((settled_hub is null) = (settled_spoke is null))
);

comment on table memory is 'What is remembered of each spoke between runs';

create table conflict (
    id bigint not null primary key,
    spoke text not null,
    kind text not null check (kind in ('git', 'database', 'files')),
    -- Digest of the item, which may be long; the item itself is in the draft.
    item_digest bytea not null check (length(item_digest) = 32),
    draft text not null,
    state text not null check (state in ('open', 'answered', 'settled', 'agreed_outside')),
    answer text,
    actor text,
    opened_by bigint not null references run (id),
    opened_at bigint not null,
    changed_at bigint not null,
    versions bigint not null check (versions >= 0)
);

comment on table conflict is 'The inbox: disputed items that wait for a person, and what became of them';

create unique index conflict_live on conflict (spoke, item_digest) where state in ('open', 'answered');

create index conflict_state on conflict (state, spoke, id);

create table lease (
    resource text not null primary key,
    holder text not null,
    fence bigint not null,
    expires_at bigint not null
);

comment on table lease is 'Who may change a resource, by which fence, until when';

create table plan (
    id bytea not null primary key check (length(id) = 32),
    body text not null,
    saved_at bigint not null
);

comment on table plan is 'Plans that were shown and can be carried out as they are';
