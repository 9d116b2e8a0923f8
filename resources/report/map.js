// Canvas maps: points as stamps in a pixel buffer; zoom, and which cell lies at a place.
const HIDDEN = 0, PALE = 1, LOW = 2, NORMAL = 3, TOP = 4;
const HOVER = 12; // CSS pixels around the pointer

// Cells in an order that has nothing to do with samples or types: none lies on top of the others.
const shuffled = (() => {
  const order = new Uint32Array(n);
  let state = 12345;
  for (let i = 0; i < n; i++) {
    order[i] = i;
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const j = Math.floor((state / 4294967296) * (i + 1));
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
})();

// Offsets and opacities (1 to 256) of the pixels of a disc or a cross.
function makeStamp(radius, cross) {
  const reach = Math.ceil(radius + 1), pixels = [];
  for (let y = -reach; y <= reach; y++)
    for (let x = -reach; x <= reach; x++) {
      const far = Math.hypot(x, y) - radius;
      const off = Math.min(Math.abs(x - y), Math.abs(x + y)) / Math.SQRT2 - Math.max(0.7, radius / 3.2);
      const cover = Math.max(0, Math.min(1, 0.5 - (cross ? Math.max(off, far - 0.6) : far)));
      if (cover > 0.04) pixels.push([x, y, Math.round(256 * cover)]);
    }
  return { reach, pixels };
}

function blend(under, color, opacity) {
  const rest = 256 - opacity;
  const rb = (((color & 0xff00ff) * opacity + (under & 0xff00ff) * rest) >>> 8) & 0xff00ff;
  const g = (((color & 0xff00) * opacity + (under & 0xff00) * rest) >>> 8) & 0xff00;
  return (0xff000000 | rb | g) >>> 0;
}

class CellMap {
  // `size`: { width, height, ratio } of a canvas that is not in the page; else it has that of its place.
  constructor(canvas, size = null) {
    this.canvas = canvas;
    this.fixed = size;
    this.context = canvas.getContext("2d");
    this.view = { zoom: 1, x: 0.5, y: 0.5 };
    this.marked = -1;
    this.line = [];
  }

  setPoints(points) {
    this.points = points;
    let right = 0, top = 0;
    for (let i = 0; i < n; i++) {
      right = Math.max(right, points[i]);
      top = Math.max(top, points[n + i]);
    }
    this.extent = [Math.max(right, 1) / 65535, Math.max(top, 1) / 65535];
    this.fit();
  }

  // CSS pixels, and device pixels of each.
  get size() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    return this.fixed ?? { width, height, ratio: window.devicePixelRatio || 1 };
  }

  fit() {
    this.view = { zoom: 1, x: this.extent[0] / 2, y: this.extent[1] / 2 };
  }

  // Device pixels of the width of the data.
  scale() {
    const { width, height } = this.canvas;
    return 0.93 * Math.min(width / this.extent[0], height / this.extent[1]) * this.view.zoom;
  }

  resize() {
    const { ratio } = this.size;
    const width = Math.max(1, Math.round(this.size.width * ratio));
    const height = Math.max(1, Math.round(this.size.height * ratio));
    if (this.canvas.width !== width) this.canvas.width = width;
    if (this.canvas.height !== height) this.canvas.height = height;
    return ratio;
  }

  radius(ratio) {
    const { width, height } = this.size;
    const base = Math.sqrt(((width * height) / Math.max(n, 1)) * 0.02);
    return Math.max(0.9, Math.min(7, Math.max(0.9, Math.min(4.2, base)) * this.view.zoom ** 0.4)) * ratio;
  }

  // Draw cells in their colours (ABGR), by layer: the lower first.
  draw(colors, layers, theme) {
    const ratio = this.resize();
    if (!this.points) return;
    const { width, height } = this.canvas;
    const image = this.context.createImageData(width, height);
    const pixels = new Uint32Array(image.data.buffer);
    pixels.fill(theme.paper);
    const scale = this.scale(), radius = this.radius(ratio);
    const disc = makeStamp(radius, false), cross = makeStamp(radius * 1.35, true);
    const left = width / 2 - this.view.x * scale, bottom = height / 2 + this.view.y * scale;
    for (let layer = PALE; layer <= TOP; layer++) {
      const stamp = layer === TOP ? cross : disc;
      for (let k = 0; k < n; k++) {
        const i = shuffled[k];
        if (layers[i] !== layer) continue;
        const x = Math.round(left + (this.points[i] / 65535) * scale);
        const y = Math.round(bottom - (this.points[n + i] / 65535) * scale);
        if (x < stamp.reach || y < stamp.reach || x >= width - stamp.reach || y >= height - stamp.reach) continue;
        const color = layer === PALE ? theme.pale : colors[i], at = y * width + x;
        for (const [dx, dy, opacity] of stamp.pixels) {
          const p = at + dy * width + dx;
          pixels[p] = opacity === 256 ? color : blend(pixels[p], color, opacity);
        }
      }
    }
    this.context.putImageData(image, 0, 0);
    this.drawLines(ratio, radius, theme);
  }

  drawLines(ratio, radius, theme) {
    const pen = this.context;
    pen.strokeStyle = theme.ink;
    if (this.marked >= 0) {
      const [x, y] = this.place(this.marked);
      pen.lineWidth = 2 * ratio;
      pen.beginPath();
      pen.arc(x, y, radius + 4 * ratio, 0, 2 * Math.PI);
      pen.stroke();
    }
    if (this.line.length > 1) {
      pen.lineWidth = 1.5 * ratio;
      pen.setLineDash([5 * ratio, 4 * ratio]);
      pen.beginPath();
      for (const [x, y] of this.line) pen.lineTo(...this.toDevice(x, y));
      pen.stroke();
      pen.setLineDash([]);
    }
  }

  toDevice(x, y) {
    const scale = this.scale();
    return [
      this.canvas.width / 2 + (x - this.view.x) * scale,
      this.canvas.height / 2 - (y - this.view.y) * scale,
    ];
  }

  place(i) {
    return this.toDevice(this.points[i] / 65535, this.points[n + i] / 65535);
  }

  // Data coordinates of a place in CSS pixels of the canvas.
  toData(x, y) {
    const { ratio } = this.size, scale = this.scale();
    return [
      this.view.x + (x * ratio - this.canvas.width / 2) / scale,
      this.view.y - (y * ratio - this.canvas.height / 2) / scale,
    ];
  }

  move(dx, dy) {
    const { ratio } = this.size, scale = this.scale();
    this.view.x -= (dx * ratio) / scale;
    this.view.y += (dy * ratio) / scale;
  }

  // Zoom about a place in CSS pixels, which stays where it is.
  zoomAt(factor, x = this.size.width / 2, y = this.size.height / 2) {
    const [before, above] = this.toData(x, y);
    this.view.zoom = Math.max(0.5, Math.min(200, this.view.zoom * factor));
    const [after, under] = this.toData(x, y);
    this.view.x += before - after;
    this.view.y += above - under;
  }

  // The cell nearest to a place in CSS pixels; -1: none within the distance.
  nearest(x, y, layers, most = HOVER) {
    if (!this.points) return -1;
    const [px, py] = this.toData(x, y);
    const { ratio } = this.size;
    let best = -1, least = ((most * ratio) / this.scale()) ** 2;
    for (let i = 0; i < n; i++) {
      if (layers[i] === HIDDEN) continue;
      const d = (this.points[i] / 65535 - px) ** 2 + (this.points[n + i] / 65535 - py) ** 2;
      if (d < least) [best, least] = [i, d];
    }
    return best;
  }
}

// Cells inside a polygon, given as x, y, x, y ... in the units of the points.
function insidePolygon(points, polygon) {
  const inside = new Uint8Array(n), corners = polygon.length / 2;
  for (let i = 0; i < n; i++) {
    const x = points[i], y = points[n + i];
    let odd = 0;
    for (let a = 0, b = corners - 1; a < corners; b = a++) {
      const ya = polygon[2 * a + 1], yb = polygon[2 * b + 1];
      if (ya > y !== yb > y && x < ((polygon[2 * b] - polygon[2 * a]) * (y - ya)) / (yb - ya) + polygon[2 * a]) odd ^= 1;
    }
    inside[i] = odd;
  }
  return inside;
}
