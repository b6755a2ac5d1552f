// Numbers over time: how long each migration took, what succeeded and failed, what was rolled back.

import { h, replace } from "./dom.js";
import { barChart, chart } from "./charts.js";
import { count, duration, words } from "./format.js";
import { empty, loading, sourceBanner } from "./parts.js";
import { routeTo } from "./router.js";

const SPANS = [30, 90, 365];

/** The tab "charts". */
export async function showCharts(panel, { route, place, status, ask, refresh }) {
  const days = SPANS.find((span) => String(span) === route.query.get("days")) ?? 90;
  replace(panel, loading(3));
  const answer = await ask("metrics", { days });
  const spans = h("div", { class: "row chips", role: "group", "aria-label": "Time span" }, SPANS.map((span) =>
    h("a", { class: "button small filter", "aria-current": span === days ? "true" : null, href: routeTo({ ...place, tab: "charts" }, { days: span === 90 ? "" : span }) }, `${span} days`)));
  replace(panel, h("div", { class: "stack" }, answer.source.kind !== status.source.kind && sourceBanner(answer.source, refresh), spans,
    h("div", { class: "charts" }, perDay(answer, days), rollbacks(answer, days), durations(answer, place))));
}

function durations({ durations: items }, place) {
  if (!items.length) return h("div", { class: "card" }, empty("chart", "No migration has been applied yet"));
  const slowest = items.reduce((a, b) => (b.duration_ms > a.duration_ms ? b : a));
  const sum = items.reduce((total, one) => total + one.duration_ms, 0);
  const says = `${count(items.length, "migration")} took ${duration(sum)} in all; the slowest was ${slowest.version} ${words(slowest.name)} with ${duration(slowest.duration_ms)}.`;
  return chart({
    title: "Duration of each migration", says, items,
    picture: barChart(items.map((one) => ({ label: one.version, values: [one.duration_ms] })), {
      tones: ["pending"], says, axis: short,
      tell: (index) => `${items[index].version} ${words(items[index].name)}: ${duration(items[index].duration_ms)}`,
      onPick: (index) => { location.hash = routeTo({ ...place, tab: "migrations", version: items[index].version }); },
    }),
    columns: [{ title: "Version", cell: (one) => h("span", { class: "mono" }, one.version) }, { title: "Name", cell: (one) => words(one.name) }, { title: "Took", number: true, cell: (one) => duration(one.duration_ms) }],
  });
}

function perDay({ days, totals }, span) {
  const says = `In ${span} days: ${totals.applied.toLocaleString("en")} applied, ${totals.failed.toLocaleString("en")} failed, ${totals.dry_run.toLocaleString("en")} tried in a dry run.`;
  return overTime({ title: "Success and failure", says, days, span, series: [["applied", "applied"], ["failed", "failed"], ["dry_run", "missing"]] });
}

function rollbacks({ days, totals }, span) {
  const says = `In ${span} days: ${totals.rolled_back.toLocaleString("en")} rolled back, ${count(totals.rollback_failed, "rollback")} failed.`;
  return overTime({ title: "Rollbacks", says, days, span, series: [["rolled_back", "changed"], ["rollback_failed", "failed"]] });
}

function overTime({ title, says, days, span, series }) {
  const size = span > 90 ? 7 : 1;
  const bins = Array.from({ length: Math.ceil(days.length / size) }, (_, index) => days.slice(index * size, (index + 1) * size));
  const values = (bin) => series.map(([name]) => bin.reduce((sum, day) => sum + day[name], 0));
  const happened = days.filter((day) => series.some(([name]) => day[name] > 0)).reverse();
  return chart({
    title, says, items: happened,
    legend: series.map(([name, tone]) => ({ tone, word: words(name) })),
    picture: barChart(bins.map((bin) => ({ label: bin[0].day.slice(5), values: values(bin) })), {
      tones: series.map(([, tone]) => tone), says, axis: (value) => String(value),
      tell: (index) => {
        const numbers = values(bins[index]).map((number, at) => `${number} ${words(series[at][0])}`).join(", ");
        return `${size > 1 ? "week of " : ""}${bins[index][0].day}: ${numbers}`;
      },
    }),
    columns: [{ title: "Day (UTC)", cell: (day) => day.day }, ...series.map(([name]) => ({ title: words(name), number: true, cell: (day) => day[name] }))],
  });
}

/** 1500 -> "1.5 s": an axis has little room. */
function short(milliseconds) {
  if (milliseconds < 1000) return `${milliseconds} ms`;
  if (milliseconds < 120_000) return `${milliseconds / 1000} s`;
  return `${Math.round(milliseconds / 6000) / 10} min`;
}
