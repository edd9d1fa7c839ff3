// The pages in Chromium, at every width, light and dark, with and without scripts.
//   node pages.mjs ADDRESS WELCOME TOKEN [SHOTS]
import { mkdirSync } from 'node:fs';
import { Tally } from './tally.mjs';
import { look } from './pages/look.mjs';
import { pages } from './pages/table.mjs';
import { open as openBrowser } from './pages/browser.mjs';
import { keyboardSignIn, signOut, walkWelcome } from './pages/sign_in.mjs';
import { Watch } from './pages/watch.mjs';

const [address, welcome, token, shots] = process.argv.slice(2);
const tally = new Tally('pages');
const widths = [390, 900, 1440];
const themes = ['light', 'dark'];
// axe takes most of the time: rows that are not `deep` have it where most goes wrong, unless it is asked for everywhere.
const everywhere = process.env.CATHEDRAL_AXE === 'everywhere';
if (shots) mkdirSync(shots, { recursive: true });

/** Lets the page run scripts, or not. Without them axe could not run: it runs after the page has loaded so. */
async function scripts(page, on) {
  if (page === pageScripted) return;
  await plainly.send('Emulation.setScriptExecutionDisabled', { value: !on });
}

/** Looks at the page that is open, in all widths and themes. `again` opens it once more. */
async function lookAll(page, name, again, deep = () => true) {
  for (const [at, width] of widths.entries()) {
    await page.setViewportSize({ width, height: 900 });
    // A page may look at its width when it begins.
    if (at > 0 && again) await again();
    await scripts(page, true);
    for (const theme of themes) {
      await page.emulateMedia({ colorScheme: theme, reducedMotion: 'reduce' });
      await look(page, `${name} ${width} ${theme}`, tally, deep(width, theme));
      if (shots) await page.screenshot({ path: `${shots}/${name.replace(/\W+/g, '-')}-${width}-${theme}.png`, fullPage: true });
    }
    await scripts(page, false);
  }
}

/** Opens one row of the table and looks at it. */
async function visit(page, row, name) {
  const watch = new Watch(page, address);
  const open = () => page.goto(address + row.path, { waitUntil: 'load' });
  await page.setViewportSize({ width: widths[0], height: 900 });
  const answer = await open();
  const wanted = row.status ?? 200;
  tally.check(`${name}: answers ${wanted}`, answer.status() === wanted, `${answer.status()}`);
  if (answer.status() !== wanted) {
    watch.end();
    return;
  }
  if (!tally.check(`${name}: is not sent to the door`, !new URL(page.url()).pathname.startsWith('/sign-in'), page.url())) {
    watch.end();
    return;
  }
  for (const text of row.shows) {
    const place = page.getByText(text).filter({ visible: true }).first();
    tally.check(`${name}: shows ${text}`, await place.isVisible(), 'not visible');
  }
  await lookAll(page, name, open, (width, theme) => everywhere || row.deep || (page === pageScripted ? width === 390 : width === 1440 && theme === 'dark'));
  const { errors, failed, strangers } = watch.end();
  // The browser itself reports an awaited 404 as an error.
  const odd = errors.filter((text) => wanted === 200 || !/Failed to load resource/.test(text));
  tally.check(`${name}: no console error`, odd.length === 0, odd.join('; '));
  tally.check(`${name}: no failed request`, failed.filter((one) => wanted === 200 || !one.endsWith(row.path)).length === 0, failed.join('; '));
  tally.check(`${name}: no request to other hosts`, strangers.length === 0, strangers.join('; '));
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
    sync: await newest('runs?limit=200', (data) => data.runs.find((run) => run.kind === 'sync' && run.summary.result === 'conflicts')?.run),
    conflict: await newest('conflicts', (data) => data.conflicts[0]?.id),
    text: await newest('conflicts', (data) => data.conflicts.find((one) => one.where === 'motto.txt')?.id),
    row: await newest('conflicts', (data) => data.conflicts.find((one) => one.fields?.length === 1)?.id),
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

const browser = await openBrowser();
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

  const rows = await fill(pages);
  await Promise.all([[pageScripted, 'scripts'], [pagePlain, 'no-scripts']].map(async ([page, how]) => {
    for (const row of rows) await tally.part(`${row.name} ${how}`, () => visit(page, row, `${row.name} ${how}`));
  }));
} finally {
  await browser.close();
}
tally.close();
