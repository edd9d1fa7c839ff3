// The pictures of docs/: small WebP files, made by the browser itself.
//   node pictures.mjs BINARY DEMO OUT
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Hub, until } from './hub.mjs';
import { open as openBrowser } from './pages/browser.mjs';
import { enter } from './pages/sign_in.mjs';

const [binary, place, out] = process.argv.slice(2);
const hub = new Hub(binary, join(place, 'cathedral'));
const MOST = 150_000;

let browser;
try {
  await hub.start();
  const token = JSON.parse(hub.run('token', 'new', '--scope', 'viewer', '--label', 'pictures', '--json').stdout).data.token;
  const { conflicts } = await hub.api('conflicts', token);
  const motto = conflicts.find((one) => one.where === 'motto.txt').id;
  const pictures = ({ id }) => [
    { name: 'overview-light', path: '/', width: 1440, height: 1000, theme: 'light' },
    { name: 'overview-dark', path: '/', width: 1440, height: 1000, theme: 'dark' },
    { name: 'overview-small', path: '/', width: 390, height: 844, theme: 'light' },
    { name: 'conflict', path: `/conflicts/${motto}`, width: 1440, height: 900, theme: 'light' },
    { name: 'restore', path: `/restore?snapshot=${id}&part=codex&part=circuitum99&part=ledger&mode=new&to=/srv/restored&step=dry`, width: 1440, height: 760, theme: 'light' },
  ];
  browser = await openBrowser();
  const page = await (await browser.newContext({ reducedMotion: 'reduce' })).newPage();
  await enter(page, hub.welcome);
  // As it looks after a day of use: the newest snapshot was read back.
  for (const form of ['/snapshots', '/verify']) {
    await page.goto(`${hub.address}/snapshots`);
    await Promise.all([page.waitForNavigation(), page.locator(`form[action="${form}"] button`).click()]);
    await until(`the run of ${form}`, async () => (await hub.api('runs', token)).runs.every((run) => run.state === 'finished'));
  }
  const devtools = await page.context().newCDPSession(page);
  for (const { name, path, width, height, theme } of pictures((await hub.api('snapshots', token)).snapshots[0])) {
    await page.setViewportSize({ width, height });
    await page.emulateMedia({ colorScheme: theme });
    await page.goto(hub.address + path, { waitUntil: 'load' });
    await page.locator('#live').getByText('Live').or(page.locator('.steps')).first().waitFor();
    const { data } = await devtools.send('Page.captureScreenshot', { format: 'webp', quality: 82 });
    const bytes = Buffer.from(data, 'base64');
    if (bytes.length > MOST) throw new Error(`${name}.webp has ${bytes.length} bytes, more than ${MOST}`);
    writeFileSync(join(out, `${name}.webp`), bytes);
    console.log(`${name}.webp ${bytes.length} bytes`);
  }
} finally {
  await browser?.close();
  await hub.stop();
}
