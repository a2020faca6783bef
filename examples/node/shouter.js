// An agent that answers text.shout, and notes text.note with another agent.
import { Mas } from "./mas.js";

const mas = new Mas();
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => mas.stop());

const handlers = {
  "text.shout": ({ text }) => ({ text: text.toUpperCase() }),
  "text.note": ({ text, notebook }) => mas.send(notebook, "note.add", { text }),
};
await mas.serve(handlers, { hello: { capabilities: ["text"] }, onReady: () => console.log("ready") });
mas.close();
