// Asks for the page again every few seconds and puts the new content in place of the old; what is unfolded stays so.
"use strict";

const period = Number(document.body.dataset.refreshS) * 1000;
const lost = document.getElementById("lost");
let lostSince = null;

function unfolded() {
  return [...document.querySelectorAll("#live details[open]")].map((each) => each.id);
}

function replace(content) {
  const open = unfolded();
  const focused = document.activeElement?.getAttribute("href") ?? null;
  document.getElementById("live").replaceWith(document.importNode(content, true));
  for (const id of open) document.getElementById(id)?.setAttribute("open", "");
  if (focused) document.querySelector(`#live a[href="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
}

function setLost(isLost) {
  if (isLost && lostSince === null) {
    lostSince = new Date().toLocaleTimeString(document.documentElement.lang);
    lost.textContent = lost.dataset.text.replace("{time}", lostSince);
  }
  if (!isLost) lostSince = null;
  lost.hidden = !isLost;
  document.body.classList.toggle("is-old", isLost);
}

async function refresh() {
  try {
    const answer = await fetch(window.location.href, { cache: "no-store", signal: AbortSignal.timeout(2 * period) });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const content = page.getElementById("live");
    if (!answer.ok || content === null) throw new Error(`HTTP ${answer.status}`);
    replace(content);
    setLost(false);
  } catch {
    setLost(true);
  }
}

async function keepRefreshing() {
  for (;;) {
    await new Promise((resume) => setTimeout(resume, period));
    if (document.visibilityState === "visible" && window.getSelection()?.isCollapsed !== false) await refresh();
  }
}

document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible") refresh();
});
keepRefreshing();
