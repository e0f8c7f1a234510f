// The pad: strokes of a mouse, a pen or a finger, as an image like those of the data set.

/** Pixels a side of an image, and of the box that a digit fills in it. */
const SIDE = 28;
const BOX = 20;
const PEN = 22;

export class Pad {
  /** `changed` is called after every change. */
  constructor(canvas, changed) {
    this.canvas = canvas;
    this.changed = changed;
    /** What is drawn, in opacity. */
    this.ink = document.createElement("canvas");
    [this.ink.width, this.ink.height] = [canvas.width, canvas.height];
    this.brush = this.ink.getContext("2d", { willReadFrequently: true });
    /** Whether by hand. */
    this.drawn = false;
    let last = null;
    const place = (e) => {
      const r = canvas.getBoundingClientRect();
      return [((e.clientX - r.left) * canvas.width) / r.width, ((e.clientY - r.top) * canvas.height) / r.height];
    };
    canvas.addEventListener("pointerdown", (e) => {
      if (e.isTrusted) canvas.setPointerCapture(e.pointerId);
      if (!this.drawn) this.brush.clearRect(0, 0, canvas.width, canvas.height);
      this.drawn = true;
      last = place(e);
      this.stroke(last, last);
    });
    canvas.addEventListener("pointermove", (e) => {
      if (!last) return;
      const here = place(e);
      this.stroke(last, here);
      last = here;
    });
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => (last = null));
  }

  stroke([x0, y0], [x1, y1]) {
    const g = this.brush;
    g.strokeStyle = "#000";
    g.lineWidth = PEN;
    g.lineCap = g.lineJoin = "round";
    g.beginPath();
    g.moveTo(x0, y0);
    g.lineTo(x1, y1);
    g.stroke();
    this.repaint();
    this.changed();
  }

  clear() {
    this.brush.clearRect(0, 0, this.ink.width, this.ink.height);
    this.drawn = false;
    this.repaint();
    this.changed();
  }

  /** Shows an image of 28 x 28. */
  put(pixels) {
    const small = document.createElement("canvas");
    small.width = small.height = SIDE;
    const image = new ImageData(SIDE, SIDE);
    pixels.forEach((p, i) => (image.data[4 * i + 3] = 255 * p));
    small.getContext("2d").putImageData(image, 0, 0);
    this.brush.clearRect(0, 0, this.ink.width, this.ink.height);
    this.brush.drawImage(small, 0, 0, this.ink.width, this.ink.height);
    this.drawn = false;
    this.repaint();
    this.changed();
  }

  /** In the colour of the page. */
  repaint() {
    const g = this.canvas.getContext("2d");
    g.globalCompositeOperation = "copy";
    g.drawImage(this.ink, 0, 0);
    g.globalCompositeOperation = "source-in";
    g.fillStyle = getComputedStyle(this.canvas).getPropertyValue("--ink");
    g.fillRect(0, 0, this.canvas.width, this.canvas.height);
  }

  /** As the data set has them: the digit's larger side fills 20 pixels, its centre of mass is in the middle of 28. Null if empty. */
  pixels() {
    const side = this.ink.width;
    const { data } = this.brush.getImageData(0, 0, side, side);
    let [left, right, top, bottom] = [side, -1, side, -1];
    let [mass, atX, atY] = [0, 0, 0];
    for (let y = 0; y < side; y++) {
      for (let x = 0; x < side; x++) {
        const m = data[4 * (y * side + x) + 3];
        mass += m;
        atX += m * (x + 0.5);
        atY += m * (y + 0.5);
        if (m > 40) {
          [left, right] = [Math.min(left, x), Math.max(right, x)];
          [top, bottom] = [Math.min(top, y), Math.max(bottom, y)];
        }
      }
    }
    if (right < left) return null;
    const scale = BOX / (Math.max(right - left, bottom - top) + 1);
    const small = document.createElement("canvas");
    small.width = small.height = SIDE;
    const g = small.getContext("2d");
    g.imageSmoothingQuality = "high";
    g.drawImage(this.ink, SIDE / 2 - (atX / mass) * scale, SIDE / 2 - (atY / mass) * scale, side * scale, side * scale);
    const out = g.getImageData(0, 0, SIDE, SIDE).data;
    return Float32Array.from({ length: SIDE * SIDE }, (_, i) => out[4 * i + 3] / 255);
  }
}
