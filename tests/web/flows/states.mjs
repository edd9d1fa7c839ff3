// States that a busy hub does not show: nothing there yet, and roles that may not.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Hub, other } from '../hub.mjs';
import { look } from '../pages/look.mjs';
import { enter } from '../pages/sign_in.mjs';
import { Watch } from '../pages/watch.mjs';

async function lookAt(page, hub, paths, tally, where) {
  for (const [path, status, shows] of paths) {
    const watch = new Watch(page, hub.address);
    for (const [width, colorScheme] of [[390, 'dark'], [1440, 'light']]) {
      await page.setViewportSize({ width, height: 900 });
      await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
      const answer = await page.goto(hub.address + path, { waitUntil: 'load' });
      tally.check(`${where} ${path}: answers ${status}`, answer.status() === status, `${answer.status()}`);
      tally.check(`${where} ${path}: shows ${shows}`, shows.test(await page.locator('main').innerText()), await page.locator('main').innerText());
      await look(page, `${where} ${path} ${width} ${colorScheme}`, tally);
    }
    const { errors, failed, strangers } = watch.end();
    const odd = [...errors, ...failed, ...strangers].filter((text) => status === 200 || !new RegExp(`(status of )?${status}`).test(text));
    tally.check(`${where} ${path}: no console error, no failed request`, odd.length === 0, odd.join('; '));
  }
  await page.setViewportSize({ width: 1440, height: 900 });
}

export async function states({ hub, binary, place, second, browser, tally }) {
  await tally.part('what an operator may not', () => lookAt(second, hub, [
    ['/settings/config', 403, /needs the role admin/i],
    ['/settings/access', 403, /needs the role admin/i],
    ['/restore?part=codex&step=where', 200, /needs the role admin; yours is operator/i],
  ], tally, 'denied'), 150);

  await tally.part('a hub that has nothing yet', async () => {
    const empty = new Hub(binary, join(place, 'empty/hub'));
    mkdirSync(join(empty.folder, '.cathedral'), { recursive: true });
    mkdirSync(join(place, 'empty/app'));
    other('git', 'init', '-q', '-b', 'main', empty.folder);
    other('git', '-C', empty.folder, '-c', 'user.name=test', '-c', 'user.email=test@localhost', 'commit', '-q', '--allow-empty', '-m', 'first');
    writeFileSync(join(empty.folder, '.cathedral/integration-config.yaml'), `cathedral_ecosystem:
  name: empty
  master_repository: hub
  connected_files:
    - { name: texts, role: Texts, hub: data/texts, paths: [../app], update_frequency: 12h }
  backup:
    destinations:
      - { name: here, url: "file:.cathedral/vault" }
`);
    try {
      await empty.start();
      const page = await (await browser.newContext({ viewport: { width: 1440, height: 900 } })).newPage();
      page.setDefaultTimeout(30_000);
      await enter(page, empty.welcome);
      await lookAt(page, empty, [
        ['/', 200, /no snapshot yet/i],
        ['/ecosystem', 200, /texts/],
        ['/spokes/texts', 200, /never/i],
        ['/runs', 200, /run/i],
        ['/conflicts', 200, /no conflict waits/i],
        ['/snapshots', 200, /no snapshot/i],
        ['/restore', 200, /nothing can be restored before the first snapshot/i],
        ['/integrity', 200, /leaves/i],
        ['/schedules', 200, /schedule/i],
        ['/events', 200, /event/i],
        ['/deliveries', 200, /deliver/i],
        ['/settings', 200, /configuration/i],
        ['/status', 200, /snapshot|restored|know/i],
      ], tally, 'empty');
      await page.context().close();
    } finally {
      await empty.stop();
    }
  }, 200);
}
