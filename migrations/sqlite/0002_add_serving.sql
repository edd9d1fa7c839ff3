insert into counter (name, value) values ('delivery', 0), ('outgoing', 0), ('config_version', 0);

-- Pages of events of one run or one spoke.
create index event_run on event (run, cursor) where run is not null;

create index event_spoke on event (spoke, cursor) where spoke is not null;

create table schedule (
    -- What runs by itself, when it is due next, and what became of its last due time.
    name text not null primary key,
    body text not null,
    next_due integer,
    last_due integer,
    last_fired_at integer,
    last_run integer,
    missed integer not null check (missed >= 0),
    pause text
) strict;

create table schedule_fire (
    -- Due times that were acted on, so that none is acted on twice; the newest of each schedule.
    id blob not null primary key check (length(id) = 32),
    schedule text not null references schedule (name) on delete cascade,
    due integer not null,
    fired_at integer not null,
    -- None: the time was left out.
    run integer
) strict;

create index schedule_fire_due on schedule_fire (schedule, due);

create table delivery (
    -- What the outside told the hub, from the door to its outcome.
    number integer not null primary key,
    -- Digest of the source and the sender's id, so that ids of any length are unique.
    key_digest blob not null unique check (length(key_digest) = 32),
    source text not null,
    id text not null,
    event text not null,
    hint text not null,
    body_digest blob not null check (length(body_digest) = 32),
    body_bytes integer not null check (body_bytes >= 0),
    received_at integer not null,
    outcome text,
    handled_at integer,
    check ((outcome is null) = (handled_at is null))
) strict;

create index delivery_waiting on delivery (number) where handled_at is null;

create index delivery_received on delivery (received_at) where handled_at is not null;

create table person (
    -- Who can sign in.
    name text not null primary key,
    role text not null check (role in ('viewer', 'operator', 'admin')),
    -- PHC string; none until the one-time link was used.
    password text,
    disabled integer not null check (disabled in (0, 1)),
    created_at integer not null,
    changed_at integer not null
) strict;

create table invitation (
    -- Links that set a password once; only the digest of the secret is here.
    secret blob not null primary key check (length(secret) = 32),
    person text not null references person (name) on delete cascade,
    created_at integer not null,
    expires_at integer not null
) strict;

create unique index invitation_person on invitation (person);

create table session (
    -- Signed-in browsers; only the digest of the secret is here.
    secret blob not null primary key check (length(secret) = 32),
    person text not null references person (name) on delete cascade,
    created_at integer not null,
    signed_in_at integer not null,
    seen_at integer not null,
    expires_at integer not null
) strict;

create index session_person on session (person);

create index session_expires on session (expires_at);

create table token (
    -- What programs come in with; only the digest of the secret is here.
    id text not null primary key,
    secret blob not null unique check (length(secret) = 32),
    label text not null,
    scope text not null check (scope in ('viewer', 'operator', 'admin')),
    created_by text not null,
    created_at integer not null,
    expires_at integer,
    used_at integer,
    revoked_at integer
) strict;

create table outgoing (
    -- Messages on their way to endpoints: one row for each message and endpoint.
    number integer not null primary key,
    message integer not null references message (id),
    endpoint text not null,
    state text not null check (state in ('waiting', 'delivered', 'given_up')),
    attempts integer not null check (attempts >= 0),
    filed_at integer not null,
    due_at integer not null,
    -- What the last try gave.
    last text not null,
    changed_at integer not null,
    unique (message, endpoint)
) strict;

create index outgoing_due on outgoing (due_at, number) where state = 'waiting';

create table config_version (
    -- Every configuration that was accepted, as it stood in the file.
    number integer not null primary key,
    digest blob not null check (length(digest) = 32),
    body text not null,
    accepted_at integer not null,
    cause text not null
) strict;
