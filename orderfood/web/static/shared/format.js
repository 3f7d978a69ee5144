/** Money and times, as the shop's language writes them. */

const page = document.documentElement;

const money = new Intl.NumberFormat(page.lang, {
  style: "currency",
  currency: page.dataset.currency,
  minimumFractionDigits: 2,
  maximumFractionDigits: 2,
});

/**
 * English of no country counts to 24, as most of them do; en-US has its a.m. and p.m.
 *
 * @type {Intl.DateTimeFormatOptions}
 */
const clock = {
  hour: "2-digit",
  minute: "2-digit",
  hourCycle: page.lang === "en" ? "h23" : undefined,
};

const time = new Intl.DateTimeFormat(page.lang, clock);

const dayAndTime = new Intl.DateTimeFormat(page.lang, { month: "short", day: "numeric", ...clock });

/** @param {number} amount */
export const formatMoney = (amount) => money.format(amount);

/**
 * The time of day, and the day where it is not today.
 *
 * @param {string | number | Date} moment
 */
export function formatTime(moment) {
  const date = new Date(moment);
  const isToday = date.toDateString() === new Date().toDateString();
  return (isToday ? time : dayAndTime).format(date);
}

/** @param {string[]} words */
export const formatList = (words) => new Intl.ListFormat(page.lang).format(words);
