// GitHub's published payloads at the door for webhooks: signed, again, and wrongly signed.
//   node corpus.mjs ADDRESS TOKEN SECRET OLD_SECRET
import { createHash, createHmac } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Tally, tools } from './tally.mjs';

const [address, token, secret, oldSecret] = process.argv.slice(2);
const tally = new Tally('corpus');
const sign = (body, key = secret) => `sha256=${createHmac('sha256', key).update(body).digest('hex')}`;

/** Every example of every published source, as the bytes GitHub would send. */
function corpus() {
  const folder = dirname(tools.resolve('@octokit/webhooks-examples/package.json'));
  const all = [];
  for (const source of readdirSync(folder, { withFileTypes: true }).filter((one) => one.isDirectory()).map((one) => one.name).sort()) {
    let events;
    try {
      events = JSON.parse(readFileSync(join(folder, source, 'index.json'), 'utf8'));
    } catch (error) {
      if (error.code === 'ENOENT') continue;
      throw error;
    }
    for (const { name, examples } of events) {
      examples.forEach((example, at) => {
        // A delivery has an id of its own; ours are the same in every run.
        const id = createHash('sha256').update(`${source}/${name}/${at}`).digest('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12}).*/, '$1-$2-$3-$4-$5');
        all.push({ where: `${source}/${name}/${at}`, event: name, id, body: Buffer.from(JSON.stringify(example)) });
      });
    }
  }
  return all;
}

async function post({ event, id, body }, signature, more = {}) {
  const headers = {
    'content-type': 'application/json', 'user-agent': 'GitHub-Hookshot/0000000', 'x-github-event': event, 'x-github-delivery': id,
    'x-github-hook-id': '1', ...(signature ? { 'x-hub-signature-256': signature } : {}), ...more,
  };
  const answer = await fetch(`${address}/hooks/github`, { method: 'POST', headers, body });
  const text = await answer.text();
  return { status: answer.status, text, accepted: answer.status === 202 ? JSON.parse(text).accepted : undefined };
}

/** Does `work` for every item, some at once. */
async function each(items, work) {
  const left = items[Symbol.iterator]();
  await Promise.all(Array.from({ length: 8 }, async () => {
    for (const item of left) await work(item);
  }));
}

async function get(path) {
  const answer = await fetch(`${address}/api/v1/${path}`, { headers: { authorization: `Bearer ${token}` } });
  if (!answer.ok) throw new Error(`GET ${path}: ${answer.status} ${await answer.text()}`);
  return (await answer.json()).data;
}

/** All deliveries that the hub lists. */
async function listed() {
  const rows = [];
  for (let before; ;) {
    const data = await get(`webhooks?limit=200${before ? `&before=${before}` : ''}`);
    rows.push(...data.webhooks);
    if (!data.next) return rows;
    before = data.next;
  }
}

const deliveries = corpus();
const count = deliveries.length;
tally.check('the corpus is there', count > 500, `${count} payloads`);

await tally.part('signed deliveries', async () => {
  await each(deliveries, async (one) => {
    const { status, text, accepted } = await post(one, sign(one.body));
    tally.check(`${one.where}: accepted`, status === 202 && accepted === 'new', `${status} ${text}`);
  });
});
await tally.part('the list of deliveries', async () => {
  const rows = await listed();
  tally.check('every delivery is listed once', rows.length === count && new Set(rows.map((row) => row.id)).size === count, `${rows.length} rows for ${count} deliveries`);
  const byId = new Map(rows.map((row) => [row.id, row]));
  for (const { where, id, event, body } of deliveries) {
    const row = byId.get(id);
    tally.check(`${where}: listed as it came`, row?.event === event && row?.source === 'github' && row?.bytes === body.length, JSON.stringify(row));
  }
});
await tally.part('the same again', async () => {
  await each(deliveries, async (one) => {
    const { status, text, accepted } = await post(one, sign(one.body));
    tally.check(`${one.where}: again is a duplicate`, status === 202 && accepted === 'duplicate', `${status} ${text}`);
  });
  const rows = await listed();
  tally.check('duplicates are no second delivery', rows.length === count, `${rows.length} rows for ${count} deliveries`);
});
await tally.part('signatures', async () => {
  const [one] = deliveries.filter(({ event }) => event === 'push');
  const fresh = { ...one, id: 'aaaaaaaa-0000-4000-8000-000000000001' };
  const good = sign(one.body);
  const wrong = {
    'with another secret': sign(one.body, 'another secret'),
    'with the empty secret': sign(one.body, ''),
    'over another body': sign(Buffer.concat([one.body, Buffer.from(' ')])),
    'cut short': good.slice(0, -2),
    'with more behind it': `${good}00`,
    'in capitals': good.toUpperCase().replace('SHA256', 'sha256'),
    'without its kind': good.slice('sha256='.length),
    'by another kind': good.replace('sha256', 'sha1'),
    'that is no hex': `sha256=${'g'.repeat(64)}`,
    'that is empty': 'sha256=',
    'that is missing': undefined,
  };
  for (const [how, signature] of Object.entries(wrong)) {
    const { status, text } = await post(fresh, signature);
    tally.check(`a signature ${how} is refused`, status === 401, `${status} ${text}`);
  }
  const sha1 = `sha1=${createHmac('sha1', secret).update(one.body).digest('hex')}`;
  const { status: old } = await post(fresh, undefined, { 'x-hub-signature': sha1 });
  tally.check('SHA-1 alone is refused', old === 401, `${old}`);
  const { status: changed } = await post({ ...fresh, body: Buffer.concat([one.body, Buffer.from('\n')]) }, good);
  tally.check('a body that was changed is refused', changed === 401, `${changed}`);
  tally.check('what was refused is not listed', (await listed()).length === count);

  const rotated = await post({ ...one, id: 'aaaaaaaa-0000-4000-8000-000000000002' }, sign(one.body, oldSecret));
  tally.check('the other live secret is accepted', rotated.status === 202 && rotated.accepted === 'new', `${rotated.status} ${rotated.text}`);
  const form = Buffer.from(`payload=${encodeURIComponent(one.body.toString())}`);
  const asForm = await post({ ...one, body: form, id: 'aaaaaaaa-0000-4000-8000-000000000003' }, sign(form), { 'content-type': 'application/x-www-form-urlencoded' });
  tally.check('a form is accepted', asForm.status === 202, `${asForm.status} ${asForm.text}`);
  const huge = Buffer.alloc(30 << 20, ' ');
  const tooLarge = await post({ ...one, body: huge, id: 'aaaaaaaa-0000-4000-8000-000000000004' }, sign(huge)).catch((error) => ({ status: `broke off: ${error.cause?.code}` }));
  tally.check('30 MB are refused', tooLarge.status === 413 || tooLarge.status === 'broke off: EPIPE' || tooLarge.status === 'broke off: ECONNRESET', `${tooLarge.status}`);
  tally.check('then two more are listed', (await listed()).length === count + 2);
});
await tally.part('what became of them', async () => {
  let rows;
  const end = Date.now() + 60_000;
  while ((rows = await listed()).some((row) => !row.handled_at) && Date.now() < end) await new Promise((go) => setTimeout(go, 500));
  const waiting = rows.filter((row) => !row.handled_at).length;
  tally.check('every delivery is handled', waiting === 0, `${waiting} wait after a minute`);
  const told = rows.filter((row) => row.outcome && JSON.stringify(row.outcome).includes('runs'));
  tally.check('repositories of others start no run', told.length === 0, JSON.stringify(told[0]));
});
tally.close();
