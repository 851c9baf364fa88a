// A picture divided in cells: marks over it, and a place that a click, a drag or an arrow key moves.

const KEYS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

function rectangle(mark, kind) {
  const rect = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  for (const [name, value] of [["x", mark.x], ["y", mark.y], ["width", mark.w], ["height", mark.h], ["class", kind]])
    rect.setAttribute(name, value);
  return rect;
}

function render({ model, el }) {
  el.classList.add("e2");
  el.innerHTML = `<figure><figcaption></figcaption><div class="e2-frame"><img draggable="false"><svg
    preserveAspectRatio="none" aria-hidden="true"></svg></div></figure>`;
  const [caption, frame, image, svg] = ["figcaption", ".e2-frame", "img", "svg"].map((s) => el.querySelector(s));
  let url = null;

  function show() {
    const old = url;
    url = URL.createObjectURL(new Blob([model.get("data")]));
    image.onload = () => old && URL.revokeObjectURL(old);
    image.src = url;
  }

  function describe() {
    caption.textContent = model.get("title");
    image.alt = model.get("description") || model.get("title");
    const pointable = model.get("pointable");
    frame.classList.toggle("e2-pointable", pointable);
    frame.tabIndex = pointable ? 0 : -1;
    if (pointable) {
      frame.setAttribute("role", "application");
      frame.setAttribute("aria-roledescription", "picture to point at, arrow keys move");
      frame.setAttribute("aria-label", model.get("title"));
    }
  }

  function mark() {
    const [rows, columns] = model.get("grid");
    svg.setAttribute("viewBox", `0 0 ${columns} ${rows}`);
    const frag = document.createDocumentFragment();
    for (const m of model.get("marks")) {
      frag.append(rectangle(m, m.kind === "chooser" ? "below-chooser" : "below"), rectangle(m, m.kind));
    }
    svg.replaceChildren(frag);
    frame.querySelectorAll("span").forEach((s) => s.remove());
    for (const m of model.get("marks").filter((m) => m.text)) {
      const tag = document.createElement("span");
      tag.textContent = m.text;
      tag.className = `e2-tag e2-tag-${m.kind}`;
      tag.style.cssText = `left:${(100 * (m.x + m.w)) / columns}%;top:${(100 * m.y) / rows}%`;
      frame.append(tag);
    }
  }

  function go(row, column) {
    const [rows, columns] = model.get("grid");
    const clip = (n, length) => Math.max(0, Math.min(length - 1, n));
    const next = [clip(row, rows), clip(column, columns)];
    if (String(next) === String(model.get("place"))) return;
    model.set("place", next);
    model.save_changes();
  }

  function point(event) {
    const [rows, columns] = model.get("grid");
    const r = image.getBoundingClientRect();
    go(Math.floor(((event.clientY - r.top) / r.height) * rows),
      Math.floor(((event.clientX - r.left) / r.width) * columns));
  }

  frame.addEventListener("pointerdown", (event) => {
    if (!model.get("pointable")) return;
    if (event.pointerType === "touch") return;  // it may begin to scroll the page; a tap comes as a click
    frame.setPointerCapture(event.pointerId);
    down(event);
  });
  frame.addEventListener("click", (event) => {
    if (model.get("pointable") && event.pointerType === "touch") down(event);
  });
  function down(event) {
    frame.focus();
    const before = String(model.get("place"));
    point(event);
    if (before === String(model.get("place"))) model.send({ again: true });  // no change to hear of, yet it is asked for
  }
  frame.addEventListener("pointermove", (event) => {
    if (model.get("pointable") && event.buttons & 1 && event.pointerType !== "touch") point(event);
  });
  frame.addEventListener("keydown", (event) => {
    if (!model.get("pointable") || !KEYS[event.key] || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    event.stopPropagation();
    const [row, column] = model.get("place");
    const [down, right] = KEYS[event.key].map((n) => n * (event.shiftKey ? 10 : 1));
    go(row + down, column + right);
  });

  const heard = { "change:data": show, "change:marks change:grid": mark,
    "change:title change:description change:pointable": describe };
  for (const [names, call] of Object.entries(heard)) model.on(names, call);
  describe();
  show();
  mark();
  return () => {
    for (const [names, call] of Object.entries(heard)) model.off(names, call);
    URL.revokeObjectURL(url);
  };
}

export default { render };
