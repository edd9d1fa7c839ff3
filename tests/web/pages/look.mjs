// One look at a page as it stands: its head, its width, and axe.
import { readFileSync } from 'node:fs';
import { tools } from '../tally.mjs';

const axe = readFileSync(tools.resolve('axe-core/axe.min.js'), 'utf8');

/** Looks at the page in the width and theme it has now; without `deep` axe is left out. */
export async function look(page, where, tally, deep = true) {
  const seen = await page.evaluate(() => ({
    headings: document.querySelectorAll('h1').length,
    title: document.title,
    language: document.documentElement.lang,
    over: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    // What makes it too wide, for whoever repairs it.
    wide: [...document.body.querySelectorAll('*')]
      .filter((part) => part.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
      .slice(0, 3).map((part) => `${part.tagName.toLowerCase()}.${part.className?.baseVal ?? part.className}`),
  }));
  tally.check(`${where}: one h1`, seen.headings === 1, `${seen.headings} of them`);
  tally.check(`${where}: title`, /\S.* · Cathedral$/.test(seen.title), `"${seen.title}"`);
  tally.check(`${where}: language`, seen.language === 'en', `"${seen.language}"`);
  tally.check(`${where}: no horizontal scroll`, seen.over <= 0, `${seen.over} px too wide: ${seen.wide.join(' ')}`);
  if (!deep) return;
  if (!await page.evaluate(() => 'axe' in globalThis)) await page.evaluate(axe);
  const found = await page.evaluate(async () => {
    const { violations } = await globalThis.axe.run(document, { resultTypes: ['violations'] });
    return violations.map((one) => {
      const [node] = one.nodes;
      return `${one.id} (${one.impact}, ${one.nodes.length} times) ${node.target.join(' ')}: ${node.failureSummary.split('\n')[1]?.trim()}`;
    });
  });
  tally.check(`${where}: axe`, found.length === 0, found.join('; '));
}
