// What lies where it shouldn't, as texts; both give an empty list where all is well.

const visible = (each) => !each.closest(".scroll, .tlf-scroll, pre, .unseen, .skip, [hidden]");

function cutOff() {
  const wide = (each) => {
    const box = each.getBoundingClientRect();
    if (!box.width) return false;
    const inline = getComputedStyle(each).display === "inline";
    return box.right > innerWidth + 1 || (!inline && each.scrollWidth > each.clientWidth + 1);
  };
  const all = [...document.querySelectorAll("body *:not(svg, svg *)")];
  return all.filter((each) => visible(each) && wide(each)).map((each) => each.outerHTML.slice(0, 80));
}

// Boxes of slanted texts overlap though the texts don't.
const level = (text) => !/rotate\(-?[1-9]/.test(text.getAttribute("transform") ?? "");

function collisionsOf(svg) {
  const frame = svg.getBoundingClientRect(), found = [];
  const texts = [...svg.querySelectorAll("text")].filter((text) => text.textContent.trim());
  const boxes = texts.map((text) => text.getBoundingClientRect());
  boxes.forEach((a, i) => {
    const out = a.left < frame.left - 2 || a.right > frame.right + 2;
    if (out || a.top < frame.top - 2 || a.bottom > frame.bottom + 2) found.push(`cut off: ${texts[i].textContent}`);
    for (let j = i + 1; j < boxes.length; j += 1) {
      const b = boxes[j];
      const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      const near = wide > 1 && high > 0.3 * Math.min(a.height, b.height);
      if (near && level(texts[i]) && level(texts[j])) found.push(`${texts[i].textContent} on ${texts[j].textContent}`);
    }
  });
  return found.map((text) => `${svg.closest("figure").id}: ${text}`);
}

const collisions = () => [...document.querySelectorAll("figure.plot svg")].flatMap(collisionsOf);
