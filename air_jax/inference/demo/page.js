'use strict';
const $ = id => document.getElementById(id);
const paper = $('paper'), pen = paper.getContext('2d', { willReadFrequently: true });
const SIDE = paper.width, MOST_UNDOS = 30, MOST_CHANGES = 100;
let model, scene = null, held = null, waiting = null, busy = false, shownExample = 0;
let path = null;  // the request that gave the scene
let painted = null;  // the scene's canvas, decoded
let input = null, windows = [], note = '';  // the image explained, decoded; the objects found in it; how it was fitted
const UNJUDGED = { doubt: '', unexplained: [], ink_explained: null };
let judged = UNJUDGED;  // how well that image is explained
let era = 0;  // answers to requests of an earlier one are dropped
let changes = [];  // edits that are sent together, on the newest scene
const past = [];  // what undo goes back to

// One request at a time: while one is in flight, only the latest of the others is kept.
function ask(to, body, since, pasting = false) {
  waiting = { to, body, since, pasting };
  if (to !== '/edit') changes = [];
  if (!busy) answer();
}

async function answer() {
  busy = true;
  while (waiting) {
    const { to, body, since, pasting } = waiting, mine = era;
    waiting = null;
    try {
      const made = typeof body === 'function' ? await body() : body;
      const reply = await fetch(to, { method: 'POST', body: made });
      const parsed = await reply.json();
      if (parsed.error) throw new Error(parsed.error);
      const [canvas, image] = await Promise.all([decoded(parsed.canvas), parsed.image && decoded(parsed.image)]);
      if (mine !== era) continue;
      take(to, parsed, canvas, image, pasting);
      const milliseconds = performance.now() - since;
      $('time').textContent = `response after ${milliseconds.toFixed(0)} ms`;
      document.body.dataset.milliseconds = milliseconds;
      document.body.dataset.answers = 1 + Number(document.body.dataset.answers || 0);
      $('trouble').textContent = '';
    } catch (error) {
      if (mine !== era) continue;
      $('trouble').textContent = error instanceof TypeError ? 'The server does not respond.' : error.message;
    }
  }
  busy = false;
}

async function decoded(url) {
  const image = new Image();
  image.src = url;
  await image.decode();
  return image;
}

function take(to, parsed, canvas, image, pasting) {
  [scene, path, painted] = [parsed, to, canvas];
  if (held !== null && held >= parsed.count) held = null;
  if (image) [input, windows, judged] = [image, parsed.objects, parsed];
  if (to === '/generate') {
    blank();
    [input, windows, note, judged] = [null, [], '', UNJUDGED];
  }
  if (pasting) {
    pen.imageSmoothingEnabled = false;
    pen.drawImage(image, 0, 0, SIDE, SIDE);
    drawn = true;
    note = parsed.fitted || '';
  }
  present();
}

// Shows the scene, or that there is none.
function present() {
  const objects = scene ? scene.objects : [];
  if (scene) $('painted').src = scene.canvas;
  else $('painted').removeAttribute('src');
  outline($('windows'), windows);
  $('windows').append(...judged.unexplained.flatMap(dashed));
  $('doubt').textContent = judged.doubt && `Do not rely on this: ${judged.doubt}.`;
  outline($('scene'), objects);
  $('count').textContent = scene ? `${scene.count} ${scene.count === 1 ? 'object' : 'objects'}` : '';
  $('how').textContent = { '/edit': 'edited', '/generate': 'sampled' }[path] || '';
  $('fitted').textContent = note;
  $('probs').replaceChildren(...(scene ? scene.probs : []).map((p, n) => bar(n, p)));
  const focused = document.activeElement.closest('#objects button');
  $('objects').replaceChildren(...objects.map(tile));
  if (focused) {  // it was replaced: the focus stays where it was, or as near as can be
    const tiles = $('objects').querySelectorAll('button');
    (tiles[Math.min(focused.dataset.object, tiles.length - 1)] || $('undo')).focus();
  }
  subtract();
  mark();
}

function bar(n, p) {
  const row = document.createElement('div'), fill = document.createElement('i');
  row.className = 'bar';
  fill.style.width = `${100 * p}%`;
  row.append(String(n), fill, p.toFixed(3));
  return row;
}

const colour = t => model.colours[t % model.colours.length];
const pattern = t => model.patterns[t % model.patterns.length].map(length => 2.5 * length).join(' ');

function svg(name, attributes) {
  const made = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

// A button with the glimpse of an object, in the style of its window.
function tile(object, t) {
  const item = document.createElement('li'), button = document.createElement('button');
  const drawing = svg('svg', { viewBox: '0 0 1 1', 'aria-hidden': true });
  const style = { x: .03, y: .03, width: .94, height: .94, stroke: colour(t), 'stroke-dasharray': pattern(t) };
  drawing.append(svg('image', { href: object.glimpse, width: 1, height: 1 }), svg('rect', style));
  button.dataset.object = t;
  button.setAttribute('aria-label', `object ${t + 1}, probability ${object.score.toFixed(3)}`);
  button.append(drawing, `${t + 1}: ${object.score.toFixed(3)}`);
  button.onclick = () => select(held === t ? null : t);
  item.append(button);
  return item;
}

function outline(target, objects) {
  target.replaceChildren(...objects.flatMap(({ box: [top, left, height, width] }, t) => {
    if (!width) return [];  // outside the canvas, or too faint to have a box
    const box = { x: left, y: top, width, height, 'stroke-dasharray': pattern(t) };
    const number = svg('text', { x: left + .012, y: Math.max(top - .015, .05) });
    number.textContent = t + 1;
    const rect = svg('rect', { ...box, stroke: colour(t) });
    rect.dataset.object = t;
    return [svg('rect', { ...box, class: 'margin' }), rect, number];
  }));
}

// The outline of a region that no object explains.
function dashed([top, left, height, width]) {
  const box = { x: left, y: top, width, height };
  return [svg('rect', { ...box, class: 'margin' }), svg('rect', { ...box, class: 'unexplained' })];
}

// The ink that is not explained, |image - canvas|.
function subtract() {
  const left = $('residual'), difference = left.getContext('2d', { willReadFrequently: true });
  left.width = left.height = model.side;  // clears it
  if (!scene || !input) {
    $('unexplained').textContent = scene ? 'nothing to explain: no input' : '';
    return;
  }
  difference.drawImage(input, 0, 0);
  difference.globalCompositeOperation = 'difference';
  difference.drawImage(painted, 0, 0);
  const { data } = difference.getImageData(0, 0, model.side, model.side);
  const total = data.reduce((sum, value, i) => sum + (i % 4 < 3 ? value : 0), 0);
  const share = 100 * total / (255 * 3 * model.side ** 2);
  const ink = path === '/edit' || judged.ink_explained === null ? '' : `; ${(100 * judged.ink_explained).toFixed(0)} % of the ink is explained`;
  $('unexplained').textContent = `on average ${share.toFixed(1)} % of full brightness${ink}`;
}

function select(object) {
  held = object;
  mark();
}

// Shows which object is held, and what can be done.
function mark() {
  for (const rect of $('scene').querySelectorAll('rect')) rect.classList.toggle('held', rect.dataset.object === String(held));
  for (const button of $('objects').querySelectorAll('button'))
    button.setAttribute('aria-pressed', button.dataset.object === String(held));
  for (const id of ['smaller', 'larger', 'remove']) $(id).disabled = held === null;
  $('undo').disabled = !past.length;
  if (held === null || !scene) $('held').textContent = '';
  else {
    const [top, left, height, width] = scene.objects[held].box.map(side => Math.round(100 * side));
    $('held').textContent = `Object ${held + 1}: ${left} % from the left, ${top} % from the top, ${width} % wide, ${height} % high.`;
  }
}

function remember() {
  const pixels = pen.getImageData(0, 0, SIDE, SIDE);
  past.push({ pixels, drawn, scene, path, painted, input, windows, note, judged, held, late: busy });
  if (past.length > MOST_UNDOS) past.shift();
  mark();
}

// Nothing that is in flight is shown.
function forget() {
  era += 1;
  waiting = last = drag = null;
  changes = [];
}

function undo() {
  const before = past.pop();
  if (!before) return;
  forget();
  pen.putImageData(before.pixels, 0, 0);
  ({ drawn, scene, path, painted, input, windows, note, judged, held } = before);
  $('time').textContent = $('trouble').textContent = '';
  present();
  // Of a drawing whose answer had not come.
  if (before.late && drawn && [null, '/parse?drawn', '/parse', '/example'].includes(path)) parse();
}

// Drawing. The brush is about as wide as the strokes of the training images.
function blank() {
  pen.fillStyle = '#000';
  pen.fillRect(0, 0, SIDE, SIDE);
}

function guide() {
  const side = SIDE * model.window * .9;
  pen.save();
  pen.setLineDash([5, 5]);
  pen.strokeStyle = '#888';
  pen.strokeRect((SIDE - side) / 2, (SIDE - side) / 2, side, side);
  pen.fillStyle = '#aaa';
  pen.font = '15px system-ui, sans-serif';
  pen.textAlign = 'center';
  pen.fillText('draw objects of about this size', SIDE / 2, (SIDE - side) / 2 - 10);
  pen.restore();
}

const png = () => new Promise(done => paper.toBlob(done, 'image/png'));
const parse = () => ask('/parse?drawn', png, performance.now());
let drawn = false, last = null, drag = null;

function clear() {
  forget();
  blank();
  guide();
  drawn = false;
  scene = held = path = painted = input = null;
  windows = [];
  note = '';
  judged = UNJUDGED;
  for (const id of ['time', 'trouble']) $(id).textContent = '';
  present();
}

function point(event, element) {
  const { left, top, width, height } = element.getBoundingClientRect();
  return [(event.clientX - left) / width, (event.clientY - top) / height];
}

function stroke([x, y]) {
  pen.strokeStyle = $('ink').value;
  pen.lineWidth = SIDE * model.window * .13;
  pen.lineCap = pen.lineJoin = 'round';
  pen.beginPath();
  pen.moveTo(SIDE * last[0], SIDE * last[1]);
  pen.lineTo(SIDE * x, SIDE * y);
  pen.stroke();
  last = [x, y];
}
