// Colours: of categories on light and dark paper, and the ramp of numbers.
const UNASSIGNED = "unassigned";
const VIRIDIS = ["#440154", "#3b528b", "#21918c", "#5ec962", "#fde725"].map(fromHex);
// Shares of the ramp where a gradient is given its colours.
const STOPS = [0, 0.25, 0.5, 0.75, 1];

function fromHex(hex) {
  return [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
}

const pack = ([r, g, b]) => ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
const toHex = (rgb) => `#${rgb.map((v) => Math.round(v).toString(16).padStart(2, "0")).join("")}`;

function luminance(rgb) {
  const [r, g, b] = rgb.map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

// The colour; on a dark page lightened until it can be seen (contrast 3), that of unassigned more.
function onPaper(rgb, dark, value = "") {
  if (!dark) return rgb;
  if (value === UNASSIGNED) return [201, 209, 217];
  let shown = rgb;
  for (let share = 0.1; share < 1 && luminance(shown) < 0.11; share += 0.1) shown = rgb.map((v) => v + (255 - v) * share);
  return shown;
}

// A number from 0 to 1 on the ramp; on a dark page the ramp begins lighter.
function ramp(share, dark) {
  const from = dark ? 0.18 : 0;
  const place = Math.max(0, Math.min(0.9999, from + (1 - from) * share)) * (VIRIDIS.length - 1);
  const k = Math.floor(place), part = place - k;
  return VIRIDIS[k].map((v, c) => v + (VIRIDIS[k + 1][c] - v) * part);
}

function rampStyle(dark) {
  const stops = STOPS.map((share) => toHex(ramp(share, dark)));
  return `background: linear-gradient(90deg, ${stops.join(", ")})`;
}
