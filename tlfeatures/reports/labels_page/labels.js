
// ---- choosing images

const filter = document.getElementById("filter");
const byLabel = document.getElementById("by-label"), byName = document.getElementById("by-name");
const byOutlier = document.getElementById("by-outlier");
const plain = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
const items = [...document.querySelectorAll(".gallery > li")].map((item) => ({
  item, label: item.dataset.label, outlier: "outlier" in item.dataset,
  name: plain(item.dataset.name ?? item.querySelector(".copy bdi").textContent),
}));

function choose() {
  const wanted = plain(byName.value.trim());
  let shown = 0;
  for (const { item, label, outlier, name } of items) {
    const matches = (!byLabel.value || label === byLabel.value) && (!byOutlier?.checked || outlier) && name.includes(wanted);
    item.hidden = !matches;
    shown += matches;
  }
  document.getElementById("count").textContent = `${shown.toLocaleString("en")} of ${items.length.toLocaleString("en")} images shown`;
  document.getElementById("nothing").hidden = shown > 0;
}

for (const control of [byLabel, byName, byOutlier]) control?.addEventListener("input", choose);
filter.hidden = items.length === 0;
choose();
