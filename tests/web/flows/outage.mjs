// The hub is killed under an open page.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

export async function outage({ hub, place, admin, tally }) {
  await tally.part('the hub is killed under an open page', async () => {
    await admin.goto(`${hub.address}/`);
    await admin.locator('#live').getByText('Live').waitFor();
    const sentence = await admin.locator('h1').textContent();
    await hub.stop('SIGKILL');
    await admin.locator('#live').getByText('Not connected').waitFor({ timeout: 20_000 });
    tally.check('killed: the page says so and keeps what it showed', (await admin.locator('h1').textContent()) === sentence);
    tally.check('killed: the mark is hollow, not green', /hollow/.test(await admin.locator('#live-dot').getAttribute('class')));
    await hub.start();
    await admin.locator('#live').getByText('Live').waitFor({ timeout: 30_000 });
    tally.check('back: the page follows again, without being loaded', await admin.evaluate(() => performance.getEntriesByType('navigation').length === 1));
    // What happens now is shown.
    writeFileSync(join(place, 'apps/codex/after-the-outage.txt'), 'written after the hub came back\n');
    const run = JSON.parse(hub.run('sync', 'codex', '--json').stdout).data?.run;
    await admin.locator('#latest').getByText(new RegExp(`run ${run ?? '\\d+'} `, 'i')).first().waitFor({ timeout: 30_000 });
    tally.check('back: new events appear', true);
  }, 150);
}
