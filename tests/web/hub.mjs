// A hub of a test's own: started, stopped, killed and asked, as an operator would.
import { spawn, spawnSync } from 'node:child_process';
import { openSync } from 'node:fs';
import { createInterface } from 'node:readline';

export class Hub {
  #process;

  /** `folder` holds the configuration; `binary` is the program under test. */
  constructor(binary, folder) {
    Object.assign(this, { binary, folder, address: undefined, welcome: undefined });
  }

  /** Serves, at the same address as before when it has served before. */
  async start() {
    const listen = this.address ? this.address.replace('http://', '') : '127.0.0.1:0';
    const log = openSync(`${this.folder}.log`, 'a');
    this.#process = spawn(this.binary, ['-C', this.folder, 'up', '--listen', listen, '--jsonl'], { stdio: ['ignore', 'pipe', log] });
    const lines = createInterface({ input: this.#process.stdout });
    const [line] = await Promise.race([
      new Promise((done, fail) => { lines.once('line', (text) => done([text])); this.#process.once('exit', (code) => fail(new Error(`the hub ended with ${code}: see ${this.folder}.log`))); }),
      new Promise((_, fail) => setTimeout(fail, 60_000, new Error('the hub does not start within a minute')).unref()),
    ]);
    lines.on('line', () => {});
    const told = JSON.parse(line);
    const { address, welcome } = told.data ?? told;
    if (!address) throw new Error(`the hub does not serve: ${line}`);
    this.address = address.replace(/\/$/, '');
    if (welcome) this.welcome = welcome;
  }

  /** Ends the process by a signal and waits until it is gone. */
  async stop(signal = 'SIGTERM') {
    if (!this.#process || this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    const gone = new Promise((done) => this.#process.once('exit', done));
    this.#process.kill(signal);
    await gone;
  }

  /** Runs a command of the program beside the hub; its standard output. */
  run(...words) {
    const { stdout, stderr, status, error } = spawnSync(this.binary, ['-C', this.folder, ...words], { encoding: 'utf8', timeout: 60_000 });
    if (error || status === null) throw new Error(`cathedral ${words.join(' ')}: ${error ?? 'was ended'}`);
    return { stdout, stderr, status };
  }

  /** Asks the API with a token. */
  async api(path, token) {
    const answer = await fetch(`${this.address}/api/v1/${path}`, { headers: { authorization: `Bearer ${token}` }, signal: AbortSignal.timeout(30_000) });
    if (!answer.ok) throw new Error(`GET ${path}: ${answer.status} ${await answer.text()}`);
    return (await answer.json()).data;
  }
}

/** Runs another program, such as git or sqlite3; its standard output. Fails when it does. */
export function other(program, ...words) {
  const { stdout, stderr, status, error } = spawnSync(program, words, { encoding: 'utf8', timeout: 60_000 });
  if (error || status !== 0) throw new Error(`${program} ${words.join(' ')}: ${error ?? `${status} ${stdout} ${stderr}`}`);
  return stdout;
}

/** Waits until `holds` gives something true. */
export async function until(what, holds, ms = 45_000) {
  const end = Date.now() + ms;
  for (;;) {
    const found = await holds();
    if (found) return found;
    if (Date.now() > end) throw new Error(`waited ${ms / 1000} s for ${what}`);
    await new Promise((go) => setTimeout(go, 100));
  }
}
