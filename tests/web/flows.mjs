// Whole flows by keyboard, in a browser, and what became of them by git, sqlite3 and plain reads.
//   node flows.mjs BINARY FOLDER      (the folder of a demo; its hub is started and killed here)
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Hub, other, until } from './hub.mjs';
import { open as openBrowser } from './pages/browser.mjs';
import { conflicts } from './flows/conflicts.mjs';
import { outage } from './flows/outage.mjs';
import { restore } from './flows/restore.mjs';
import { states } from './flows/states.mjs';
import { enter } from './pages/sign_in.mjs';
import { Tally } from './tally.mjs';

const [binary, place] = process.argv.slice(2);
const tally = new Tally('flows');
const hub = new Hub(binary, join(place, 'cathedral'));

/** What stands on both sides, read without any code of the hub. */
const sides = {
  motto: () => ({ hub: readFileSync(join(hub.folder, 'data/codex/motto.txt')), spoke: readFileSync(join(place, 'apps/codex/motto.txt')) }),
  obsolete: () => [join(hub.folder, 'data/codex/obsolete.txt'), join(place, 'apps/codex/obsolete.txt')].map((path) => existsSync(path)),
  row: (id) => [join(hub.folder, 'data/ledger.db'), join(place, 'apps/ledger.db')]
    .map((path) => other('sqlite3', '-cmd', '.timeout 20000', path, `select amount from entry where id = ${id}`).trim()),
};

let browser;
try {
  await hub.start();
  const token = JSON.parse(hub.run('token', 'new', '--scope', 'admin', '--label', 'flows', '--json').stdout).data.token;
  browser = await openBrowser();
  const [admin, second, plain] = await Promise.all([{}, {}, { javaScriptEnabled: false }].map(async (more) => {
    const page = await (await browser.newContext({ viewport: { width: 1440, height: 900 }, reducedMotion: 'reduce', ...more })).newPage();
    page.setDefaultTimeout(30_000);
    return page;
  }));
  await enter(admin, hub.welcome);
  // A second person, who may answer conflicts.
  await admin.goto(`${hub.address}/settings/access`);
  await admin.locator('form[action="/settings/people"] [name=name]').fill('otto');
  await admin.locator('form[action="/settings/people"] [name=role]').selectOption('operator');
  await admin.locator('form[action="/settings/people"] button').click();
  const link = (await admin.locator('.secret').textContent()).trim();
  await enter(second, new URL(link, hub.address).href);
  tally.check('a second person has come in', new URL(second.url()).pathname === '/', second.url());
  await plain.context().addCookies(await admin.context().cookies());

  const all = { hub, binary, browser, place, token, admin, second, plain, sides, tally, until };
  await conflicts(all);
  await restore(all);
  await states(all);
  await outage(all);
} catch (error) {
  tally.check('the flows', false, `broke off: ${error.stack}`);
} finally {
  await browser?.close();
  // The part that follows asks a running hub: it is left to whoever started this.
  await hub.stop();
}
tally.close();
