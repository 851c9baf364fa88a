// The triangle of all (α1, α2, α3) that sum to 1: drag, click, or arrow keys; pinned points can be clicked.

const CORNERS = [[40, 290], [320, 290], [180, 290 - 280 * Math.sqrt(0.75)]];
const STEP = 0.05;
// left and right give from α1 to α2 or back, up and down from both to α3 or back
const KEYS = { ArrowLeft: [1, -1, 0], ArrowRight: [-1, 1, 0], ArrowUp: [-0.5, -0.5, 1], ArrowDown: [0.5, 0.5, -1] };

function place(alphas) {
  const sum = alphas.reduce((a, b) => a + b, 0) || 1;
  return [0, 1].map((axis) => CORNERS.reduce((total, corner, i) => total + (corner[axis] * alphas[i]) / sum, 0));
}

function normal(alphas) {
  const kept = alphas.map((a) => Math.max(0, a));
  const sum = kept.reduce((a, b) => a + b, 0) || 1;
  return kept.map((a) => a / sum);
}

function alphasAt(x, y) {
  const [[x0, y0], [x1, y1], [x2, y2]] = CORNERS;
  const det = (y1 - y2) * (x0 - x2) + (x2 - x1) * (y0 - y2);
  const a = ((y1 - y2) * (x - x2) + (x2 - x1) * (y - y2)) / det;
  const b = ((y2 - y0) * (x - x2) + (x0 - x2) * (y - y2)) / det;
  return normal([a, b, 1 - a - b]);
}

function render({ model, el }) {
  el.classList.add("e2", "e2-triangle");
  const corners = CORNERS.map((c) => c.join()).join(" ");
  const lines = [0.25, 0.5, 0.75].flatMap((f) => [0, 1, 2].map((i) => {
    const ends = [1, 2].map((k) => { const a = [0, 0, 0]; a[i] = f; a[(i + k) % 3] = 1 - f; return place(a); });
    return `<line x1="${ends[0][0]}" y1="${ends[0][1]}" x2="${ends[1][0]}" y2="${ends[1][1]}" stroke="#999" stroke-width=".7"/>`;
  }));
  el.innerHTML = `<svg viewBox="0 0 360 330" tabindex="0" role="application" aria-roledescription="triangle, arrow keys move">
    <polygon points="${corners}" fill="#0072B218" stroke="#555" stroke-width="1.5"/>${lines.join("")}
    <text x="6" y="314">α1 = 1 (I_in)</text><text x="354" y="314" text-anchor="end">α2 = 1 (I_ref↓)</text>
    <text x="180" y="20" text-anchor="middle">α3 = 1 (I_ref)</text>
    <g class="pins"></g><circle class="knob" r="9" fill="#D55E00" stroke="#fff" stroke-width="2.5"/></svg>`;
  const [svg, pins, knob] = ["svg", ".pins", ".knob"].map((s) => el.querySelector(s));

  function show() {
    const alphas = model.get("alphas");
    const [x, y] = place(alphas);
    knob.setAttribute("cx", x);
    knob.setAttribute("cy", y);
    svg.setAttribute("aria-label", `α = (${alphas.map((a) => a.toFixed(2)).join(", ")})`);
  }

  function pin() {
    pins.innerHTML = model.get("pins").map((p) => {
      const [x, y] = place(p.alphas);
      const right = x < 250;
      return `<circle cx="${x}" cy="${y}" r="5" fill="#0072B2" stroke="#fff" stroke-width="1.5"/>
        <text x="${x + (right ? 9 : -9)}" y="${y - 8}" text-anchor="${right ? "start" : "end"}"
        style="font-weight:600;fill:#0072B2;stroke:#fff;stroke-width:3px;paint-order:stroke">${p.text}</text>`;
    }).join("");
  }

  function set(alphas) {
    model.set("alphas", alphas.map((a) => Math.round(a * 1000) / 1000));
    model.save_changes();
  }

  function point(event) {
    const r = svg.getBoundingClientRect();
    const [x, y] = [((event.clientX - r.left) / r.width) * 360, ((event.clientY - r.top) / r.height) * 330];
    const near = model.get("pins").find((p) => { const [a, b] = place(p.alphas); return Math.hypot(a - x, b - y) < 8; });
    set(near ? near.alphas : alphasAt(x, y));
  }

  svg.addEventListener("pointerdown", (event) => { svg.setPointerCapture(event.pointerId); svg.focus(); point(event); });
  svg.addEventListener("pointermove", (event) => event.buttons & 1 && point(event));
  svg.addEventListener("keydown", (event) => {
    if (!KEYS[event.key] || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    event.stopPropagation();
    const step = STEP * (event.shiftKey ? 4 : 1);
    set(normal(normal(model.get("alphas")).map((a, i) => a + KEYS[event.key][i] * step)));
  });
  model.on("change:alphas", show);
  model.on("change:pins", pin);
  pin();
  show();
  return () => { model.off("change:alphas", show); model.off("change:pins", pin); };
}

export default { render };
