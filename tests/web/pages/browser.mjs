// Debian's Chromium.
import { existsSync } from 'node:fs';
import { tools } from '../tally.mjs';

const { chromium } = tools('playwright-core');

/** Starts the browser; says what to do when there is none. */
export async function open() {
  const executablePath = process.env.CHROMIUM || '/usr/bin/chromium';
  if (!existsSync(executablePath)) throw new Error(`there is no browser at ${executablePath}: run tests/deps web, or set CHROMIUM`);
  return chromium.launch({
    executablePath,
    timeout: 60_000,
    args: ['--disable-background-networking', '--disable-component-update', '--disable-gpu', '--disable-quic', '--disable-sync', '--no-first-run',
      // Root has no sandbox to fall back on; all that is opened here is the hub.
      ...(process.getuid() === 0 ? ['--no-sandbox'] : [])],
  });
}
