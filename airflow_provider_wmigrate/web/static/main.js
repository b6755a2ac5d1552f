// The beginning: theme, then the view of wherever the address says the reader is.

import { append, h } from "./dom.js";
import { groupPage } from "./group.js";
import { leaveOverview, showOverview } from "./overview.js";
import { problemBox } from "./parts.js";
import { onRoute, routeTo } from "./router.js";
import { followTheme } from "./theme.js";

const main = document.getElementById("content");
const asked = new URLSearchParams(location.search);
let page = null;
let moved = false;

followTheme();
addEventListener("unhandledrejection", (event) => {
  if (event.reason?.name !== "AbortError") append(main, problemBox(event.reason));
});
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});

// A tab on a DAG's page and the links of its tasks name the place in the query; from there on it is in the hash.
if (!location.hash && asked.get("dag") && asked.get("group")) {
  const place = { dag: asked.get("dag"), group: asked.get("group"), version: asked.get("version") };
  history.replaceState(null, "", routeTo(place));
}

onRoute((route) => {
  main.setAttribute("aria-busy", "true");
  if (moved && !page?.isOf(route)) main.focus({ preventScroll: true });
  moved = true;
  leaveOverview();
  if (route.dag && route.group) {
    if (!page?.isOf(route)) {
      page?.leave();
      page = groupPage(main, route);
    }
    page.show(route);
    return;
  }
  page?.leave();
  page = null;
  document.title = "Migrations";
  showOverview(main, route.all ? null : (route.dag ?? asked.get("dag")));
});

// Shown when nothing else is: the first paint is never empty.
if (!main.firstChild) main.append(h("h1", {}, "Migrations"));
