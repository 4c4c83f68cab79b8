// Everything works without this file. It shows times in the reader's zone, and reads what changes again.
"use strict";

function showTimes(root) {
  for (const one of root.querySelectorAll("time[datetime]")) {
    one.title = `${new Date(one.dateTime).toLocaleString()} (${one.title})`;
  }
}

function keepFresh(live) {
  const button = document.createElement("button");
  button.className = "quiet pause";
  let paused = localStorage.getItem("paused") === "yes" || matchMedia("(prefers-reduced-motion: reduce)").matches;
  const label = () => (button.textContent = paused ? "Resume updates" : "Pause updates");
  button.addEventListener("click", () => {
    paused = !paused;
    localStorage.setItem("paused", paused ? "yes" : "no");
    label();
  });
  label();
  live.before(button);
  setInterval(async () => {
    if (paused || document.hidden || live.contains(document.activeElement)) return;
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html", "X-Vtsync-Background": "1" } });
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("[data-live]");
      if (!answer.ok) return;
      if (!fresh) return location.reload(); // what was waited for is done, or the session has ended
      live.replaceChildren(...fresh.childNodes);
      showTimes(live);
    } catch {
      // The server cannot be reached: what is shown stays, and the next round tries again.
    }
  }, 1000 * Number(live.dataset.live || 10));
}

showTimes(document);
for (const live of document.querySelectorAll("[data-live]")) keepFresh(live);
