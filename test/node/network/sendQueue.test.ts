import { expect, test } from "vitest";
import { SendQueue } from "../../../node/network/libp2p/sendQueue.ts";

const MIB = 2 ** 20;

function queue() {
	const written: string[] = [];
	const gates: (() => void)[] = [];
	const made = new SendQueue((frame) => {
		written.push(String.fromCharCode(frame[0] ?? 0));
		return new Promise((resolve) => gates.push(resolve));
	});
	const frame = (name: string, sizeBytes = 1000) => new Uint8Array(sizeBytes).fill(name.charCodeAt(0));
	/** Lets one frame go out. */
	const next = async () => {
		gates.shift()?.();
		await new Promise((resolve) => setImmediate(resolve));
	};
	return { made, written, frame, next };
}

test("channels take turns by bytes: one that floods delays another by one frame", async () => {
	const { made, written, frame, next } = queue();
	for (let index = 0; index < 10; index++) made.push("flood", frame("f", 500_000));
	for (let index = 0; index < 3; index++) made.push("light", frame("l"));
	for (let turn = 0; turn < 13; turn++) await next();
	expect(written.join("")).toMatch(/^f(l{3}|fl{3})f+$/);
	expect(written.length).toBe(13);
});

test("frames of one channel leave in order", async () => {
	const { made, written, frame, next } = queue();
	for (const name of "abcdef") made.push("one", frame(name));
	for (let turn = 0; turn < 6; turn++) await next();
	expect(written.join("")).toBe("abcdef");
});

test("a channel may hold so much; then it is refused what comes, and other channels are not", async () => {
	const { made, written, frame, next } = queue();
	made.push("full", frame("a", 10 * MIB));
	made.push("full", frame("b", 10 * MIB));
	expect(() => made.push("full", frame("c", 10 * MIB))).toThrowError(
		expect.objectContaining({ code: "network.busy" }),
	);
	made.push("other", frame("o"));
	await next();
	await next();
	made.push("full", frame("d", 10 * MIB));
	for (let turn = 0; turn < 4; turn++) await next();
	expect(written.toSorted().join("")).toBe("abdo");
});
