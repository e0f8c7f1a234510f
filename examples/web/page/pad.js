/** A square to draw on with mouse, pen or finger. */
export class Pad {
  constructor(canvas, changed) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { willReadFrequently: true });
    this.changed = changed;
    canvas.onpointerdown = (e) => {
      canvas.setPointerCapture(e.pointerId);
      this.last = this.place(e);
      this.stroke(this.last);
    };
    canvas.onpointermove = (e) => this.last && this.stroke(this.place(e));
    canvas.onpointerup = canvas.onpointercancel = () => {
      this.last = undefined;
      changed();
    };
  }

  place(e) {
    const box = this.canvas.getBoundingClientRect();
    const scale = this.canvas.width / box.width;
    return [(e.clientX - box.left) * scale, (e.clientY - box.top) * scale];
  }

  stroke(to) {
    const g = this.context;
    g.strokeStyle = getComputedStyle(this.canvas).getPropertyValue("--ink");
    g.lineWidth = 22;
    g.lineCap = "round";
    g.beginPath();
    g.moveTo(...this.last);
    g.lineTo(...to);
    g.stroke();
    this.last = to;
  }

  clear() {
    this.context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    this.changed();
  }

  /** The opacity of each pixel. */
  ink() {
    const { data } = this.context.getImageData(0, 0, this.canvas.width, this.canvas.height);
    return Uint8Array.from({ length: data.length / 4 }, (_, i) => data[4 * i + 3]);
  }
}
