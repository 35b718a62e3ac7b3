/** The worker thread that answers a tight accountant's questions. */
import { type Stated, type TightQuestion, tightAnswer } from "../../src/privacy/budget/statement.ts";
import { serveTasks } from "../workers/serveTasks.ts";

serveTasks<TightQuestion, Stated>((question) => ({ result: tightAnswer(question) }));
