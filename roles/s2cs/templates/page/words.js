// GPL-3.0-or-later, contributors to the scistream.gateway project.
"use strict";
// Formatting of numbers and times.
function scaled(value, base, units) {
  let index = 0;
  while (index < units.length - 1 && value >= base - 0.5) { value /= base; index += 1; }
  return [value.toFixed(!index || value >= 99.95 ? 0 : 1), units[index]];
}
const size = (count) => count == null ? "–" : scaled(count, 1024, ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"]).join(" ");
const rateParts = (bytes) => bytes == null ? ["–", ""]
  : scaled(bytes * 8, 1000, ["", "k", "M", "G", "T", "P", "E"].map((unit) => `${unit}bit/s`));
const rate = (bytes) => rateParts(bytes).join(" ").trim();
const count = (number) => number == null ? "?" : Number(number).toLocaleString("en");
function duration(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const days = Math.floor(whole / 86400), hours = Math.floor(whole / 3600) % 24, minutes = Math.floor(whole / 60) % 60;
  if (days) return `${days}d ${hours}h`;
  if (hours) return `${hours}h ${minutes}m`;
  return minutes ? `${minutes}m ${whole % 60}s` : `${whole}s`;
}
const clock = (seconds, precise) => new Date(seconds * 1000).toLocaleTimeString([], {
  hour: "2-digit", minute: "2-digit", second: precise ? "2-digit" : undefined, hourCycle: "h23",
});
const plural = (number, thing) => `${count(number)} ${thing}${number === 1 ? "" : "s"}`;
const some = (items) => items.length > 1 ? `${items[0]} +${items.length - 1}` : items[0] || "";
