// A conflict, from the overview to bytes on both sides, and back.
import { pressed, rowWith, tabTo } from '../pages/keyboard.mjs';

const state = '#conflict-state';

/** The number of the conflict whose place is `where`. */
async function open(hub, token, where, spoke) {
  const { conflicts } = await hub.api('conflicts', token);
  return conflicts.find((one) => one.where === where && one.spoke === spoke && one.state === 'open')?.id;
}

/** Waits, on the open page and without loading it again, until the answer has been carried out. */
async function settles(page, tally, where) {
  await page.locator(`${state} .note.ok`).waitFor({ timeout: 45_000 });
  tally.check(`${where}: the page tells by itself that it is settled`, /settled/i.test(await page.locator(state).textContent()));
}

async function undo(page, tally, where) {
  await tabTo(page, 'form[action$="/undo"] button', tally, `${where}, undo`);
  const answer = await pressed(page, 'Enter');
  tally.check(`${where}: undo is taken`, answer.status() === 200, `${answer.status()} ${await page.locator('h1').textContent()}`);
}

export async function conflicts({ hub, token, admin, second, plain, sides, tally, until }) {
  const before = sides.motto();
  const equal = (now, wanted) => now.hub.equals(wanted.hub) && now.spoke.equals(wanted.spoke);
  const both = (bytes) => ({ hub: bytes, spoke: bytes });
  const number = await open(hub, token, 'motto.txt', 'codex');

  await tally.part('a side is chosen', async () => {
    const where = 'choose a side';
    await admin.goto(`${hub.address}/`);
    await admin.keyboard.press('g');
    await pressed(admin, 'c');
    tally.check(`${where}: G C leads to the inbox`, new URL(admin.url()).pathname === '/conflicts', admin.url());
    await rowWith(admin, 'motto.txt');
    await pressed(admin, 'Enter');
    tally.check(`${where}: Enter opens the conflict`, new URL(admin.url()).pathname === `/conflicts/${number}`, admin.url());
    const panes = await admin.locator('.three').textContent();
    tally.check(`${where}: both sides are shown`, [before.hub, before.spoke].every((bytes) => panes.includes(bytes.toString().trim().split('\n')[0])), panes);
    // The result is looked at before it is sent.
    await tabTo(admin, '.seg a[href*="take=spoke"]', tally, where);
    await pressed(admin, 'Enter');
    const result = await admin.locator('#result').textContent();
    tally.check(`${where}: the result is shown and checked`, result.includes(before.spoke.toString().trim().split('\n')[0]) && result.includes('Text, whole'), result);
    await admin.keyboard.press('s');
    tally.check(`${where}: S goes to the button, and sends nothing yet`, await admin.evaluate(() => document.activeElement.value === 'spoke'));
    await pressed(admin, 'Enter');
    await settles(admin, tally, where);
    tally.check(`${where}: both sides hold the spoke's bytes`, equal(sides.motto(), both(before.spoke)), JSON.stringify(sides.motto()));
    // Going back and sending once more is the same answer.
    await undo(admin, tally, where);
    await until('undo', () => equal(sides.motto(), before)).catch(() => {});
    tally.check(`${where}: undo brings back both sides, byte by byte`, equal(sides.motto(), before), JSON.stringify(sides.motto()));
  }, 150);

  await tally.part('a merge by hand', async () => {
    const where = 'merge by hand';
    const again = await until('the conflict to be open again', () => open(hub, token, 'motto.txt', 'codex'));
    await admin.goto(`${hub.address}/conflicts/${again}`);
    await admin.keyboard.press('e');
    await admin.waitForURL(/take=edit/);
    const type = async (page, text) => {
      await tabTo(page, '#text', tally, where);
      await page.keyboard.press('Control+A');
      await page.keyboard.type(text);
    };
    await type(admin, '<<<<<<< hub\none\n=======\ntwo\n>>>>>>> spoke\n');
    await tabTo(admin, 'button[value=edit]', tally, where);
    const refused = await pressed(admin, 'Enter');
    tally.check(`${where}: what has marks of a merge left in it is refused`, refused.status() === 422, `${refused.status()}`);
    tally.check(`${where}: why is told, and the text is kept`, /marks of a merge/i.test(await admin.getByRole('alert').textContent()) && (await admin.locator('#text').inputValue()).includes('======='));
    tally.check(`${where}: nothing was changed`, equal(sides.motto(), before));

    const merged = `${before.hub.toString().trimEnd()}\n${before.spoke.toString().trimEnd()}\nmerged by hand: ä <b> ${'🦀'}\n`;
    await type(admin, merged);
    await tabTo(admin, 'button[value=check]', tally, where);
    await pressed(admin, 'Enter');
    tally.check(`${where}: the text is checked before it is sent`, (await admin.locator('#result > header').textContent()).includes('Text, whole'));
    tally.check(`${where}: a check changes nothing`, equal(sides.motto(), before) && await open(hub, token, 'motto.txt', 'codex') === again);

    // Meanwhile somebody else writes an answer of their own.
    await second.goto(`${hub.address}/conflicts/${again}?take=edit`);
    await tabTo(second, '#text', tally, 'two people');
    await second.keyboard.press('Control+A');
    await second.keyboard.type('the answer of the second person\n');

    await tabTo(admin, 'button[value=edit]', tally, where);
    await pressed(admin, 'Enter');
    await settles(admin, tally, where);
    tally.check(`${where}: both sides hold the merged bytes`, equal(sides.motto(), both(Buffer.from(merged))), JSON.stringify(sides.motto()));

    await tabTo(second, 'button[value=edit]', tally, 'two people');
    const late = await pressed(second, 'Enter');
    tally.check('two people: the second is told', late.status() === 409 && /admin/i.test(await second.getByRole('alert').textContent()), `${late.status()}`);
    tally.check('two people: what the second wrote is still there', (await second.locator('#text').inputValue()).includes('the answer of the second person'));
    tally.check('two people: the first answer stands', equal(sides.motto(), both(Buffer.from(merged))));

    await undo(admin, tally, where);
    await until('undo', () => equal(sides.motto(), before)).catch(() => {});
    tally.check(`${where}: undo brings back both sides, byte by byte`, equal(sides.motto(), before), JSON.stringify(sides.motto()));
  }, 150);

  await tally.part('a row, field by field', async () => {
    const where = 'fields of a row';
    const was = sides.row(2000);
    const row = await open(hub, token, 'entry[2000]', 'ledger');
    await admin.goto(`${hub.address}/conflicts/${row}`);
    await tabTo(admin, 'input[type=radio][value="@base"]', tally, where);
    // Before, hub, spoke, another value: arrows move among them.
    for (const wanted of ['@hub', '@spoke', '=']) {
      await admin.keyboard.press('ArrowRight');
      tally.check(`${where}: an arrow chooses ${wanted}`, await admin.evaluate((value) => document.activeElement.value === value && document.activeElement.checked, wanted));
    }
    await tabTo(admin, 'input[name=v0]', tally, where);
    await admin.keyboard.type('777');
    await tabTo(admin, 'form:has([name=v0]) button', tally, where);
    await pressed(admin, 'Enter');
    await settles(admin, tally, where);
    tally.check(`${where}: both databases hold the typed value`, sides.row(2000).every((value) => value === '777'), `${sides.row(2000)}`);
    await undo(admin, tally, where);
    await until('undo', () => String(sides.row(2000)) === String(was)).catch(() => {});
    tally.check(`${where}: undo brings back both rows`, String(sides.row(2000)) === String(was), `${sides.row(2000)} for ${was}`);
  }, 150);

  await tally.part('without scripts', async () => {
    const where = 'without scripts';
    const gone = await open(hub, token, 'obsolete.txt', 'codex');
    await plain.goto(`${hub.address}/conflicts/${gone}`);
    await tabTo(plain, 'button[name=take][value=hub]', tally, where);
    await pressed(plain, 'Enter');
    await until('the run', async () => {
      await plain.reload();
      return /settled/i.test(await plain.locator(state).textContent());
    });
    tally.check(`${where}: the file is gone on both sides`, sides.obsolete().every((there) => !there), `${sides.obsolete()}`);
    // Sent twice at once: one answer, one leaf of the log.
    const twice = await open(hub, token, 'entry[2500]', 'ledger');
    await plain.goto(`${hub.address}/conflicts/${twice}`);
    const csrf = await plain.locator('#result [name=csrf]').inputValue();
    const versions = await plain.locator('#result [name=versions]').inputValue();
    const answers = await Promise.all([1, 2].map(() => plain.context().request.post(`${hub.address}/conflicts/${twice}/answer`, {
      form: { csrf, versions, take: 'spoke' }, headers: { origin: hub.address, accept: 'text/html' },
    })));
    tally.check(`${where}: an answer sent twice is one answer`, answers.every((answer) => answer.status() === 200), answers.map((answer) => answer.status()).join(' '));
    await until('the row', () => sides.row(2500).every((value) => value !== '')).catch(() => {});
    tally.check(`${where}: the row is on both sides`, sides.row(2500).every((value) => value !== ''), `${sides.row(2500)}`);
  }, 150);
}
