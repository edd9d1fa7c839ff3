-- A state as migration 0002 leaves it after some work: the next migration is tested on top of this.
update counter set value = 2 where name in ('delivery', 'outgoing', 'config_version');

insert into schedule (name, body, next_due, last_due, last_fired_at, last_run, missed, pause) values
    ('sync:stone-grimoire', '{"name":"sync:stone-grimoire","title":"sync stone-grimoire","rule":{"every":{"ms":300000}},"jitter_ms":0,"overlap":"skip","misfire":"run_once","request":{"priority":"schedule","cause":"every 5 minutes","work":{"sync":{"spokes":["stone-grimoire"],"only":[],"plan":{},"confirmed":false,"policy":null,"tags":[],"force_snapshot":false}}}}', 1700000300000000, 1700000000000000, 1700000000100000, 2, 1, null),
    ('snapshot', '{"name":"snapshot","title":"snapshot","rule":{"cron":{"expression":"0 3 * * *","time_zone":"Europe/Berlin"}},"jitter_ms":1000,"overlap":"queue","misfire":"skip","request":{"priority":"schedule","cause":"snapshot","work":{"sync":{"spokes":[],"only":["snapshot"],"plan":{},"confirmed":false,"policy":null,"tags":[],"force_snapshot":false}}}}', null, null, null, null, 0, '{"since":1700000000000000,"until":null,"reason":"the disk is being changed ☃","actor":"ada"}');

insert into schedule_fire (id, schedule, due, fired_at, run) values
    (x'1111111111111111111111111111111111111111111111111111111111111111', 'sync:stone-grimoire', 1699999700000000, 1699999700100000, null),
    (x'2222222222222222222222222222222222222222222222222222222222222222', 'sync:stone-grimoire', 1700000000000000, 1700000000100000, 2);

insert into delivery (number, key_digest, source, id, event, hint, body_digest, body_bytes, received_at, outcome, handled_at) values
    (1, x'3333333333333333333333333333333333333333333333333333333333333333', 'github', '72d3162e-cc78-11e3-81ab-4c9367dc0958', 'push', '{"repository_id":1,"repository":"ada/stone-grimoire","urls":[],"reference":"refs/heads/main","before":null,"after":null,"action":null,"sender":"ada"}', x'4444444444444444444444444444444444444444444444444444444444444444', 6123, 1700000004000000, '{"outcome":"runs","runs":[3]}', 1700000004500000),
    (2, x'5555555555555555555555555555555555555555555555555555555555555555', 'gitea', '72d3162e-cc78-11e3-81ab-4c9367dc0959', 'push', '{}', x'6666666666666666666666666666666666666666666666666666666666666666', 12, 1700000005000000, null, null);

insert into person (name, role, password, disabled, created_at, changed_at) values
    ('ada', 'admin', '$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA', 0, 1700000000000000, 1700000000000000),
    ('bob', 'viewer', null, 0, 1700000000000000, 1700000000000000);

insert into invitation (secret, person, created_at, expires_at) values
    (x'7777777777777777777777777777777777777777777777777777777777777777', 'bob', 1700000000000000, 1700086400000000);

insert into session (secret, person, created_at, signed_in_at, seen_at, expires_at) values
    (x'8888888888888888888888888888888888888888888888888888888888888888', 'ada', 1700000000000000, 1700000000000000, 1700000001000000, 1700086400000000);

insert into token (id, secret, label, scope, created_by, created_at, expires_at, used_at, revoked_at) values
    ('t1', x'9999999999999999999999999999999999999999999999999999999999999999', 'ci', 'operator', 'ada', 1700000000000000, null, 1700000001000000, null),
    ('t2', x'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', 'old', 'viewer', 'ada', 1700000000000000, 1700086400000000, null, 1700000002000000);

insert into outgoing (number, message, endpoint, state, attempts, filed_at, due_at, last, changed_at) values
    (1, 1, 'chat', 'delivered', 1, 1700000001500000, 1700000001500000, '204', 1700000001600000),
    (2, 1, 'pager', 'waiting', 2, 1700000001500000, 1700000031500000, 'connection refused', 1700000002500000);

insert into config_version (number, digest, body, accepted_at, cause) values
    (1, x'bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb', 'version: 1', 1700000000000000, 'file'),
    (2, x'cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc', 'version: 1 # ☃', 1700000001000000, 'rollback by ada');
