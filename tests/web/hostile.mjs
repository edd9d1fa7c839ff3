// Hostile and large data in the browser.
//   node hostile.mjs BINARY FOLDER      (an empty folder: the ecosystem is made here)
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { Hub, other, until } from './hub.mjs';
import { look } from './pages/look.mjs';
import { open as openBrowser } from './pages/browser.mjs';
import { enter } from './pages/sign_in.mjs';
import { Watch } from './pages/watch.mjs';
import { Tally } from './tally.mjs';

const [binary, place] = process.argv.slice(2);
const tally = new Tally('hostile');
const hub = new Hub(binary, join(place, 'hub'));

const SPOKES = 2_000;
const RUNS = 10_000;
const LINES = 20_000;
// Of a page as it is sent, compressed, and of its text.
const BUDGET = { packed: 60_000, plain: 700_000 };

const evil = `<img src=x onerror=document.title='owned'>"'&amp;`;
const rtl = '\u202egnp.exe \u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627';
const emoji = '👩‍👩‍👧‍👦 🏴󠁧󠁢󠁳󠁣󠁴󠁿 🦀';
const long = 'x'.repeat(200);
/** Names of files, each changed on both sides. The last is longer than 300 characters with its folders. */
const names = [`${evil.replaceAll('/', '')}.txt`, `${rtl}.txt`, `${emoji}.txt`, `${long}/${long}.txt`, 'huge.txt', '{{7*7}} %s ${x} %00 ;.txt', ' \t leading.txt'];

function config(spokes) {
  const files = Array.from({ length: spokes }, (_, at) => `    - { name: spoke-${String(at).padStart(4, '0')}, role: ${JSON.stringify(at % 2 ? evil : rtl)}, hub: data/many/${at}, paths: [../apps/many/${at}] }`);
  return `cathedral_ecosystem:
  name: hostile
  master_repository: hub
  connected_files:
    - { name: names, role: ${JSON.stringify(`${evil} ${emoji} ${long}${long}`)}, hub: data/names, paths: [../apps/names] }
${files.join('\n')}
  backup:
    destinations:
      - { name: here, url: "file:.cathedral/vault" }
`;
}

const sides = { hub: join(hub.folder, 'data/names'), spoke: join(place, 'apps/names') };
function write(side, text) {
  for (const name of names) {
    const path = join(sides[side], name);
    mkdirSync(join(path, '..'), { recursive: true });
    writeFileSync(path, name === 'huge.txt' ? Buffer.alloc(5_000_000, `${text} ${'line of a huge file '.repeat(4)}\n`) : `first\n${text} ${evil} ${rtl} ${emoji}\nlast\n`);
  }
}

/** Puts rows into the stopped hub's store, as long use would. */
function age() {
  const runs = `with recursive n(i) as (select 1 union all select i + 1 from n where i < ${RUNS})`;
  const first = `(select max(id) from run)`;
  const sql = `
pragma foreign_keys = on;
begin immediate;
create temp table last as select ${first} as id;
create temp table model as select * from run where state = 'finished' order by id desc limit 1;
insert into run (id, state, priority, coalescing, request, summary, next_seq, node, fence, expires_at, queued_at, changed_at)
  ${runs} select last.id + i, 'finished', priority, null, json_set(request, '$.cause', 'run ' || i || ' ' || ${quote(evil)} || ${quote(rtl)}), summary,
    case when i = ${RUNS} then ${LINES} else 0 end, null, null, null, queued_at + i * 1000000, changed_at + i * 1000000 from n, last, model;
insert into journal (run, seq, recorded_at, event)
  with recursive n(i) as (select 0 union all select i + 1 from n where i < ${LINES - 1})
  select last.id + ${RUNS}, i, model.changed_at + i, json_object('at', model.changed_at + i, 'event', 'snapshot_failed',
    'fault', json_object('kind', 'permanent', 'cause', 'other', 'message', 'line ' || i || ' ' || ${quote(evil)} || ${quote(long)} || ${quote(rtl)})) from n, last, model;
update counter set value = (select max(id) from run) where name = 'run';
commit;
select max(id) from run;`;
  return Number(other('sqlite3', join(hub.folder, '.cathedral/hub.db'), sql).trim().split('\n').pop());
}
function quote(text) {
  return `'${text.replaceAll("'", "''")}'`;
}

let browser;
try {
  mkdirSync(join(hub.folder, '.cathedral'), { recursive: true });
  for (let at = 0; at < SPOKES; at += 1) for (const root of [join(hub.folder, 'data'), join(place, 'apps')]) mkdirSync(join(root, 'many', String(at)), { recursive: true });
  other('git', 'init', '-q', '-b', 'main', hub.folder);
  other('git', '-C', hub.folder, '-c', 'user.name=test', '-c', 'user.email=test@localhost', 'commit', '-q', '--allow-empty', '-m', 'first');
  const file = join(hub.folder, '.cathedral/integration-config.yaml');
  writeFileSync(file, config(0));
  write('hub', 'before');
  const sync = () => { const { status, stderr } = hub.run('sync', '--no-input'); return `${status} ${stderr}`; };
  const first = sync();
  write('hub', 'of the hub');
  write('spoke', 'of the spoke');
  const then = sync();
  tally.check('conflicts of hostile names are there', then.startsWith('11 '), `${first} ${then}`);
  const newest = age();
  writeFileSync(file, config(SPOKES));
  const began = Date.now();
  await hub.start();
  tally.check(`a hub of ${SPOKES} spokes and ${RUNS} runs is ready within 20 s`, Date.now() - began < 20_000, `${Date.now() - began} ms`);
  const token = JSON.parse(hub.run('token', 'new', '--scope', 'viewer', '--label', 'hostile', '--json').stdout).data.token;
  const { conflicts } = await hub.api('conflicts?limit=200', token);
  // What would not be seen as it is stands there as its bytes.
  const place_of = (one) => Buffer.from(one.where.replace(/(?:\\x[0-9a-f]{2})+/g, (bytes) => Buffer.from(bytes.replaceAll('\\x', ''), 'hex').toString())).toString();
  const number = (name) => conflicts.find((one) => place_of(one) === name)?.id;
  tally.check('every disputed file is a conflict', names.every((name) => number(name) !== undefined), JSON.stringify(conflicts.map((one) => one.where.slice(0, 60))));

  const paths = ['/', '/ecosystem', '/spokes/names', '/spokes/spoke-0001', '/runs', `/runs?before=${newest - 5_000}`,
    `/runs/${newest}`, `/runs/${newest}?only=warnings`, '/conflicts', ...names.map((name) => `/conflicts/${number(name)}`),
    `/conflicts/${number('huge.txt')}?take=edit`, `/search?q=${encodeURIComponent(evil)}`, '/search?q=spoke', '/events', '/settings', '/status', '/restore'];

  browser = await openBrowser();
  const page = await (await browser.newContext({ viewport: { width: 390, height: 900 }, reducedMotion: 'reduce' })).newPage();
  page.setDefaultTimeout(30_000);
  page.on('dialog', (dialog) => { tally.check('no dialog is opened', false, dialog.message()); dialog.dismiss(); });
  await enter(page, hub.welcome);
  for (const path of paths) {
    await tally.part(path, async () => {
      const raw = await (await fetch(hub.address + path, { headers: { authorization: `Bearer ${token}`, accept: 'text/html' }, signal: AbortSignal.timeout(30_000) })).text();
      const packed = gzipSync(raw).length;
      tally.check(`${path}: within the budget of a page`, packed < BUDGET.packed && raw.length < BUDGET.plain, `${packed} bytes compressed, ${raw.length} plain`);
      const watch = new Watch(page, hub.address);
      const answer = await page.goto(hub.address + path, { waitUntil: 'load' });
      tally.check(`${path}: answers`, answer.status() === 200, `${answer.status()}`);
      await look(page, `${path} 390`, tally);
      tally.check(`${path}: nothing of it runs`, (await page.locator('img[src=x]').count()) === 0 && !/owned/.test(await page.title()));
      // A name that runs from right to left must not turn its neighbours: it stands in an element of its own.
      const loose = await page.evaluate(() => [...document.querySelectorAll('main *')].filter((part) => [...part.childNodes].some((node) => node.nodeType === 3 && node.data.includes('\u202e')) && getComputedStyle(part).unicodeBidi !== 'isolate' && !['PRE', 'TEXTAREA', 'OPTION'].includes(part.tagName) && !part.closest('pre')).slice(0, 3).map((part) => part.outerHTML.slice(0, 120)));
      tally.check(`${path}: names keep their direction to themselves`, loose.length === 0, loose.join(' '));
      const { errors, failed, strangers } = watch.end();
      tally.check(`${path}: no console error, no failed request`, [...errors, ...failed, ...strangers].length === 0, [...errors, ...failed, ...strangers].join('; '));
    });
  }
  await tally.part('lists are paged to their end', async () => {
    await page.goto(`${hub.address}/runs`);
    const seen = new Set();
    for (let pages = 0; pages < 3; pages += 1) {
      for (const href of await page.locator('main a[href^="/runs/"]').evaluateAll((all) => all.map((one) => one.getAttribute('href')))) seen.add(href);
      await Promise.all([page.waitForNavigation(), page.locator('main a[href*="before="]').last().click()]);
    }
    tally.check('three pages of runs name different runs', seen.size >= 60, `${seen.size}`);
    await page.goto(`${hub.address}/runs/${newest}?from=1`);
    tally.check('a long log begins at its first line and tells where the next are', await page.getByText(/asked for: run/).first().isVisible() && await page.getByRole('link', { name: /more lines/i }).isVisible());
  });
} catch (error) {
  tally.check('hostile data', false, `broke off: ${error.stack}`);
} finally {
  await browser?.close();
  await hub.stop();
}
tally.close();
