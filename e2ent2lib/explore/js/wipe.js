// Two pictures of one size: a line to wipe with, side by side, or their difference; one zoom and one place for all.

const ZOOMS = [1, 2, 3, 4, 6, 8];

function render({ model, el }) {
  el.classList.add("e2");
  el.innerHTML = `<div class="e2-bar"><label>wipe <input type="range" min="0" max="1" step="0.01"
      aria-label="where the line between the two pictures is"></label>
    <button class="out" aria-label="zoom out">−</button><span class="zoom" aria-live="polite"></span><button class="in"
      aria-label="zoom in">+</button><button class="whole">whole picture</button></div><div class="stage"></div>
    <div class="e2-note">Drag the line to wipe; at a zoom drag the picture, or use the arrow keys on it; + and − zoom.</div>`;
  const [range, out, zoomed, into, whole, stage] =
    ["input", ".out", ".zoom", ".in", ".whole", ".stage"].map((s) => el.querySelector(s));
  const urls = {};
  let zoom = 1, centre = null, views = [];

  const url = (name) => {
    if (urls[name]) URL.revokeObjectURL(urls[name]);
    return (urls[name] = URL.createObjectURL(new Blob([model.get(name)])));
  };

  function layer(name, label, right) {
    const view = document.createElement("div");
    view.className = "e2-view";
    view.tabIndex = 0;
    view.setAttribute("role", "application");
    view.setAttribute("aria-roledescription", "picture, arrow keys move it");
    view.setAttribute("aria-label", label);
    view.innerHTML = `<img draggable="false" data-of="${name}"><span class="e2-label" style="${right ? "right" : "left"}:6px"></span>`;
    view.querySelector("img").src = url(name);
    view.querySelector("img").alt = label;
    view.querySelector("span").textContent = label;
    listen(view);
    return view;
  }

  function build() {
    const [left, right] = model.get("names"), mode = model.get("mode");
    stage.className = mode === "side by side" ? "stage e2-side" : "stage";
    range.disabled = mode !== "wipe";
    if (mode === "difference") views = [layer("difference", `|${left} − ${right}| × 4`)];
    else if (mode === "side by side") views = [layer("left", left), layer("right", right)];
    else {
      const view = layer("right", `${left} | ${right}`);
      view.querySelector("span").remove();
      view.insertAdjacentHTML("beforeend", `<div class="top" style="position:absolute;inset:0;pointer-events:none"><img
        draggable="false" data-of="left" alt=""></div><span class="e2-label" style="left:6px"></span><span class="e2-label"
        style="right:6px"></span><div class="e2-line"></div>`);
      view.querySelector(".top img").src = url("left");
      view.querySelectorAll("span").forEach((s, i) => (s.textContent = model.get("names")[i]));
      const line = view.querySelector(".e2-line");
      line.addEventListener("pointerdown", (e) => { e.stopPropagation(); line.setPointerCapture(e.pointerId); });
      line.addEventListener("pointermove", (e) => e.buttons & 1 && wipe(e, view));
      views = [view];
    }
    stage.replaceChildren(...views);
    place();
  }

  function wipe(event, view) {
    const r = view.getBoundingClientRect();
    model.set("share", Math.max(0, Math.min(1, (event.clientX - r.left) / r.width)));
    model.save_changes();
  }

  // all views show the same box of the picture; it is told to Python, which measures it
  function place() {
    const [width, height] = model.get("size");
    centre = centre || [width / 2, height / 2];
    const seen = [width / zoom, height / zoom];
    centre = centre.map((c, i) => Math.max(seen[i] / 2, Math.min([width, height][i] - seen[i] / 2, c)));
    const corner = centre.map((c, i) => c - seen[i] / 2);
    for (const view of views) {
      view.style.touchAction = zoom > 1 ? "none" : "pan-y";  // a zoomed picture moves in place of the page
      view.style.aspectRatio = `${width} / ${height}`;
      const scale = (view.clientWidth || 1) * zoom / width;
      for (const image of view.querySelectorAll("img"))
        image.style.transform = `translate(${-corner[0] * scale}px, ${-corner[1] * scale}px) scale(${scale})`;
      const share = model.get("share"), top = view.querySelector(".top"), line = view.querySelector(".e2-line");
      if (top) top.style.clipPath = `inset(0 ${100 * (1 - share)}% 0 0)`;
      if (line) line.style.left = `${100 * share}%`;
    }
    range.value = model.get("share");
    zoomed.textContent = `× ${zoom}`;
    out.disabled = zoom === ZOOMS[0];
    into.disabled = zoom === ZOOMS.at(-1);
    const box = [...corner, ...seen].map(Math.round);
    if (String(box) !== String(model.get("box"))) {
      model.set("box", box);
      model.save_changes();
    }
  }

  function setZoom(step) {
    zoom = ZOOMS[Math.max(0, Math.min(ZOOMS.length - 1, ZOOMS.indexOf(zoom) + step))];
    place();
  }

  function listen(view) {
    let last = null;
    view.addEventListener("pointerdown", (event) => {
      view.focus();
      if (zoom === 1 && model.get("mode") === "wipe") wipe(event, view);
      last = [event.clientX, event.clientY];
      view.setPointerCapture(event.pointerId);
    });
    view.addEventListener("pointermove", (event) => {
      if (!last || !(event.buttons & 1)) return;
      if (zoom === 1) return model.get("mode") === "wipe" && wipe(event, view);
      const scale = view.clientWidth * zoom / model.get("size")[0];
      centre = centre.map((c, i) => c - ([event.clientX, event.clientY][i] - last[i]) / scale);
      last = [event.clientX, event.clientY];
      place();
    });
    view.addEventListener("pointerup", () => (last = null));
    view.addEventListener("keydown", (event) => {
      if (event.altKey || event.ctrlKey || event.metaKey) return;  // the browser's own
      const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
      if (event.key === "+" || event.key === "=") setZoom(1);
      else if (event.key === "-") setZoom(-1);
      else if (steps[event.key] && zoom > 1) {
        centre = centre.map((c, i) => c + (steps[event.key][i] * model.get("size")[i]) / zoom / 10);
        place();
      } else if (steps[event.key] && steps[event.key][0] && model.get("mode") === "wipe") {
        model.set("share", Math.max(0, Math.min(1, model.get("share") + 0.02 * steps[event.key][0])));
        model.save_changes();
      } else return;
      event.preventDefault();
      event.stopPropagation();
    });
  }

  range.addEventListener("input", () => { model.set("share", Number(range.value)); model.save_changes(); });
  range.addEventListener("keydown", (event) => event.stopPropagation());
  out.addEventListener("click", () => setZoom(-1));
  into.addEventListener("click", () => setZoom(1));
  whole.addEventListener("click", () => { zoom = 1; place(); });

  function changed(name) {
    for (const image of stage.querySelectorAll(`img[data-of="${name}"]`)) image.src = url(name);
  }
  function focusOnBox() {  // Python may set the box too
    const [x, y, w, h] = model.get("box"), [width, height] = model.get("size");
    const wished = ZOOMS.reduce((a, b) => (Math.abs(b - width / w) < Math.abs(a - width / w) ? b : a));
    const seen = [width / zoom, height / zoom];
    const here = [...centre.map((c, i) => c - seen[i] / 2), ...seen].map(Math.round);
    if (String(here) === String([x, y, w, h])) return;
    zoom = wished;
    centre = [x + w / 2, y + h / 2];
    place();
  }
  const heard = { "change:left": () => changed("left"), "change:right": () => changed("right"),
    "change:difference": () => changed("difference"), "change:names change:mode": build, "change:share": place,
    "change:size": () => { centre = null; zoom = 1; build(); }, "change:box": focusOnBox };
  for (const [names, call] of Object.entries(heard)) model.on(names, call);
  const [x, y, w, h] = model.get("box");
  if (w > 1) {
    zoom = ZOOMS.reduce((a, b) => (Math.abs(b - model.get("size")[0] / w) < Math.abs(a - model.get("size")[0] / w) ? b : a));
    centre = [x + w / 2, y + h / 2];
  }
  build();
  const watcher = new ResizeObserver(place);
  watcher.observe(stage);
  return () => {
    watcher.disconnect();
    for (const [names, call] of Object.entries(heard)) model.off(names, call);
    Object.values(urls).forEach((u) => URL.revokeObjectURL(u));
  };
}

export default { render };
