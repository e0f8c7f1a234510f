// The page: buttons, curve, drawing pad. What is computed is computed by the module.
import init, { Digits, Network, open } from "./digits.js";
import { drawCurve } from "./curve.js";
import { Pad } from "./pad.js";

const $ = (id) => document.getElementById(id);
const SEED = 0;
// A round of steps is submitted at once, then the page gets its turn: as many as take about so many milliseconds.
const ROUND = 60;
const MOST = 16;

let digits, network, pad;
let losses = [];
let running = false;
// Rounds of a network that was reset are not shown.
let generation = 0;
let round = 1;

function say(text) {
  $("message").textContent = text;
}

function fresh() {
  generation += 1;
  network?.free();
  network = new Network(digits, Number($("batch").value), Number($("rate").value), SEED);
  losses = [];
  $("step").textContent = "0";
  for (const id of ["loss", "accuracy", "speed"]) $(id).textContent = "–";
  drawCurve($("curve"), losses);
}

/** One round of training: awaits its losses, which leaves the page its turn. */
async function train(count) {
  const mine = generation;
  const started = performance.now();
  const found = await network.steps(count);
  const took = performance.now() - started;
  if (mine !== generation) return;
  losses.push(...found);
  if (losses.length === found.length) performance.mark("first-step");
  round = took > 2 * ROUND ? Math.max(1, count / 2) : took < ROUND / 2 ? Math.min(MOST, count * 2) : count;
  const recent = losses.slice(-20);
  $("step").textContent = losses.length.toLocaleString("en");
  $("loss").textContent = (recent.reduce((a, b) => a + b, 0) / recent.length).toFixed(3);
  $("speed").textContent = ((1000 * count) / took).toFixed(0);
  drawCurve($("curve"), losses);
}

async function judge() {
  const mine = generation;
  const [share] = await network.accuracy();
  if (mine === generation) $("accuracy").textContent = `${(100 * share).toFixed(1)} %`;
}

async function run() {
  running = !running;
  $("run").textContent = running ? "Pause" : "Start";
  let judged = losses.length;
  while (running) {
    await train(round);
    if (running && losses.length >= judged + 50) {
      judged = losses.length;
      await judge();
      await recognise();
    }
    // Input and drawing go first.
    await new Promise(requestAnimationFrame);
  }
}

async function recognise() {
  const mine = generation;
  const chances = await network.read(pad.ink());
  if (mine !== generation) return;
  const best = chances.indexOf(Math.max(...chances));
  [...$("bars").children].forEach((row, digit) => {
    const chance = chances[digit] ?? 0;
    row.querySelector("b").style.width = `${100 * chance}%`;
    row.lastChild.textContent = chances.length ? `${(100 * chance).toFixed(1)} %` : "";
  });
  $("answer").textContent = chances.length ? `It looks like a ${best}.` : "Draw, and the network says what it sees.";
}

function showKernels() {
  const kernels = network.kernels();
  const bytes = kernels.reduce((sum, k) => sum + k.bytes, 0);
  $("summary").textContent =
    `${kernels.length} kernels compute the loss of a batch and all gradients, moving ${(bytes / 1e6).toFixed(1)} MB. Adam's update joins those that make the gradients.`;
  $("list").replaceChildren(
    ...kernels.map((k, i) => {
      const details = document.createElement("details");
      const summary = document.createElement("summary");
      const small = document.createElement("small");
      const source = document.createElement("pre");
      small.textContent = `${k.fused || "copies"} · ${(k.bytes / 1e3).toFixed(0)} kB · ${(k.flops / 1e6).toFixed(2)} Mflop`;
      summary.append(`${i + 1}. ${k.name}`, small);
      source.textContent = k.source;
      source.tabIndex = 0;
      details.append(summary, source);
      return details;
    }),
  );
}

async function file(name) {
  const answer = await fetch(`digits/${name}`);
  if (!answer.ok) throw new Error(`${name} is not beside this page (${answer.status})`);
  return new Uint8Array(await answer.arrayBuffer());
}

async function start() {
  if (!navigator.gpu) {
    say("This browser has no WebGPU, which training needs. Recent versions of Chrome, Edge, Firefox and Safari have it.");
    return;
  }
  if (!(await navigator.gpu.requestAdapter())) {
    say("This browser has WebGPU, but found no graphics adapter for it: it may be switched off, or the graphics driver not supported.");
    return;
  }
  const names = ["train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"].map((n) => `${n}-ubyte.gz`);
  const module_or_path = new URL("digits_bg.wasm", import.meta.url);
  const [files] = await Promise.all([Promise.all(names.map(file)), init({ module_or_path })]);
  $("device").textContent = await open();
  digits = new Digits(...files);
  for (let digit = 0; digit < 10; digit += 1) {
    const row = document.createElement("li");
    row.innerHTML = `<span>${digit}</span><i><b></b></i><span></span>`;
    $("bars").append(row);
  }
  pad = new Pad($("pad"), recognise);
  $("run").onclick = () => run().catch(failed);
  $("reset").onclick = fresh;
  $("batch").onchange = fresh;
  $("rate").onchange = () => network.set_rate(Number($("rate").value));
  $("clear").onclick = () => pad.clear();
  new ResizeObserver(() => drawCurve($("curve"), losses)).observe($("curve"));
  say("");
  $("main").hidden = false;
  fresh();
  // A first step and the kernels, so that there is something to see.
  await train(1);
  await judge();
  showKernels();
}

function failed(error) {
  running = false;
  $("run").textContent = "Start";
  say(`That failed: ${error.message ?? error}`);
  console.error(error);
}

start().catch(failed);
