insert into counter (name, value) values ('delivery', 0), ('outgoing', 0), ('config_version', 0);

-- Pages of events of one run or one spoke.
create index event_run on event (run, cursor) where run is not null;

create index event_spoke on event (spoke, cursor) where spoke is not null;

create table schedule (
    name text not null primary key,
    body text not null,
    next_due bigint,
    last_due bigint,
    last_fired_at bigint,
    last_run bigint,
    missed bigint not null check (missed >= 0),
    pause text
);

comment on table schedule is 'What runs by itself, when it is due next, and what became of its last due time';

create table schedule_fire (
    id bytea not null primary key check (length(id) = 32),
    schedule text not null references schedule (name) on delete cascade,
    due bigint not null,
    fired_at bigint not null,
    -- None: the time was left out.
    run bigint
);

comment on table schedule_fire is 'Due times that were acted on, so that none is acted on twice; the newest of each schedule';

create index schedule_fire_due on schedule_fire (schedule, due);

create table delivery (
    number bigint not null primary key,
    -- Digest of the source and the sender's id, so that ids of any length are unique.
    key_digest bytea not null unique check (length(key_digest) = 32),
    source text not null,
    id text not null,
    event text not null,
    hint text not null,
    body_digest bytea not null check (length(body_digest) = 32),
    body_bytes bigint not null check (body_bytes >= 0),
    received_at bigint not null,
    outcome text,
    handled_at bigint,
    check ((outcome is null) = (handled_at is null))
);

comment on table delivery is 'What the outside told the hub, from the door to its outcome';

create index delivery_waiting on delivery (number) where handled_at is null;

create index delivery_received on delivery (received_at) where handled_at is not null;

create table person (
    name text not null primary key,
    role text not null check (role in ('viewer', 'operator', 'admin')),
    -- PHC string; none until the one-time link was used.
    password text,
    disabled bigint not null check (disabled in (0, 1)),
    created_at bigint not null,
    changed_at bigint not null
);

comment on table person is 'Who can sign in';

create table invitation (
    secret bytea not null primary key check (length(secret) = 32),
    person text not null references person (name) on delete cascade,
    created_at bigint not null,
    expires_at bigint not null
);

comment on table invitation is 'Links that set a password once; only the digest of the secret is here';

create unique index invitation_person on invitation (person);

create table session (
    secret bytea not null primary key check (length(secret) = 32),
    person text not null references person (name) on delete cascade,
    created_at bigint not null,
    signed_in_at bigint not null,
    seen_at bigint not null,
    expires_at bigint not null
);

comment on table session is 'Signed-in browsers; only the digest of the secret is here';

create index session_person on session (person);

create index session_expires on session (expires_at);

create table token (
    id text not null primary key,
    secret bytea not null unique check (length(secret) = 32),
    label text not null,
    scope text not null check (scope in ('viewer', 'operator', 'admin')),
    created_by text not null,
    created_at bigint not null,
    expires_at bigint,
    used_at bigint,
    revoked_at bigint
);

comment on table token is 'What programs come in with; only the digest of the secret is here';

create table outgoing (
    number bigint not null primary key,
    message bigint not null references message (id),
    endpoint text not null,
    state text not null check (state in ('waiting', 'delivered', 'given_up')),
    attempts bigint not null check (attempts >= 0),
    filed_at bigint not null,
    due_at bigint not null,
    -- What the last try gave.
    last text not null,
    changed_at bigint not null,
    unique (message, endpoint)
);

comment on table outgoing is 'Messages on their way to endpoints: one row for each message and endpoint';

create index outgoing_due on outgoing (due_at, number) where state = 'waiting';

create table config_version (
    number bigint not null primary key,
    digest bytea not null check (length(digest) = 32),
    body text not null,
    accepted_at bigint not null,
    cause text not null
);

comment on table config_version is 'Every configuration that was accepted, as it stood in the file';
