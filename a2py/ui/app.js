// @ts-check
/**
 * The page: what a2py does now, both sides of every request, usage, a place to try a model, the check.
 *
 * Knows: the JSON of /ui/api. Must not know: another address; how a value came about.
 * Invariants:
 * - Everything shown is text that somebody else may have chosen. It becomes text nodes and attributes through `h` and
 *   `s`, never markup. A link goes to a place of this page.
 * - The bearer is in this module's memory only. The one-time token leaves the address before anything is asked.
 * - What is kept has a bound (the constants below), and long lists and texts are drawn only where they are visible.
 *
 * Sections: bounds · elements · words and numbers · talking to a2py · what is live · lists · text · replies ·
 * small drawings · now · requests · one request · usage · try · check · frame.
 */

/** @typedef {Record<string, any>} Row  One request, as `request` events and /ui/api/requests have it. */
/** @typedef {Record<string, any>} Json */
/** @typedef {{update?: (kinds: Set<string>) => void, end?: () => void}} View */

// -- bounds ----------------------------------------------------------------------------------------------------------

const MAX_ROWS = 10_000; // requests kept by the page
const MAX_SAMPLES = 120; // seconds of history in a tile's line
const MAX_HEIGHT = 8_000_000; // pixels of a scrolled area; browsers draw nothing beyond some 17 million
const MAX_LINE = 32 << 20; // characters of one line of the live stream
const OPEN_AT_ONCE = 512 << 10; // bytes of a body that is fetched without a click
const LONG_TEXT = 3000; // characters of a block shown before "show all"
const BATCH = 60; // blocks drawn at a time
const SLICE = 8; // milliseconds of work between two frames
const SILENCE = 45_000; // milliseconds without a line after which the live stream counts as lost
const NEEDED = 'Chrome or Edge 123, Firefox 128, Safari 17.5, or newer';

// -- elements --------------------------------------------------------------------------------------------------------

const SVG = 'http://www.w3.org/2000/svg';
const ATTRIBUTES = new Set(('role id class for type name value placeholder tabindex title list rows min max step'
  + ' autocomplete spellcheck scope colspan lang open checked disabled selected hidden maxlength').split(' '));
const SHAPES = new Set(('class x y x1 x2 y1 y2 width height rx points viewBox preserveAspectRatio role'
  + ' text-anchor').split(' '));
const OPEN_NAME = /^(aria|data)-[a-z]+$/; // of any element

/** Make an element. `props`: attributes, `on` (listeners). Children that are no nodes become text.
 * @param {string} tag @param {Json|null} [props] @param {...any} children @returns {any} */
function h(tag, props, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) {
    if (name === 'on') for (const [event, act] of Object.entries(value)) node.addEventListener(event, act);
    else if (value === false || value === null || value === undefined) continue;
    else if (ATTRIBUTES.has(name) || OPEN_NAME.test(name)) node.setAttribute(name, value === true ? '' : String(value));
    else throw new Error(`no such attribute here: ${name}`);
  }
  return add(node, ...children);
}

/** Make an SVG element. @param {string} tag @param {Json|null} [props] @param {...any} children @returns {any} */
function s(tag, props, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(props ?? {})) {
    if (SHAPES.has(name) || OPEN_NAME.test(name)) node.setAttribute(name, String(value));
    else throw new Error(`no such attribute here: ${name}`);
  }
  return add(node, ...children);
}

/** Append children: nodes, texts, lists of them; null and false are left out.
 * @param {any} node @param {...any} children */
function add(node, ...children) {
  for (const child of children.flat(3)) {
    if (child === null || child === undefined || child === false) continue;
    node.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return node;
}

/** A link to a place of this page. @param {string[]} path @param {Json|null} props @param {...any} children */
function place(path, props, ...children) {
  const link = h('a', props, ...children);
  link.href = '#/' + path.map(encodeURIComponent).join('/');
  return link;
}

const button = (text, act, props = {}) => h('button', { type: 'button', ...props, on: { click: act } }, text);
const dot = (tone) => h('span', { class: `dot ${tone}`, 'aria-hidden': 'true' });
const state = (tone, text) => h('span', { class: 'state' }, dot(tone), h('span', null, text));
const tag = (text, tone = '') => h('span', { class: `tag ${tone}` }, text);

/** Change a node's text if it differs, so that a selection survives. @param {any} node @param {string} text */
function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Make `box` hold one child for each item, keeping those whose key stays.
 * @param {any} box @param {any[]} items @param {(item: any) => string} key @param {(item: any) => any} make
 * @param {(node: any, item: any) => void} fill */
function keyed(box, items, key, make, fill) {
  const old = box.children_ ?? new Map();
  const next = new Map();
  let before = box.tHead ?? null; // the rows of a table come after its head
  for (const item of items) {
    const name = key(item);
    if (next.has(name)) continue;
    const node = old.get(name) ?? make(item);
    next.set(name, node);
    const spot = before ? before.nextSibling : box.firstChild;
    if (spot !== node) box.insertBefore(node, spot);
    fill(node, item);
    before = node;
  }
  for (const [name, node] of old) if (!next.has(name)) node.remove();
  box.children_ = next;
}

/** A table. `columns`: [heading, "num" or ""]. The roles are written out, because phones get another layout.
 * @param {string} label @param {[string, string?][]} columns @param {any[]} bodies @param {string} [kind] */
function table(label, columns, bodies, kind = 'fold') {
  const heads = columns.map(([text, cls]) => h('th', { scope: 'col', role: 'columnheader', class: cls ?? '' }, text));
  const head = h('thead', { role: 'rowgroup' }, h('tr', { role: 'row' }, heads));
  return h('table', { class: kind, role: 'table', 'aria-label': label }, head, bodies);
}

const tr = (...cells) => h('tr', { role: 'row' }, cells);
const td = (cls, label, ...children) => h('td', { role: 'cell', class: cls, 'data-label': label || null }, children);
const tbody = (...rows) => h('tbody', { role: 'rowgroup' }, rows);

/** Buttons of which one is chosen. @param {string} label @param {[string, string][]} choices @param {string} chosen
 * @param {(value: string) => void} act */
function choice(label, choices, chosen, act) {
  const box = h('div', { class: 'tabs', role: 'group', 'aria-label': label });
  for (const [value, text] of choices) {
    const press = () => {
      for (const other of box.children) other.setAttribute('aria-pressed', String(other === one));
      act(value);
    };
    const one = button(text, press, { 'aria-pressed': String(value === chosen) });
    box.append(one);
  }
  return box;
}

let lastId = 0;
/** A list of tabs with one panel, which is made when a tab is first chosen. Arrow keys move.
 * @param {string} label @param {{name: string, make: () => any}[]} all */
function tabs(label, all) {
  const id = `p${++lastId}`;
  const panel = h('div', { id, role: 'tabpanel', class: 'inside', 'aria-label': label });
  const bar = h('div', { class: 'tabs', role: 'tablist', 'aria-label': label });
  const made = new Map();
  const choose = (n) => {
    [...bar.children].forEach((one, i) => {
      one.setAttribute('aria-selected', String(i === n));
      one.tabIndex = i === n ? 0 : -1;
    });
    panel.setAttribute('aria-label', `${label}: ${all[n].name}`);
    if (!made.has(n)) made.set(n, all[n].make());
    panel.replaceChildren(made.get(n));
    // A panel that scrolls must be reachable by keyboard; one that holds a list already is.
    panel.tabIndex = panel.querySelector('[tabindex="0"]') ? -1 : 0;
  };
  all.forEach(({ name }, n) => bar.append(button(name, () => choose(n), { role: 'tab', 'aria-controls': id })));
  bar.addEventListener('keydown', (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const now = [...bar.children].indexOf(document.activeElement);
    const next = /** @type {any} */ (bar.children[(now + step + all.length) % all.length]);
    next.focus();
    next.click();
    event.preventDefault();
  });
  choose(0);
  return { bar, panel };
}

/** Open a dialog that removes itself. @param {string} title @param {...any} children */
function dialog(title, ...children) {
  const close = button('Close', () => box.close(), { class: 'quiet' });
  const heading = h('h2', { id: `d${++lastId}` }, title);
  const box = h('dialog', { 'aria-labelledby': heading.id, on: { close: () => box.remove() } });
  add(box, h('div', { class: 'head' }, heading, h('div', { class: 'end' }, close)), children);
  document.body.append(box);
  box.showModal();
  return box;
}

const at = (id) => /** @type {any} */ (document.getElementById(id));

let saying = 0;
/** Tell a screen reader. The same words are news only after the element was empty. @param {string} text */
function say(text) {
  clearTimeout(saying);
  const isSame = at('say').textContent === text;
  setText(at('say'), isSame ? '' : text);
  if (isSame) saying = setTimeout(() => setText(at('say'), text), 100);
}

// -- words and numbers -----------------------------------------------------------------------------------------------

const WHOLE = new Intl.NumberFormat('en');
const isNumber = (value) => typeof value === 'number' && Number.isFinite(value);
const whole = (value) => (isNumber(value) ? WHOLE.format(Math.round(value)) : '–');
const str = (value) => (value === null || value === undefined ? ''
  : typeof value === 'string' ? value : JSON.stringify(value));
const list = (value) => (Array.isArray(value) ? value : []);
/** The parts that say something, with dots between them. @param {...any} parts */
const joined = (...parts) => parts.filter(Boolean).join(' · ');
const plural = (n, one, many = one + 's') => `${whole(n)} ${n === 1 ? one : many}`;

/** 1234567 → "1.23M". @param {any} value */
function short(value) {
  if (!isNumber(value)) return '–';
  for (const [size, unit] of /** @type {[number, string][]} */ ([[1e9, 'B'], [1e6, 'M'], [1e4, 'k']])) {
    const by = unit === 'k' ? 1e3 : size;
    if (Math.abs(value) >= size) {
      return (value / by).toPrecision(3).replace(/\.?0+$/, (zeros) => (zeros[0] === '.' ? '' : zeros)) + unit;
    }
  }
  return WHOLE.format(Math.round(value * 10) / 10);
}

/** @param {any} value seconds */
function lasting(value) {
  if (!isNumber(value)) return '–';
  if (value < 0.9995) return `${Math.round(value * 1000)} ms`;
  if (value < 10) return `${value.toFixed(2)} s`;
  if (value < 100) return `${value.toFixed(1)} s`;
  if (value < 3600) return `${Math.floor(value / 60)} m ${Math.floor(value % 60)} s`;
  return `${Math.floor(value / 3600)} h ${Math.floor((value % 3600) / 60)} m`;
}

/** An unknown cost is unknown, never 0. `known`: the part that is. @param {any} value @param {any} [known] */
function money(value, known) {
  if (!isNumber(value)) return isNumber(known) && known > 0 ? `≥ ${money(known)}` : 'unknown';
  if (value === 0) return '$0';
  if (value < 0.0001) return '< $0.0001';
  return '$' + (value < 0.1 ? value.toFixed(4) : value < 1000 ? value.toFixed(2) : WHOLE.format(Math.round(value)));
}

/** @param {any} value */
function bytes(value) {
  if (!isNumber(value)) return '–';
  if (value < 1000) return plural(value, 'byte');
  return value < 1e6 ? `${(value / 1e3).toFixed(1)} kB` : `${(value / 1e6).toFixed(1)} MB`;
}

const DAY = new Intl.DateTimeFormat('en', { month: 'short', day: 'numeric' });
/** A moment: its time today, else its day, too. @param {any} seconds since 1970 */
function moment(seconds) {
  if (!isNumber(seconds)) return '–';
  const date = new Date(seconds * 1000);
  const numbers = [date.getHours(), date.getMinutes(), date.getSeconds()];
  const clock = numbers.map((n) => String(n).padStart(2, '0')).join(':');
  return date.toDateString() === new Date().toDateString() ? clock : `${DAY.format(date)} ${clock.slice(0, 5)}`;
}

const cutTo = (text, length) => (text.length > length ? text.slice(0, length - 1) + '…' : text);
/** Tokens a second after the first one; null where there is nothing to count. @param {Row} row */
function rate(row) {
  const took = row.seconds - (row.first_token ?? 0);
  return took > 0 && row.output_tokens > 1 ? row.output_tokens / took : null;
}

const isBad = (row) => Boolean(row.error) || row.status >= 400;
const toneOf = (row) => (row.status === 499 || row.error === 'cancelled' ? 'warn' : isBad(row) ? 'bad' : 'good');
const endOf = (row) => `${row.status ?? '–'} ${row.error ? str(row.error) : str(row.stop_reason)}`.trim();
const prompt = (row) => (row.input_tokens ?? 0) + (row.cache_read_tokens ?? 0) + (row.cache_write_tokens ?? 0);

// -- talking to a2py -------------------------------------------------------------------------------------------------

let bearer = '';
let retryLive = () => {};

class Failure extends Error {
  /** @param {string} message @param {number} status */
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/** Ask a2py. Raises `Failure` with its words. `options.isModel`: a model answers, so that a 401 may be its server's.
 * @param {string} path @param {Json} [options] @returns {Promise<Response>} */
async function ask(path, options = {}) {
  const mine = bearer;
  const type = options.body ? { 'content-type': 'application/json' } : {};
  const headers = { authorization: `Bearer ${bearer}`, ...type };
  const body = options.body && JSON.stringify(options.body);
  const sent = { method: options.body ? 'POST' : 'GET', ...options, headers, body, cache: 'no-store' };
  let response;
  try {
    response = await fetch('/ui/api/' + path, /** @type {any} */ (sent));
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') throw error;
    throw new Failure('a2py does not answer. Is it still running?', 0);
  }
  if (response.ok) return response;
  const text = await response.text();
  let message = cutTo(text.trim(), 500) || `a2py answered ${response.status}.`;
  try {
    message = str(JSON.parse(text).error.message) || message;
  } catch { /* the text itself is the message */ }
  if (response.status === 401 && mine === bearer) {
    if (options.isModel) ask('models').catch(() => {}); // ends the access if it was a2py that refused
    else endAccess();
  }
  throw new Failure(message, response.status);
}

/** @param {string} path @param {Json} [options] @returns {Promise<any>} */
const askJson = async (path, options) => (await ask(path, options)).json();
const inPath = encodeURIComponent;

/** Yield the texts of a stream, each ended by `end`.
 * @param {Response} response @param {string} end @param {() => void} [sign] */
async function* pieces(response, end, sign) {
  const reader = /** @type {any} */ (response.body).pipeThrough(new TextDecoderStream()).getReader();
  let kept = '';
  for (;;) {
    const { done, value } = await reader.read();
    sign?.();
    kept += value ?? '';
    const parts = kept.split(end);
    kept = parts.pop() ?? '';
    yield* parts;
    if (kept.length > MAX_LINE) throw new Failure('a2py sent a line that is too long.', 0);
    if (done) break;
  }
  if (kept) yield kept;
}

/** Yield the objects of an NDJSON answer. @param {Response} response @param {() => void} [sign] */
async function* objects(response, sign) {
  for await (const line of pieces(response, '\n', sign)) {
    if (!line.trim()) continue;
    try {
      yield JSON.parse(line);
    } catch { /* a line that broke off with the connection */ }
  }
}

/** Let the browser draw. */
const breathe = () => /** @type {any} */ (globalThis).scheduler?.yield?.() ?? new Promise((done) => setTimeout(done));
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/** Copy, or show what to copy where the browser forbids it (plain http from another machine). @param {string} text */
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    say('Copied');
    return true;
  } catch {
    const area = h('textarea', { class: 'code', rows: 12, 'aria-label': 'Text to copy' }, text);
    dialog('Copy this text', h('div', { class: 'section' }, area));
    area.select();
    return false;
  }
}

/** Save a text as a file. @param {string} name @param {string} text */
function save(name, text) {
  const link = h('a');
  link.href = URL.createObjectURL(new Blob([text], { type: 'text/plain' }));
  link.download = name.replace(/[^\w.-]+/g, '_');
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

const problem = (error) => {
  const message = error instanceof Error ? error.message : String(error);
  return h('p', { class: 'note bad', role: 'alert' }, message);
};

// -- what is live ----------------------------------------------------------------------------------------------------

/** The newest requests, oldest first, so that a new one is a push. */
class Requests {
  constructor() {
    /** @type {Row[]} */
    this.rows = [];
    /** @type {Map<string, Row>} */
    this.byId = new Map();
    this.more = true;
    /** @type {Promise<void>|null} */
    this.loading = null;
    this.gaps = 0; // times that rows were missed, since all were fetched
    /** @type {string|null} */
    this.last = null; // id of the newest row before the first gap
    this.round = 0; // times that the list began anew
    this.holes = 0; // times that requests may have ended whose rows are not here
  }

  /** @param {Row} row */
  add(row) {
    if (!this.keep(row)) return;
    row.seq = this.rows.length ? this.rows[this.rows.length - 1].seq + 1 : 0;
    this.rows.push(row);
    if (this.rows.length > MAX_ROWS + 500) {
      for (const old of this.rows.splice(0, this.rows.length - MAX_ROWS)) this.byId.delete(old.id);
      this.more = false;
      this.holes++;
    }
  }

  /** Return whether the row is new. @param {Row} row */
  keep(row) {
    row.id = str(row.id);
    const texts = [row.id, row.model, row.deployment, row.upstream, row.key, row.session, row.agent, row.route,
      row.error, row.stop_reason, row.status];
    row.hay = texts.map(str).join('\n').toLowerCase();
    const known = this.byId.get(row.id);
    if (known) Object.assign(known, row);
    else this.byId.set(row.id, row);
    return !known;
  }

  /** Fetch what ended while nobody read; again after 1, 2, 4 … 15 s if that fails. */
  async catchUp() {
    this.last ??= this.rows.length ? this.rows[this.rows.length - 1].id : '';
    if (this.gaps++) return; // another call fetches, and will once more
    for (let wait = 1; this.gaps && bearer;) {
      const gaps = this.gaps;
      try {
        this.fill(await askJson('requests?limit=200'));
        wait = 1;
        if (this.gaps === gaps) this.gaps = 0;
      } catch {
        await sleep(wait * 1000);
        wait = Math.min(wait * 2, 15);
      }
    }
    if (!this.gaps) this.last = null;
    this.gaps = 0;
  }

  /** Put the newest rows after those that are known without a gap, and before those that came since. If they are too
   * few to close the gap, begin anew. @param {Json} page */
  fill(page) {
    const rows = list(page.requests).reverse();
    const ids = new Set(rows.map((row) => str(row.id)));
    const seq = this.byId.get(this.last ?? '')?.seq ?? -Infinity;
    let known = this.rows.length;
    while (known && this.rows[known - 1].seq > seq) known--;
    let since = this.rows.splice(known);
    for (const row of since) this.byId.delete(row.id);
    if (known && ![...ids].some((id) => this.byId.has(id))) {
      since = since.slice(since.reduce((after, row, i) => (ids.has(row.id) ? i + 1 : after), 0));
      this.rows.length = 0;
      this.byId.clear();
      this.more = Boolean(page.more);
      this.round++;
    }
    [...rows, ...since.filter((row) => !ids.has(row.id))].forEach((row) => this.add(row));
    if (rows.length) this.last = str(rows[rows.length - 1].id);
    this.holes++;
    changed('requests');
  }

  /** Where a row is among `rows`, a part of these; -1: not there. @param {Row[]} rows @param {string} id */
  find(rows, id) {
    const seq = this.byId.get(id)?.seq;
    let [low, high] = [0, rows.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (rows[middle].seq < seq) low = middle + 1;
      else high = middle;
    }
    return rows[low]?.id === id ? low : -1;
  }

  /** Fetch the 200 before the oldest one. */
  older() {
    if (!this.more || this.rows.length >= MAX_ROWS) return Promise.resolve();
    this.loading ??= this.fetchOlder().finally(() => { this.loading = null; });
    return this.loading;
  }

  async fetchOlder() {
    const { round } = this;
    const before = this.rows.length ? `&before=${inPath(this.rows[0].id)}` : '';
    const page = await askJson(`requests?limit=200${before}`);
    if (round !== this.round) return; // they belong before rows that are gone
    const fresh = list(page.requests).filter((row) => this.keep(row));
    const first = this.rows.length ? this.rows[0].seq : 0;
    fresh.forEach((row, n) => { row.seq = first - 1 - n; });
    this.rows.unshift(...fresh.reverse());
    this.more = Boolean(page.more) && fresh.length > 0;
    changed('requests');
  }
}

const live = {
  hello: /** @type {Json} */ ({}),
  now: /** @type {Json} */ ({}),
  deployments: /** @type {Json[]} */ ([]),
  keys: /** @type {Json[]} */ ([]),
  samples: /** @type {Json[]} */ ([]),
  offset: 0, // seconds that a2py's clock is ahead of this one
};
const requests = new Requests();
const clock = () => Date.now() / 1000 + live.offset;

/** @type {View} */
let view = {};
const dirty = new Set();

/** Redraw what shows one of `kinds`, once a frame. @param {string} kind */
function changed(kind) {
  if (!dirty.size) requestAnimationFrame(() => {
    const kinds = new Set(dirty);
    dirty.clear();
    view.update?.(kinds);
  });
  dirty.add(kind);
}

/** @param {Json} event */
function take(event) {
  if (event.type === 'hello') {
    if (live.hello.type) requests.catchUp(); // the stream was away for a while
    live.hello = event;
    if (isNumber(event.time)) live.offset = event.time - Date.now() / 1000;
  } else if (event.type === 'now') {
    live.now = event;
    if (isNumber(event.time)) live.offset = event.time - Date.now() / 1000;
  } else if (event.type === 'state') {
    live.deployments = list(event.deployments);
    live.keys = list(event.keys);
    live.stated = Date.now() / 1000;
  } else if (event.type === 'request') {
    requests.add(event);
    changed('requests');
    return;
  } else if (event.type === 'missed') {
    requests.catchUp();
    return;
  }
  changed(event.type);
}

/** Show how the live stream is. @param {string} tone @param {string} text */
function showLink(tone, text) {
  at('link').firstElementChild.className = `dot ${tone}`;
  setText(at('link-text'), text);
}

/** Read the live stream for ever; connect again after 1, 2, 4 … 15 s, at once when the browser is back online. */
async function follow() {
  let wait = 1;
  for (const mine = bearer; mine === bearer && bearer;) {
    const stop = new AbortController();
    let why = '';
    let guard = setTimeout(() => stop.abort(), SILENCE);
    const sign = () => {
      clearTimeout(guard);
      guard = setTimeout(() => stop.abort(), SILENCE);
    };
    try {
      const response = await ask('live', { signal: stop.signal });
      for await (const event of objects(response, sign)) {
        if (mine !== bearer || event.type === 'end') break;
        showLink('good', 'Live');
        wait = 1;
        take(event);
      }
    } catch (error) {
      why = error instanceof Failure && error.status ? error.message : '';
    }
    stop.abort();
    clearTimeout(guard);
    if (mine !== bearer || !bearer) return;
    for (let left = wait; left > 0 && mine === bearer; left--) {
      showLink('warn', `${why || 'Connection lost'}, next try in ${left} s`);
      await Promise.race([sleep(1000), new Promise((done) => { retryLive = () => { left = 0; done(null); }; })]);
    }
    if (mine !== bearer) return;
    showLink('warn', 'Connecting…');
    wait = Math.min(wait * 2, 15);
  }
}

setInterval(() => {
  if (!bearer) return;
  live.samples.push({ ...(live.now.minute ?? {}), running: list(live.now.running).length });
  if (live.samples.length > MAX_SAMPLES) live.samples.shift();
  changed('tick');
}, 1000);

// -- lists -----------------------------------------------------------------------------------------------------------

/** A list of equally high rows of which only the visible ones exist. */
class VirtualList {
  /** `key(i)` names row i for as long as it exists; `fill(node, i)` draws it; `open(i)`: rows can be focused and
   * opened.
   * @param {any} box @param {{count: () => number, key: (i: number) => any, make: () => any,
   *   fill: (node: any, i: number) => void, open?: (i: number) => void, indexOf?: (key: any) => number}} rows */
  constructor(box, rows) {
    this.box = box;
    this.rows = rows;
    this.space = h('div', { class: 'space', role: rows.open ? 'rowgroup' : 'presentation' });
    this.nodes = new Map();
    this.active = null;
    this.waiting = false;
    box.append(this.space);
    box.addEventListener('scroll', () => this.draw(), { passive: true });
    if (rows.open) {
      box.addEventListener('keydown', (event) => this.press(event));
      box.addEventListener('focusin', (event) => this.note(event.target));
      box.addEventListener('click', (event) => this.click(event));
    }
    this.watch = new ResizeObserver(() => this.measure());
    this.watch.observe(box);
  }

  end() {
    this.watch.disconnect();
  }

  measure() {
    this.height = parseFloat(getComputedStyle(this.box).getPropertyValue('--row')) || 36;
    this.view = this.box.clientHeight;
    this.nodes.forEach((node) => { node.at = null; });
    this.paint();
  }

  /** Draw in the next frame. */
  draw() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => this.paint());
  }

  /** Pixels of the list that lie above the visible part. */
  get top() {
    return this.box.scrollTop * this.scale();
  }

  scale() {
    const full = this.rows.count() * (this.height ?? 36);
    return full > MAX_HEIGHT ? (full - (this.view ?? 0)) / (MAX_HEIGHT - (this.view ?? 0)) : 1;
  }

  paint() {
    this.waiting = false;
    if (!this.view || !this.height) return;
    const count = this.rows.count();
    const top = this.top;
    const shift = this.box.scrollTop - top; // read once: a read after a write makes the browser lay out
    const first = Math.max(0, Math.floor(top / this.height) - 6);
    const last = Math.min(count, Math.ceil((top + this.view) / this.height) + 6);
    this.space.style.height = `${Math.min(count * this.height, MAX_HEIGHT)}px`;
    const focused = this.rows.open ? this.indexOfActive() : -1;
    const wanted = [];
    for (let i = first; i < last; i++) wanted.push(i);
    if (focused >= 0 && focused < count && (focused < first || focused >= last)) wanted.push(focused);
    const keys = new Set(wanted.map((i) => this.rows.key(i)));
    /** @type {any[]} */
    const free = []; // rows that went out of view are filled anew: that is cheaper than making rows
    for (const [key, node] of this.nodes) if (!keys.has(key)) free.push(node);
    const keep = new Map();
    for (const i of wanted) this.show(i, shift, keep, free);
    for (const node of free) node.remove();
    this.nodes = keep;
    if (this.rows.open && count && focused < 0) {
      this.setActive(this.rows.key(Math.min(Math.ceil(top / this.height), count - 1)));
    }
  }

  /** @param {number} i @param {number} shift @param {Map<any, any>} keep @param {any[]} free */
  show(i, shift, keep, free) {
    const key = this.rows.key(i);
    let node = this.nodes.get(key);
    if (!node) {
      node = free.pop() ?? this.space.appendChild(this.rows.make());
      node.key_ = key;
      if (this.rows.open) node.tabIndex = key === this.active ? 0 : -1;
    }
    keep.set(key, node);
    const y = i * /** @type {number} */ (this.height) + shift;
    if (node.y !== y) {
      node.y = y;
      node.style.transform = `translateY(${y}px)`;
    }
    if (this.rows.open) node.setAttribute('aria-rowindex', String(i + 2));
    this.rows.fill(node, i);
  }

  indexOfActive() {
    return this.active === null ? -1 : this.rows.indexOf ? this.rows.indexOf(this.active) : Number(this.active);
  }

  /** @param {any} key */
  setActive(key) {
    const old = this.nodes.get(this.active);
    if (old) old.tabIndex = -1;
    this.active = key;
    const node = this.nodes.get(key);
    if (node) node.tabIndex = 0;
  }

  /** @param {any} target */
  note(target) {
    const row = target.closest('.item');
    if (row && this.box.contains(row)) this.setActive(row.key_);
  }

  /** @param {any} event */
  click(event) {
    const row = event.target.closest('.item');
    if (!row || event.target.closest('a, button')) return;
    this.setActive(row.key_);
    this.rows.open?.(this.indexOfActive());
  }

  /** Bring row i into view. @param {number} i */
  reveal(i) {
    const height = this.height ?? 36;
    const top = this.top;
    if (i * height < top) this.box.scrollTop = (i * height) / this.scale();
    else if ((i + 1) * height > top + (this.view ?? 0)) {
      this.box.scrollTop = ((i + 1) * height - (this.view ?? 0)) / this.scale();
    }
  }

  /** @param {any} event */
  press(event) {
    const count = this.rows.count();
    const page = Math.max(1, Math.floor((this.view ?? 0) / (this.height ?? 36)) - 1);
    const now = this.indexOfActive();
    const to = { ArrowDown: now + 1, j: now + 1, ArrowUp: now - 1, k: now - 1, PageDown: now + page,
      PageUp: now - page, Home: 0, End: count - 1 }[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey || !count) return;
    if (event.key === 'Enter' && now >= 0) this.rows.open?.(now);
    else if (to === undefined || (event.key.length === 1 && !keysOn)) return;
    else this.focus(Math.min(Math.max(to, 0), count - 1));
    event.preventDefault();
  }

  /** @param {number} i */
  focus(i) {
    this.reveal(i);
    this.setActive(this.rows.key(i));
    this.paint();
    this.nodes.get(this.active)?.focus({ preventScroll: true });
  }
}

// -- text ------------------------------------------------------------------------------------------------------------

/** Rows of a long text as positions in it. `flags`: 1 the row continues the one before, 2 it begins within a string. */
class TextRows {
  /** @param {string} text */
  constructor(text) {
    this.text = text;
    this.count = 0;
    this.starts = new Uint32Array(1024);
    this.ends = new Uint32Array(1024);
    this.indents = new Uint16Array(1024);
    this.flags = new Uint8Array(1024);
  }

  grow() {
    for (const name of /** @type {const} */ (['starts', 'ends', 'indents', 'flags'])) {
      const bigger = new /** @type {any} */ (this[name].constructor)(this.count * 2);
      bigger.set(this[name]);
      /** @type {any} */ (this)[name] = bigger;
    }
  }

  /** Add the rows of one line, which is cut where it is wider than `columns`: at most 256 at a time. Return where to go
   * on. @param {number} start of the line @param {number} from @param {number} end @param {number} indent
   * @param {number} columns */
  push(start, from, end, indent, columns) {
    const width = Math.max(20, columns - indent);
    for (let n = 0; n < 256 && (from < end || from === start); n++, from += width) {
      if (this.count === this.starts.length) this.grow();
      const more = from > start;
      const quoted = more && endsInString(this.text.slice(from - width, from), Boolean(this.flags[this.count - 1] & 2));
      this.starts[this.count] = from;
      this.ends[this.count] = Math.min(from + width, end);
      this.indents[this.count] = indent;
      this.flags[this.count++] = (more ? 1 : 0) | (quoted ? 2 : 0);
    }
    return from;
  }

  /** @param {number} i */
  row(i) {
    return ' '.repeat(this.indents[i]) + this.text.slice(this.starts[i], this.ends[i]);
  }
}

/** @param {string} text @param {boolean} quoted whether it begins within a string */
function endsInString(text, quoted) {
  for (let i = 0; i < text.length; i++) {
    if (quoted && text[i] === '\\') i++;
    else if (text[i] === '"') quoted = !quoted;
  }
  return quoted;
}

/** Fill `rows` from its text, a few milliseconds at a time. JSON is laid out by its brackets without being parsed, so
/** Fill `rows` from its text, a few milliseconds at a time. JSON is laid out by its brackets without being parsed, so
 * that what is shown is what was sent: only spaces between values change.
 * @param {TextRows} rows @param {number} columns
 * @param {boolean} json @param {() => boolean} go whether to go on @param {() => void} shown
 * @returns {Promise<boolean>} whether the text has been laid out to its end */
async function layOut(rows, columns, json, go, shown) {
  const text = rows.text;
  const lines = json ? jsonLines(text) : plainLines(text);
  let steps = 0;
  let until = performance.now() + SLICE;
  for (const [start, end, depth] of lines) {
    for (let from = start; from < end || from === start;) {
      from = rows.push(start, from, end, Math.min(depth * 2, 60), columns);
      if ((++steps % 64 && end - start < 4096) || performance.now() < until) continue;
      shown();
      await breathe();
      if (!go()) return false;
      until = performance.now() + SLICE;
    }
  }
  shown();
  return true;
}

/** @param {string} text @returns {Generator<[number, number, number]>} */
function* plainLines(text) {
  for (let start = 0; start < text.length || start === 0;) {
    const found = text.indexOf('\n', start);
    const end = found < 0 ? text.length : found;
    yield [start, text[end - 1] === '\r' && end > start ? end - 1 : end, 0];
    start = end + 1;
  }
}

/** Where each line of laid-out JSON begins and ends, and its depth. @param {string} text
 * @returns {Generator<[number, number, number]>} */
function* jsonLines(text) {
  let depth = 0;
  let start = -1; // of the line; -1 between lines
  const space = /\s*/y;
  const skip = (i) => { space.lastIndex = i; space.test(text); return space.lastIndex; };
  for (let i = skip(0); i < text.length;) {
    if (start < 0) start = i;
    const c = text[i];
    if (c === '"') i = endOfString(text, i);
    else if (c === '{' || c === '[') {
      const next = skip(i + 1);
      if (text[next] === (c === '{' ? '}' : ']')) { i = next + 1; continue; }
      yield [start, i + 1, depth++];
      start = -1;
      i = next;
    } else if (c === '}' || c === ']') {
      if (i > start) yield [start, trimEnd(text, start, i), depth];
      depth = Math.max(0, depth - 1);
      start = i++;
      const next = skip(i);
      if (text[next] === ',') i = next + 1;
      yield [start, i, depth];
      start = -1;
      i = skip(i);
    } else if (c === ',') {
      yield [start, i + 1, depth];
      start = -1;
      i = skip(i + 1);
    } else i++;
  }
  if (start >= 0) yield [start, text.length, depth];
}

/** @param {string} text @param {number} i of the opening quote */
function endOfString(text, i) {
  for (let end = text.indexOf('"', i + 1); end >= 0; end = text.indexOf('"', end + 1)) {
    let slashes = 0;
    while (text[end - 1 - slashes] === '\\') slashes++;
    if (slashes % 2 === 0) return end + 1;
  }
  return text.length;
}

/** @param {string} text @param {number} start @param {number} end */
function trimEnd(text, start, end) {
  while (end > start && text.charCodeAt(end - 1) <= 32) end--;
  return end;
}

const JSON_TOKEN = /("(?:[^"\\]|\\.)*"?)(\s*:)?|-?\d[\d.eE+-]*|\b(?:true|false|null)\b/g;
/** Colour a row of JSON. @param {any} node @param {string} text @param {boolean} quoted */
function paintJson(node, text, quoted) {
  const parts = [];
  let from = 0;
  if (quoted) {
    const body = text.trimStart();
    from = text.length - body.length + (endsInString('"' + body, false) ? body.length : endOfString('"' + body, 0) - 1);
    parts.push(h('span', { class: 's' }, text.slice(0, from)));
  }
  JSON_TOKEN.lastIndex = from;
  for (let found = JSON_TOKEN.exec(text); found; found = JSON_TOKEN.exec(text)) {
    if (found.index > from) parts.push(text.slice(from, found.index));
    parts.push(h('span', { class: found[2] ? 'k' : found[1] ? 's' : 'n' }, found[1] ?? found[0]), found[2] ?? '');
    from = JSON_TOKEN.lastIndex;
  }
  parts.push(text.slice(from));
  node.replaceChildren();
  add(node, parts);
}

/** Show a text of any length, with a search in it. @param {string} text @param {string} label */
function textView(text, label) {
  const json = /^\s*[{[]/.test(text) && !/^\s*\{[^\n]*\}\s*\n\s*\{/.test(text.slice(0, 5000));
  const box = h('div', { class: 'list text', tabindex: 0, role: 'region', 'aria-label': label });
  const found = h('span', { role: 'status' });
  const field = h('input', { type: 'search', placeholder: 'Find', 'aria-label': `Find in: ${label}`,
    spellcheck: 'false', autocomplete: 'off' });
  let rows = new TextRows(text);
  let columns = 0;
  let hit = -1;
  let round = 0;
  const virtual = new VirtualList(box, {
    count: () => rows.count,
    key: (i) => i,
    make: () => h('div', { class: 'item' }),
    fill: (node, i) => {
      const mark = `${round}:${i}:${i === hit}`;
      if (node.mark === mark) return;
      node.mark = mark;
      node.classList.toggle('hit', i === hit);
      if (json) paintJson(node, rows.row(i), Boolean(rows.flags[i] & 2));
      else setText(node, rows.row(i) || ' ');
    },
  });
  const wrap = () => {
    const width = Math.max(20, Math.floor((box.clientWidth - 40) / characterWidth()));
    if (width === columns || !box.clientWidth) return;
    columns = width;
    rows = new TextRows(text);
    const mine = ++round;
    layOut(rows, columns, json, () => mine === round && box.isConnected, () => virtual.draw()).then((isWhole) => {
      if (!isWhole && mine === round) columns = 0; // begin anew when it is shown again
    });
  };
  const next = (step) => {
    const needle = field.value.toLowerCase();
    if (!needle) { hit = -1; setText(found, ''); virtual.draw(); return; }
    hit = findRow(rows, needle, hit, step);
    setText(found, hit < 0 ? 'not found' : `line ${whole(hit + 1)} of ${whole(rows.count)}`);
    if (hit >= 0) box.scrollTop = Math.max(0, hit * 20 - box.clientHeight / 2) / virtual.scale();
    virtual.draw();
  };
  field.addEventListener('keydown', (event) => {
    if (event.key !== 'Enter') return;
    event.preventDefault();
    next(event.shiftKey ? -1 : 1);
  });
  field.addEventListener('search', () => { if (!field.value) next(1); });
  new ResizeObserver(wrap).observe(box);
  const copied = (event) => copy(text).then((ok) => ok && flash(event.target, 'Copied'));
  const bar = h('div', { class: 'find' }, field, button('Next', () => next(1), { class: 'quiet' }), found,
    button('Copy', copied, { class: 'quiet', 'aria-label': `Copy: ${label}` }));
  return h('div', { class: 'fill' }, bar, box);
}

/** Find the next row with `needle`, from `hit` on, round and round. A match over a line's cut is found in its first
 * row.
 * @param {TextRows} rows @param {string} needle @param {number} hit @param {number} step */
function findRow(rows, needle, hit, step) {
  for (let n = 1; n <= rows.count; n++) {
    const i = (((hit < 0 && step < 0 ? 0 : hit) + n * step) % rows.count + rows.count) % rows.count;
    const more = i + 1 < rows.count && rows.flags[i + 1] & 1 ? needle.length - 1 : 0;
    if (rows.text.slice(rows.starts[i], rows.ends[i] + more).toLowerCase().includes(needle)) return i;
  }
  return -1;
}

let measured = 0;
/** The width of a character of the fixed font. */
function characterWidth() {
  if (!measured) {
    const probe = h('span', { class: 'text hidden' }, '0'.repeat(100));
    probe.style.width = 'max-content';
    document.body.append(probe);
    measured = probe.getBoundingClientRect().width / 100 || 8;
    probe.remove();
  }
  return measured;
}

/** Show a word on a button for a moment. @param {any} node @param {string} text */
function flash(node, text) {
  clearTimeout(node.flash_);
  node.word_ ??= node.textContent;
  setText(node, text);
  node.flash_ = setTimeout(() => setText(node, node.word_), 1200);
}

/** A text of a block, cut where it is long. @param {string} text @param {string} [cls] */
function says(text, cls = 'says') {
  const shown = text.length > LONG_TEXT ? text.slice(0, LONG_TEXT) + '…' : text;
  const node = h(cls === 'says' ? 'div' : 'pre', { class: cls }, shown);
  if (text.length <= LONG_TEXT) return node;
  const more = button(`Show all ${whole(text.length)} characters`, () => {
    const box = h('div');
    box.style.height = '360px';
    box.style.display = 'grid';
    box.append(textView(text, 'text'));
    node.replaceWith(box);
    more.remove();
  }, { class: 'plain small' });
  return [node, more];
}

// -- replies ---------------------------------------------------------------------------------------------------------

/** Put a reply together from what was sent: Anthropic's events or message, chat completions' chunks or body. */
class Reply {
  constructor() {
    /** @type {{type: string, text: string, name?: string, id?: string, input?: any, raw?: any, done?: boolean}[]} */
    this.blocks = [];
    this.usage = /** @type {Json} */ ({});
    this.stop = '';
    this.error = '';
  }

  /** @param {Json} event one event of a stream */
  take(event) {
    const block = this.blocks[event.index];
    if (event.type === 'message_start') Object.assign(this.usage, event.message?.usage);
    else if (event.type === 'content_block_start') this.blocks[event.index] = this.block(event.content_block ?? {});
    else if (event.type === 'content_block_delta' && block) this.grow(block, event.delta ?? {});
    else if (event.type === 'content_block_stop' && block) block.done = true;
    else if (event.type === 'message_delta') {
      Object.assign(this.usage, event.usage);
      this.stop = str(event.delta?.stop_reason);
    } else if (event.type === 'error' || event.error) this.error = str(event.error?.message ?? event.error);
    else if (Array.isArray(event.choices)) this.takeChunk(event);
  }

  /** @param {Json} raw */
  block(raw) {
    return { type: str(raw.type), text: str(raw.text ?? raw.thinking ?? ''), name: str(raw.name), id: str(raw.id),
      raw };
  }

  /** @param {any} block @param {Json} delta */
  grow(block, delta) {
    block.text += delta.text ?? delta.thinking ?? delta.partial_json ?? '';
  }

  /** @param {Json} event of chat completions */
  takeChunk(event) {
    const told = event.usage;
    if (told) this.usage = { input_tokens: told.prompt_tokens, output_tokens: told.completion_tokens };
    for (const one of event.choices) {
      const delta = one.delta ?? one.message ?? {};
      for (const [type, text] of [['thinking', delta.reasoning_content ?? delta.reasoning], ['text', delta.content]]) {
        if (text) this.open(type, '').text += str(text);
      }
      for (const call of list(delta.tool_calls)) {
        this.open('tool_use', str(call.function?.name), call.index).text += str(call.function?.arguments);
      }
      this.stop = str(one.finish_reason) || this.stop;
    }
  }

  /** The block that text of this type belongs to. @param {string} type @param {string} name @param {any} [index] */
  open(type, name, index) {
    const last = this.blocks[this.blocks.length - 1];
    if (last?.type === type && (type !== 'tool_use' || !name || last.raw === index)) return last;
    const block = { type, text: '', name, raw: index };
    this.blocks.push(block);
    return block;
  }

  /** @param {Json} message a whole answer */
  whole(message) {
    if (Array.isArray(message.content)) {
      this.blocks = message.content.map((raw) => ({ ...this.block(raw), input: raw.input, done: true }));
    } else this.take(message);
    Object.assign(this.usage, Array.isArray(message.choices) ? {} : message.usage);
    this.stop ||= str(message.stop_reason);
  }
}

/** Read an SSE text's events: [name, data]. @param {string} text */
function* sseEvents(text) {
  for (const part of text.replace(/\r\n?/g, '\n').split('\n\n')) {
    const lines = part.split('\n');
    const field = (name) => lines.filter((line) => line.startsWith(name + ':'))
      .map((line) => line.slice(name.length + 1).replace(/^ /, '')).join('\n');
    const data = field('data');
    if (data) yield /** @type {[string, string]} */ ([field('event'), data]);
  }
}

/** @param {string} text @returns {Json|null} */
function parsed(text) {
  try {
    const value = JSON.parse(text);
    return value && typeof value === 'object' ? value : null;
  } catch {
    return null;
  }
}

/** Put a recorded reply together, a few milliseconds at a time. @param {string} text */
async function readReply(text) {
  const reply = new Reply();
  const events = /** @type {[string, string][]} */ ([]);
  const message = parsed(text);
  if (message) reply.whole(message);
  let until = performance.now() + SLICE;
  if (!message) {
    for (const [name, data] of sseEvents(text)) {
      const event = parsed(data);
      if (event) reply.take(event);
      events.push([name || str(event?.type ?? event?.object) || 'data', data]);
      if (events.length % 64 || performance.now() < until) continue;
      await breathe();
      until = performance.now() + SLICE;
    }
  }
  return { reply, events };
}

/** The layout of a JSON text where it is whole; else the text. @param {string} text */
function pretty(text) {
  const value = parsed(text);
  return value ? JSON.stringify(value, null, 2) : text;
}
const SORTS = { text: 'text-block', thinking: 'thinking', redacted_thinking: 'thinking', tool_use: 'tool',
  server_tool_use: 'tool', tool_result: 'result', image: 'image', document: 'image' };
/** A block of a message. @param {string} type @param {any[]} heading @param {...any} inside */
const blockBox = (type, heading, ...inside) => h('div', { class: `block ${SORTS[type] ?? type}` },
  h('div', { class: 'who' }, heading.filter(Boolean).map((text) => h('span', null, text))), inside);

/** Draw a block of a reply. @param {any} block */
function replyBlock(block) {
  if (block.type === 'text') return blockBox('text', ['text'], says(block.text));
  if (block.type.includes('thinking')) return blockBox('thinking', ['thinking'], says(block.text || '(redacted)'));
  if (block.type.endsWith('tool_use')) return blockBox('tool_use', [block.type, h('b', null, block.name), block.id],
      says(block.input ? JSON.stringify(block.input, null, 2) : pretty(block.text), 'code'));
  return blockBox('result', [block.type || 'block'], says(JSON.stringify(block.raw ?? block, null, 2), 'code'));
}

/** Draw a reply. @param {Reply} reply */
function replyBlocks(reply) {
  const parts = reply.blocks.filter(Boolean).map(replyBlock);
  if (reply.error) parts.push(h('p', { class: 'note bad' }, reply.error));
  if (!parts.length) parts.push(h('p', { class: 'empty' }, 'No content.'));
  if (reply.stop) parts.push(h('p', { class: 'small soft' }, `stop reason: ${reply.stop}`));
  return h('div', { class: 'blocks' }, parts);
}

/** Stream an answer into a box. Returns the reply, or raises `Failure`. @param {any} box @param {string} path
 * @param {Json} body @param {AbortSignal} signal */
async function streamReply(box, path, body, signal) {
  const reply = new Reply();
  const began = performance.now();
  const figures = h('p', { class: 'small soft', role: 'status' }, 'Waiting for the first token…');
  const blocks = h('div', { class: 'section' });
  box.replaceChildren(blocks, figures);
  let first = 0;
  let frame = 0;
  const draw = () => {
    frame = 0;
    const nodes = reply.blocks.map((block) => (block ? liveBlock(block) : null)).filter(Boolean);
    blocks.replaceChildren(...nodes);
    if (!first) return;
    const took = (performance.now() - began) / 1000;
    const out = reply.usage.output_tokens;
    const { input_tokens: input, cache_read_input_tokens: read, cache_creation_input_tokens: written } = reply.usage;
    setText(figures, joined(`first token ${lasting(first)}`, lasting(took), out > 1 && `${whole(out)} tokens out`,
      out > 1 && `${short(out / Math.max(took - first, 0.001))} tokens a second`,
      isNumber(input) && `${whole(input + (read ?? 0) + (written ?? 0))} in`, reply.stop));
  };
  try {
    const response = await ask(path, { method: 'POST', body, signal, isModel: true });
    if (!(response.headers.get('content-type') ?? '').includes('event-stream')) reply.whole(await response.json());
    else for await (const part of pieces(response, '\n\n')) {
      for (const [, data] of sseEvents(part)) {
        const event = parsed(data);
        if (!event) continue;
        if (event.type === 'content_block_start' && !first) first = (performance.now() - began) / 1000;
        reply.take(event);
      }
      frame ||= requestAnimationFrame(draw);
    }
  } finally {
    first ||= (performance.now() - began) / 1000;
    cancelAnimationFrame(frame);
    draw();
    reply.blocks.forEach((block) => { if (block) block.done = true; });
    blocks.replaceChildren(...replyBlocks(reply).querySelectorAll(':scope > .block, :scope > .note'));
    if (signal.aborted) setText(figures, figures.textContent + ' · stopped');
  }
  return reply;
}

/** A block that still grows: one element, whose text node gets longer. @param {any} block */
function liveBlock(block) {
  if (!block.node) {
    block.says = h(block.type.endsWith('tool_use') ? 'pre' : 'div', { class: 'says' });
    block.node = blockBox(block.type, [block.type, block.name], block.says);
    block.drawn = 0;
  }
  if (block.drawn < block.text.length) block.says.append(block.text.slice(block.drawn));
  block.drawn = block.text.length;
  block.says.classList.toggle('caret', !block.done);
  return block.node;
}

// -- small drawings --------------------------------------------------------------------------------------------------

/** A line of the last values; `update(values)` redraws it. */
function spark() {
  const area = s('polygon', { class: 'area' });
  const line = s('polyline', { class: 'stroke' });
  const rest = s('line', { class: 'rest', x1: 0, x2: MAX_SAMPLES, y1: 27.5, y2: 27.5 });
  const node = s('svg', { class: 'spark', viewBox: '0 0 120 28', preserveAspectRatio: 'none', 'aria-hidden': 'true' },
    rest, area, line);
  const update = (values) => {
    const top = Math.max(...values, 1e-9);
    const from = MAX_SAMPLES - values.length;
    const points = values.map((value, i) => `${from + i + 1},${(27 - (value / top) * 25).toFixed(1)}`).join(' ');
    line.setAttribute('points', points);
    area.setAttribute('points', values.length ? `${from + 1},28 ${points} ${MAX_SAMPLES},28` : '');
  };
  return { node, update };
}

/** A thin bar for a share; its numbers stand beside it as text. @param {number} part */
function meter(part) {
  const share = Math.min(Math.max(part, 0), 1) * 100;
  const tone = part >= 1 ? 'bad' : part >= 0.8 ? 'warn' : '';
  return s('svg', { class: 'meter', 'aria-hidden': 'true' }, s('rect', { class: 'back', width: '100%', height: 4 }),
      s('rect', { class: `fill ${tone}`, width: `${share}%`, height: 4 }));
}

/** @param {number} share of the widest @param {string} cls */
const inline = (share, cls = 'f1') => s('svg', { class: 'inline', 'aria-hidden': 'true' },
    s('rect', { class: cls, width: `${Math.max(share * 100, share ? 0.5 : 0)}%`, height: 3 }));

/** A round number at or above `value`, for an axis. @param {number} value */
function roundUp(value) {
  const unit = 10 ** Math.floor(Math.log10(value || 1));
  return (([1, 2, 2.5, 5, 10].find((n) => n * unit >= value * 0.999)) ?? 10) * unit;
}

/** Columns, stacked. Places across are percents, so that a chart has the width of its box.
 * @param {{label: string, parts: number[], text: string}[]} columns @param {(value: number) => string} show
 * @param {string} label */
function columnChart(columns, show, label) {
  const base = 196;
  const top = roundUp(Math.max(...columns.map(({ parts }) => sumOf(parts)), 0));
  const step = 100 / columns.length;
  const wide = Math.min(step * 0.72, 6);
  const every = Math.ceil(columns.length / (innerWidth < 760 ? 5 : 12));
  const node = s('svg', { class: 'chart', role: 'img', 'aria-label': label });
  for (const share of [0, 0.5, 1]) {
    const y = base - share * (base - 14);
    add(node, s('line', { class: 'rule', x1: '0%', x2: '100%', y1: y, y2: y }),
      s('text', { x: '0%', y: y - 4 }, share ? show(top * share) : ''));
  }
  columns.forEach(({ label: name, parts, text }, i) => {
    const x = i * step + (step - wide) / 2;
    const bar = s('g', null, s('title', null, text));
    let y = base;
    parts.forEach((value, n) => {
      const high = (value / (top || 1)) * (base - 14);
      y -= high;
      const height = Math.max(high, 0.8);
      if (high > 0) bar.append(s('rect', { class: `f${n + 1}`, x: `${x}%`, y, width: `${wide}%`, height }));
    });
    if (i % every === 0) {
      add(node, s('text', { x: `${x + wide / 2}%`, y: base + 17, 'text-anchor': 'middle' }, cutTo(name, 12)));
    }
    node.append(bar);
  });
  return node;
}

/** @param {[string, string][]} entries [class of the colour, text] */
const legend = (entries) => h('ul', { class: 'legend' }, entries.map(([cls, text]) => h('li', null,
    h('span', { class: `swatch ${cls}`, 'aria-hidden': 'true' }), h('span', null, text))));

// -- now -------------------------------------------------------------------------------------------------------------

const TILES = /** @type {[string, string, (value: any) => string][]} */ ([
  ['requests', 'Requests a minute', short], ['errors', 'Errors a minute', short],
  ['input_tokens', 'Tokens in a minute', short], ['output_tokens', 'Tokens out a minute', short],
  ['cost', 'Cost a minute', (value) => money(value)], ['running', 'Running', short],
]);

/** @param {any} root @returns {View} */
function nowView(root) {
  const tiles = TILES.map(([name, label, show]) => {
    const figure = h('p', { class: 'figure' });
    const line = spark();
    const node = h('div', { class: 'tile' }, h('p', { class: 'label' }, label), figure, line.node);
    return { name, show, figure, line, node };
  });
  const running = tbody();
  const runningBox = h('div', { class: 'card scroll' });
  const runningTable = table('Running requests',
    [['Model'], ['State'], ['Out', 'num'], ['Tokens/s', 'num'], ['Time', 'num'], ['Who']], [running]);
  const nothing = h('p', { class: 'empty' }, 'Nothing is running. Requests appear here as they come in.');
  const waiting = h('p', { class: 'soft' });
  const deployments = h('div', { class: 'card scroll' });
  const deploymentsTable = table('Deployments',
    [['Deployment'], ['Health'], ['Running', 'num'], ['Limits'], ['What is known']], []);
  const keys = h('div', { class: 'card scroll' });
  const keyRows = tbody();
  const keysTable = table('Keys', [['Key'], ['Spent', 'num'], ['Budget'], ['Limits'], ['Models']], [keyRows]);
  const keySection = h('section', { class: 'section' }, h('h2', null, 'Keys'), keys);
  add(root, h('h1', { tabindex: -1 }, 'Now'), h('div', { class: 'tiles' }, tiles.map((tile) => tile.node)),
    h('section', { class: 'section' }, h('div', { class: 'head' }, h('h2', null, 'Running'), waiting), runningBox),
    h('section', { class: 'section' }, h('h2', null, 'Deployments'), deployments), keySection);

  const drawTiles = () => tiles.forEach(({ name, show, figure, line }) => {
    const value = name === 'running' ? list(live.now.running).length : live.now.minute?.[name];
    setText(figure, live.now.minute ? show(value ?? null) : '–');
    figure.classList.toggle('small', name === 'cost' && value === null);
    line.update(live.samples.map((sample) => (isNumber(sample[name]) ? sample[name] : 0)));
  });
  const drawRunning = () => {
    const rows = list(live.now.running);
    const [more, inLine, connections] = [live.now.more_running, live.now.waiting, live.now.connections];
    setText(waiting, joined(more && `${whole(more)} more run`, inLine && `${whole(inLine)} in line`,
      isNumber(connections) && plural(connections, 'connection')));
    keyed(running, rows, (row) => str(row.id), makeRunning, fillRunning);
    if (rows.length) one(runningBox, runningTable, 'rows');
    else one(runningBox, nothing, 'none');
  };
  const drawState = () => {
    keyed(deploymentsTable, live.deployments, (dep) => str(dep.id ?? dep.name), makeDeployment, fillDeployment);
    if (live.deployments.length) one(deployments, deploymentsTable, 'rows');
    else one(deployments, h('p', { class: 'empty' }, 'No deployment is known yet.'), 'none');
    keySection.hidden = !live.keys.length;
    keyed(keyRows, live.keys, (key) => str(key.name), makeKey, fillKey);
    one(keys, keysTable, 'rows');
  };
  drawTiles();
  drawRunning();
  drawState();
  return {
    update(kinds) {
      if (kinds.has('tick') || kinds.has('now')) drawTiles();
      if (kinds.has('tick') || kinds.has('now')) drawRunning();
      if (kinds.has('state')) drawState();
      if (kinds.has('tick')) for (const body of deploymentsTable.querySelectorAll('tbody')) body.tick_?.();
    },
  };
}

/** Show `node` in `box`, unless what is named `name` is there already.
 * @param {any} box @param {any} node @param {string} name */
function one(box, node, name) {
  if (box.name_ === name) return;
  box.name_ = name;
  box.replaceChildren(node);
}

/** What a running request does: [tone, words]. @param {Json} row */
function stateOf(row) {
  if (isNumber(row.place)) return ['warn', `in line, place ${row.place}`];
  if (!isNumber(row.first_token)) return ['', 'waiting for the first token'];
  return ['good', `first token ${lasting(row.first_token)}`];
}

const makeRunning = () => tr(td('name', ''), td('', ''), td('num', 'out'), td('num', 'tokens/s'), td('num', ''),
  td('', ''));

/** @param {any} node @param {Json} row */
function fillRunning(node, row) {
  const [model, how, out, speed, time, who] = node.children;
  const text = joined(row.deployment !== row.model && str(row.deployment), row.route && `rule ${str(row.route)}`);
  if (!model.link_) {
    model.link_ = place(['requests', str(row.id)], { class: 'quiet-link break' });
    model.replaceChildren(model.link_, h('span', { class: 'second break' }));
  }
  setText(model.link_, str(row.model));
  setText(model.lastChild, text);
  const [tone, words] = stateOf(row);
  const attempt = row.attempt > 1 ? `attempt ${row.attempt}` : '';
  if (how.words_ !== words + attempt) how.replaceChildren(state(tone, words), h('span', { class: 'second' }, attempt));
  how.words_ = words + attempt;
  setText(out, short(row.output_tokens));
  setText(speed, isNumber(row.tokens_per_second) ? short(row.tokens_per_second) : '–');
  setText(time, isNumber(row.started) ? lasting(Math.max(0, clock() - row.started)) : '–');
  const session = row.session && `session ${cutTo(str(row.session), 12)}`;
  twoLines(who, str(row.key) || 'no key', joined(session, row.agent && `agent ${cutTo(str(row.agent), 16)}`));
}

/** @param {any} cell @param {string} first @param {string} second */
function twoLines(cell, first, second) {
  if (!cell.lines_) {
    cell.lines_ = [h('span', { class: 'break' }), h('span', { class: 'second break' })];
    cell.replaceChildren(...cell.lines_);
  }
  setText(cell.lines_[0], first);
  setText(cell.lines_[1], second);
}

function makeDeployment() {
  const name = td('name', '');
  const toggle = button('', () => {
    const open = toggle.getAttribute('aria-expanded') !== 'true';
    toggle.setAttribute('aria-expanded', String(open));
    more.hidden = !open;
  }, { class: 'plain', 'aria-expanded': 'false' });
  const known = td('all', '', toggle);
  const evidence = td('all', '');
  evidence.setAttribute('colspan', '5');
  const more = tr(evidence);
  more.className = 'more';
  more.hidden = true;
  const body = tbody(tr(name, td('', ''), td('num', 'running'), td('all', 'limits'), known), more);
  Object.assign(body, { toggle_: toggle, evidence_: evidence });
  return body;
}

const LIMITS = /** @type {[string, string][]} */ (
  [['rpm', 'requests/min'], ['tpm', 'tokens/min'], ['max_parallel', 'at a time']]);
function limitLines(limits, used) {
  const lines = LIMITS.filter(([name]) => limits?.[name] > 0).map(([name, words]) => {
    const [limit, now] = [limits[name], used?.[name]];
    if (!isNumber(now)) return h('div', null, h('span', { class: 'small' }, `${short(limit)} ${words}`));
    const share = h('span', { class: 'small' }, `${short(now)} of ${short(limit)} ${words}`);
    return h('div', null, share, meter(now / limit));
  });
  return lines.length ? h('div', { class: 'limits' }, lines) : h('span', { class: 'soft' }, 'none');
}

/** @param {any} body @param {Json} dep */
function fillDeployment(body, dep) {
  const [name, health, running, limits] = body.firstChild.children;
  const [facts, lessons] = [list(dep.facts), list(dep.lessons)];
  twoLines(name, str(dep.name), joined(str(dep.provider) && `${dep.provider}/${dep.model}`, str(dep.wire)));
  body.tick_ = () => {
    const passed = Date.now() / 1000 - live.stated;
    lessons.forEach(({ seconds_left: left }, n) => {
      setText(body.lefts_[n], isNumber(left) ? ` · ${forgottenIn(left - passed)}` : '');
    });
    const left = isNumber(dep.cooldown?.seconds) ? dep.cooldown.seconds - passed : 0;
    const cools = dep.cooldown && left > 0 ? `cooling down, ${whole(Math.ceil(left))} s` : '';
    const words = dep.problem ? str(dep.problem) : cools || 'healthy';
    const reason = dep.cooldown && left > 0 ? str(dep.cooldown.reason) : '';
    if (health.words_ === words + reason) return;
    health.words_ = words + reason;
    health.replaceChildren(state(dep.problem ? 'bad' : words === 'healthy' ? 'good' : 'warn', words),
        ...(reason ? [h('span', { class: 'second break' }, reason)] : []));
  };
  setText(running, whole(dep.running ?? 0));
  limits.replaceChildren();
  add(limits, limitLines(dep.limits, dep.used));
  const counts = [facts.length && plural(facts.length, 'fact'), lessons.length && plural(lessons.length, 'lesson')];
  setText(body.toggle_, counts.filter(Boolean).join(', '));
  body.toggle_.hidden = !facts.length && !lessons.length;
  const told = JSON.stringify([facts, lessons.map((lesson) => [lesson.changes, lesson.reason])]);
  if (body.told_ !== told) drawEvidence(body, facts, lessons);
  body.told_ = told;
  body.tick_();
}

/** @param {any} body @param {Json[]} facts @param {Json[]} lessons */
function drawEvidence(body, facts, lessons) {
  body.lefts_ = lessons.map(() => h('span'));
  body.evidence_.replaceChildren(h('dl', { class: 'facts' },
    facts.map((fact) => [h('dt', null, str(fact.name)),
      h('dd', null, h('b', null, str(fact.value)), ` · ${str(fact.source)}`,
        fact.date ? `, ${str(fact.date)}` : '', fact.reason ? ` · ${str(fact.reason)}` : '')]),
    lessons.map((lesson, n) => [h('dt', null, 'lesson'),
      h('dd', null, h('b', null, str(lesson.changes)), ` · ${str(lesson.reason)}`, body.lefts_[n])])));
}

/** @param {number} left seconds until a lesson is forgotten */
function forgottenIn(left) {
  if (left <= 0) return 'forgotten';
  return `forgotten in ${left < 100 ? `${Math.ceil(left)} s` : lasting(left)}`;
}

const makeKey = () => tr(td('name', ''), td('num', 'spent'), td('', 'of'), td('all', 'limits'), td('all', 'models'));
/** @param {any} node @param {Json} key */
function fillKey(node, key) {
  const [name, spent, budget, limits, models] = node.children;
  const ends = isNumber(key.expires) && `ends ${moment(key.expires)}`;
  twoLines(name, str(key.name), joined(key.is_admin && 'may see this page', ends));
  setText(spent, isNumber(key.budget) ? money(key.spent) : '–'); // what a key without a budget spends is under Usage
  budget.replaceChildren();
  if (!isNumber(key.budget)) add(budget, h('span', { class: 'soft' }, 'no budget'));
  else {
    add(budget, money(key.budget), key.period ? ` each ${str(key.period)}` : '');
    if (isNumber(key.spent)) add(budget, meter(key.spent / key.budget));
    if (isNumber(key.renews)) add(budget, h('span', { class: 'second' }, `renews ${moment(key.renews)}`));
  }
  limits.replaceChildren();
  add(limits, limitLines(key, {}));
  setText(models, list(key.models).map(str).join(', ') || 'all');
}

// -- requests --------------------------------------------------------------------------------------------------------

const filter = { text: '', words: /** @type {string[]} */ ([]), model: '', status: '', session: '' };
let lastOpened = '';
const STATUSES = /** @type {[string, string][]} */ (
  [['', 'Any status'], ['good', 'Answered'], ['bad', 'Failed'], ['warn', 'Left by the client']]);

/** @param {Row} row */
function passes(row) {
  return (!filter.model || row.model === filter.model) && (!filter.session || row.session === filter.session)
    && (!filter.status || toneOf(row) === filter.status) && filter.words.every((word) => row.hay.includes(word));
}

/** @param {any} root @returns {View} */
function requestsView(root) {
  let shown = requests.rows;
  const count = h('p', { class: 'soft', role: 'status' });
  const field = h('input', { type: 'search', id: 'filter', class: 'grow', placeholder: 'Filter by any text',
    'aria-label': 'Filter by text', value: filter.text, spellcheck: 'false', autocomplete: 'off' });
  const models = h('select', { 'aria-label': 'Model' });
  const statuses = h('select', { 'aria-label': 'Status' },
    STATUSES.map(([value, text]) => h('option', { value, selected: filter.status === value }, text)));
  const sessions = h('select', { 'aria-label': 'Session' });
  const classes = [, , , , 'wide', 'num', 'num', 'num wide', 'num wide', 'num'];
  const heads = ['Time', 'Status', 'Model', 'Session', 'Key', 'In', 'Out', 'Cost', 'First', 'Total']
    .map((text, n) => h('span', { role: 'columnheader', class: classes[n] ?? '' }, text));
  const box = h('div', { class: 'list requests', role: 'presentation' });
  const grid = h('div', { class: 'card', role: 'grid', 'aria-label': 'Requests, newest first', 'aria-rowcount': 1 },
    h('div', { role: 'rowgroup' }, h('div', { class: 'rq heads', role: 'row', 'aria-rowindex': 1 }, heads)), box);
  const empty = h('p', { class: 'empty', hidden: true });
  const fresh = button('', () => { box.scrollTop = 0; virtual.draw(); }, { class: 'first', hidden: true });
  const item = (i) => shown[shown.length - 1 - i];
  const placeOf = (id) => {
    const found = requests.find(shown, id);
    return found < 0 ? -1 : shown.length - 1 - found;
  };
  let unseen = 0;
  let newestShown = '';
  let offered = 0;
  const virtual = new VirtualList(box, {
    count: () => shown.length,
    key: (i) => item(i).id,
    indexOf: (id) => placeOf(id),
    make: makeRow,
    fill: (node, i) => fillRow(node, item(i)),
    open: (i) => {
      lastOpened = item(i).id;
      location.hash = `#/requests/${inPath(lastOpened)}`;
    },
  });
  const sieve = (announce) => {
    const isFiltered = filter.text || filter.model || filter.status || filter.session;
    shown = isFiltered ? requests.rows.filter(passes) : requests.rows;
    const came = newestShown && !announce ? placeOf(newestShown) : 0;
    newestShown = shown.length ? item(0).id : '';
    if (box.scrollTop > 4 && came > 0) {
      virtual.space.style.height = `${Math.min(shown.length * (virtual.height ?? 36), MAX_HEIGHT)}px`;
      box.scrollTop += came * (virtual.height ?? 36) / virtual.scale();
      unseen += came;
    }
    if (announce) box.scrollTop = 0;
    const all = plural(requests.rows.length, 'request');
    const isAll = shown === requests.rows;
    const older = requests.more ? ', older ones on scrolling' : '';
    setText(count, isAll ? all + older : `${whole(shown.length)} of ${all}`);
    grid.setAttribute('aria-rowcount', String(shown.length + 1));
    empty.hidden = shown.length > 0;
    setText(empty, requests.rows.length ? 'No request matches the filter.'
      : 'No request yet. Send one from a client, or under Try.');
    showFresh();
    virtual.draw();
  };
  const showFresh = () => {
    if (box.scrollTop < 5) unseen = 0;
    fresh.hidden = !unseen;
    setText(fresh, `${plural(unseen, 'new request')} above`);
  };
  const offer = () => {
    options(models, 'Any model', newest('model', 200), 'model');
    options(sessions, 'Any session', newest('session', 100), 'session');
  };
  const pick = (name, node) => node.addEventListener('input', () => {
    filter[name] = name === 'text' ? node.value.toLowerCase().trim() : node.value;
    filter.words = filter.text.split(/\s+/).filter(Boolean);
    sieve(true);
  });
  pick('text', field);
  pick('model', models);
  pick('status', statuses);
  pick('session', sessions);
  box.addEventListener('scroll', () => {
    showFresh();
    if (box.scrollTop + box.clientHeight * 2 <= box.scrollHeight) return;
    requests.older().catch((error) => setText(count, error.message));
  }, { passive: true });
  const heading = h('h1', { tabindex: -1 }, 'Requests');
  add(root, h('div', { class: 'head' }, heading, count, h('div', { class: 'end' }, fresh)),
    h('search', { class: 'bar' }, field, models, statuses, sessions), grid, empty);
  offer();
  sieve(false);
  virtual.measure();
  if (placeOf(lastOpened) >= 0) virtual.focus(placeOf(lastOpened));
  if (requests.rows.length < 50) requests.older().catch((error) => setText(count, error.message));
  return {
    update(kinds) {
      if (!kinds.has('requests')) return;
      sieve(false);
      const chooses = document.activeElement === models || document.activeElement === sessions;
      if (chooses || performance.now() - offered < 2000) return;
      offered = performance.now();
      offer();
    },
    end: () => virtual.end(),
  };
}

/** The last `most` different values of a field. @param {string} name @param {number} most */
function newest(name, most) {
  const values = new Set();
  for (let i = requests.rows.length - 1; i >= 0 && values.size < most; i--) {
    if (requests.rows[i][name]) values.add(requests.rows[i][name]);
  }
  return [...values];
}

/** Fill a choice, if it differs from what it holds. @param {any} node @param {string} any @param {string[]} values
 * @param {'model'|'session'} name */
function options(node, any, values, name) {
  if (filter[name] && !values.includes(filter[name])) values.push(filter[name]);
  const mark = values.join('\n');
  if (node.mark_ === mark) return;
  node.mark_ = mark;
  const make = (value) => h('option', { value, selected: filter[name] === value }, cutTo(value, 48));
  node.replaceChildren(h('option', { value: '' }, any), ...values.map(make));
}

const CELLS = ['at', 'status', 'model', 'session', 'wide', 'num', 'num out', 'num wide', 'num wide', 'num took'];
/** An empty row; `fillRow` fills it, again and again. */
function makeRow() {
  const cells = CELLS.map((cls) => h('span', { class: cls, role: 'gridcell' }));
  const node = h('div', { class: 'rq item', role: 'row' }, cells);
  const status = state('', '');
  status.append(tag(''));
  node.children[1].append(status);
  node.children[2].append(h('span'), h('span', { class: 'soft' }));
  return node;
}

/** @param {any} node @param {Row} row */
function fillRow(node, row) {
  if (node.row_ === row && node.cost_ === row.cost) return;
  node.row_ = row;
  node.cost_ = row.cost;
  const cells = node.children;
  setText(cells[0], moment(row.time));
  const [light, status, tries] = cells[1].firstChild.children;
  light.className = `dot ${toneOf(row)}`;
  setText(status, endOf(row));
  tries.hidden = !(row.attempts > 1);
  setText(tries, `${row.attempts}×`);
  tries.title = plural(row.attempts ?? 0, 'attempt');
  const [model, other] = cells[2].children;
  setText(model, str(row.model));
  setText(other, row.deployment && row.deployment !== row.model ? ` → ${row.deployment}` : '');
  setText(cells[3], row.session ? cutTo(str(row.session), 13) + (row.agent ? ' · agent' : '') : '–');
  setText(cells[4], str(row.key) || '–');
  setText(cells[5], short(prompt(row)));
  setText(cells[6], (row.estimated ? '≈ ' : '') + short(row.output_tokens));
  setText(cells[7], money(row.cost));
  setText(cells[8], lasting(row.first_token));
  setText(cells[9], lasting(row.seconds));
}

// -- one request -----------------------------------------------------------------------------------------------------

/** @param {any} root @param {string} id @returns {View} */
function requestView(root, id) {
  const stop = new AbortController();
  const back = place(['requests'], { class: 'small' }, '← Requests');
  const heading = h('h1', { tabindex: -1, class: 'break' }, `Request ${cutTo(id, 40)}`);
  const body = h('div', { class: 'section', 'aria-busy': 'true' }, h('p', { class: 'empty' }, 'Loading…'));
  add(root, h('div', null, back, heading), body);
  const trouble = h('div', { class: 'section' });
  let running = false; // as it was drawn
  let loading = false;
  let failed = false; // then it is read again after the next hole, not each second
  let holes = 0;
  const mayHaveEnded = () => (!failed && requests.byId.has(id)) || holes !== requests.holes;
  const fetchRow = () => {
    holes = requests.holes;
    return askJson(`requests/${inPath(id)}`, { signal: stop.signal });
  };
  const load = async () => {
    if (loading) return;
    loading = true;
    failed = false;
    try {
      let row = await fetchRow();
      if (row.running && mayHaveEnded()) row = await fetchRow(); // it ended while the answer was on its way
      trouble.remove();
      if (running && row.running) return; // what is shown stays
      row.id = id;
      running = Boolean(row.running);
      body.className = 'section request';
      body.replaceChildren();
      setText(heading, str(row.model) || `Request ${id}`);
      add(body, requestHead(row, stop.signal), contextPart(list(row.context)), timesPart(row),
        panesPart(row, stop.signal));
    } catch (error) {
      if (stop.signal.aborted) return;
      failed = true;
      if (body.hasAttribute('aria-busy')) body.replaceChildren(h('p', { class: 'note' }, NOT_KEPT));
      trouble.replaceChildren(problem(error), h('div', null, button('Try again', load)));
      body.prepend(trouble);
    } finally {
      loading = false;
    }
    body.removeAttribute('aria-busy');
  };
  load();
  return {
    update: () => { if (running && mayHaveEnded()) load(); }, // each second
    end: () => stop.abort(),
  };
}

const NOT_KEPT = 'Bodies are kept while a page is open, or with `a2py: ui: record`. Their number and size are bounded: '
  + 'the oldest go first.';

const STILL_RUNS = 'This request still runs. What is here is what came until now; it is read again when the request '
  + 'ends.';
const pairOf = ([name, value]) => h('div', null, h('dt', null, name), h('dd', null, value));

/** @param {Row} row @param {AbortSignal} signal */
function requestHead(row, signal) {
  const { cache_read_tokens: read, cache_write_tokens: written } = row;
  const lost = list(row.degraded).map(str);
  const session = row.session && place(['sessions', row.session], null, cutTo(str(row.session), 36));
  const thought = row.thinking_tokens && `${whole(row.thinking_tokens)} thinking`;
  const pairs = [
    ['Status', state(toneOf(row), endOf(row))], ['Time', moment(row.time)], ['Deployment', str(row.deployment)],
    ['Upstream model', str(row.upstream)], ['Wire', str(row.wire)], ['Rule', str(row.route)], ['Key', str(row.key)],
    ['Session', session], ['Agent', str(row.agent)],
    ['Tokens in', joined(whole(prompt(row)), read && `${whole(read)} from the cache`,
      written && `${whole(written)} into it`)],
    ['Tokens out', joined(`${row.estimated ? '≈ ' : ''}${whole(row.output_tokens)}`, thought)],
    ['Cost', money(row.cost)], ['First token', lasting(row.first_token)], ['Total', lasting(row.seconds)],
    ['Speed', rate(row) ? `${short(rate(row))} tokens/s` : ''], ['Id', h('code', null, row.id)],
  ].filter(([, value]) => value && value !== '–');
  const outcome = h('div', { class: 'card pad section', hidden: true, 'aria-live': 'off' });
  const trouble = h('div', { hidden: true });
  const fetchText = async (kind, event, use) => {
    const node = event.target;
    node.disabled = true;
    trouble.hidden = true;
    try {
      await use(await (await ask(`requests/${inPath(row.id)}/export?as=${kind}`)).text(), node);
    } catch (error) {
      trouble.hidden = false;
      trouble.replaceChildren(problem(error));
    }
    node.disabled = false;
  };
  const file = (kind, end) => (event) => fetchText(kind, event, (text, node) => {
    save(`a2py-${row.id}.${kind}.${end}`, text);
    flash(node, 'Saved');
  });
  const curl = (event) => fetchText('curl', event, async (text, node) => {
    if (await copy(text)) flash(node, 'Copied');
  });
  const can = list(row.parts).length > 0;
  const replay = button('Replay', (event) => runReplay(row, outcome, event.target, signal),
    { class: 'first', disabled: !can, title: 'Send the same request again' });
  const buttons = h('div', { class: 'bar' }, replay, button('Copy as curl', curl, { disabled: !can }),
    button('Save capture', file('capture', 'txt'), { disabled: !can }),
    button('Save golden', file('golden', 'md'), { disabled: !can }),
    button('Save report', file('report', 'txt'), { disabled: !can, title: 'Without private text' }));
  return [
    h('div', { class: 'card pad section' }, h('dl', { class: 'pairs' }, pairs.map(pairOf)), buttons),
    row.error && row.message ? h('p', { class: 'note bad' }, str(row.message)) : null,
    row.running ? h('p', { class: 'note' }, STILL_RUNS) : null,
    list(row.notes).length ? h('p', { class: 'note' }, list(row.notes).map(str).join(' · ')) : null,
    lost.length ? h('p', { class: 'note warn' }, `Could not be carried to this model: ${lost.join(', ')}`) : null,
    trouble, outcome,
  ];
}

/** @param {Row} row @param {any} box @param {any} node @param {AbortSignal} left */
async function runReplay(row, box, node, left) {
  const stop = new AbortController();
  left.addEventListener('abort', () => stop.abort());
  const end = button('Stop', () => stop.abort());
  const answer = h('div', { class: 'section', id: 'replay' });
  box.hidden = false;
  box.replaceChildren(h('div', { class: 'head' }, h('h2', null, 'Replay'), h('div', { class: 'end' }, end)), answer);
  node.disabled = true;
  try {
    await streamReply(answer, `requests/${inPath(row.id)}/replay`, {}, stop.signal);
  } catch (error) {
    if (!stop.signal.aborted) answer.append(problem(error));
  }
  node.disabled = false;
  end.remove();
}

const CONTEXT = /** @type {Record<string, [string, string]>} */ ({ system: ['f1', 'system'], tool: ['f2', 'tools'],
  turn: ['f3', 'turns'], result: ['f4', 'results'], image: ['f5', 'images'] });

/** What fills the context. @param {Json[]} items */
function contextPart(items) {
  const count = (many) => many.reduce((sum, item) => sum + (item.tokens || 0), 0);
  const total = count(items);
  if (!total) return null;
  const sums = Object.entries(CONTEXT)
    .map(([kind, [cls, name]]) => ({ cls, name, tokens: count(items.filter((item) => item.kind === kind)) }))
    .filter(({ tokens }) => tokens);
  const share = (tokens) => (tokens / total) * 100;
  const words = sums.map(({ cls, name, tokens }) => /** @type {[string, string]} */ ([cls,
    `${name} ${whole(tokens)} (${Math.round(share(tokens))} %)`]));
  const spoken = `Context: ${words.map(([, text]) => text).join(', ')}`;
  const bar = h('div', { class: 'stack', role: 'img', 'aria-label': spoken });
  const parts = items.length <= 400 ? items.map((item) => ({ cls: CONTEXT[item.kind]?.[0] ?? 'f6',
    tokens: item.tokens || 0, title: `${str(item.label)}: ${whole(item.tokens)}` }))
    : sums.map((sum) => ({ ...sum, title: sum.name }));
  for (const part of parts) {
    const piece = h('span', { class: part.cls, title: part.title });
    piece.style.flexGrow = String(part.tokens);
    bar.append(piece);
  }
  const line = (item) => tr(td('name break', '', str(item.label)), td('', '', str(item.kind)),
    td('num', 'tokens', whole(item.tokens)), td('num', 'share', `${share(item.tokens).toFixed(1)} %`));
  const most = [...items].sort((a, b) => (b.tokens || 0) - (a.tokens || 0)).slice(0, 200);
  const more = h('details', null, h('summary', null, `The largest of ${plural(items.length, 'part')}`));
  more.addEventListener('toggle', () => {
    if (more.children.length > 1) return;
    const columns = /** @type {[string, string?][]} */ ([['Part'], ['Kind'], ['Tokens', 'num'], ['Share', 'num']]);
    const largest = table('Parts of the context, largest first', columns, [tbody(most.map(line))]);
    more.append(h('div', { class: 'scroll' }, largest));
  });
  return h('section', { class: 'card pad section' }, h('div', { class: 'head' }, h('h2', null, 'Context'),
    h('span', { class: 'soft' }, `${whole(total)} tokens, counted by a2py`)), bar, legend(words), more);
}

/** Attempts, the line, searches, on one scale of time. @param {Row} row */
function timesPart(row) {
  const attempts = list(row.attempts);
  const attempt = (one) => ({
    start: one.start, head: one.head, end: one.end, cls: one.error ? 'fail' : 'body',
    name: joined(`attempt ${one.number}: ${str(one.deployment)}`, one.status),
    why: joined(one.error && str(one.error), one.retry && `then: ${str(one.retry)}`),
  });
  const wait = (one) => {
    const name = isNumber(one.place) ? `in line, place ${one.place}` : 'in line';
    return { start: one.start, end: one.end, cls: 'wait', name, why: '' };
  };
  const search = (one) => {
    const count = Array.isArray(one.results) ? one.results.length : one.results;
    const why = one.error ? str(one.error) : isNumber(count) ? plural(count, 'result') : '';
    const name = `search: ${cutTo(str(one.query), 40)}`;
    return { start: one.start, end: one.end, cls: one.error ? 'fail' : 'search', name, why };
  };
  const lines = [...list(row.waits).map(wait), ...attempts.map(attempt), ...list(row.searches).map(search),
  ].filter((line) => isNumber(line.start)).sort((a, b) => a.start - b.start);
  if (!lines.length) return null;
  const total = Math.max(row.seconds || 0, ...lines.map((line) => line.end ?? line.start), 0.001);
  const percent = (value) => `${Math.min(Math.max(value / total, 0), 1) * 100}%`;
  const rect = (cls, from, to) => s('rect', { class: cls, x: percent(from),
    width: percent(Math.max(to - from, total / 400)), y: 3, height: 10, rx: 2 });
  const box = h('div', { class: 'times' });
  for (const { start, head, end, name, cls, why } of lines) {
    const until = end ?? total;
    const track = s('rect', { class: 'track', width: '100%', y: 3, height: 10, rx: 2 });
    const bar = s('svg', { 'aria-hidden': 'true' }, track);
    if (isNumber(head)) add(bar, rect('before', start, head), rect(cls, head, until));
    else add(bar, rect(cls, start, until));
    const took = `${lasting(until - start)}${start > 0.0005 ? ` from ${lasting(start)}` : ''}`;
    add(box, h('span', { class: 'break' }, name), bar, h('span', { class: 'num' }, took),
      why ? h('span', { class: 'why' }, why) : null);
  }
  return h('section', { class: 'card pad section' }, h('div', { class: 'head' }, h('h2', null, 'Time line'),
    h('span', { class: 'soft' }, `${lasting(total)} in all. Pale: until the upstream's status line.`)), box);
}

/** The four panes. @param {Row} row @param {AbortSignal} signal */
function panesPart(row, signal) {
  const parts = new Map(list(row.parts).map((part) => [part.name, part]));
  const attempts = list(row.attempts);
  if (!parts.size) return h('p', { class: 'note' }, `The bodies of this request were not kept. ${NOT_KEPT}`);
  const upstream = h('div');
  const came = h('div');
  let chosen = -1;
  const choose = (n) => {
    if (n === chosen) return;
    chosen = n;
    const attempt = attempts[n] ?? {};
    const number = attempt.number ?? n + 1;
    const outcome = [attempt.status, attempt.error && str(attempt.error)].filter(Boolean).join(' ');
    upstream.replaceChildren(pane('Went upstream', parts.get(`upstream_request.${number}`), row, signal, (text) => [
      { name: 'Diff', make: () => changesPart(attempt.changes) },
      { name: 'JSON', make: () => textView(text(), 'Upstream request') },
      { name: 'Headers', make: () => headersPart(attempt.request_headers, str(attempt.url)) },
    ], str(attempt.deployment)));
    came.replaceChildren(pane('Came back, raw', parts.get(`upstream_reply.${number}`), row, signal, (text, part) => [
      { name: 'Pieces', make: () => piecesPart(text(), list(part.pieces)) },
      { name: 'Text', make: () => textView(text(), 'Upstream reply') },
      { name: 'Headers', make: () => headersPart(attempt.headers, '') },
    ], outcome));
  };
  const last = Math.max(0, attempts.length - 1);
  const nameOf = (one, n) => `Attempt ${one.number ?? n + 1}: ${str(one.deployment)}`;
  const choices = attempts.map((one, n) => /** @type {[string, string]} */ ([String(n), nameOf(one, n)]));
  const pick = choices.length > 1 ? choice('Attempt', choices, String(last), (n) => choose(Number(n))) : null;
  choose(last);
  const client = row.client ?? {};
  const sent = pane('Client sent', parts.get('client_request'), row, signal, (text) => [
    { name: 'Conversation', make: () => conversation(text()) },
    { name: 'JSON', make: () => textView(text(), 'Client request') },
    { name: 'Headers', make: () => headersPart(client.headers, '') },
  ], `${str(client.method)} ${str(client.path)}`.trim());
  const got = pane('Client got', parts.get('client_reply'), row, signal, (text) => [
    { name: 'Blocks', make: () => later(async () => replyBlocks((await readReply(text())).reply)) },
    { name: 'Events', make: () => later(async () => eventsPart((await readReply(text())).events)) },
    { name: 'Text', make: () => textView(text(), 'Client reply') },
  ], '');
  return [pick, h('div', { class: 'panes' }, sent, upstream, came, got)];
}

/** A place for what takes a moment. @param {() => Promise<any>} work */
function later(work) {
  const box = h('div', { class: 'fill' }, h('p', { class: 'empty' }, 'Reading…'));
  work().then((node) => {
    box.className = node.classList.contains('fill') ? 'fill' : '';
    box.replaceChildren(...(node.classList.contains('fill') ? node.childNodes : [node]));
  }, (error) => box.replaceChildren(problem(error)));
  return box;
}

/** One pane: its body is fetched when it is opened, at once if it is small.
 * @param {string} title @param {Json|undefined} part @param {Row} row @param {AbortSignal} signal
 * @param {(text: () => string, part: Json) => {name: string, make: () => any}[]} make @param {string} [note] */
function pane(title, part, row, signal, make, note) {
  const box = h('section', { class: 'card pane', 'aria-label': title });
  const size = part ? bytes(part.bytes) + (part.truncated ? ', cut' : '') : '';
  const heading = h('header', null, h('h2', null, title), h('span', { class: 'soft small break' }, note ?? ''),
      h('span', { class: 'soft small end' }, size));
  const show = (...nodes) => box.replaceChildren(heading, ...nodes);
  if (!part) {
    show(h('div', { class: 'strip' }), h('p', { class: 'empty' }, 'Nothing was kept here.'));
    return box;
  }
  const open = async () => {
    show(h('div', { class: 'strip' }), h('p', { class: 'empty' }, `Fetching ${size}…`));
    try {
      const got = await askJson(`requests/${inPath(row.id)}/parts/${inPath(part.name)}`, { signal });
      const { bar, panel } = tabs(title, make(() => str(got.text), got));
      show(h('div', { class: 'strip' }, bar, got.truncated ? tag('cut at its bound', 'warn') : null), panel);
    } catch (error) {
      if (signal.aborted) return;
      show(h('div', { class: 'strip' }), h('div', { class: 'ask' }, problem(error), button('Try again', open)));
    }
  };
  if (part.bytes <= OPEN_AT_ONCE) open();
  else {
    show(h('div', { class: 'strip' }), h('div', { class: 'ask' },
      h('p', null, `${size} are fetched when you open them.`), button(`Show ${size}`, open)));
  }
  return box;
}

/** @param {any} headers @param {string} url */
function headersPart(headers, url) {
  const pairs = Array.isArray(headers) ? headers : Object.entries(headers ?? {});
  return h('dl', { class: 'headers' }, url ? [h('dt', null, 'URL'), h('dd', null, url)] : null,
      pairs.map(([name, value]) => [h('dt', null, str(name)), h('dd', null, str(value))]));
}

const CHANGES = { renamed: '', dropped: 'bad', added: 'good', changed: 'warn' };
/** @param {any} changes */
function changesPart(changes) {
  if (!Array.isArray(changes)) {
    return h('p', { class: 'empty' }, 'The bodies were not kept, so their differences are not known.');
  }
  if (!changes.length) return h('p', { class: 'empty' }, 'Nothing was changed on the way to this upstream.');
  return some(changes, (change) => {
    const [from, to] = [str(change.from_value), str(change.to_value)];
    const path = [...new Set([str(change.path), str(change.to)])].filter(Boolean).join(' → ');
    const values = h('div', { class: 'values' }, from && h('span', { class: 'minus' }, `− ${from}`),
      to && h('span', { class: 'plus' }, `+ ${to}`));
    return h('div', { class: 'change' }, h('span', null, tag(str(change.kind), CHANGES[change.kind] ?? '')),
      h('div', null, h('div', { class: 'path' }, path), values),
      h('p', { class: 'why' }, str(change.because), change.because && change.doc ? ' · ' : '',
        change.doc ? docLink(str(change.doc)) : null));
  }, '');
}

/** Draw some of many, with a button for more.
 * @param {any[]} items @param {(item: any) => any} make @param {string} cls */
function some(items, make, cls) {
  const box = h('div', { class: cls });
  let n = 0;
  const more = button('', () => draw(), { class: 'plain small' });
  const draw = () => {
    more.remove();
    for (const until = Math.min(n + BATCH, items.length); n < until; n++) add(box, make(items[n]));
    if (n < items.length) box.append(more);
    setText(more, `Show ${Math.min(BATCH, items.length - n)} more of ${whole(items.length - n)}`);
  };
  draw();
  return box;
}

let rules = /** @type {Json|null} */ (null);
/** A rule of the documentation: its words in a dialog. @param {string} doc such as "translation.md#a8" */
function docLink(doc) {
  const name = /#([abc]\d+)$/.exec(doc)?.[1];
  if (!name) return `docs/${doc}`;
  return button(`rule ${name.toUpperCase()}`, async () => {
    try {
      rules ??= await (await fetch('/ui/rules.json')).json();
      const rule = rules?.[name];
      const words = rule ? rule.text : 'This rule is not in the list.';
      dialog(rule ? `${name.toUpperCase()}. ${rule.title}` : name, h('p', { class: 'section rule' }, words),
        h('p', { class: 'section small soft' }, `docs/translation.md#${name}`));
    } catch {
      dialog(name, h('p', { class: 'section' }, `See docs/translation.md#${name}.`));
    }
  }, { class: 'plain', 'aria-haspopup': 'dialog' });
}

/** The raw reply, piece by piece, with the time between. @param {string} text @param {[number, number][]} pieces */
function piecesPart(text, pieces) {
  if (!pieces.length) return textView(text, 'Upstream reply');
  const starts = [];
  let sum = 0;
  for (const [, length] of pieces) {
    starts.push(sum);
    sum += length;
  }
  const gaps = pieces.map(([ms], i) => ms - (i ? pieces[i - 1][0] : 0));
  const widest = gaps.length > 1 ? gaps.reduce((best, gap, i) => (i && (!best || gap > gaps[best]) ? i : best), 0) : 0;
  const last = pieces[pieces.length - 1][0] || 1;
  const chart = s('svg', { class: 'strip-chart', 'aria-hidden': 'true' });
  const line = (ms, cls, y) => {
    const x = `${(ms / last) * 99.6 + 0.2}%`;
    return s('line', { class: cls, x1: x, x2: x, y1: y, y2: 32 });
  };
  const step = Math.ceil(pieces.length / 600);
  const drawn = pieces.filter((_, i) => i % step === 0);
  add(chart, s('line', { class: 'rest', x1: 0, x2: '100%', y1: 32, y2: 32 }), drawn.map(([ms]) => line(ms, '', 8)));
  const pause = widest ? `, the longest pause ${lasting(gaps[widest] / 1000)} before piece ${widest + 1}` : '';
  const words = `${plural(pieces.length, 'piece')} in ${lasting((last - pieces[0][0]) / 1000)}${pause}`;
  const box = h('div', { class: 'list pieces', role: 'region', tabindex: 0, 'aria-label': 'Pieces' });
  new VirtualList(box, {
    count: () => pieces.length,
    key: (i) => i,
    make: () => h('div', { class: 'item piece' }, h('span', { class: 'num' }), h('span', { class: 'num soft' }),
        h('span', { class: 'num soft size' }), h('code')),
    fill: (node, i) => {
      const [time, gap, size, code] = node.children;
      setText(time, lasting(pieces[i][0] / 1000));
      setText(gap, i ? `+${lasting(gaps[i] / 1000)}` : '');
      gap.className = i === widest && widest ? 'num warn' : 'num soft';
      setText(size, short(pieces[i][1]));
      const words = text.slice(starts[i], starts[i] + Math.min(pieces[i][1], 300));
      setText(code, words.replaceAll('\r', '␍').replaceAll('\n', '␊'));
    },
  });
  return h('div', { class: 'fill' }, h('div', { class: 'caption' }, h('span', null, words), chart), box);
}

/** @param {[string, string][]} events */
function eventsPart(events) {
  if (!events.length) return h('p', { class: 'empty' }, 'The answer was one message, not a stream.');
  const box = h('div', { class: 'list pieces', role: 'region', tabindex: 0, 'aria-label': 'Events' });
  new VirtualList(box, {
    count: () => events.length,
    key: (i) => i,
    make: () => h('div', { class: 'item piece event' }, h('span', { class: 'num soft' }), h('b'), h('code')),
    fill: (node, i) => {
      const texts = [whole(i + 1), events[i][0], events[i][1].slice(0, 400)];
      texts.forEach((text, n) => setText(node.children[n], text));
    },
  });
  return h('div', { class: 'fill' }, h('div', { class: 'caption' }, plural(events.length, 'event')), box);
}

/** A request as a conversation. @param {string} text */
function conversation(text) {
  const body = parsed(text);
  if (!body) return h('p', { class: 'empty' }, 'This body is no JSON object. Its text is under JSON.');
  const items = [];
  const { system, tools, messages, input, ...other } = body;
  const names = Object.keys(other).join(', ');
  items.push(() => folded('request', names, () => says(JSON.stringify(other, null, 2), 'code')));
  for (const block of contents(system)) items.push(() => systemBlock(block));
  if (contents(tools).length) items.push(() => toolsBlock(contents(tools)));
  for (const message of list(messages ?? input).filter(Boolean)) {
    for (const block of contents(message.content ?? message)) items.push(() => messageBlock(str(message.role), block));
  }
  return some(items, (make) => make(), 'blocks');
}

/** The blocks of a content, which may be a text. @param {any} content @returns {any[]} */
function contents(content) {
  if (typeof content === 'string') return [{ type: 'text', text: content }];
  return Array.isArray(content) ? content.filter(Boolean) : content ? [content] : [];
}

/** A block that is made when it is unfolded. @param {string} name @param {string} words @param {() => any} make */
function folded(name, words, make) {
  const more = h('details', null, h('summary', null, words));
  more.addEventListener('toggle', () => { if (more.children.length < 2) add(more, make()); });
  return blockBox(name === 'tools' ? 'tool' : name, [name], more);
}

/** @param {any} block */
function systemBlock(block) {
  const text = str(block.text ?? block);
  if (text.length < 600) return blockBox('system', ['system', block.cache_control && 'cached up to here'], says(text));
  return folded('system', `${whole(text.length)} characters: ${cutTo(text.trim(), 160)}`, () => says(text));
}

/** @param {Json[]} tools */
function toolsBlock(tools) {
  const nameOf = (tool) => str(tool.name ?? tool.function?.name ?? tool.type);
  const draw = (tool) => blockBox('tool', [h('b', null, nameOf(tool))],
    says(str(tool.description ?? tool.function?.description ?? '')),
    says(JSON.stringify(tool.input_schema ?? tool.function ?? tool, null, 2), 'code'));
  const names = cutTo(tools.map(nameOf).join(', '), 400);
  return folded('tools', `${plural(tools.length, 'tool')}: ${names}`, () => some(tools, draw, 'blocks'));
}

/** @param {string} role @param {any} block */
function messageBlock(role, block) {
  const type = str(block.type);
  const cached = block.cache_control && 'cached up to here';
  const name = block.name && h('b', null, str(block.name));
  const who = [role, type === 'text' ? '' : type, name, block.is_error && 'error', cached];
  if (/^(input_|output_)?text$/.test(type)) {
    return blockBox(role === 'system' ? 'system' : 'turn', who, says(str(block.text)));
  }
  if (type === 'thinking') return blockBox('thinking', who, says(str(block.thinking)));
  if (type === 'tool_use') return blockBox('tool_use', who, says(JSON.stringify(block.input, null, 2), 'code'));
  if (type === 'tool_result') {
    return blockBox('result', who, contents(block.content).map((part) => says(str(part.text ?? part), 'code')));
  }
  if (type === 'image' || type === 'document') {
    const source = block.source;
    return blockBox('image', who, says(`${str(source?.media_type ?? source?.type)}, `
      + `${whole(str(source?.data ?? source?.url).length)} characters`));
  }
  return blockBox('turn', who, says(JSON.stringify(block, null, 2), 'code'));
}

// -- usage -----------------------------------------------------------------------------------------------------------

const BY = /** @type {[string, string][]} */ ([['day', 'Day'], ['hour', 'Hour'], ['model', 'Model'], ['key', 'Key'],
  ['session', 'Session'], ['agent', 'Agent'], ['deployment', 'Deployment']]);
const SINCE = /** @type {[string, string][]} */ (
  [['24h', '24 hours'], ['7d', '7 days'], ['30d', '30 days'], ['', 'All']]);
const TOKENS = /** @type {[string, string, string][]} */ ([['input_tokens', 'input', 'f1'],
  ['cache_read_tokens', 'cache read', 'f2'], ['cache_write_tokens', 'cache write', 'f3'],
  ['output_tokens', 'output', 'f4']]);
const MEASURES = /** @type {[string, string][]} */ ([['tokens', 'Tokens'], ['cost', 'Cost'], ['requests', 'Requests']]);
const usage = { by: 'day', since: '7d', measure: 'tokens' };

/** @param {any} root @returns {View} */
function usageView(root) {
  const box = h('div', { class: 'section' });
  let groups = /** @type {Json[]} */ ([]);
  let round = 0;
  const load = async () => {
    const mine = ++round;
    try {
      const answer = await askJson(`usage?by=${usage.by}${usage.since ? `&since=${usage.since}` : ''}`);
      if (mine !== round) return;
      groups = list(answer.groups);
      draw();
    } catch (error) {
      if (mine === round) box.replaceChildren(problem(error));
    }
  };
  const draw = () => box.replaceChildren(...usagePart(groups, usage.by, usage.measure));
  const refresh = button('Refresh', load, { class: 'quiet' });
  add(root, h('div', { class: 'head' }, h('h1', { tabindex: -1 }, 'Usage'), h('div', { class: 'end' }, refresh)),
    h('div', { class: 'bar' }, choice('Grouped by', BY, usage.by, (by) => { usage.by = by; load(); }),
      choice('Since', SINCE, usage.since, (since) => { usage.since = since; load(); }),
      choice('Measure', MEASURES, usage.measure, (measure) => { usage.measure = measure; draw(); })), box);
  load();
  return {};
}

/** @param {Json} group @param {string} measure @returns {number[]} */
function partsOf(group, measure) {
  if (measure === 'tokens') return TOKENS.map(([name]) => group[name] || 0);
  return [(measure === 'cost' ? group.cost ?? group.known_cost : group.requests) || 0];
}
const sumOf = (parts) => parts.reduce((a, b) => a + b, 0);

/** @param {Json[]} groups @param {string} by @param {string} measure @returns {any[]} */
function usagePart(groups, by, measure) {
  if (!groups.length) return [h('p', { class: 'empty card' }, 'Nothing in this time.')];
  const overTime = by === 'day' || by === 'hour';
  const size = (group) => sumOf(partsOf(group, measure));
  const rows = [...groups].sort(overTime ? (a, b) => (str(a[by]) < str(b[by]) ? -1 : 1) : (a, b) => size(b) - size(a));
  const top = rows.reduce((most, group) => Math.max(most, size(group)), 1e-9);
  const show = measure === 'cost' ? (value) => (value ? money(value) : '$0') : short;
  const label = `${MEASURES.find(([name]) => name === measure)?.[1]} by ${by}`;
  const unknown = rows.filter((group) => !isNumber(group.cost)).length;
  const estimated = rows.reduce((sum, group) => sum + (group.estimated || 0), 0);
  const notes = [
    unknown && measure === 'cost'
      && `The cost of ${plural(unknown, by)} is not known in full; the chart has the known part.`,
    estimated && `≈ ${plural(estimated, 'answer')} had to be estimated: the upstream did not count them.`,
  ].filter(Boolean);
  const name = (group) => {
    if (by === 'session' && group.session) {
      return place(['sessions', group.session], null, cutTo(str(group.session), 40));
    }
    return str(group[by]) || `no ${by}`;
  };
  const line = (group) => tr(td('name break', '', name(group), overTime ? null : inline(size(group) / top)),
    td('num', 'requests', whole(group.requests)), td(`num${group.errors ? ' bad' : ''}`, 'errors', whole(group.errors)),
    tokenCells(group), td('num', 'cost', costCell(group.cost, group.known_cost)));
  const body = (overTime ? [...rows].reverse() : rows).slice(0, 500).map(line);
  const told = (group) => {
    if (measure === 'tokens') return tokenWords(group);
    return measure === 'cost' ? money(group.cost, group.known_cost) : whole(group.requests);
  };
  const column = (group) => {
    const value = str(group[by]);
    return { label: value.slice(5), parts: partsOf(group, measure), text: `${value}: ${told(group)}` };
  };
  const figures = { requests: 0, errors: 0, known: 0, tokens: 0, input: 0, cached: 0 };
  for (const group of rows) {
    figures.requests += group.requests || 0;
    figures.errors += group.errors || 0;
    figures.known += group.cost ?? group.known_cost ?? 0;
    figures.tokens += sumOf(partsOf(group, 'tokens'));
    figures.input += prompt(group);
    figures.cached += group.cache_read_tokens || 0;
  }
  return [
    tilesOf([['Requests', short(figures.requests)], ['Errors', short(figures.errors)],
      ['Tokens', short(figures.tokens)],
      ['Cache share', figures.input ? `${Math.round((figures.cached / figures.input) * 100)} %` : '–'],
      ['Cost', unknown ? money(null, figures.known) : money(figures.known)]]),
    overTime ? h('div', { class: 'card pad section' }, h('h2', null, label),
      columnChart(rows.slice(-120).map(column), show, label), measure === 'tokens' ? tokenLegend() : null) : null,
    notes.length ? h('p', { class: 'note' }, notes.join(' ')) : null,
    h('div', { class: 'card scroll' }, table(label, [[BY.find(([value]) => value === by)?.[1] ?? ''],
      ['Requests', 'num'], ['Errors', 'num'], ...tokenColumns(), ['Cost', 'num']], [tbody(body)])),
    rows.length > 500 ? h('p', { class: 'soft small' }, `500 of ${whole(rows.length)} are shown.`) : null,
  ].filter(Boolean);
}

/** @param {Json} group */
const tokenWords = (group) => TOKENS.map(([field, words]) => `${words} ${whole(group[field])}`).join(', ');
const tokenCells = (row) => TOKENS.map(([field, words]) => td('num', words,
  row.estimated && field === 'output_tokens' ? '≈ ' : '', short(row[field])));
/** @returns {[string, string][]} */
const tokenColumns = () => TOKENS.map(([, words]) => [words[0].toUpperCase() + words.slice(1), 'num']);
const tokenLegend = () => legend(TOKENS.map(([, words, cls]) => [cls, words]));
const costCell = (cost, known) => (isNumber(cost) ? money(cost) : h('span', { class: 'soft' }, money(cost, known)));
/** @param {[string, string][]} all */
const tilesOf = (all) => h('div', { class: 'tiles' }, all.map(([label, text]) => h('div', { class: 'tile' },
  h('p', { class: 'label' }, label), h('p', { class: text === 'unknown' ? 'figure small' : 'figure' }, text))));

/** One session, turn by turn. @param {any} root @param {string} id @returns {View} */
function sessionView(root, id) {
  const box = h('div', { class: 'section' }, h('p', { class: 'empty' }, 'Loading…'));
  const heading = h('h1', { tabindex: -1, class: 'break' }, `Session ${cutTo(id, 60)}`);
  add(root, h('div', null, place(['usage'], { class: 'small' }, '← Usage'), heading), box);
  askJson(`sessions/${inPath(id)}`).then((session) => {
    const turns = list(session.turns).sort((a, b) => a.time - b.time);
    const share = isNumber(session.cache_share) ? `${Math.round(session.cache_share * 100)} %` : '–';
    const rows = turns.slice(-500).map((row, n) => tr(
      td('name', '', place(['requests', row.id], null, `${Math.max(turns.length - 500, 0) + n + 1}`),
        h('span', { class: 'second' }, moment(row.time))),
      td('', '', str(row.model),
        row.agent ? h('span', { class: 'second' }, `agent ${cutTo(str(row.agent), 20)}`) : null),
      td('', '', state(toneOf(row), endOf(row))), tokenCells(row), td('num', 'cost', costCell(row.cost)),
      td('num', 'total', lasting(row.seconds))));
    const chart = turns.slice(-120).map((row, n) => {
      const turn = String(Math.max(turns.length - 120, 0) + n + 1);
      return { label: turn, parts: partsOf(row, 'tokens'), text: `turn ${turn}: ${tokenWords(row)}` };
    });
    box.replaceChildren();
    add(box, tilesOf([['Turns', whole(turns.length)], ['Tokens in', short(sumOf(turns.map(prompt)))],
        ['Tokens out', short(sumOf(turns.map((row) => row.output_tokens || 0)))], ['Cache share', share],
        ['Cost', money(session.cost, session.known_cost)]]),
      turns.length ? h('div', { class: 'card pad section' }, h('h2', null, 'Tokens of each turn'),
        columnChart(chart, short, 'Tokens of each turn'), tokenLegend()) : null,
      h('div', { class: 'card scroll' }, table('Turns', [['Turn'], ['Model'], ['Status'], ...tokenColumns(),
        ['Cost', 'num'], ['Total', 'num']], [tbody(rows)])));
  }, (error) => box.replaceChildren(problem(error)));
  return {};
}

// -- try -------------------------------------------------------------------------------------------------------------

const trial = { model: '', system: '', message: '', tools: '', thinking: false, budget: '4000', most: '1024',
  turns: /** @type {Json[]} */ ([]), running: /** @type {AbortController|null} */ (null) };

/** @param {any} root @returns {View} */
function tryView(root) {
  const models = h('datalist', { id: 'models' });
  const bind = (name, node) => {
    if (node.type === 'checkbox') node.checked = trial[name];
    else node.value = trial[name];
    node.addEventListener('input', () => { trial[name] = node.type === 'checkbox' ? node.checked : node.value; });
    return node;
  };
  const field = (label, node) => h('label', { class: 'field' }, h('span', null, label), node);
  const model = bind('model', h('input', { list: 'models', autocomplete: 'off', spellcheck: 'false' }));
  const message = bind('message', h('textarea', { rows: 5, placeholder: 'Say something to the model' }));
  const tools = bind('tools', h('textarea', { class: 'code', rows: 4, spellcheck: 'false',
      placeholder: '[{"name": "get_weather", "description": "…", "input_schema": {"type": "object", …}}]' }));
  const send = button('Send', () => go(), { class: 'first' });
  const stop = button('Stop', () => trial.running?.abort(), { disabled: true });
  const clear = button('New conversation', () => {
    trial.running?.abort();
    trial.turns = [];
    talk.replaceChildren();
    hint();
    label();
  });
  const talk = h('div', { class: 'talk', 'aria-label': 'Conversation', role: 'log', 'aria-live': 'off' });
  const trouble = h('div', { role: 'alert' });
  const hint = () => {
    if (talk.children.length) return;
    talk.append(h('p', { class: 'empty card' }, 'The answer appears here. This spends tokens of your models.'));
  };
  const show = (turn) => {
    talk.querySelector('.empty')?.remove();
    const who = turn.role === 'user' ? 'You' : 'The model';
    const box = h('article', { class: `card bubble ${turn.role}`, 'aria-label': who });
    for (const block of contents(turn.content)) add(box, messageBlock(turn.role === 'user' ? 'you' : 'model', block));
    talk.append(box);
    return box;
  };
  const results = () => {
    const last = trial.turns[trial.turns.length - 1];
    const blocks = last?.role === 'assistant' ? contents(last.content) : [];
    return blocks.filter((block) => block.type === 'tool_use').map((block, n) => ({ type: 'tool_result',
      tool_use_id: block.id, content: n ? '(no result)' : trial.message || '(no result)' }));
  };
  const go = async () => {
    if (trial.running) return;
    trouble.replaceChildren();
    try {
      const tools = trial.tools.trim() ? JSON.parse(trial.tools) : null;
      if (tools && !Array.isArray(tools)) throw new Error('The tools must be a JSON list.');
      if (!trial.model) throw new Error('Choose a model first.');
      const answers = results();
      if (!answers.length && !trial.message.trim()) throw new Error('Write a message first.');
      const turn = { role: 'user', content: answers.length ? answers : trial.message };
      const most = Number(trial.most) || 1024;
      const budget = Math.max(1024, Number(trial.budget) || 1024);
      const body = { model: trial.model, max_tokens: trial.thinking ? Math.max(most, budget + 256) : most, stream: true,
        messages: [...trial.turns, turn], ...(trial.system ? { system: trial.system } : {}),
        ...(tools ? { tools } : {}),
        ...(trial.thinking ? { thinking: { type: 'enabled', budget_tokens: budget } } : {}) };
      await run(body, turn);
    } catch (error) {
      const isTools = error instanceof SyntaxError;
      trouble.replaceChildren(problem(isTools ? new Error(`The tools are no valid JSON: ${error.message}`) : error));
    }
  };
  const run = async (body, turn) => {
    const mine = (trial.running = new AbortController());
    const { turns } = trial;
    send.disabled = true;
    stop.disabled = false;
    show(turn);
    const box = h('article', { class: 'card bubble', 'aria-label': 'The model' });
    talk.append(box);
    const written = trial.message;
    const giveBack = () => { // the turn is no part of the conversation
      if (turns === trial.turns && !message.value) message.value = trial.message = written;
    };
    message.value = trial.message = '';
    try {
      const reply = await streamReply(box, 'try', body, mine.signal);
      const content = reply.blocks.filter(Boolean).map(toContent).filter(Boolean);
      if (reply.error) giveBack();
      else if (content.length) turns.push(turn, { role: 'assistant', content });
      say(reply.error ? 'The answer ended with an error.' : 'The answer is complete.');
    } catch (error) {
      if (!mine.signal.aborted) box.append(problem(error));
      giveBack();
    }
    trial.running = null;
    send.disabled = false;
    stop.disabled = true;
    label();
  };
  const label = () => setText(lastLabel, results().length ? 'Result of the tool' : 'Message');
  const lastLabel = h('span', null, 'Message');
  const form = h('form', { class: 'card pad form', on: { submit: (event) => { event.preventDefault(); go(); } } },
    field('Model', model), models, h('label', { class: 'field' }, lastLabel, message), trouble,
    h('div', { class: 'bar' }, send, stop, clear, h('span', { class: 'small soft' }, 'Ctrl+Enter sends')),
    field('System', bind('system', h('textarea', { rows: 2 }))), field('Tools (JSON)', tools),
    h('div', { class: 'three' }, field('Most tokens', bind('most', h('input', { type: 'number', min: 1, step: 1 }))),
      field('Thinking budget', bind('budget', h('input', { type: 'number', min: 1024, step: 1 }))),
      h('label', { class: 'box' }, bind('thinking', h('input', { type: 'checkbox' })), 'Think')));
  form.addEventListener('keydown', (event) => {
    if (event.key !== 'Enter' || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    go();
  });
  add(root, h('h1', { tabindex: -1 }, 'Try'), h('div', { class: 'try' }, form, talk));
  trial.turns.forEach(show);
  hint();
  label();
  loadModels().then((names) => {
    add(models, names.map((value) => h('option', { value })));
    if (!trial.model) model.value = trial.model = names.find((name) => !name.includes('*')) ?? '';
  }, (error) => trouble.replaceChildren(problem(error)));
  return { end: () => trial.running?.abort() };
}

/** A block as it goes back in the next turn. @param {any} block */
function toContent(block) {
  if (block.type === 'text') return block.text ? { type: 'text', text: block.text } : null;
  if (block.type === 'tool_use') {
    return { type: 'tool_use', id: block.id, name: block.name, input: block.input ?? parsed(block.text) ?? {} };
  }
  return null;
}

const loadModels = async () => list((await askJson('models')).models).map(str);

// -- check -----------------------------------------------------------------------------------------------------------

const checked = { model: '', rows: /** @type {Json[]} */ ([]), running: /** @type {AbortController|null} */ (null),
  note: '' };

const TONES = { ok: 'good', no: 'warn', fail: 'bad', skipped: '' };
/** @param {Json} row */
const makeResult = (row) => tr(
  td(row.again ? 'again break soft' : 'name break', '', str(row.model),
    row.deployment && !row.again ? h('span', { class: 'second break' }, str(row.deployment)) : null),
  td('break', '', str(row.probe)), td('', '', state(TONES[row.result] ?? 'warn', str(row.result))),
  td('all break soft', '', str(row.detail), row.advice ? h('span', { class: 'second break' }, str(row.advice)) : null));

/** @param {any} root @returns {View} */
function checkView(root) {
  const which = h('select', { 'aria-label': 'Model' }, h('option', { value: '' }, 'All models'));
  const start = button('Run the check', () => run(), { class: 'first' });
  const stop = button('Stop', () => checked.running?.abort(), { disabled: true });
  const note = h('p', { class: 'soft', role: 'status' });
  const body = tbody();
  const box = h('div', { class: 'card scroll' });
  const results = table('Results of the check', [['Model'], ['What is asked'], ['Result'], ['Detail']], [body]);
  const draw = () => {
    keyed(body, checked.rows, (row) => `${row.model}\n${row.deployment}\n${row.probe}`, makeResult, () => {});
    if (checked.rows.length) one(box, results, 'rows');
    else one(box, h('p', { class: 'empty' }, 'Not run yet.'), 'none');
    setText(note, checked.note);
    start.disabled = Boolean(checked.running);
    stop.disabled = !checked.running;
  };
  const sameModel = (row) => {
    const last = checked.rows[checked.rows.length - 1];
    return last?.model === row.model && last?.deployment === row.deployment;
  };
  const run = async () => {
    const mine = (checked.running = new AbortController());
    checked.rows = [];
    checked.note = 'Asking…';
    draw();
    try {
      const answer = await ask('check', { method: 'POST', body: { model: which.value || null }, signal: mine.signal });
      for await (const row of objects(answer)) {
        if (row.type === 'row') checked.rows.push({ ...row, again: sameModel(row) });
        checked.note = `${plural(checked.rows.length, 'result')} so far`;
        changed('check');
      }
      const failed = checked.rows.filter((row) => row.result === 'fail').length;
      checked.note = `${plural(checked.rows.length, 'result')}, ${failed ? `${whole(failed)} failed` : 'none failed'}`;
    } catch (error) {
      checked.note = mine.signal.aborted ? 'Stopped.' : error instanceof Error ? error.message : String(error);
    }
    checked.running = null;
    changed('check');
  };
  add(root, h('div', { class: 'head' }, h('h1', { tabindex: -1 }, 'Check'), note),
    h('p', { class: 'note' }, 'The check sends small requests to each model and looks at what its server really does: '
      + 'streaming, tools, thinking, images, counting. It spends tokens.'),
    h('div', { class: 'bar' }, which, start, stop), box);
  const choiceOf = (value) => h('option', { value }, cutTo(value, 60));
  loadModels().then((names) => add(which, names.filter((name) => !name.includes('*')).map(choiceOf)), () => {});
  draw();
  return { update: (kinds) => { if (kinds.has('check')) draw(); } };
}

// -- the frame -------------------------------------------------------------------------------------------------------

const VIEWS = /** @type {[string, string, (root: any, name: string) => View][]} */ ([
  ['now', 'Now', nowView], ['requests', 'Requests', requestsView], ['usage', 'Usage', usageView],
  ['try', 'Try', tryView], ['check', 'Check', checkView]]);
let keysOn = true;
let shownHash = '';

/** A part of the address; itself if it is no valid escape. @param {string} part */
function outOfPath(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** Show the view that the address names. */
function route() {
  const hash = location.hash;
  if (hash && !hash.startsWith('#/')) return enter(hash.slice(1));
  if (!bearer) return undefined;
  at('banner').replaceChildren();
  const [name, detail] = hash.slice(2).split('/').map(outOfPath);
  const found = VIEWS.find(([view]) => view === (name === 'sessions' ? 'usage' : name)) ?? VIEWS[0];
  view.end?.();
  const root = h('div', { class: 'section' });
  root.style.gap = '24px';
  at('main').replaceChildren(root);
  for (const link of at('nav').querySelectorAll('a')) link.toggleAttribute('aria-current', false);
  at('nav').querySelector(`[data-view="${found[0]}"]`).setAttribute('aria-current', 'page');
  const make = detail && name === 'requests' ? requestView : detail && name === 'sessions' ? sessionView : found[2];
  view = {};
  view = make(root, detail ?? '');
  document.title = `${found[1]} · a2py`;
  if (shownHash && !root.contains(document.activeElement)) root.querySelector('h1')?.focus({ preventScroll: true });
  if (shownHash !== hash) scrollTo(0, 0);
  shownHash = hash || '#/now';
  return undefined;
}

/** Exchange the one-time token of the link for a bearer. @param {string} token */
async function enter(token) {
  history.replaceState(null, '', shownHash || '#/now');
  try {
    const sent = { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ token }) };
    const response = await fetch('/ui/api/session', sent);
    const answer = response.ok ? await response.json() : {};
    if (!answer.bearer) throw new Failure('This link was used already, or is older than a minute.', response.status);
    bearer = str(answer.bearer);
    at('top').hidden = false;
    showLink('warn', 'Connecting…');
    history.replaceState(null, '', '#/now');
    route();
    follow();
  } catch (error) {
    const message = error instanceof Failure ? error.message : 'a2py does not answer. Is it running?';
    if (!bearer) return welcome(message);
    const close = button('Close', () => at('banner').replaceChildren(), { class: 'quiet' });
    at('banner').replaceChildren(message, ' ', close);
  }
}

/** Say how to get in. @param {string} message */
function welcome(message) {
  const need = h('section', { class: 'need now' }, h('h1', { tabindex: -1 }, 'a2py'),
    message ? h('p', { class: 'note warn', role: 'alert' }, message) : null,
    h('p', null, 'This page opens with a link that works once, for a minute. In a terminal on this machine:'),
    h('p', null, h('code', null, 'a2py ui')),
    h('p', { class: 'soft' }, 'Without a browser there, ', h('code', null, 'a2py ui --print'),
      ' prints the link. The page keeps no password: after a reload it needs a new link.'));
  at('main').replaceChildren(need);
}

/** The bearer has ended: keep what is shown, and say how to go on. */
function endAccess() {
  if (!bearer) return;
  bearer = '';
  showLink('bad', 'Access ended');
  const command = h('code', null, 'a2py ui');
  at('banner').replaceChildren('Your access has ended. Get a new link with ', command, ' and open it here.');
}

const KEYS = [['/', 'filter the requests'], ['1 … 5', 'Now, Requests, Usage, Try, Check'],
  ['↑ ↓', 'move in a list; j and k, too'], ['Enter', 'open the request'], ['Esc', 'back to the list'],
  ['← →', 'the tabs of a pane'], ['[ ]', 'the newer, the older request'], ['?', 'this help']];
function help() {
  if (document.querySelector('dialog[open]')) return;
  const box = h('input', { type: 'checkbox', checked: keysOn, on: { change: () => { keysOn = box.checked; } } });
  const keys = KEYS.map(([key, words]) => [h('dt', null, h('kbd', null, key)), h('dd', null, words)]);
  const { version, workers, recording } = live.hello;
  dialog('Keys', h('dl', { class: 'keys section' }, keys),
    h('p', { class: 'section' }, h('label', null, box, 'Single keys do something')),
    h('p', { class: 'section small soft' }, joined(`a2py ${str(version)}`, workers > 1 && `${workers} workers`,
      recording === 'record' ? 'bodies are always kept' : 'bodies are kept while a page is open')));
}

/** Go to the request next to the one that is shown. @param {number} step */
function neighbour(step) {
  const id = /^#\/requests\/(.+)$/.exec(location.hash)?.[1];
  const i = id ? requests.rows.findIndex((row) => row.id === outOfPath(id)) : -1;
  const next = requests.rows[i + step];
  if (i >= 0 && next) location.hash = `#/requests/${inPath(next.id)}`;
}

/** @param {any} event */
function press(event) {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || !bearer) return;
  if (document.querySelector('dialog[open]')) return;
  const typing = event.target.closest('input, textarea, select');
  if (event.key === 'Escape') {
    if (typing) typing.blur();
    else if (/^#\/(requests|sessions)\/./.test(location.hash)) {
      location.hash = location.hash.startsWith('#/s') ? '#/usage' : '#/requests';
    }
    return;
  }
  if (typing || !keysOn) return;
  const view = VIEWS[Number(event.key) - 1];
  if (view) location.hash = `#/${view[0]}`;
  else if (event.key === '?') help();
  else if (event.key === '[' || event.key === ']') neighbour(event.key === '[' ? 1 : -1);
  else if (event.key === '/') {
    if (!at('filter')) location.hash = '#/requests';
    setTimeout(() => at('filter')?.focus());
  } else return;
  event.preventDefault();
}

const THEMES = /** @type {[string, string][]} */ ([['', 'system'], ['light', 'light'], ['dark', 'dark']]);
let theme = 0;
function turnTheme() {
  theme = (theme + 1) % THEMES.length;
  document.documentElement.style.colorScheme = THEMES[theme][0];
  setText(at('theme'), `Theme: ${THEMES[theme][1]}`);
}

/** What this browser lacks. */
function lacks() {
  const has = { 'CSS light-dark()': CSS.supports('color', 'light-dark(red, blue)'),
    'CSS :has()': CSS.supports('selector(:has(a))'), 'text streams': 'TextDecoderStream' in globalThis,
    dialogs: 'HTMLDialogElement' in globalThis, 'size observers': 'ResizeObserver' in globalThis };
  return Object.entries(has).filter(([, there]) => !there).map(([name]) => name);
}

function start() {
  const missing = lacks();
  if (missing.length) {
    at('need').classList.add('now');
    const words = `This page needs ${NEEDED}. Your browser lacks: ${missing.join(', ')}.`;
    at('need').querySelector('p').textContent = words;
    return;
  }
  const links = VIEWS.map(([name, title]) => h('li', null, place([name], { 'data-view': name }, title)));
  add(at('nav'), h('ul', null, links));
  at('skip').addEventListener('click', (event) => {
    event.preventDefault();
    (at('main').querySelector('h1') ?? at('main')).focus();
  });
  at('theme').addEventListener('click', turnTheme);
  at('help').addEventListener('click', help);
  addEventListener('hashchange', route);
  addEventListener('keydown', press);
  addEventListener('online', () => retryLive());
  if (location.hash.length > 1 && !location.hash.startsWith('#/')) route();
  else welcome('');
}

start();
