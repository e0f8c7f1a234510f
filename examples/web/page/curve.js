/** Draws losses by step, each beside a running mean, on a logarithmic axis. */
export function drawCurve(canvas, losses) {
  const scale = devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  canvas.width = width * scale;
  canvas.height = height * scale;
  const g = canvas.getContext("2d");
  const style = getComputedStyle(canvas);
  const colour = (name) => style.getPropertyValue(name);
  g.scale(scale, scale);
  g.font = "11px system-ui, sans-serif";
  const [left, bottom] = [30, 18];
  const [low, high] = [Math.log(0.05), Math.log(3)];
  const x = (step) => left + ((width - left - 4) * step) / Math.max(losses.length - 1, 50);
  const y = (loss) => 6 + (height - bottom - 6) * (1 - (Math.min(Math.max(Math.log(loss), low), high) - low) / (high - low));
  g.textAlign = "right";
  g.textBaseline = "middle";
  for (const tick of [2, 1, 0.5, 0.2, 0.1]) {
    g.strokeStyle = colour("--line");
    g.beginPath();
    g.moveTo(left, y(tick));
    g.lineTo(width, y(tick));
    g.stroke();
    g.fillStyle = colour("--quiet");
    g.fillText(String(tick), left - 6, y(tick));
  }
  g.textBaseline = "alphabetic";
  g.fillText(`${Math.max(losses.length, 50)} steps`, width, height - 4);
  const line = (values, stroke, wide) => {
    g.strokeStyle = stroke;
    g.lineWidth = wide;
    g.lineJoin = "round";
    g.beginPath();
    values.forEach((loss, step) => g.lineTo(x(step), y(loss)));
    g.stroke();
  };
  let mean = losses[0];
  const smooth = losses.map((loss) => (mean += 0.08 * (loss - mean)));
  g.globalAlpha = 0.3;
  line(losses, colour("--blue"), 1);
  g.globalAlpha = 1;
  line(smooth, colour("--blue"), 2);
  canvas.setAttribute("aria-label", losses.length ? `Loss by training step: ${mean.toFixed(2)} after ${losses.length}` : "Loss by training step");
}
