// SPDX-License-Identifier: Apache-2.0
// Asks for the page again and puts the new part in the old one's place. What the server
// sent is parsed as a document of its own, in which no script runs.
"use strict";

const SECONDS = 2;
const PATIENCE_SECONDS = 10;
const state = document.getElementById("state");

function scrolled(element) {
  return [...element.querySelectorAll(".scroll")].map((one) => one.scrollLeft);
}

async function refresh() {
  if (!document.hidden && !window.getSelection().toString()) {
    try {
      const answer = await fetch(window.location.pathname, {
        cache: "no-store",
        signal: AbortSignal.timeout(PATIENCE_SECONDS * 1000),
      });
      if (!answer.ok) throw new Error(`status ${answer.status}`);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const old = document.querySelector("main");
      const fresh = document.importNode(page.querySelector("main"), true);
      const places = scrolled(old);
      old.replaceWith(fresh);
      fresh.querySelectorAll(".scroll").forEach((one, i) => { one.scrollLeft = places[i] || 0; });
      state.textContent = "live";
      state.className = "dim";
    } catch (error) {
      state.textContent = `no answer: ${error.message}`;
      state.className = "stale";
    }
  }
  window.setTimeout(refresh, SECONDS * 1000);
}

window.setTimeout(refresh, SECONDS * 1000);
