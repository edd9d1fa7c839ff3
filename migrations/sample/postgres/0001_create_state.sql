-- A state as migration 0001 leaves it after some work: the next migration is tested on top of this.
update counter set value = 3 where name = 'run';
update counter set value = 2 where name = 'conflict';
update counter set value = 3 where name = 'event';
update counter set value = 2 where name = 'message';
update counter set value = 4 where name = 'fence';

insert into run (id, state, priority, coalescing, request, summary, next_seq, node, fence, expires_at, queued_at, changed_at) values
    (1, 'finished', 3, null, '{"priority":"manual","cause":"cathedral sync","work":{"sync":{"spokes":[],"only":[],"plan":{},"confirmed":true,"policy":null,"tags":[],"force_snapshot":false}}}', '{"result":"conflicts","phases":[],"spokes":[],"code":11}', 2, null, null, null, 1700000000000000, 1700000001000000),
    (2, 'running', 1, '\x1111111111111111111111111111111111111111111111111111111111111111', '{"priority":"schedule","cause":"every 5 minutes","work":{"sync":{"spokes":[],"only":[],"plan":{},"confirmed":false,"policy":null,"tags":[],"force_snapshot":false}}}', '{"result":null,"phases":[],"spokes":[],"code":0}', 1, 'node-a', 3, 1700000060000000, 1700000002000000, 1700000003000000),
    (3, 'queued', 2, '\x2222222222222222222222222222222222222222222222222222222222222222', '{"priority":"webhook","cause":"push to ☃ stone-grimoire","work":{"sync":{"spokes":["stone-grimoire"],"only":[],"plan":{},"confirmed":false,"policy":null,"tags":[],"force_snapshot":false}}}', '{"result":null,"phases":[],"spokes":[],"code":0}', 0, null, null, null, 1700000004000000, 1700000004000000);

insert into journal (run, seq, recorded_at, event) values
    (1, 0, 1700000000500000, '{"event":"started"}'),
    (1, 1, 1700000001000000, '{"event":"announced"}'),
    (2, 0, 1700000003000000, '{"event":"started"}');

insert into event (cursor, committed_at, kind, run, spoke, data) values
    (1, 1700000000500000, 'run.started', 1, null, '{}'),
    (2, 1700000000600000, 'conflict.opened', 1, 'stone-grimoire', '{"conflict":1}'),
    (3, 1700000001000000, 'run.finished', 1, null, '{"result":"conflicts"}');

insert into message (id, key_digest, key, topic, payload, filed_at, delivered_at) values
    (1, '\x3333333333333333333333333333333333333333333333333333333333333333', 'run:1', 'run.finished', '{}', 1700000001000000, 1700000001500000),
    (2, '\x4444444444444444444444444444444444444444444444444444444444444444', 'conflict:1', 'conflict.opened', '{}', 1700000001000000, null);

insert into memory (spoke, base, settled_hub, settled_spoke, complete, hub_position, spoke_position, changed_at) values
    ('stone-grimoire', '\x5555555555555555555555555555555555555555555555555555555555555555', '\x6666666666666666666666666666666666666666666666666666666666666666', '\x7777777777777777777777777777777777777777777777777777777777777777', 1, 'main 91be003', 'main 91be003', 1700000001000000),
    ('circuitum99', null, null, null, 0, '', '', 1700000001000000);

insert into conflict (id, spoke, kind, item_digest, draft, state, answer, actor, opened_by, opened_at, changed_at, versions) values
    (1, 'stone-grimoire', 'git', '\x8888888888888888888888888888888888888888888888888888888888888888', '{"item":"refs/heads/main","place":"main","conflict_kind":"diverged","because":"both sides moved","base":null,"hub":{"shown":"91be003"},"spoke":{"shown":"77aa001"},"suggested":null}', 'open', null, null, 1, 1700000000600000, 1700000000600000, 0),
    (2, 'stone-grimoire', 'git', '\x8888888888888888888888888888888888888888888888888888888888888888', '{"item":"refs/heads/main","place":"main","conflict_kind":"diverged","because":"both sides moved","base":null,"hub":{"shown":"91be002"},"spoke":{"shown":"77aa000"},"suggested":null}', 'settled', '{"take":"hub"}', 'ada', 1, 1700000000600000, 1700000000700000, 2);

insert into lease (resource, holder, fence, expires_at) values
    ('spoke:stone-grimoire', 'node-a', 4, 1700000060000000);

insert into plan (id, body, saved_at) values
    ('\x9999999999999999999999999999999999999999999999999999999999999999', '{}', 1700000001000000);
