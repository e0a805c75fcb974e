// Table of the training history: losses, learning rate and early stopping's decision for each epoch, newest first.

import { download } from "../lib/api.js";
import { button, h, table } from "../lib/dom.js";
import { duration, number } from "../lib/format.js";

const PAGE_ROWS = 100;

export function trainingHistory(job) {
  let limit = PAGE_ROWS;
  let rows = [];
  const list = table("Training history", [
    { title: "Epoch", number: true, cell: (row) => number(row.epoch) },
    { title: "Training loss", number: true, cell: (row) => number(row.train_loss) },
    { title: "Validation loss", number: true, cell: (row) => number(row.val_loss) },
    { title: "Learning rate", number: true, cell: (row) => number(row.lr) },
    { title: "Wait", number: true, cell: (row) => number(row.wait) },
    { title: "Decision", cell: (row) => (row.is_best ? h("strong", {}, row.reason) : row.reason) },
    { title: "Time", number: true, cell: (row) => (row.seconds < 1 ? `${number(row.seconds * 1000)} ms` : duration(row.seconds)) },
  ], (row) => row.epoch, "No epoch has finished yet.");
  const more = button("Show more", () => { limit += 10 * PAGE_ROWS; draw(); });
  const csv = button("Download CSV", () => download(`/v1/jobs/${job.id}/history`, "text/csv"));

  function draw() {
    list.update(rows.slice(-limit).reverse());
    more.hidden = rows.length <= limit;
  }

  return {
    element: h("div", {}, h("div", { class: "controls" }, csv), list.element, more),
    update(epochs) { rows = epochs; draw(); },
  };
}
