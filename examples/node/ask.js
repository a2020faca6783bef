// node ask.js send|request TARGET TYPE [JSON]
import { Mas } from "./mas.js";

const [method, target, type, data = "{}"] = process.argv.slice(2);
let mas;
try {
  mas = new Mas();
  const answer = await mas[method === "send" ? "send" : "request"](target, type, JSON.parse(data));
  console.log(JSON.stringify(answer));
} catch (error) {
  console.error(error.details ?? error.message);
  process.exitCode = 1;
} finally {
  mas?.close();
}
