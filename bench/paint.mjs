// Opens a page a few times in Chromium and prints when it could be read and how much moved.
import { createRequire } from 'node:module'
import { join } from 'node:path'

const require = createRequire(join(process.env.CATHEDRAL_WEB_TOOLS, 'package.json'))
const { chromium } = require('playwright-core')

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ['--no-sandbox'] })
const readable = []
let shift = 0
for (let turn = 0; turn < 7; turn++) {
    const context = await browser.newContext({
        viewport: { width: 390, height: 844 },
        extraHTTPHeaders: { authorization: `Bearer ${process.env.TOKEN}` },
    })
    const page = await context.newPage()
    await page.addInitScript(() => {
        window.moved = 0
        new PerformanceObserver((list) => {
            for (const entry of list.getEntries()) window.moved += entry.value
        }).observe({ type: 'layout-shift', buffered: true })
    })
    await page.goto(process.argv[2], { waitUntil: 'load' })
    const told = await page.evaluate(async () => {
        for (let frame = 0; frame < 3; frame++) await new Promise(requestAnimationFrame)
        const paint = performance.getEntriesByName('first-contentful-paint')[0]
        return { paint: paint ? paint.startTime : NaN, moved: window.moved }
    })
    // The first one starts the browser's own parts.
    if (turn > 0) readable.push(told.paint)
    shift = Math.max(shift, told.moved)
    await context.close()
}
await browser.close()
readable.sort((a, b) => a - b)
console.log(JSON.stringify({ readable_ms: readable[Math.floor(readable.length / 2)], layout_shift: shift }))
