// The way in: the one-time link and the form, by keyboard alone.

import { pressed, tabTo } from './keyboard.mjs';

export const password = 'correct horse 7 battery';

function quiet(watch, where, tally, awaitedStatus) {
  const { errors, failed, strangers } = watch.end();
  const odd = errors.filter((text) => !awaitedStatus || !text.includes(`status of ${awaitedStatus}`));
  tally.check(`${where}: no console error`, odd.length === 0, odd.join('; '));
  const lost = failed.filter((text) => !awaitedStatus || !text.startsWith(`${awaitedStatus} `));
  tally.check(`${where}: no failed request`, lost.length === 0, lost.join('; '));
  tally.check(`${where}: no request to other hosts`, strangers.length === 0, strangers.join('; '));
}

/** Opens a one-time link and sets a password, without looking further. */
export async function enter(page, welcome) {
  await page.goto(welcome, { waitUntil: 'load' });
  await page.locator('#password').fill(password);
  await page.locator('#again').fill(password);
  await page.locator('#again').focus();
  await pressed(page, 'Enter');
}

/** Opens the one-time link, sets a password at the second try, and uses the link up. */
export async function walkWelcome({ page, address, welcome, tally, lookAll, Watch }) {
  const open = () => page.goto(welcome, { waitUntil: 'load' });
  let watch = new Watch(page, address);
  tally.check('welcome: answers 200', (await open()).status() === 200);
  await lookAll(page, 'welcome', open);
  quiet(watch, 'welcome', tally);

  watch = new Watch(page, address);
  await open();
  await tabTo(page, '#password', tally, 'welcome');
  await page.keyboard.type(password);
  await tabTo(page, '#again', tally, 'welcome');
  await page.keyboard.type(`${password}!`);
  const refused = await pressed(page, 'Enter');
  tally.check('welcome: two passwords that differ are refused with 422', refused.status() === 422, `${refused.status()}`);
  tally.check('welcome: it says why', await page.getByRole('alert').isVisible());
  await lookAll(page, 'welcome-refused');
  quiet(watch, 'welcome-refused', tally, 422);

  await open();
  await tabTo(page, '#password', tally, 'welcome');
  await page.keyboard.type(password);
  await tabTo(page, '#again', tally, 'welcome');
  await page.keyboard.type(password);
  const inside = await pressed(page, 'Enter');
  tally.check('welcome: setting a password signs in', inside.status() === 200 && new URL(page.url()).pathname === '/', page.url());
  const used = await open();
  tally.check('welcome: the link works once', used.status() === 404, `${used.status()}`);
  await lookAll(page, 'welcome-used');
}

/** Signs out by the button; what was open is closed. */
export async function signOut(page, address, tally) {
  await page.goto(`${address}/`, { waitUntil: 'load' });
  const button = page.getByRole('button', { name: 'Sign out' });
  await Promise.all([page.waitForNavigation({ waitUntil: 'load' }), button.click()]);
  tally.check('signing out ends at the door', new URL(page.url()).pathname === '/sign-in', page.url());
  await page.goto(`${address}/`, { waitUntil: 'load' });
  tally.check('signed out, the overview is closed', new URL(page.url()).pathname === '/sign-in', page.url());
}

/** Signs in by the form, at the second try, and comes back to where one wanted to go. */
export async function keyboardSignIn({ page, address, tally, lookAll, name, Watch }) {
  const where = `sign-in ${name}`;
  const open = () => page.goto(`${address}/?from=sign-in`, { waitUntil: 'load' });
  let watch = new Watch(page, address);
  tally.check(`${where}: answers 200`, (await open()).status() === 200);
  tally.check(`${where}: remembers where one wanted to go`, page.url().includes('/sign-in?next='), page.url());
  await lookAll(page, where, open);
  quiet(watch, where, tally);

  watch = new Watch(page, address);
  await open();
  await tabTo(page, '#name', tally, where);
  await page.keyboard.type('admin');
  await tabTo(page, '#password', tally, where);
  await page.keyboard.type('not the password');
  const refused = await pressed(page, 'Enter');
  tally.check(`${where}: a wrong password is refused with 401`, refused.status() === 401, `${refused.status()}`);
  tally.check(`${where}: it says so`, await page.getByRole('alert').isVisible());
  tally.check(`${where}: the name is kept`, (await page.locator('#name').inputValue()) === 'admin');
  await lookAll(page, `${where} refused`);
  quiet(watch, `${where} refused`, tally, 401);

  await tabTo(page, '#password', tally, where);
  await page.keyboard.type(password);
  await tabTo(page, 'button.primary, form[action="/sign-in"] button', tally, where);
  const inside = await pressed(page, 'Enter');
  tally.check(`${where}: signs in and comes back`, inside.status() === 200 && page.url() === `${address}/?from=sign-in`, `${inside.status()} ${page.url()} ${await page.getByRole('alert').allTextContents()}`);
}
