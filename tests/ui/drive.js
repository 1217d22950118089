// A browser that does what lines of JSON on standard input say, and answers each with a line: {"ok": value} or
// {"error": text}. Modules (puppeteer-core, axe-core) come from NODE_PATH.
//
// Knows: Chromium, puppeteer, axe. Must not know: the page.
'use strict';

const fs = require('fs');
const os = require('os');
const path = require('path');
const readline = require('readline');
const puppeteer = require('puppeteer-core');

const AXE = fs.readFileSync(require.resolve('axe-core/axe.min.js'), 'utf-8');
const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--font-render-hinting=none'];

let browser;
let page;
let said = []; // console errors, exceptions, violations of the CSP, dialogs
const outside = []; // addresses that were asked for elsewhere

/** Runs in the page before its own script. */
function watch() {
  window.violations = [];
  document.addEventListener('securitypolicyviolation', (event) => window.violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sample}`));
  window.slowest = 0;
  let before = performance.now();
  const frame = (now) => {
    window.slowest = Math.max(window.slowest, now - before);
    before = now;
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
}

const operations = {
  /** A new page. `width`, `height`, `scheme`, `motion`, `scale`, `script` (false: JavaScript is off). */
  async open({ url, width = 1280, height = 860, scheme = 'light', motion = 'no-preference', scale = 1, script = true, before = '' }) {
    if (page) await page.close();
    const context = await browser.createBrowserContext();
    page = await context.newPage();
    said = [];
    page.on('console', (message) => ['error', 'warn'].includes(message.type()) && said.push(`${message.type()}: ${message.text()}`));
    page.on('pageerror', (error) => said.push(`exception: ${error && error.stack ? error.stack : error}`));
    page.on('dialog', (dialog) => { said.push(`dialog: ${dialog.message()}`); dialog.dismiss(); });
    page.on('request', (request) => { if (!/^(data|blob|about):/.test(request.url()) && new URL(request.url()).origin !== new URL(url).origin) outside.push(request.url()); });
    await page.setJavaScriptEnabled(script);
    await page.setViewport({ width, height, deviceScaleFactor: scale });
    await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: scheme }, { name: 'prefers-reduced-motion', value: motion }]);
    await page.evaluateOnNewDocument(watch);
    if (before) await page.evaluateOnNewDocument(before);
    await page.setBypassCSP(false);
    await page.goto(url, { waitUntil: 'load' });
  },
  /** The value of an expression, which may be a promise. */
  evaluate: ({ code }) => page.evaluate(code),
  /** Wait until an expression holds, and return its value. */
  async wait({ code, seconds = 20 }) {
    try {
      return await (await page.waitForFunction(code, { timeout: seconds * 1000, polling: 50 })).jsonValue();
    } catch (error) {
      throw new Error(`${error.message}\nwaited for: ${code}\n${said.join('\n')}\n${(await page.evaluate('document.body.innerText')).slice(0, 1200)}`);
    }
  },
  /** Press keys one after the other. */
  async press({ keys }) { for (const key of keys) await page.keyboard.press(key); },
  type: ({ text }) => page.keyboard.type(text),
  click: ({ selector }) => page.click(selector),
  /** What axe-core finds that is serious or critical. */
  async axe() {
    await page.evaluate(AXE);
    const found = await page.evaluate('axe.run(document, {resultTypes: ["violations"]})');
    return found.violations.filter(({ impact }) => ['serious', 'critical'].includes(impact))
      .map(({ id, nodes }) => `${id}: ${nodes.slice(0, 4).map((node) => `${node.html.slice(0, 200)} ${node.failureSummary.slice(0, 300)}`).join(' | ')}`);
  },
  shot: ({ file, full = false }) => page.screenshot({ path: file, fullPage: full }).then(() => file),
  /** What went wrong since the page opened. */
  async trouble() { return [...said, ...(await page.evaluate('window.violations')), ...outside]; },
};

(async () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'a2py-ui-'));
  browser = await puppeteer.launch({ executablePath: process.env.CHROMIUM || '/usr/bin/chromium', headless: true, userDataDir: folder, args: FLAGS });
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const { op, ...options } = JSON.parse(line);
    let answer;
    try {
      answer = { ok: (await operations[op](options)) ?? null };
    } catch (error) {
      answer = { error: String(error.stack || error) };
    }
    process.stdout.write(JSON.stringify(answer) + '\n');
  }
  await browser.close();
  fs.rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
})();
