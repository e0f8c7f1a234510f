// The curve of the loss: every step faintly, their running mean, and the test accuracy.

const LEFT = 34;
const BOTTOM = 22;
const TOP = 8;

/** The mean of the last few, decaying. */
function smooth(losses) {
  let [sum, weight] = [0, 0];
  return losses.map((x) => {
    [sum, weight] = [0.95 * sum + x, 0.95 * weight + 1];
    return sum / weight;
  });
}

export function drawCurve(canvas, losses, accuracies) {
  const scale = devicePixelRatio;
  const { clientWidth: width, clientHeight: height } = canvas;
  if (canvas.width !== Math.round(width * scale)) canvas.width = Math.round(width * scale);
  if (canvas.height !== Math.round(height * scale)) canvas.height = Math.round(height * scale);
  const style = getComputedStyle(canvas);
  const colour = (name) => style.getPropertyValue(`--${name}`);
  const g = canvas.getContext("2d");
  g.setTransform(scale, 0, 0, scale, 0, 0);
  g.clearRect(0, 0, width, height);
  g.font = "11px system-ui, sans-serif";

  const most = 2.5;
  const steps = Math.max(100, Math.ceil(losses.length / 100) * 100);
  const x = (n) => LEFT + ((width - LEFT - 6) * n) / steps;
  const y = (share) => TOP + (height - TOP - BOTTOM) * (1 - Math.min(share, 1));

  g.lineWidth = 1;
  g.fillStyle = colour("quiet");
  g.strokeStyle = colour("line");
  g.textAlign = "right";
  g.textBaseline = "middle";
  for (let loss = 0; loss <= most; loss += 0.5) {
    g.beginPath();
    g.moveTo(LEFT, y(loss / most));
    g.lineTo(width - 6, y(loss / most));
    g.stroke();
    g.fillText(loss.toFixed(1), LEFT - 8, y(loss / most));
  }
  g.textBaseline = "alphabetic";
  g.textAlign = "left";
  g.fillText("0", LEFT, height - 5);
  g.textAlign = "right";
  g.fillText(`${steps.toLocaleString("en")} steps`, width - 6, height - 5);

  const line = (points, ink, thick, alpha) => {
    g.strokeStyle = ink;
    g.lineWidth = thick;
    g.globalAlpha = alpha;
    g.lineJoin = "round";
    g.beginPath();
    points.forEach(([a, b], i) => (i ? g.lineTo(a, b) : g.moveTo(a, b)));
    g.stroke();
    g.globalAlpha = 1;
  };
  const along = (values) => values.map((v, n) => [x(n + 1), y(v / most)]);
  line(along(losses), colour("blue"), 1, 0.3);
  line(along(smooth(losses)), colour("blue"), 2, 1);
  line(accuracies.map((a) => [x(a.step), y(a.share)]), colour("gold"), 2, 1);

  g.textAlign = "left";
  const legend = [["blue", "loss"], ["gold", "test accuracy, 0 to 100 %"]];
  let right = width - 200;
  for (const [ink, text] of legend) {
    g.fillStyle = colour(ink);
    g.fillRect(right, height - 10, 14, 3);
    g.fillStyle = colour("quiet");
    g.fillText(text, right + 19, height - 5);
    right += 60;
  }
}
