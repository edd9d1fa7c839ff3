// Counts checks, prints those that fail, and closes with one line.
import { createRequire } from 'node:module';

/** Loads a package from the folder that `run` installed into. */
export const tools = createRequire(`${process.env.CATHEDRAL_WEB_TOOLS}/`);

export class Tally {
  #passed = 0;
  #failed = 0;
  #notes = new Set();

  constructor(name) {
    this.name = name;
  }

  /** One check; `why` is told when it fails. */
  check(what, holds, why = '') {
    if (holds) {
      this.#passed += 1;
    } else {
      this.#failed += 1;
      console.log(`FAIL     ${what}${why ? `: ${why}` : ''}`);
    }
    return holds;
  }

  /** A part of the tests; when it breaks off, that is one failure and the others go on. */
  async part(what, body, seconds = 60) {
    try {
      await Promise.race([body(), new Promise((_, fail) => setTimeout(fail, seconds * 1000, new Error(`${seconds} s have passed`)).unref())]);
    } catch (error) {
      this.check(what, false, `broke off: ${String(error.message ?? error).split('\n').slice(0, 3).join(' ')}`);
    }
  }

  note(text) {
    if (!this.#notes.has(text)) console.log(`note     ${text}`);
    this.#notes.add(text);
  }

  close(more = '') {
    console.log(`${this.name}: ${this.#passed} passed, ${this.#failed} failed${more}`);
    process.exitCode = this.#failed === 0 && this.#passed > 0 ? 0 : 1;
  }
}
