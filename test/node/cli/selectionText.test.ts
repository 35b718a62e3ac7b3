import { describe, expect, test } from "vitest";
import type { Output } from "../../../node/cli/output.ts";
import { selectionText } from "../../../node/cli/selectionText.ts";
import type { JobDetail } from "../../../node/rpc/services.ts";

const out = { colors: { bold: (text: string) => text } } as unknown as Output;
const job = (selection: object | undefined) =>
	({
		spec: { selection },
		participants: [
			{ peer: "p1", organization: "North Clinic" },
			{ peer: "p2", organization: "Harbor Hospital" },
		],
		history: [{ round: 3, cohort: ["p1", "p2"], survivors: ["p2"] }],
	}) as unknown as JobDetail;

describe("who was asked", () => {
	test("is shown by name, with who is not in the sum", () => {
		const [text] = selectionText(job({ strategy: "fair", size: 2 }), out);
		expect(text).toMatch(/3 +North Clinic, Harbor Hospital +North Clinic/);
	});

	test("is nothing to show of a job that asks everybody", () => {
		expect(selectionText(job(undefined), out)).toEqual([]);
	});
});
