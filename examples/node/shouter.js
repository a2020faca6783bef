// An agent that answers text.shout, and notes text.note with another agent.
import { Mas } from "./mas.js";

let mas;
const handlers = {
  "text.shout": ({ text }) => ({ text: text.toUpperCase() }),
  "text.note": ({ text, notebook }) => mas.send(notebook, "note.add", { text }),
};
try {
  mas = new Mas();
  for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => mas.stop());
  await mas.serve(handlers, { hello: { capabilities: ["text"] }, onReady: () => console.log("ready") });
} catch (error) {
  // Such as "certificate_refused: ..." once the certificate is revoked: to come back would not help.
  console.error(error.details ?? error.message);
  process.exitCode = 1;
} finally {
  mas?.close();
}
