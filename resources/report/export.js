// The map as a picture to show: svg with texts that can be edited, and png, both with title and legend.
const PICTURE_RATIO = 3; // device pixels of a CSS pixel
const LINE_HEIGHT = 19, FONT = "13px Arial, Helvetica, sans-serif";

function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

// The map as it is now, on a canvas of its own.
function drawnAgain({ width, height }) {
  const map = new CellMap(document.createElement("canvas"), { width, height, ratio: PICTURE_RATIO });
  Object.assign(map, { points: main.points, extent: main.extent, view: main.view, marked: main.marked });
  map.draw(colors, layers, theme());
  return map.canvas;
}

function widthOf(texts) {
  const pen = document.createElement("canvas").getContext("2d");
  pen.font = FONT;
  return Math.max(0, ...texts.map((one) => pen.measureText(one).width));
}

// Keys and names in columns as high as the map; returns their width.
function entriesTo(group, entries, height, ink) {
  const rows = Math.max(1, Math.floor(height / LINE_HEIGHT));
  let left = 0;
  for (let start = 0; start < entries.length; start += rows) {
    const part = entries.slice(start, start + rows), texts = part.map((one) => `${one.text} (${count(one.number)})`);
    part.forEach(({ color, cross }, k) => {
      const y = (k + 0.5) * LINE_HEIGHT, x = left + 6;
      const key = cross
        ? svg("path", { d: `M${x - 4} ${y - 4}l8 8m0 -8l-8 8`, stroke: color, "stroke-width": 2 })
        : svg("circle", { cx: x, cy: y, r: 5, fill: color });
      group.append(key, svg("text", { x: left + 18, y: y + 4.5, fill: ink }, texts[k]));
    });
    left += 18 + widthOf(texts) + 16;
  }
  return left;
}

// A ramp with its ends; returns its width.
function rampTo(group, ends, unit, ink) {
  const width = 150, stops = STOPS.map((share) => svg("stop", { offset: share, "stop-color": toHex(ramp(share, dark.matches)) }));
  group.append(
    svg("defs", {}, svg("linearGradient", { id: "ramp" }, ...stops)),
    svg("rect", { y: 4, width, height: 12, fill: "url(#ramp)" }),
    svg("text", { y: 32, fill: ink }, ends[0]),
    svg("text", { x: width, y: 32, fill: ink, "text-anchor": "end" }, ends[1]),
    svg("text", { y: 52, fill: ink }, unit),
  );
  return Math.max(width, widthOf([unit]));
}

async function mapAsSvg() {
  const { width, height } = main.size, { ink } = theme(), gap = 14, top = 34;
  const legend = await legendOf(state.color), group = svg("g", { transform: `translate(${width + gap}, ${top})` });
  const beside = legend.entries ? entriesTo(group, legend.entries.filter((one) => one.number), height, ink) : rampTo(group, legend.ends, legend.unit, ink);
  const chosen = state.selection.length ? `, ${nameOf(state.selection)}` : "";
  const title = `${head.maps.find((map) => map.key === state.map).title}: ${legend.title}${chosen}`;
  const all = { width: Math.ceil(Math.max(width + gap + beside, widthOf([title])) + gap), height: Math.ceil(height + top + gap) };
  const paper = getComputedStyle(document.documentElement).getPropertyValue("--map").trim();
  return svg(
    "svg",
    { ...all, viewBox: `0 0 ${all.width} ${all.height}`, style: `font: ${FONT}` },
    svg("title", {}, title),
    svg("rect", { width: "100%", height: "100%", fill: paper }),
    svg("text", { x: 4, y: 21, fill: ink, "font-weight": "bold" }, title),
    svg("image", { y: top, width, height, href: drawnAgain(main.size).toDataURL("image/png") }),
    group,
  );
}

const pictureName = (ending) => `${state.map.replace("X_", "")}_${state.color}.${ending}`.replace(/[^\w.-]+/g, "_");
const asText = (picture) => new XMLSerializer().serializeToString(picture);

async function saveSvg() {
  download(pictureName("svg"), asText(await mapAsSvg()), "image/svg+xml");
}

async function savePng() {
  const picture = await mapAsSvg(), image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(asText(picture))}`;
  await image.decode();
  const canvas = el("canvas", { width: PICTURE_RATIO * picture.getAttribute("width"), height: PICTURE_RATIO * picture.getAttribute("height") });
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  canvas.toBlob((made) => download(pictureName("png"), made, "image/png"));
}
