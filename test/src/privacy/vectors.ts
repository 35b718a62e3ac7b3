import { readFileSync } from "node:fs";
import { join } from "node:path";

interface Entry<Params, Expected> {
	readonly id: string;
	readonly family: string;
	readonly params: Params;
	readonly expected: Expected;
	readonly rtol: number;
	readonly atol?: number;
}

const path = join(import.meta.dirname, "../../vectors/dp-accounting/dp-accounting.public.json");
const { entries } = JSON.parse(readFileSync(path, "utf8")) as { entries: Entry<unknown, unknown>[] };

/** The entries of one family; an empty family is an error, so that no test passes for lack of vectors. */
export function vectors<Params, Expected>(family: string): Entry<Params, Expected>[] {
	const found = entries.filter((entry) => entry.family === family);
	if (found.length === 0) throw new Error(`no vectors of family ${family}`);
	return found as Entry<Params, Expected>[];
}
