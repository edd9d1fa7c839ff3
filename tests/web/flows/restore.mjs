// The restore wizard to its end, and the ways in which people leave it.
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { other } from '../hub.mjs';
import { pressed, tabTo } from '../pages/keyboard.mjs';
import { password } from '../pages/sign_in.mjs';

const onward = '.actionbar .btn.pri';

/** Goes to the confirmation by keyboard: the newest snapshot, some of its parts, a folder. */
async function walk(page, hub, to, parts, tally, where) {
  await page.goto(`${hub.address}/`);
  await page.keyboard.press('g');
  await pressed(page, 's');
  await tabTo(page, 'a.pri[href="/restore"]', tally, where);
  await pressed(page, 'Enter');
  const boxes = await page.locator('input[name=part]:not([disabled])').evaluateAll((all) => all.map((box) => ({ value: box.value, checked: box.checked })));
  tally.check(`${where}: the wanted parts are offered`, parts.every((part) => boxes.some(({ value }) => value === part)), JSON.stringify(boxes));
  for (const { value, checked } of boxes) {
    if (checked === parts.includes(value)) continue;
    await tabTo(page, `input[name=part][value="${value}"]`, tally, where);
    await page.keyboard.press('Space');
  }
  await tabTo(page, onward, tally, where);
  await pressed(page, 'Enter');
  await tabTo(page, '#to', tally, where);
  await page.keyboard.type(to);
  await tabTo(page, onward, tally, where);
  await pressed(page, 'Enter');
  tally.check(`${where}: the dry run tells parts and places`, await page.getByText('This is what a restore would do').isVisible()
    && (await page.locator('tbody tr').count()) === parts.length, await page.locator('main').innerText());
  tally.check(`${where}: the dry run writes nothing`, !existsSync(to));
  await tabTo(page, onward, tally, where);
  await pressed(page, 'Enter');
  tally.check(`${where}: then it asks once more`, await page.getByRole('heading', { name: 'Confirm' }).isVisible(), page.url());
}

/** Waits on the run's page, without loading it again, for its end. */
async function ends(page, tally, where) {
  tally.check(`${where}: leads to the run`, /^\/runs\/\d+$/.test(new URL(page.url()).pathname), `${page.url()} ${await page.locator('main').innerText()}`);
  await page.locator('#run-head').getByText(/succeeded/i).waitFor({ timeout: 60_000 });
  await page.locator('#restored').waitFor();
  tally.check(`${where}: what was restored appears by itself, each part proven`, await page.locator('#restored tbody tr').filter({ hasNotText: /proven equal/i }).count() === 0, await page.locator('#restored').innerText());
}

export async function restore({ hub, place, token, admin, tally, until }) {
  const runs = async () => (await hub.api('runs?limit=200', token)).runs.filter((run) => run.kind === 'restore');
  const codex = join(hub.folder, 'data/codex');
  // The mark by which the hub knows its tree is the hub's own.
  const compare = (to, where) => {
    tally.check(`${where}: the tree is equal, file by file`, other('diff', '-r', '--no-dereference', '--exclude=.cathedral-root', codex, join(to, 'codex')) === '', to);
  };

  await tally.part('a snapshot to go back to', async () => {
    await admin.goto(`${hub.address}/snapshots`);
    await tabTo(admin, 'form[action="/snapshots"] button', tally, 'snapshot');
    await pressed(admin, 'Enter');
    // Conflicts wait all the same, and the run says so: only its end is waited for.
    await admin.locator('#log').getByText(/^\d+ lines$/).waitFor({ timeout: 60_000 });
    const last = (await hub.api('snapshots', token)).snapshots[0];
    tally.check('snapshot: it is the newest and held', last.destinations.every((one) => one.state === 'held'), JSON.stringify(last.destinations));
  }, 150);

  await tally.part('a restore', async () => {
    const where = 'restore';
    const to = join(place, 'back-one');
    await walk(admin, hub, to, ['codex', 'circuitum99'], tally, where);
    await tabTo(admin, onward, tally, where);
    await pressed(admin, 'Enter');
    await ends(admin, tally, where);
    compare(to, where);
    const back = join(to, 'circuitum99.git');
    other('git', '-C', back, 'fsck', '--full', '--strict');
    const wanted = other('git', '-C', join(place, 'spokes/circuitum99.git'), 'rev-parse', 'main').trim();
    tally.check(`${where}: main is the spoke's commit`, other('git', '-C', back, 'rev-parse', 'main').trim() === wanted, wanted);

    // Back, and the same once more: told, and nothing is touched.
    const count = (await runs()).length;
    await admin.goBack();
    const shown = await admin.locator('main').innerText();
    if (/Confirm/.test(shown)) {
      await tabTo(admin, onward, tally, where);
      await pressed(admin, 'Enter');
    }
    tally.check(`${where}: going back and sending again is told`, /not empty/i.test(await admin.locator('main').innerText()), await admin.locator('main').innerText());
    tally.check(`${where}: and starts nothing`, (await runs()).length === count);
    compare(to, `${where}, sent again`);
  }, 150);

  await tally.part('a session that ends in the middle', async () => {
    const where = 'expired session';
    const to = join(place, 'back-two');
    await walk(admin, hub, to, ['codex'], tally, where);
    const other_tab = await admin.context().newPage();
    await other_tab.goto(`${hub.address}/`);
    await Promise.all([other_tab.waitForNavigation(), other_tab.getByRole('button', { name: 'Sign out' }).click()]);
    await other_tab.close();
    await tabTo(admin, onward, tally, where);
    const refused = await pressed(admin, 'Enter');
    tally.check(`${where}: nothing is done`, refused.status() === 401 && !existsSync(to), `${refused.status()}`);
    await tabTo(admin, 'main a[href^="/sign-in"]', tally, where);
    await pressed(admin, 'Enter');
    await tabTo(admin, '#name', tally, where);
    await admin.keyboard.type('admin');
    await tabTo(admin, '#password', tally, where);
    await admin.keyboard.type(password);
    await pressed(admin, 'Enter');
    tally.check(`${where}: signing in leads back to the confirmation, with all that was chosen`,
      await admin.getByRole('heading', { name: 'Confirm' }).isVisible() && admin.url().includes('back-two'), admin.url());

    // Sent twice at once: one restore.
    const count = (await runs()).length;
    const form = Object.fromEntries(await admin.locator('form[action="/restore"] input[type=hidden]').evaluateAll((all) => all.map(({ name, value }) => [name, value])));
    const answers = await Promise.all([1, 2].map(() => admin.context().request.post(`${hub.address}/restore`, { form, headers: { origin: hub.address, accept: 'text/html' } })));
    tally.check('double submit: both are answered with the run', answers.every((answer) => answer.status() === 200 && /\/runs\/\d+$/.test(answer.url())) && answers[0].url() === answers[1].url(),
      answers.map((answer) => `${answer.status()} ${answer.url()}`).join(', '));
    await until('the restore', async () => (await runs()).every((run) => run.state === 'finished'));
    tally.check('double submit: one run was made of it', (await runs()).length === count + 1, `${(await runs()).length - count}`);
    compare(to, 'double submit');
    tally.check('double submit: nothing lies beside it', readdirSync(to).join() === 'codex', readdirSync(to).join());
  }, 150);
}
