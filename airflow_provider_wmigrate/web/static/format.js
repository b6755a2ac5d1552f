// Values as a person reads them. Pure, no document.

const DASH = "–";

/** 840 -> "840 ms", 12300 -> "12.3 s", 125000 -> "2 min 5 s". */
export function duration(milliseconds) {
  if (milliseconds === null || milliseconds === undefined) return DASH;
  if (milliseconds < 1000) return `${Math.round(milliseconds)} ms`;
  const seconds = milliseconds / 1000;
  if (seconds < 60) return `${seconds < 10 ? seconds.toFixed(2) : seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

/** A moment in the reader's time zone, to the second. */
export function moment(iso) {
  const date = parse(iso);
  if (!date) return DASH;
  const pad = (n) => String(n).padStart(2, "0");
  const day = `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())}`;
  return `${day} ${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}`;
}

const LONG_AGO = 14 * 86_400;
const UNITS = [["second", 60], ["minute", 60], ["hour", 24], ["day", 30], ["month", 12], ["year", Infinity]];
const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });

/** "3 minutes ago"; the day, when it was long ago. */
export function ago(iso, now = Date.now()) {
  const date = parse(iso);
  if (!date) return DASH;
  const seconds = (date.getTime() - now) / 1000;
  return Math.abs(seconds) < LONG_AGO ? since(seconds) : moment(iso).slice(0, 10);
}

/** "3 minutes ago" for -180 seconds. */
export function since(seconds) {
  if (Math.abs(seconds) < 5) return "just now";
  let amount = seconds;
  for (const [unit, size] of UNITS) {
    if (Math.abs(amount) < size) return relative.format(Math.trunc(amount), unit);
    amount /= size;
  }
  return DASH;
}

function parse(iso) {
  if (!iso) return null;
  const date = new Date(iso);
  return Number.isNaN(date.getTime()) ? null : date;
}

/** 1 -> "1 migration", 2 -> "2 migrations". */
export function count(number, word, plural = `${word}s`) {
  return `${number.toLocaleString("en")} ${number === 1 ? word : plural}`;
}

/** Where a database is: host:port/database, as far as that is known. */
export function address({ host, port, database }) {
  const at = [host ?? "", port && !host?.startsWith("/") ? `:${port}` : ""].join("");
  return [at, database].filter(Boolean).join(" / ");
}

/** Names in code as words: rolled_back -> "rolled back". */
export function words(name) {
  return String(name ?? "").replaceAll("_", " ");
}

/** What a state looks like: one of the tones of theme.css. */
export function tone(state) {
  return TONES[String(state ?? "").toLowerCase()] ?? "unknown";
}

const TONES = {
  applied: "applied", success: "applied", healthy: "applied", healed: "applied", approved: "applied",
  pending: "pending", queued: "pending", scheduled: "pending", apply: "pending",
  changed: "changed", degraded: "changed", warning: "changed", rollback: "changed", rolled_back: "changed", repaired: "changed", baselined: "changed", adopted: "changed",
  up_for_retry: "changed", up_for_reschedule: "pending", outside_window: "changed", upstream_failed: "changed", alerted: "changed",
  left_out: "unknown", forgotten: "missing", not_tried: "changed", awaiting_input: "changed", rejected: "changed",
  missing: "missing", dry_run: "missing", deferred: "missing",
  incomplete: "failed", failed: "failed", unhealthy: "failed", error: "failed", rollback_failed: "failed", refused: "failed",
  alert_failed: "failed",
  running: "running", restarting: "running", started: "running",
};
