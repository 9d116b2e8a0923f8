// The page's data: a header, and compressed arrays that are inflated when they are needed.
const head = JSON.parse(document.getElementById("atlas-head").textContent);
const n = head.n;
const columns = new Map(head.columns.map((column) => [column.name, column]));
const genes = new Map(head.genes.map(([name, low, high, offset, length]) => [name, { low, high, part: [offset, length] }]));
const geneNames = new Map([...genes.keys()].map((name) => [name.toUpperCase(), name]));
const GENE_LEVELS = 15;
const LEVELS = 254;

const blob = (() => {
  const element = document.getElementById("atlas-blob");
  const text = atob(element.textContent.trim());
  element.textContent = "";
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
})();

async function inflate([offset, length]) {
  const stream = new DecompressionStream("deflate"), writer = stream.writable.getWriter();
  // Not by way of a Blob: Chromium takes ten times as long to read one as to inflate it. What fails
  // here fails where it is read, too.
  const ignore = () => {};
  writer.write(blob.subarray(offset, offset + length)).catch(ignore);
  writer.close().catch(ignore);
  return new Response(stream.readable).arrayBuffer();
}

// Each array once, as a promise: two askers share one inflation.
const arrays = new Map();
function array(part, make) {
  if (!arrays.has(part[0])) arrays.set(part[0], inflate(part).then(make));
  return arrays.get(part[0]);
}

const isCategory = (column) => column.values !== undefined;
const none = (column) => (isCategory(column) && column.values.length >= 255 ? 65535 : 255);

async function loadColumn(name) {
  const column = columns.get(name);
  if (!column.data) {
    const wide = none(column) === 65535;
    column.data = await array(column.part, (buffer) => (wide ? new Uint16Array(buffer) : new Uint8Array(buffer)));
  }
  return column;
}

const loadMap = (map) => array(map.part, (buffer) => new Uint16Array(buffer));
const loadNames = () => array(head.ids, (buffer) => new TextDecoder().decode(buffer).split("\n"));
// Two cells a byte, the first in the upper half.
const loadGene = (name) => array(genes.get(name).part, (buffer) => new Uint8Array(buffer));
const geneLevel = (packed, i) => (i & 1 ? packed[i >> 1] & 15 : packed[i >> 1] >> 4);

function geneValue(gene, level) {
  return level ? gene.low + ((gene.high - gene.low) * (level - 1)) / (GENE_LEVELS - 1) : 0;
}

function levelValue(column, level) {
  const share = level / LEVELS;
  if (column.log) return Math.exp(Math.log(column.low) + share * Math.log(column.high / column.low));
  return column.low + share * (column.high - column.low);
}

// A value as text; "" where the cell has none. The column must be loaded.
function text(name, i) {
  const column = columns.get(name);
  if (!column || !column.data) return "";
  const code = column.data[i];
  if (code === none(column)) return "";
  return isCategory(column) ? column.values[code] : number(column, levelValue(column, code));
}

function number(column, value) {
  if (column.whole) return Math.round(value).toLocaleString("en");
  return Math.abs(value) >= 100 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(3)));
}

function numeric(name, i) {
  const column = columns.get(name);
  if (!column || !column.data || column.data[i] === none(column)) return NaN;
  return levelValue(column, column.data[i]);
}

// A value as a reader sees it; the tables keep the value itself.
const wordOf = (column, value) => column.words?.[value] ?? value;
const percent = (share) => (share > 0 && share < 0.01 ? "<1%" : share < 1 && share > 0.99 ? ">99%" : `${Math.round(100 * share)}%`);
const count = (value) => value.toLocaleString("en");

// An element with attributes, event listeners (on...) and children.
function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value !== null) element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}
