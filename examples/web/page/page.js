// The page: buttons, the curve, the pad. The computing is in digits_bg.wasm.

import load, { Lab } from "./digits.js";
import { drawCurve } from "./curve.js";
import { Pad } from "./pad.js";

/** Steps between two looks at the test images. */
const BETWEEN_TESTS = 25;
/** Steps submitted ahead of the losses that have come back. */
const AHEAD = 3;

const at = (id) => document.getElementById(id);

/** What there is to see of the training: one loss a step; the accuracy after some of them. */
export const history = { losses: [], accuracies: [], firstStep: null };

let lab = null;
let running = false;
/** The training under way, if there is one. */
let loop = Promise.resolve();

function say(text) {
  at("message").textContent = text;
  at("message").hidden = false;
}

async function open() {
  if (!navigator.gpu) {
    say("This browser has no WebGPU. Current versions of Chrome, Edge, Safari and Firefox have it; the page must come from https:// or localhost.");
    return;
  }
  if (!(await navigator.gpu.requestAdapter())) {
    say("This browser has WebGPU, but found no graphics adapter that it may use: hardware acceleration may be switched off in its settings, or the driver be on its list of exceptions.");
    return;
  }
  const files = ["train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"];
  const bytes = async (name) => {
    const answer = await fetch(`data/${name}-ubyte.gz`);
    if (!answer.ok) throw new Error(`${answer.url}: ${answer.status} ${answer.statusText}`);
    return new Uint8Array(await answer.arrayBuffer());
  };
  const [digits] = await Promise.all([Promise.all(files.map(bytes)), load()]);
  lab = await Lab.open(...digits);
  at("device").textContent = lab.device().replace(/^wgpu: /, "").split(":")[0];
  for (const id of ["run", "reset", "example", "clear"]) at(id).disabled = false;
  start();
}

function fail(error) {
  running = false;
  at("run").textContent = "Start";
  say(`Something went wrong: ${error.message ?? error}`);
  console.error(error);
}

function start() {
  running = true;
  at("run").textContent = "Pause";
  loop = loop.then(train).catch(fail);
}

function pause() {
  running = false;
  at("run").textContent = "Start";
}

async function train() {
  const under = [];
  let since = performance.now();
  let steps = 0;
  const take = async () => {
    history.losses.push(await under.shift());
    history.firstStep ??= performance.now() / 1000;
    steps += 1;
    const now = performance.now();
    if (now - since > 500) {
      at("speed").textContent = ((1000 * steps) / (now - since)).toFixed(1);
      [since, steps] = [now, 0];
    }
    show();
  };
  while (running) {
    under.push(lab.step());
    if (under.length > AHEAD) await take();
    const n = history.losses.length;
    if (n > 0 && n % BETWEEN_TESTS === 0 && history.accuracies.at(-1)?.step !== n) {
      history.accuracies.push({ step: n, share: await lab.accuracy() });
      if (n === BETWEEN_TESTS) kernels();
      await recognise();
      show();
    }
  }
  while (under.length > 0) await take();
}

function show() {
  const { losses, accuracies } = history;
  at("step").textContent = losses.length.toLocaleString("en");
  at("loss").textContent = losses.length ? losses.at(-1).toFixed(3) : "–";
  at("accuracy").textContent = accuracies.length ? `${(100 * accuracies.at(-1).share).toFixed(1)} %` : "–";
  drawCurve(at("curve"), losses, accuracies);
}

// The pad.

const pad = new Pad(at("pad"), () => recognise().catch(fail));
/** What the digit in the pad is, if it is a test digit. */
let truth = null;

const bars = Array.from({ length: 10 }, (_, digit) => {
  const row = document.createElement("li");
  row.innerHTML = `<span>${digit}</span><span class="bar"><span></span></span><span class="share"></span>`;
  at("bars").append(row);
  return row;
});

async function recognise() {
  const pixels = pad.pixels();
  if (!lab || !pixels) {
    for (const row of bars) {
      row.className = "";
      row.querySelector(".bar span").style.width = "0";
      row.querySelector(".share").textContent = "";
    }
    at("answer").textContent = "Empty.";
    return;
  }
  const shares = await lab.recognise(pixels);
  const best = shares.indexOf(Math.max(...shares));
  bars.forEach((row, digit) => {
    row.className = digit === best ? "best" : "";
    row.querySelector(".bar span").style.width = `${100 * shares[digit]}%`;
    row.querySelector(".share").textContent = `${(100 * shares[digit]).toFixed(0)} %`;
  });
  const known = pad.drawn || truth === null ? "" : ` It is a ${truth}.`;
  at("answer").textContent = `Read as ${best}.${known}`;
}

// The kernels.

let listed = [];
let chosen = 0;
let shown = "source";

const short = (n) => (n >= 1e6 ? `${(n / 1e6).toFixed(1)} M` : n >= 1e3 ? `${(n / 1e3).toFixed(1)} k` : `${n} `);

function kernels() {
  listed = lab.kernels();
  at("kernels").replaceChildren(
    ...listed.map((k, n) => {
      const row = document.createElement("li");
      const button = document.createElement("button");
      button.setAttribute("role", "option");
      button.textContent = k.name;
      const size = document.createElement("small");
      size.textContent = `${short(k.bytes)}B, ${short(k.flops)}flop`;
      button.append(size);
      button.onclick = () => choose(n);
      row.append(button);
      return row;
    }),
  );
  choose(0);
}

function choose(n) {
  chosen = n;
  [...at("kernels").querySelectorAll("button")].forEach((b, i) => b.setAttribute("aria-selected", i === n));
  for (const what of ["source", "program"]) at(`show-${what}`).setAttribute("aria-pressed", what === shown);
  at("code").textContent = listed[n]?.[shown] ?? "";
  at("code").scrollTop = 0;
}

for (const what of ["source", "program"]) {
  at(`show-${what}`).onclick = () => {
    shown = what;
    choose(chosen);
  };
}

at("run").onclick = () => (running ? pause() : start());
at("reset").onclick = async () => {
  const again = running;
  pause();
  await loop;
  lab.reset();
  history.losses.length = history.accuracies.length = 0;
  show();
  recognise().catch(fail);
  if (again) start();
};
let next = 0;
at("example").onclick = () => {
  const digit = lab.digit(next++);
  truth = digit.label;
  pad.put(digit.pixels);
};
at("clear").onclick = () => pad.clear();
addEventListener("resize", show);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  show();
  pad.repaint();
});

show();
recognise();
open().catch(fail);
