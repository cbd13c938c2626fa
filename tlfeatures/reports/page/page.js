const read = (id) => JSON.parse(document.getElementById(id).textContent);
const album = read("album"), points = read("points"), colors = read("colors");

// ---- tables

function valueOf(row, column) {
  const cell = row.children[column];
  const text = cell.dataset.value ?? cell.textContent.trim();
  const number = Number(text);
  return text === "" ? null : Number.isNaN(number) ? text : number;
}

function compare(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b), undefined, { numeric: true });
}

for (const button of document.querySelectorAll("button.sort")) {
  button.addEventListener("click", () => {
    const header = button.closest("th"), table = header.closest("table"), body = table.tBodies[0];
    const column = [...header.parentNode.children].indexOf(header);
    const texts = [...body.rows].some((row) => typeof valueOf(row, column) === "string");
    const sign = { none: texts ? 1 : -1, ascending: -1, descending: 1 }[header.getAttribute("aria-sort")];
    const rows = [...body.rows].sort((a, b) => {
      const x = valueOf(a, column), y = valueOf(b, column);
      if (x === null || y === null) return (x === null) - (y === null);  // what is missing goes last
      return sign * compare(x, y);
    });
    for (const other of table.querySelectorAll("thead th[aria-sort]")) other.setAttribute("aria-sort", "none");
    header.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
    body.append(...rows);
    say(`sorted by ${button.textContent}, ${sign > 0 ? "ascending" : "descending"}`);
  });
}

// ---- images

function picture(place) {
  const source = album.pictures[place];
  if (!source) return element("span", "no picture", "nopicture");
  const image = element("img");
  image.src = source;
  image.alt = `an image of ${album.classes[album.label[place]]}`;
  return image;
}

function describe(place) {
  const label = album.classes[album.label[place]];
  if (album.predicted[place] < 0) return [`${label}, not tested`, ""];
  const predicted = album.classes[album.predicted[place]];
  const odds = (name, p) => (p === null ? "" : `${name} ${p.toFixed(2)}`);
  if (label === predicted) return [`${label}, correct`, odds(predicted, album.confidence[place])];
  const both = [odds(predicted, album.confidence[place]), odds(label, album.given[place])];
  return [`${label}, predicted as ${predicted}`, both.filter(Boolean).join(", ")];
}

function shot(place) {
  const item = element("li"), [what, odds] = describe(place);
  const button = element("button", album.ids[place], "copy");
  button.type = "button";
  button.dataset.copy = album.ids[place];
  button.title = "Copy the id";
  item.append(picture(place), element("span", what, "what"), element("span", odds, "odds"), button);
  return item;
}

// ---- confusion matrix

const PAGE = 48;
const panel = document.getElementById("cell-images");
const more = panel.querySelector(".more");
let waiting = [];

function showMore() {
  const list = panel.querySelector("ul");
  const next = waiting.splice(0, PAGE).map(shot);
  list.append(...next);
  more.hidden = waiting.length === 0;
  return next;
}

function showCell(button) {
  if (button.getAttribute("aria-pressed") === "true") {  // the second time closes it
    button.setAttribute("aria-pressed", "false");
    panel.hidden = true;
    return;
  }
  const row = Number(button.dataset.row), column = Number(button.dataset.column);
  const count = Number(button.closest("td").dataset.value);
  const places = album.ids.map((_, place) => place)
    .filter((place) => album.label[place] === row && album.predicted[place] === column)
    .sort((a, b) => (album.confidence[b] ?? 0) - (album.confidence[a] ?? 0));
  for (const other of document.querySelectorAll("button.cell")) {
    other.setAttribute("aria-pressed", String(other === button));
  }
  const of = places.length < count ? `${places.length} of ${count}` : `${count}`;
  const title = panel.querySelector("h3");
  title.textContent = `${of} ${count === 1 ? "image" : "images"} of ${album.classes[row]}, predicted as ${album.classes[column]}` +
    (album.confidence.some((p) => p !== null) && places.length > 1 ? ", the most confident first" : "");
  panel.querySelector("ul").replaceChildren();
  waiting = places;
  panel.hidden = false;
  showMore();
  title.focus({ preventScroll: true });
  title.scrollIntoView({ block: "nearest" });
}

for (const button of document.querySelectorAll("button.cell")) {
  button.addEventListener("click", () => showCell(button));
}
more.addEventListener("click", () => {
  const first = showMore()[0];
  first?.querySelector("button").focus();
});

// ---- map

const box = document.getElementById("map-box");
if (box) {
  const svg = box.querySelector("svg"), card = document.getElementById("map-card");
  const ring = document.createElementNS("http://www.w3.org/2000/svg", "circle");
  ring.setAttribute("class", "here");
  ring.setAttribute("r", "6");
  let all = null, current = null;

  function center(mark) {
    if (mark.hasAttribute("x")) return [Number(mark.getAttribute("x")), Number(mark.getAttribute("y"))];
    const bounds = mark.getBBox();
    return [bounds.x + bounds.width / 2, bounds.y + bounds.height / 2];
  }

  function marks() {
    if (all) return all;
    all = [];
    for (const [name, places] of Object.entries(points)) {
      const group = svg.querySelector(`#${name}`);
      if (!group) continue;
      const drawn = [...group.querySelectorAll("use, path")].filter((mark) => !mark.closest("defs"));
      drawn.forEach((mark, number) => {
        const [x, y] = center(mark);
        all.push({ x, y, place: places[number] });
      });
    }
    return all;
  }

  function show(mark) {
    current = mark;
    ring.setAttribute("cx", mark.x);
    ring.setAttribute("cy", mark.y);
    svg.append(ring);
    const [what, odds] = describe(mark.place);
    const lines = [picture(mark.place), element("b", album.ids[mark.place]), element("div", what), element("div", odds, "odds")];
    card.replaceChildren(...lines);
    card.hidden = false;
    const at = new DOMPoint(mark.x, mark.y).matrixTransform(svg.getScreenCTM()), frame = box.getBoundingClientRect();
    const left = at.x - frame.left, top = at.y - frame.top;
    const beside = left + 16 + card.offsetWidth > frame.width ? left - 16 - card.offsetWidth : left + 16;
    card.style.left = `${Math.max(0, Math.min(beside, frame.width - card.offsetWidth))}px`;
    card.style.top = `${Math.max(0, Math.min(top - card.offsetHeight / 2, frame.height - card.offsetHeight))}px`;
  }

  function hide() {
    card.hidden = true;
    ring.remove();
  }

  box.querySelector(".svg").addEventListener("pointermove", (event) => {
    const matrix = svg.getScreenCTM();
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix.inverse());
    let best = null, least = (14 / matrix.a) ** 2;
    for (const mark of marks()) {
      const distance = (mark.x - at.x) ** 2 + (mark.y - at.y) ** 2;
      if (distance < least) [best, least] = [mark, distance];
    }
    if (best) show(best);
    else if (document.activeElement !== box) hide();
  });
  box.querySelector(".svg").addEventListener("pointerdown", (event) => event.currentTarget.dispatchEvent(new PointerEvent("pointermove", event)));
  box.addEventListener("pointerleave", (event) => {  // a lifted finger leaves, too, and wants to look
    if (event.pointerType === "mouse" && document.activeElement !== box) hide();
  });
  box.addEventListener("blur", hide);
  box.addEventListener("focus", () => { if (marks().length && box.matches(":focus-visible")) show(current ?? marks()[0]); });

  const ARROWS = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] };
  box.addEventListener("keydown", (event) => {
    if (event.target !== box) return;
    if (event.key === "Enter" && current) {
      copy(album.ids[current.place]);
      card.append(element("div", "id copied", "odds"));
    }
    if (event.key === "Escape") hide();
    const way = ARROWS[event.key];
    if (!way || !marks().length) return;
    event.preventDefault();
    const from = current ?? marks()[0];
    let best = null, least = Infinity;
    for (const mark of marks()) {
      const dx = mark.x - from.x, dy = mark.y - from.y;
      const along = dx * way[0] + dy * way[1], across = Math.abs(dx * way[1]) + Math.abs(dy * way[0]);
      const cost = along + 2 * across;
      if (mark !== from && along > 0 && cost < least) [best, least] = [mark, cost];
    }
    if (best) show(best);
  });
}

// ---- saving figures

function standalone(figure) {
  const svg = figure.querySelector("svg").cloneNode(true);
  svg.querySelectorAll(".here").forEach((ring) => ring.remove());
  const [, , width, height] = svg.getAttribute("viewBox").split(" ");
  svg.setAttribute("width", width);
  svg.setAttribute("height", height);
  for (const each of [svg, ...svg.querySelectorAll("[style]")]) {
    const plain = each.getAttribute("style").replace(/var\(--(\w+)\)/g, (all, name) => colors[name] ?? all);
    each.setAttribute("style", plain);
  }
  const text = new XMLSerializer().serializeToString(svg);
  return { text, width: Number(width), height: Number(height) };
}

function download(url, name) {
  const link = element("a");
  link.href = url;
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
}

for (const button of document.querySelectorAll("button[data-save]")) {
  button.addEventListener("click", () => {
    const figure = button.closest("figure"), name = figure.id.replace("fig-", "");
    const { text, width, height } = standalone(figure);
    const source = "data:image/svg+xml;charset=utf-8," + encodeURIComponent(text);
    if (button.dataset.save === "svg") { download(source, `${name}.svg`); return; }
    const image = new Image(), canvas = element("canvas"), scale = 3;
    image.onload = () => {
      canvas.width = width * scale;
      canvas.height = height * scale;
      const context = canvas.getContext("2d");
      context.fillStyle = colors.paper;
      context.fillRect(0, 0, canvas.width, canvas.height);
      context.drawImage(image, 0, 0, canvas.width, canvas.height);
      download(canvas.toDataURL("image/png"), `${name}.png`);
    };
    image.src = source;
  });
}
