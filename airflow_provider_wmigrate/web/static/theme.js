// Light or dark: as Airflow's page around this one says, else as the system prefers.

const system = matchMedia("(prefers-color-scheme: dark)");

/** Follow the theme for as long as the page lives. */
export function followTheme() {
  const outer = airflowRoot();
  const apply = () => {
    document.documentElement.dataset.theme = themeOf(outer) ?? (system.matches ? "dark" : "light");
  };
  apply();
  system.addEventListener("change", apply);
  if (outer) new MutationObserver(apply).observe(outer, { attributes: true, attributeFilter: ["class", "style"] });
}

function themeOf(root) {
  if (!root) return null;
  if (root.classList.contains("dark")) return "dark";
  return root.classList.contains("light") ? "light" : null;
}

/** The document element of the page this frame stands in; null when it stands alone or in a foreign page. */
function airflowRoot() {
  try {
    return window.parent === window ? null : window.parent.document.documentElement;
  } catch {
    return null;
  }
}
