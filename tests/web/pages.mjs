// The pages in Chromium, at every width, light and dark, with and without scripts.
//   node pages.mjs ADDRESS WELCOME TOKEN [SHOTS]
import { readFileSync, mkdirSync } from 'node:fs';
import { Tally, tools } from './tally.mjs';
import { awaited, served } from './pages/table.mjs';
import { keyboardSignIn, signOut, walkWelcome } from './pages/sign_in.mjs';
import { Watch } from './pages/watch.mjs';

const { chromium } = tools('playwright-core');
const [address, welcome, token, shots] = process.argv.slice(2);
const axe = readFileSync(tools.resolve('axe-core/axe.min.js'), 'utf8');
const tally = new Tally('pages');
const widths = [390, 900, 1440];
const themes = ['light', 'dark'];
if (shots) mkdirSync(shots, { recursive: true });

/** Looks at the page as it stands now, at one width and in one theme. */
async function look(page, where) {
  const seen = await page.evaluate(() => ({
    headings: document.querySelectorAll('h1').length,
    title: document.title,
    language: document.documentElement.lang,
    over: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    // What makes it too wide, for whoever repairs it.
    wide: [...document.body.querySelectorAll('*')]
      .filter((part) => part.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
      .slice(0, 3).map((part) => `${part.tagName.toLowerCase()}.${part.className?.baseVal ?? part.className}`),
  }));
  tally.check(`${where}: one h1`, seen.headings === 1, `${seen.headings} of them`);
  tally.check(`${where}: title`, /\S.* · Cathedral$/.test(seen.title), `"${seen.title}"`);
  tally.check(`${where}: language`, seen.language === 'en', `"${seen.language}"`);
  tally.check(`${where}: no horizontal scroll`, seen.over <= 0, `${seen.over} px too wide: ${seen.wide.join(' ')}`);
  const found = await page.evaluate(async () => {
    const { violations } = await globalThis.axe.run(document, { resultTypes: ['violations'] });
    return violations.map((one) => {
      const [node] = one.nodes;
      return `${one.id} (${one.impact}, ${one.nodes.length} times) ${node.target.join(' ')}: ${node.failureSummary.split('\n')[1]?.trim()}`;
    });
  });
  tally.check(`${where}: axe`, found.length === 0, found.join('; '));
}

/** Lets the page run scripts, or not. Without them axe could not run: it runs after the page has loaded so. */
async function scripts(page, on) {
  if (page === pageScripted) return;
  await plainly.send('Emulation.setScriptExecutionDisabled', { value: !on });
}

/** Looks at the page that is open, in all widths and themes. `again` opens it once more. */
async function lookAll(page, name, again) {
  for (const [at, width] of widths.entries()) {
    await page.setViewportSize({ width, height: 900 });
    // A page may look at its width when it begins.
    if (at > 0 && again) await again();
    await scripts(page, true);
    await page.evaluate(axe);
    for (const theme of themes) {
      await page.emulateMedia({ colorScheme: theme, reducedMotion: 'reduce' });
      await look(page, `${name} ${width} ${theme}`);
      if (shots) await page.screenshot({ path: `${shots}/${name.replace(/\W+/g, '-')}-${width}-${theme}.png`, fullPage: true });
    }
    await scripts(page, false);
  }
}

/** Opens one row of the table and looks at it; false when it is not there yet. */
async function visit(page, row, name, mayMiss) {
  const watch = new Watch(page, address);
  const open = () => page.goto(address + row.path, { waitUntil: 'load' });
  await page.setViewportSize({ width: widths[0], height: 900 });
  const answer = await open();
  const wanted = row.status ?? 200;
  if (mayMiss && answer.status() === 404 && wanted !== 404) {
    watch.end();
    return false;
  }
  tally.check(`${name}: answers ${wanted}`, answer.status() === wanted, `${answer.status()}`);
  if (answer.status() !== wanted) {
    watch.end();
    return true;
  }
  if (!tally.check(`${name}: is not sent to the door`, !new URL(page.url()).pathname.startsWith('/sign-in'), page.url())) {
    watch.end();
    return true;
  }
  for (const text of row.shows) {
    const place = page.getByText(text).filter({ visible: true }).first();
    tally.check(`${name}: shows ${text}`, await place.isVisible(), 'not visible');
  }
  await lookAll(page, name, open);
  const { errors, failed, strangers } = watch.end();
  // The browser itself reports an awaited 404 as an error.
  const odd = errors.filter((text) => wanted === 200 || !/Failed to load resource/.test(text));
  tally.check(`${name}: no console error`, odd.length === 0, odd.join('; '));
  tally.check(`${name}: no failed request`, failed.filter((one) => wanted === 200 || !one.endsWith(row.path)).length === 0, failed.join('; '));
  tally.check(`${name}: no request to other hosts`, strangers.length === 0, strangers.join('; '));
  return true;
}

/** Puts in what a path names by braces: the newest of the hub's own things. */
async function fill(rows) {
  const newest = async (path, pick) => {
    const answer = await fetch(`${address}/api/v1/${path}`, { headers: { authorization: `Bearer ${token}` } });
    if (!answer.ok) return undefined;
    return pick((await answer.json()).data);
  };
  const plan = await fetch(`${address}/api/v1/plans`, {
    method: 'POST', body: '{}', headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
  });
  const names = {
    plan: (await plan.json()).data?.plan,
    run: await newest('runs', (data) => data.runs[0]?.run),
    conflict: await newest('conflicts', (data) => data.conflicts[0]?.id),
    snapshot: await newest('snapshots', (data) => data.snapshots[0]?.id),
    schedule: await newest('schedules', (data) => data.schedules[0]?.name),
    spoke: await newest('spokes', (data) => data.spokes[0]?.name),
    leaf: await newest('log/leaves', (data) => data.leaves[0]?.index),
  };
  return rows.map((row) => {
    const path = row.path.replace(/\{(\w+)\}/g, (_, name) => {
      tally.check(`the demo has a ${name} for ${row.path}`, names[name] !== undefined, 'the API lists none');
      return encodeURIComponent(names[name] ?? `no-${name}`);
    });
    return { ...row, path, name: row.path };
  });
}

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
  args: ['--disable-background-networking', '--disable-component-update', '--disable-gpu', '--disable-quic', '--disable-sync', '--no-first-run',
    // Root has no sandbox to fall back on; all that is opened here is the hub.
    ...(process.getuid() === 0 ? ['--no-sandbox'] : [])],
});
const missing = new Set();
const pagePlain = await (await browser.newContext()).newPage();
const pageScripted = await (await browser.newContext()).newPage();
const plainly = await pagePlain.context().newCDPSession(pagePlain);
try {
  await scripts(pagePlain, false);
  tally.check('scripts are off where they should be', (await pagePlain.goto(`data:text/html,<title>off</title><script>document.title='on'</script>`), await pagePlain.title()) === 'off');
  for (const page of [pagePlain, pageScripted]) page.setDefaultTimeout(15_000);

  await tally.part('the one-time link', () => walkWelcome({ page: pagePlain, address, welcome, tally, lookAll, Watch }));
  await tally.part('signing out', () => signOut(pagePlain, address, tally));
  await tally.part('signing in without scripts', () => keyboardSignIn({ page: pagePlain, address, tally, lookAll, name: 'without scripts', Watch }));
  await tally.part('signing in', () => keyboardSignIn({ page: pageScripted, address, tally, lookAll, name: 'with scripts', Watch }));

  const rows = [...(await fill(served)), ...(await fill(awaited)).map((row) => ({ ...row, mayMiss: true }))];
  const both = (pages) => Promise.all(pages.map(async ([page, how]) => {
    for (const row of rows) {
      if (row.mayMiss && missing.has(row.name)) continue;
      await tally.part(`${row.name} ${how}`, async () => {
        if (!(await visit(page, row, `${row.name} ${how}`, row.mayMiss))) missing.add(row.name);
        else if (row.mayMiss) tally.note(`${row.name} is served: move its row to \`served\``);
      });
    }
  }));
  await both([[pageScripted, 'scripts'], [pagePlain, 'no-scripts']]);
} finally {
  await browser.close();
}
for (const path of missing) console.log(`missing  ${path}: answers 404; the page is awaited`);
tally.close(missing.size ? `, ${missing.size} pages missing` : '');
