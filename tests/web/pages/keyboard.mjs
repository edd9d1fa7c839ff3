// What a person does without a mouse.

/** Presses Tab until `selector` has the focus; each stop on the way must be visible. */
export async function tabTo(page, selector, tally, where, { most = 120, key = 'Tab' } = {}) {
  for (let stops = 0; stops < most; stops += 1) {
    await page.keyboard.press(key);
    const at = await page.evaluate((wanted) => {
      const focused = document.activeElement;
      const { outlineStyle, outlineWidth, boxShadow } = getComputedStyle(focused);
      const box = focused.getBoundingClientRect();
      return {
        there: focused.matches(wanted),
        name: `${focused.tagName.toLowerCase()}${focused.id ? `#${focused.id}` : ''}${focused.name ? `[name=${focused.name}]` : ''}`,
        marked: (outlineStyle !== 'none' && parseFloat(outlineWidth) >= 1) || boxShadow !== 'none',
        inside: box.width > 0 && box.height > 0 && box.right > 0 && box.bottom > 0 && box.left < innerWidth && box.top < innerHeight,
      };
    }, selector);
    // After the last stop the browser itself has the focus for once.
    if (at.name === 'body') continue;
    tally.check(`${where}: focus on ${at.name} is visible`, at.marked && at.inside, JSON.stringify(at));
    if (at.there) return;
  }
  throw new Error(`${key} does not reach ${selector}`);
}

/** Presses a key that leads to another page; the answer to it. */
export async function pressed(page, key) {
  const [answer] = await Promise.all([page.waitForNavigation({ waitUntil: 'load' }), page.keyboard.press(key)]);
  return answer;
}

/** Walks the rows of a page by J until the focused one shows `text`. */
export async function rowWith(page, text) {
  for (let steps = 0; steps < 60; steps += 1) {
    await page.keyboard.press('j');
    if (await page.evaluate((wanted) => document.activeElement.textContent.includes(wanted), text)) return;
  }
  throw new Error(`J does not reach a row with ${text}`);
}
