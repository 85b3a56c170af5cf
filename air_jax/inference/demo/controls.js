'use strict';
// What mouse, fingers and keys do; what is shown is in page.js.

paper.addEventListener('pointerdown', event => {
  if (!event.isPrimary) return;  // a second finger
  remember();
  if (!drawn) { blank(); drawn = true; }
  paper.setPointerCapture(event.pointerId);
  held = null;
  last = point(event, paper);
  stroke(last);
});
paper.addEventListener('pointermove', event => {
  if (!last || !event.isPrimary) return;
  stroke(point(event, paper));
  parse();
});
for (const name of ['pointerup', 'pointercancel']) paper.addEventListener(name, event => {
  if (!event.isPrimary) return;
  if (last) parse();
  last = null;
});

function openFile(file) {
  if (!file) return;
  if (file.size > 20e6) {
    $('trouble').textContent = 'The image must be smaller than 20 MB.';
    return;
  }
  remember();
  ask('/parse', file, performance.now(), true);  // shown as fitted to the canvas
}

// Editing the reconstruction.
let turned = 0;  // when the wheel last was

function change(edit, by, again = false) {
  if (held === null || !scene || changes.length >= MOST_CHANGES) return;
  if (!again) remember();
  changes.push({ edit, which: held, by });
  // Made when it is sent: the latents are then those of the last edit.
  const body = () => JSON.stringify({ latents: scene.latents, changes: changes.splice(0) });
  ask('/edit', body, performance.now());
}

$('scene').addEventListener('pointerdown', event => {
  if (!event.isPrimary) return;
  const object = event.target.dataset.object;
  select(object === undefined ? null : Number(object));
  if (held === null) return;
  $('scene').setPointerCapture(event.pointerId);
  changes = [];
  drag = { from: point(event, $('scene')), latents: scene.latents, moved: false };
});
$('scene').addEventListener('pointermove', event => {
  if (!drag || held === null || !event.isPrimary) return;
  if (!drag.moved) remember();
  drag.moved = true;
  const [x, y] = point(event, $('scene'));
  const by = { right: x - drag.from[0], down: y - drag.from[1] };
  // Relative to the start of the drag: errors of small moves would add up.
  const moves = [{ edit: 'move', which: held, by }];
  ask('/edit', JSON.stringify({ latents: drag.latents, changes: moves }), performance.now());
});
for (const name of ['pointerup', 'pointercancel']) $('scene').addEventListener(name, () => { drag = null; });
// On an object a finger drags, elsewhere it scrolls the page; touch-action has no effect within an SVG.
$('scene').addEventListener('touchstart', event => {
  if (event.target.dataset.object !== undefined) event.preventDefault();
}, { passive: false });
$('scene').addEventListener('wheel', event => {
  if (held === null) return;
  event.preventDefault();
  const again = event.timeStamp - turned < 500;  // one turn of the wheel is one edit
  turned = event.timeStamp;
  change('resize', { factor: event.deltaY < 0 ? 1.05 : 1 / 1.05 }, again);
}, { passive: false });

const smaller = ['resize', { factor: 1 / 1.1 }], larger = ['resize', { factor: 1.1 }], remove = ['remove', {}];
const keys = {
  ArrowLeft: ['move', { right: -.02 }], ArrowRight: ['move', { right: .02 }],
  ArrowUp: ['move', { down: -.02 }], ArrowDown: ['move', { down: .02 }],
  '+': larger, '=': larger, '-': smaller, Delete: remove, Backspace: remove,
};
addEventListener('keydown', event => {
  if (event.target.matches('input, select')) return;
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === 'z') {
    event.preventDefault();
    undo();
  } else if (event.ctrlKey || event.metaKey || event.altKey || held === null) return;
  else if (event.key === 'Escape') select(null);
  else if (keys[event.key]) {
    event.preventDefault();
    change(...keys[event.key], event.repeat);
  }
});
$('smaller').onclick = () => change(...smaller);
$('larger').onclick = () => change(...larger);
$('remove').onclick = () => change(...remove);
$('undo').onclick = undo;

$('clear').onclick = () => { remember(); clear(); };
$('example').onclick = () => {
  remember();
  held = null;
  ask('/example', String(shownExample++), performance.now(), true);
};
$('generate').onclick = () => {
  remember();
  held = null;
  ask('/generate', String(Math.floor(4e9 * Math.random())), performance.now());
};
$('file').onchange = event => { openFile(event.target.files[0]); event.target.value = ''; };
for (const name of ['dragenter', 'dragover', 'dragleave', 'drop']) addEventListener(name, event => {
  event.preventDefault();
  $('left').classList.toggle('over', name === 'dragenter' || name === 'dragover');
  if (name === 'drop') openFile(event.dataTransfer.files[0]);
});

(async () => {
  model = await (await fetch('/model')).json();
  $('about').textContent = `It was trained, without labels, on ${model.trained_on}. It finds at most ${model.most} objects on ${model.side}x${model.side} pixels ` +
    `(training step ${model.step.toLocaleString('en')}).`;
  $('ink').hidden = !model.colour;
  clear();
  document.body.dataset.ready = 'yes';
})();
