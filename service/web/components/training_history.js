// What early stopping made of each epoch, the newest first.

import { save } from "../lib/api.js";
import { button, h, table } from "../lib/dom.js";
import { number, seconds } from "../lib/format.js";

const SHOWN = 100;

export function decisions(job) {
  let most = SHOWN;
  let rows = [];
  const list = table("Decisions", [
    { title: "Epoch", number: true, cell: (row) => number(row.epoch) },
    { title: "Training loss", number: true, cell: (row) => number(row.train_loss) },
    { title: "Validation loss", number: true, cell: (row) => number(row.val_loss) },
    { title: "Rate", number: true, cell: (row) => number(row.lr) },
    { title: "Wait", number: true, cell: (row) => number(row.wait) },
    { title: "Decision", cell: (row) => (row.is_best ? h("strong", {}, row.reason) : row.reason) },
    { title: "Took", number: true, cell: (row) => (row.seconds < 1 ? `${number(row.seconds * 1000)} ms` : seconds(row.seconds)) },
  ], (row) => row.epoch, "No epoch has ended yet.");
  const more = button("Show more", () => { most += 10 * SHOWN; draw(); });
  const csv = button("All as CSV", () => save(`/v1/jobs/${job.id}/history`, "text/csv"));

  function draw() {
    list.update(rows.slice(-most).reverse());
    more.hidden = rows.length <= most;
  }

  return {
    element: h("div", {}, h("div", { class: "controls" }, csv), list.element, more),
    update(epochs) { rows = epochs; draw(); },
  };
}
